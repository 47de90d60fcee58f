"""Values of the Bicep that Azure would refuse, or take without a word: versions, sizes, rights.

What is in no package is held against a table, dated, with where it is from.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.bicep_files import INFRA, ROOT, paths, read
from tests.bicep_values import IDENTITY
from tests.infra_variants import DEPLOYER, VARIANTS, parameters, variant

ALL = (*VARIANTS, "production")
PARAMETER_FILES = ("beta", "production")
VERSIONS: Mapping[str, str] = {
    # provider or type: the API's version. Of 2026-11-26: those that the management packages of
    # that month have, or older ones that every Bicep of the last two years knows.
    "Microsoft.Authorization/roleAssignments": "2022-04-01",
    "Microsoft.CognitiveServices": "2025-06-01",
    "Microsoft.Communication/communicationServices": "2025-09-01",
    "Microsoft.Communication/emailServices": "2023-04-01",
    "Microsoft.Consumption/budgets": "2023-05-01",
    "Microsoft.DBforPostgreSQL": "2024-08-01",
    "Microsoft.EventGrid": "2025-02-15",
    "Microsoft.Insights/actionGroups": "2023-01-01",
    "Microsoft.Insights/components": "2020-02-02",
    "Microsoft.Insights/diagnosticSettings": "2021-05-01-preview",
    "Microsoft.Insights/metricAlerts": "2018-03-01",
    "Microsoft.Insights/scheduledQueryRules": "2022-06-15",
    "Microsoft.Insights/workbooks": "2022-04-01",
    "Microsoft.KeyVault": "2023-07-01",
    "Microsoft.ManagedIdentity": "2023-01-31",
    "Microsoft.Network/networkSecurityGroups": "2023-11-01",
    "Microsoft.Network/privateDnsZones": "2020-06-01",
    "Microsoft.Network/privateEndpoints": "2023-11-01",
    "Microsoft.Network/virtualNetworks": "2023-11-01",
    "Microsoft.OperationalInsights": "2023-09-01",
    "Microsoft.ServiceBus": "2024-01-01",
    "Microsoft.SignalRService": "2024-03-01",
    "Microsoft.Storage": "2023-05-01",
    "Microsoft.Web": "2024-04-01",
}
SKUS: Mapping[str, set[tuple[Any, ...]]] = {
    # type: name, tier and what else there is, as Azure documents it in 2026-11
    "Microsoft.ServiceBus/namespaces": {
        ("Standard", "Standard", None),
        ("Premium", "Premium", 1),
        ("Premium", "Premium", 2),
    },
    "Microsoft.Web/serverfarms": {
        ("EP1", "ElasticPremium", "EP", 1),
        ("EP1", "ElasticPremium", "EP", 3),
        ("FC1", "FlexConsumption"),
    },
    "Microsoft.SignalRService/webPubSub": {("Standard_S1", "Standard", 1)},
    "Microsoft.SignalRService/signalR": {("Standard_S1", "Standard", 1)},
    "Microsoft.DBforPostgreSQL/flexibleServers": {
        ("Standard_B1ms", "Burstable"),
        ("Standard_D2ds_v5", "GeneralPurpose"),
        ("Standard_D4ds_v5", "GeneralPurpose"),
    },
    "Microsoft.Storage/storageAccounts": {("Standard_LRS",), ("Standard_ZRS",)},
    "Microsoft.CognitiveServices/accounts": {("S0",)},
    "Microsoft.CognitiveServices/accounts/deployments": {
        ("GlobalStandard", capacity) for capacity in (1, 5, 20, 100)
    },
}
KINDS: Mapping[str, tuple[str, ...]] = {
    "Microsoft.CognitiveServices/accounts": ("AIServices",),
    "Microsoft.Insights/components": ("web",),
    "Microsoft.Insights/scheduledQueryRules": ("LogAlert",),
    "Microsoft.Insights/workbooks": ("shared",),
    "Microsoft.SignalRService/signalR": ("SignalR",),
    "Microsoft.SignalRService/webPubSub": ("WebPubSub",),
    "Microsoft.Storage/storageAccounts": ("StorageV2",),
    "Microsoft.Web/serverfarms": ("elastic", "functionapp"),
    "Microsoft.Web/sites": ("functionapp,linux",),
    "Microsoft.Web/sites/slots": ("functionapp,linux",),
}
ROLES: Mapping[str, str] = {
    "090c5cfd-751d-490a-894a-3ce6f1109419": "Azure Service Bus Data Owner",
    "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39": "Azure Service Bus Data Sender",
    "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0": "Azure Service Bus Data Receiver",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "12cf5a90-567b-43ae-8102-96cf46c7d9b4": "Web PubSub Service Owner",
    "7e4f1700-ea5a-4f59-8f37-079cfe29dce3": "SignalR Service Owner",
    "09976791-48a7-449e-bb21-39d1a415f350": "Communication and Email Service Owner",
    "a97b65f3-24c7-4388-baec-2e87135dc908": "Cognitive Services User",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
}
HUB_MAY = {
    ("Azure Service Bus Data Owner", "topics/huntaze-jobs"),
    ("Azure Service Bus Data Owner", "topics/huntaze-events"),
    ("Storage Blob Data Owner", "storageAccounts"),
    ("Storage Queue Data Contributor", "storageAccounts"),
    ("Storage Table Data Contributor", "storageAccounts"),
    ("Key Vault Secrets User", "vaults"),
    ("Web PubSub Service Owner", "webPubSub"),
    ("Communication and Email Service Owner", "communicationServices"),
    ("Cognitive Services User", "accounts"),
    ("Monitoring Metrics Publisher", "components"),
}
DEPLOYER_MAY = {
    ("Key Vault Secrets Officer", "vaults"),
    ("Storage Blob Data Contributor", "containers/packages"),
}


def named(kind: str) -> str:
    """The entry of `VERSIONS` for a type: its own, its parent's or its provider's."""
    parts = kind.split("/")
    return next(
        (found for n in range(len(parts), 0, -1) if (found := "/".join(parts[:n])) in VERSIONS),
        kind,
    )


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name)
def test_every_version_of_an_api_is_known(path: Any):
    """One that is newer than the region's, or that there never was, is refused at deployment."""
    for each in read(path).resources:
        known = VERSIONS.get(named(each.type))
        assert each.version == known, f"{each.symbol}: {each.type}@{each.version}, known is {known}"


