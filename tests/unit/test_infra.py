"""The Bicep of `infra/`: what it makes, with which names, SKUs, rules and rights."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from pycep import BicepParser

from notifications.bus.filters import SqlFilter
from notifications.bus.topology import TOPOLOGY
from notifications.settings import Settings
from scripts.infra_topology import OUT, document, duration
from tests.bicep_files import INFRA, ROOT, Declaration, Expression, paths, read, resources, walk
from tests.infra_variants import parameters, variant

MAIN = read(INFRA / "main.bicep")
PARAMETER_FILES = ("beta", "production")
ROLES = {
    # name in the file: Azure's id of the built-in role
    ("service-bus.bicep", "dataOwner"): "090c5cfd-751d-490a-894a-3ce6f1109419",
    ("service-bus.bicep", "dataSender"): "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39",
    ("service-bus.bicep", "dataReceiver"): "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0",
    ("storage.bicep", "blobOwner"): "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    ("storage.bicep", "blobContributor"): "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    ("storage.bicep", "queueContributor"): "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    ("storage.bicep", "tableContributor"): "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    ("vault.bicep", "secretsUser"): "4633458b-17de-408a-b874-0445c86b69e6",
    ("vault.bicep", "secretsOfficer"): "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    ("realtime.bicep", "webPubSubOwner"): "12cf5a90-567b-43ae-8102-96cf46c7d9b4",
    ("realtime.bicep", "signalrOwner"): "7e4f1700-ea5a-4f59-8f37-079cfe29dce3",
    ("email.bicep", "mailOwner"): "09976791-48a7-449e-bb21-39d1a415f350",
    ("ai.bicep", "cognitiveServicesUser"): "a97b65f3-24c7-4388-baec-2e87135dc908",
    ("monitoring.bicep", "metricsPublisher"): "3913510d-42f4-4e42-8a64-420c390055eb",
}
MADE = {
    "Microsoft.ServiceBus/namespaces": 1,
    "Microsoft.ServiceBus/namespaces/topics": 1,
    "Microsoft.ServiceBus/namespaces/topics/subscriptions": 1,
    "Microsoft.ServiceBus/namespaces/topics/subscriptions/rules": 1,
    "Microsoft.ServiceBus/namespaces/topics/authorizationRules": 1,
    "Microsoft.Web/serverfarms": 2,
    "Microsoft.Web/sites": 2,
    "Microsoft.Web/sites/slots": 1,
    "Microsoft.SignalRService/webPubSub": 1,
    "Microsoft.SignalRService/webPubSub/hubs": 1,
    "Microsoft.SignalRService/signalR": 1,
    "Microsoft.Communication/communicationServices": 1,
    "Microsoft.Communication/emailServices": 1,
    "Microsoft.Communication/emailServices/domains": 1,
    "Microsoft.Communication/emailServices/domains/senderUsernames": 1,
    "Microsoft.EventGrid/systemTopics": 1,
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": 1,
    "Microsoft.DBforPostgreSQL/flexibleServers": 1,
    "Microsoft.KeyVault/vaults": 1,
    "Microsoft.Insights/components": 1,
    "Microsoft.Insights/workbooks": 1,
    "Microsoft.Insights/metricAlerts": 3,
    "Microsoft.Insights/scheduledQueryRules": 1,
    "Microsoft.Consumption/budgets": 1,
    "Microsoft.CognitiveServices/accounts": 1,
    "Microsoft.CognitiveServices/accounts/deployments": 1,
    "Microsoft.ManagedIdentity/userAssignedIdentities": 1,
    "Microsoft.Network/virtualNetworks": 1,
    "Microsoft.Network/privateEndpoints": 1,
    "Microsoft.Authorization/roleAssignments": 11,
}
GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def one(kind: str, file: str | None = None) -> Declaration:
    """The only resource of a type, or the only one in a file."""
    found = [each for each in resources() if each.type == kind and file in (None, each.file)]
    assert len(found) == 1, (kind, found)
    return found[0]


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name)
def test_every_file_is_bicep_to_two_grammars(path: Path):
    """tree-sitter's grammar finds no error, and pycep reads the same resources."""
    found = read(path)
    assert found.errors == []
    other = BicepParser().parse(file_path=path)
    assert set(other.get("resources", {})) == {each.symbol for each in found.resources}
    assert set(other.get("parameters", {})) == set(found.parameters)


