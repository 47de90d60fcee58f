"""What the files ask for fits into what Azure has, and the page has the same numbers."""

import re
from collections.abc import Mapping

import pytest

from notifications.postgres import READERS, WRITERS
from tests.bicep_files import INFRA, ROOT, resources
from tests.bicep_values import Deployment
from tests.infra_variants import SHORTEST, VARIANTS, made, parameters, variant

PAGE = (ROOT / "docs" / "azure.md").read_text()
POOL = WRITERS + READERS
CONNECTIONS: Mapping[str, int] = {
    # size: max_connections by default (Azure's limits of PostgreSQL flexible servers, 2026-11)
    "Standard_B1ms": 50,
    "Standard_D2ds_v5": 859,
    "Standard_D4ds_v5": 1718,
}
AZURES_OWN = 15
LINUX_PREMIUM = 20
"""Instances of a Premium plan on Linux in most regions (Microsoft's table of the plan)."""
ON_PREMIUM = [name for name in VARIANTS if variant(name).parameters["hosting"] == "premium"]


@pytest.mark.parametrize(
    "hub",
    [variant("production"), made(SHORTEST), *map(variant, ON_PREMIUM)],
    ids=["production", "defaults", *ON_PREMIUM],
)
def test_the_database_has_connections_for_every_instance(hub: Deployment):
    """With one for whoever migrates; and the plan may have that many instances."""
    instances = hub.parameters["maximumInstances"]
    left = CONNECTIONS[hub.parameters["databaseSku"]] - AZURES_OWN
    assert instances * POOL + 1 <= left
    assert instances <= LINUX_PREMIUM


def test_the_page_says_how_many_instances_a_database_takes():
    """Size, connections, those that Azure leaves, and how many pools go into them."""
    rows = re.findall(r"(?m)^\| `(Standard_\w+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", PAGE)
    found = {name: [int(each.replace(",", "")) for each in rest] for name, *rest in rows}
    assert found == {
        name: [most, most - AZURES_OWN, (most - AZURES_OWN) // POOL]
        for name, most in CONNECTIONS.items()
    }
    assert f"Each instance keeps up to {POOL} connections" in PAGE
    assert f"{LINUX_PREMIUM} instances" in PAGE


def test_the_page_says_what_the_models_may_do_in_a_minute():
    """The capacities of both files, in tokens."""
    for name in ("beta", "production"):
        for model in parameters(name)["models"]:
            tokens = f"{model['capacity'] * 1000:,}"
            assert re.search(rf"(?m)^\| `{re.escape(model['name'])}` \|.* {tokens} \|", PAGE), model


def test_the_page_says_what_happens_at_the_logs_bound():
    """In the table of parameters with the files' values, and where alerts are told of."""
    beta, production = (parameters(name)["logDailyCapGb"] for name in ("beta", "production"))
    assert f"| `logDailyCapGb` | {beta} | {production} |" in PAGE
    watch = PAGE.partition("\n## Watch\n")[2].partition("\n## ")[0]
    assert "*deliveries fail* is blind" in watch
    given = variant("production").one("Microsoft.OperationalInsights/workspaces").body
    assert given["properties"]["workspaceCapping"] == {"dailyQuotaGb": production}


ALWAYS_THERE = {"Authorization", "Consumption"}
"""Every subscription has these registered."""


def test_the_script_registers_what_the_files_make_things_of():
    """And nothing else: to register takes a right on the whole subscription."""
    script = (ROOT / "scripts" / "deploy-azure-workers.sh").read_text()
    (line,) = re.findall(r"(?m)^for provider in ([\w ]+); do$", script)
    asked = line.split()
    made = {each.type.partition("/")[0].removeprefix("Microsoft.") for each in resources()}
    texts = "".join(path.read_text() for path in INFRA.rglob("*.bicep"))
    # Whom a subnet is handed to; for each that is given a subnet.
    handed = set(re.findall(r"'Microsoft\.(\w+)/(?:environments|serverFarms)'", texts))
    assert handed == {"App", "Web"}
    assert len(asked) == len(set(asked))
    assert set(asked) - ALWAYS_THERE == (made | handed) - ALWAYS_THERE


@pytest.mark.parametrize("name", ["beta", "production"])
def test_the_parameter_files_are_within_their_bounds(name: str):
    """Money, logs and messages; and in three zones, three instances."""
    given = parameters(name)
    assert given["monthlyBudgetUsd"] > 0
    assert given["logDailyCapGb"] > 0 or given["logDailyCapGb"] == -1
    assert 1 <= given["backlogMessages"] <= 10_000
    assert not given["zoneRedundant"] or given["alwaysReadyInstances"] >= 3


@pytest.mark.parametrize("name", ON_PREMIUM)
def test_a_plan_in_three_zones_has_three_instances(name: str):
    """Where any of the deployments here has such a plan."""
    for plan in variant(name).all("Microsoft.Web/serverfarms"):
        three = plan.body["sku"]["capacity"] >= 3
        assert three or not plan.body["properties"]["zoneRedundant"]