def test_the_script_asks_versions_that_are_known():
    """What it asks by address, without a command of az, has the templates' versions."""
    text = (ROOT / "scripts" / "deploy-azure-workers.sh").read_text()
    asked = re.findall(r"providers/(Microsoft\.\w+/\w+)([^\" ]*)api-version=([\w-]+)", text)
    assert asked
    for kind, path, version in asked:
        # The one version in which that action is documented.
        known = "2022-03-01" if "/configreferences/" in path else VERSIONS.get(named(kind))
        assert version == known, f"{kind}{path}"


@pytest.mark.parametrize("name", ALL)
def test_every_size_is_one_that_azure_sells(name: str):
    """SKUs and kinds are among those that are known; no resource with one is left out."""
    for each in variant(name).resources:
        sku = each.body.get("sku", {})
        assert list(sku) == [key for key in ("name", "tier", "family", "capacity") if key in sku]
        size = tuple(sku.values()) or None
        assert size in SKUS.get(each.type, {None}), f"{each.symbol}: {size}"
        kinds = KINDS.get(each.type, (None,))
        assert each.body.get("kind") in kinds, f"{each.symbol}: {each.body.get('kind')}"
    properties = variant(name).one("Microsoft.OperationalInsights/workspaces").body["properties"]
    assert properties["sku"] == {"name": "PerGB2018"}
    vault = variant(name).one("Microsoft.KeyVault/vaults").body["properties"]
    assert vault["sku"] == {"family": "A", "name": "standard"}


def test_parameters_choose_the_sizes():
    """Each size of the parameter files reaches its service."""
    hub, given = variant("production"), parameters("production")
    server = hub.one("Microsoft.DBforPostgreSQL/flexibleServers").body
    assert server["sku"] == {"name": given["databaseSku"], "tier": given["databaseTier"]}
    assert server["properties"]["storage"]["storageSizeGB"] == given["databaseStorageGb"]
    assert server["properties"]["backup"]["backupRetentionDays"] == given["databaseBackupDays"]
    plan = hub.one("Microsoft.Web/serverfarms").body
    assert plan["properties"]["maximumElasticWorkerCount"] == given["maximumInstances"]
    site = hub.one("Microsoft.Web/sites").body["properties"]["siteConfig"]
    assert site["functionAppScaleLimit"] == given["maximumInstances"]
    assert site["minimumElasticInstanceCount"] == given["alwaysReadyInstances"]
    made_models = [
        {**each.body["properties"]["model"], "capacity": each.body["sku"]["capacity"]}
        for each in hub.all("Microsoft.CognitiveServices/accounts/deployments")
    ]
    assert made_models == given["models"]
    workspace = hub.one("Microsoft.OperationalInsights/workspaces").body["properties"]
    assert workspace["workspaceCapping"]["dailyQuotaGb"] == given["logDailyCapGb"]
    assert workspace["retentionInDays"] == 30
    assert server["properties"]["highAvailability"] == {"mode": "Disabled"}
    assert server["properties"]["backup"]["geoRedundantBackup"] == "Disabled"
    large = variant("large")
    assert large.one("Microsoft.ServiceBus/namespaces").body["sku"]["capacity"] == 2
    assert large.one("Microsoft.Storage/storageAccounts").body["sku"]["name"] == "Standard_ZRS"
    assert large.one("Microsoft.Web/serverfarms").body["properties"]["zoneRedundant"] is True
    server = large.one("Microsoft.DBforPostgreSQL/flexibleServers").body["properties"]
    assert server["highAvailability"] == {"mode": "ZoneRedundant"}
    assert server["backup"]["geoRedundantBackup"] == "Enabled"