def test_the_bus_is_that_of_the_topology():
    """Topics, subscriptions and rules of the file are those of the code, entry by entry."""
    written = json.loads(OUT.read_text())
    assert [each["name"] for each in written["topics"]] == [topic.name for topic in TOPOLOGY]
    expected = [one for topic in TOPOLOGY for one in topic.subscriptions]
    for entry, subscription in zip(written["subscriptions"], expected, strict=True):
        assert isinstance(subscription.rule.filter, SqlFilter)
        assert (entry["topic"], entry["name"]) == (subscription.topic, subscription.name)
        assert entry["properties"]["maxDeliveryCount"] == subscription.max_delivery_count
        assert entry["properties"]["lockDuration"] == duration(subscription.lock_ms)
        assert entry["properties"]["defaultMessageTimeToLive"] == duration(subscription.ttl_ms)
        assert entry["rule"]["name"] == subscription.rule.name
        sql = entry["rule"]["properties"]["sqlFilter"]["sqlExpression"]
        assert sql == subscription.rule.filter.expression
    assert written == document(), "run python scripts/infra_topology.py"


@pytest.mark.parametrize(
    ("ms", "text"), [(120_000, "PT2M"), (86_400_000, "P1D"), (7_200_000, "PT2H"), (5_000, "PT5S")]
)
def test_a_duration_is_written_in_iso_8601(ms: int, text: str):
    """In the largest unit that divides it, as Azure shows it."""
    assert duration(ms) == text


def test_the_bus_is_made_from_the_file():
    """Nothing of a topic, subscription or rule stands in the Bicep itself."""
    file = read(INFRA / "modules" / "service-bus.bicep")
    topology = file.variables["topology"]
    assert isinstance(topology, Expression)
    assert topology.text == "loadJsonContent('../topology.json')"
    bodies = {each.symbol: each.body for each in file.resources}
    assert bodies["topics"]["properties"] == Expression("topic.properties")
    assert bodies["subscriptions"]["properties"] == Expression("entry.properties")
    assert bodies["rules"]["properties"] == Expression("entry.rule.properties")
    hub, entries = variant("beta"), json.loads(OUT.read_text())["subscriptions"]
    kind, bus = "Microsoft.ServiceBus/namespaces/topics", hub.outputs["serviceBusName"]
    names = [f"{bus}/{each['topic']}/{each['name']}" for each in entries]
    assert [each.name for each in hub.all(f"{kind}/subscriptions")] == names
    rules = [f"{name}/{each['rule']['name']}" for name, each in zip(names, entries, strict=True)]
    assert [each.name for each in hub.all(f"{kind}/subscriptions/rules")] == rules
    assert [each.name for each in hub.all(kind)] == [f"{bus}/{topic.name}" for topic in TOPOLOGY]
    assert bodies["jobsTopic"]["name"] == TOPOLOGY[0].name
    assert bodies["eventsTopic"]["name"] == TOPOLOGY[1].name


def test_what_is_made_is_what_the_hub_needs():
    """Each service of the design is there, once."""
    counts = Counter(each.type for each in resources())
    assert {kind: counts[kind] for kind in MADE} == MADE
    for name, kinds in (("beta", {"webPubSub", "webPubSub/hubs"}), ("flex", {"signalR"})):
        pushes = [each.type.partition("/") for each in variant(name).resources]
        assert {kind for by, _, kind in pushes if by == "Microsoft.SignalRService"} == kinds


def test_the_rights_are_azures_roles():
    """Every role is named by its id, each known, and none is spelt elsewhere."""
    named = {
        (path.name, name): value
        for path in paths()
        for name, value in read(path).variables.items()
        if isinstance(value, str) and GUID.fullmatch(value)
    }
    assert named == ROLES
    for path in paths():
        assert len(GUID.findall(path.read_text())) == sum(key[0] == path.name for key in named)


def test_no_right_reaches_beyond_one_service():
    """Every assignment has a scope of its own; on the bus it is a topic, never the namespace."""
    assignments = [each for each in resources() if each.type.endswith("/roleAssignments")]
    for each in assignments:
        assert isinstance(each.body.get("scope"), Expression), (each.file, each.symbol)
    scopes = {each.body["scope"].text for each in assignments if each.file == "service-bus.bicep"}
    assert scopes == {"jobsTopic", "eventsTopic"}


@pytest.mark.parametrize(
    "kind",
    [
        "Microsoft.SignalRService/webPubSub",
        "Microsoft.SignalRService/signalR",
        "Microsoft.Communication/communicationServices",
        "Microsoft.CognitiveServices/accounts",
    ],
)
def test_no_service_takes_keys_where_an_identity_will_do(kind: str):
    """Keys are switched off, so that there are none to lose."""
    assert one(kind).body["properties"]["disableLocalAuth"] is True


def test_the_other_services_take_no_keys_either():
    """Storage and telemetry say it in their own words; the bus has Vercel's key or none."""
    assert one("Microsoft.Storage/storageAccounts").body["properties"]["allowSharedKeyAccess"] is (
        False
    )
    assert one("Microsoft.Insights/components").body["properties"]["DisableLocalAuth"] is True
    bus = one("Microsoft.ServiceBus/namespaces").body["properties"]
    assert bus["disableLocalAuth"] == Expression("!sendKey")
    key = one("Microsoft.ServiceBus/namespaces/topics/authorizationRules").body
    assert (key["parent"].text, key["properties"]["rights"]) == ("jobsTopic", ["Send"])


def test_the_plan_is_premium_on_linux():
    """An EP plan that is elastic, on Linux, with a bound; the app has the hub's health check."""
    plan = one("Microsoft.Web/serverfarms", "function-app-premium.bicep").body
    assert (plan["kind"], plan["sku"]["tier"]) == ("elastic", "ElasticPremium")
    assert plan["properties"]["reserved"] is True
    assert plan["properties"]["maximumElasticWorkerCount"] == Expression("maximumInstances")
    site = read(INFRA / "modules" / "function-app-premium.bicep").variables["site"]
    assert site["healthCheckPath"] == "/healthz"
    assert site["minimumElasticInstanceCount"] == Expression("alwaysReady")
    assert site["functionAppScaleLimit"] == Expression("maximumInstances")
    flex = one("Microsoft.Web/serverfarms", "function-app-flex.bicep").body
    assert (flex["sku"]["name"], flex["sku"]["tier"]) == ("FC1", "FlexConsumption")


def test_no_worker_is_awake_in_the_staging_slot():
    """A release that is being tried takes no message of production's."""
    text = (ROOT / "function_app.py").read_text()
    blocks = re.findall(r'function_name\("(\w+)"\)\n@\w+\.(\w+)', text)
    working = {name for name, trigger in blocks if trigger not in ("route", "http_type")}
    asleep = read(INFRA / "modules" / "function-app-premium.bicep").variables["asleep"]
    assert working
    assert set(asleep) == {f"AzureWebJobs.{name}.Disabled" for name in working}
    assert set(asleep.values()) == {"true"}


def test_nothing_secret_leaves_in_an_output():
    """Outputs are kept with the deployment, where many can read them."""
    for path in paths():
        file = read(path)
        secret = [name for name, parameter in file.parameters.items() if parameter.secure]
        said = "\n".join(file.outputs.values())
        assert not [name for name in secret if re.search(rf"\b{name}\b", said)]
        assert "listKeys" not in said