@pytest.mark.parametrize("name", PARAMETER_FILES)
def test_a_database_is_of_its_tier(name: str):
    """Azure refuses a burstable size in another tier, and high availability of one."""
    given = parameters(name)
    burstable = re.fullmatch(r"Standard_B\d+m?s", given["databaseSku"]) is not None
    general = re.fullmatch(r"Standard_D(2|4|8|16|32|48|64|96)ds_v[45]", given["databaseSku"])
    assert burstable or general
    assert given["databaseTier"] == ("Burstable" if burstable else "GeneralPurpose")
    assert given["databaseStorageGb"] in (32, 64, 128, 256, 512)
    assert not (burstable and given.get("databaseHighAvailability", False))


# --------------------------------------------------------------------------- rights


def rights(name: str, principal: str) -> set[tuple[str, str]]:
    """What a principal may do: each role's name, and what it is given on."""
    found = set()
    for each in variant(name).all("Microsoft.Authorization/roleAssignments"):
        properties = each.body["properties"]
        kind, _, role = properties["roleDefinitionId"].rpartition("/")
        assert kind == "Microsoft.Authorization/roleDefinitions"
        assert each.scope is not None, f"{each.symbol} holds for the whole group"
        for part in (each.scope, properties["principalId"], role):
            assert part.replace("/", ".") in each.name, (
                f"{each.symbol}: two assignments would have one name"
            )
        if properties["principalId"] == principal:
            expected = "ServicePrincipal"
            if principal == DEPLOYER:
                expected = VARIANTS[name].get("deployerType", "User")
            assert properties["principalType"] == expected
            *_, of, last = each.scope.split("/")
            inner = f"{of}/{last}" if of in ("topics", "containers") else of
            found.add((ROLES[role], inner))
    return found


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("beta", {}),
        ("production", {}),
        ("flex", {"Web PubSub Service Owner": ("SignalR Service Owner", "signalR")}),
    ],
)
def test_the_hub_may_do_what_it_has_to_and_no_more(
    name: str, changed: Mapping[str, tuple[str, str]]
):
    """Which role on which service: a larger one, or one elsewhere, is seen here."""
    expected = {changed.get(role, (role, on)) for role, on in HUB_MAY}
    if name == "flex":
        # It does not scale by backlog: that takes the right to manage a topic.
        expected = {(role, on) for role, on in expected if role != "Azure Service Bus Data Owner"}
        expected |= {
            (f"Azure Service Bus Data {role}", f"topics/{topic}")
            for role in ("Sender", "Receiver")
            for topic in ("huntaze-jobs", "huntaze-events")
        }
    assert rights(name, IDENTITY) == expected


@pytest.mark.parametrize("name", ["again", "pipeline"])
def test_who_deploys_may_upload_and_keep_secrets(name: str):
    """Two roles beside those on the group; without an object id nobody gets any."""
    assert rights(name, DEPLOYER) == DEPLOYER_MAY
    assert rights("beta", DEPLOYER) == rights("beta", "") == set()


def test_keys_are_for_vercel_alone():
    """Where no key is wanted the bus takes none; where one is, it may send jobs."""
    kind = "Microsoft.ServiceBus/namespaces"
    assert variant("no-key").one(kind).body["properties"]["disableLocalAuth"] is True
    assert variant("no-key").all(f"{kind}/topics/authorizationRules") == []
    assert variant("beta").one(kind).body["properties"]["disableLocalAuth"] is False


# --------------------------------------------------------------------------- the parameter files


@pytest.mark.parametrize("name", PARAMETER_FILES)
def test_the_page_has_the_values_of_the_files(name: str):
    """`docs/azure.md` shows what decides most, for beta and for production."""
    page = (ROOT / "docs" / "azure.md").read_text()
    table = page[page.index("\n| parameter | beta | production |") :].partition("\n\n")[0]
    given = variant(name).parameters
    compared = set()
    for row in table.splitlines()[3:]:
        _, words, *values, _, _ = row.split("|")
        names, shown = words.split(","), values[PARAMETER_FILES.index(name)].split(",")
        for key, value in zip(names, shown, strict=False):
            if value.strip():
                expected = given[key.strip(" `")]
                assert value.strip(" `") == str(expected).replace("False", "false").replace(
                    "True", "true"
                ), key
                compared.add(key.strip(" `"))
    assert compared >= {"hosting", "maximumInstances", "databaseSku", "sendKey"}


@pytest.mark.parametrize("name", PARAMETER_FILES)
def test_a_model_is_asked_for_as_azure_has_it(name: str):
    """Who publishes it, under which version, and how much of it (thousand tokens a minute)."""
    for model in parameters(name)["models"]:
        assert set(model) == {"name", "format", "version", "capacity"}
        assert model["version"] == "1", "versions that were current in 2026-11"
        assert 1 <= model["capacity"] <= 1_000


def test_the_files_are_parameter_files():
    """az refuses a file of another schema."""
    for name in PARAMETER_FILES:
        text = json.loads((INFRA / f"{name}.parameters.json").read_text())
        assert text["$schema"].endswith("/2019-04-01/deploymentParameters.json#")
        assert text["contentVersion"] == "1.0.0.0"
        assert all(set(each) == {"value"} for each in text["parameters"].values())