def test_every_secret_of_the_app_is_in_the_vault():
    """What the app refers to, and what the script keeps, is put there; each has a value."""
    vault = read(INFRA / "modules" / "vault.bicep")
    names = set(vault.variables["names"])
    given = next(each for each in MAIN.modules if each.symbol == "vault").body["params"]["secrets"]
    assert set(given) == names
    referred = set(re.findall(r"secretsUri\}/([a-z-]+)/", MAIN.path.read_text()))
    assert referred == names - {"database-password"}
    script = (ROOT / "scripts" / "deploy-azure-workers.sh").read_text()
    kept = re.findall(r"(?m)^(?:for name in |names=\()([a-z -]+)(?:; do|\))$", script)
    assert set(kept[0].split()) == names - {"database-url"}


def test_a_module_is_given_what_it_asks_for():
    """Every parameter without a default is passed, and none that is not there."""
    for path in paths():
        for module in read(path).modules:
            asked = read(path.parent / module.type).parameters
            given = set(module.body["params"])
            assert given <= set(asked), (path.name, module.symbol)
            needed = {name for name, parameter in asked.items() if not parameter.optional}
            assert needed <= given, (path.name, module.symbol)


@pytest.mark.parametrize("name", PARAMETER_FILES)
def test_a_parameter_file_fits(name: str):
    """Every value is of a parameter that exists, of its type, and allowed; no secret is in it."""
    kinds = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}
    given = parameters(name)
    for key, value in given.items():
        parameter = MAIN.parameters[key]
        assert type(value) is kinds[parameter.type], key
        assert not parameter.allowed or value in parameter.allowed, key
        assert not parameter.secure, key
    needed = {key for key, each in MAIN.parameters.items() if not (each.optional or each.secure)}
    assert needed <= set(given)


@pytest.mark.parametrize("name", PARAMETER_FILES)
def test_the_models_that_are_asked_are_deployed(name: str):
    """The orders are those of the settings, and every model in them is one of those made."""
    given = parameters(name)
    deployed = {each["name"] for each in given["models"]}
    usual = Settings()
    assert given["modelOrder"] == {
        kind: list(getattr(usual, f"ai_models_{kind}"))
        for kind in ("video", "chat", "suggest", "analyze")
    }
    assert {each for order in given["modelOrder"].values() for each in order} <= deployed
    for each in given["models"]:
        assert each["format"] == ("Microsoft" if each["name"].startswith("Phi") else "DeepSeek")


def test_production_is_beta_with_more_of_it():
    """The two differ in sizes and addresses; in how things are done they are one."""
    beta, production = parameters("beta"), parameters("production")
    assert set(beta) <= set(production)
    assert (beta["planSku"], production["planSku"]) == ("EP1", "EP1")
    for key in ("maximumInstances", "databaseStorageGb", "databaseBackupDays", "monthlyBudgetUsd"):
        assert beta[key] < production[key], key
    assert production["monthlyBudgetUsd"] == 1300


def test_every_setting_of_the_app_is_text():
    """App settings are strings; a number or a flag would be refused by Azure."""
    for name in ("commonSettings", "realtimeSettings", "optionalSettings"):
        value = MAIN.variables[name]
        objects = value.objects if isinstance(value, Expression) else (value,)
        for found in objects:
            assert all(isinstance(each, str | Expression) for each in found.values()), name


def test_deployments_of_one_parent_are_made_one_after_the_other():
    """Azure answers 409 to changes of one parent's children at once."""
    for file, loops in (("service-bus", 3), ("ai", 1)):
        text = (INFRA / "modules" / f"{file}.bicep").read_text()
        assert len(re.findall(r"^@batchSize\(1\)\nresource ", text, re.MULTILINE)) == loops


def test_every_check_that_is_skipped_says_why():
    """No finding of the security check is put away without a reason."""
    for path in paths():
        for line in path.read_text().splitlines():
            if "checkov:skip" in line:
                assert re.fullmatch(r" +// checkov:skip=CKV2?_AZURE_\d+:\w.{10,}", line), line


def test_every_value_was_read():
    """The reader of these tests loses nothing: every property of the network is found."""
    network = one("Microsoft.Network/virtualNetworks").body
    names = [each["name"] for each in walk(network) if isinstance(each, dict) and "name" in each]
    assert {"app", "endpoints"} <= {each for each in names if isinstance(each, str)}
