"""Where things are, under which names, in which order, and what a parameter file may leave out."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.bicep_expressions import FUNCTIONS, GROUP
from tests.bicep_files import INFRA, paths, read
from tests.bicep_values import Made, deployed
from tests.infra_variants import SECRETS, SHORTEST, VARIANTS, made, parameters, variant

ALL = (*VARIANTS, "production")
UNIQUE = FUNCTIONS["uniqueString"]
EVERYWHERE = frozenset(
    (
        # Azure keeps these in no region.
        "Microsoft.Communication/communicationServices",
        "Microsoft.Communication/emailServices",
        "Microsoft.Communication/emailServices/domains",
        "Microsoft.EventGrid/systemTopics",
        "Microsoft.Insights/actionGroups",
        "Microsoft.Insights/metricAlerts",
        "Microsoft.Network/privateDnsZones",
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
    )
)
NOWHERE = frozenset(
    (
        # They are of something else, or of the group.
        "Microsoft.Authorization/roleAssignments",
        "Microsoft.Consumption/budgets",
        "Microsoft.Insights/diagnosticSettings",
    )
)
NAMES: Mapping[str, str] = {
    # * is the prefix with what makes it unique
    "Microsoft.CognitiveServices/accounts": "*-ai",
    "Microsoft.Communication/communicationServices": "*-acs",
    "Microsoft.Communication/emailServices": "*-mail",
    "Microsoft.Consumption/budgets": "*-budget",
    "Microsoft.DBforPostgreSQL/flexibleServers": "*-db",
    "Microsoft.DBforPostgreSQL/flexibleServers/databases": "*-db/huntaze",
    "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules": "*-db/azure-services",
    "Microsoft.EventGrid/systemTopics": "*-mail-reports",
    "Microsoft.Insights/actionGroups": "*-people",
    "Microsoft.Insights/components": "*-insights",
    "Microsoft.Insights/metricAlerts": "*-dead-letters *-backlog *-waiting",
    "Microsoft.Insights/scheduledQueryRules": "*-failing",
    "Microsoft.Insights/workbooks": f"guid of {GROUP} and huntaze-workbook".replace("/", "."),
    "Microsoft.KeyVault/vaults": "*-kv",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "*-identity",
    "Microsoft.Network/networkSecurityGroups": "*-guard",
    "Microsoft.Network/privateEndpoints": (
        f"*-vault *-blob *-queue *-table *-database-{UNIQUE('hub-restored')} *-ai"
    ),
    "Microsoft.Network/virtualNetworks": "*-network",
    "Microsoft.OperationalInsights/workspaces": "*-logs",
    "Microsoft.ServiceBus/namespaces": "*-bus",
    "Microsoft.ServiceBus/namespaces/topics/authorizationRules": "*-bus/huntaze-jobs/vercel-send",
    "Microsoft.SignalRService/signalR": "*-signalr",
    "Microsoft.SignalRService/webPubSub": "*-pubsub",
    "Microsoft.SignalRService/webPubSub/hubs": "*-pubsub/huntaze",
    "Microsoft.Storage/storageAccounts": "*",
    "Microsoft.Storage/storageAccounts/blobServices": "*/default",
    "Microsoft.Storage/storageAccounts/blobServices/containers": "*/default/packages",
    "Microsoft.Web/serverfarms": "*-hub-plan",
    "Microsoft.Web/sites": "*-hub",
    "Microsoft.Web/sites/config": "*-hub/appsettings *-hub/slotConfigNames",
    "Microsoft.Web/sites/slots": "*-hub/staging",
    "Microsoft.Web/sites/slots/config": "*-hub/staging/appsettings",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": "*-hub/ftp *-hub/scm",
}
AFTER: Mapping[tuple[str, str], tuple[str, ...]] = {
    # What nothing in a resource's own text says: Azure would begin with it at once, and fail
    ("service-bus.bicep", "subscriptions"): ("topics",),
    ("service-bus.bicep", "rules"): ("subscriptions",),
    ("service-bus.bicep", "send"): ("topics",),
    ("service-bus.bicep", "jobsRoles"): ("topics",),
    ("service-bus.bicep", "eventsRoles"): ("topics",),
    # One change of a server, or of an app, at a time
    ("database.bicep", "azure"): ("database",),
    ("function-app-premium.bicep", "stays"): ("appSettings",),
    ("function-app-premium.bicep", "staging"): ("stays",),
    ("function-app-premium.bicep", "noPasswords"): ("stays",),
    ("function-app-flex.bicep", "noPasswords"): ("appSettings",),
}
DEFAULTS: Mapping[str, Any] = {
    "prefix": "huntaze",
    "location": "eastus2",
    "aiLocation": "eastus2",
    "hosting": "premium",
    "planSku": "EP1",
    "alwaysReadyInstances": 1,
    "maximumInstances": 2,
    "serviceBusSku": "Standard",
    "serviceBusUnits": 1,
    "sendKey": True,
    "scaleByBacklog": True,
    "realtime": "webpubsub",
    "realtimeHub": "huntaze",
    "realtimeSku": "Standard_S1",
    "realtimeUnits": 1,
    "mailDomain": "",
    "mailDomainVerified": False,
    "mailLimits": "5/m,10/h",
    "mailSender": "notifications",
    "mailDataLocation": "Europe",
    "databaseSku": "Standard_B1ms",
    "databaseTier": "Burstable",
    "databaseStorageGb": 32,
    "databaseBackupDays": 7,
    "databaseHighAvailability": False,
    "databaseGeoRedundantBackup": False,
    "restoredServer": "",
    "zoneRedundant": False,
    "privateNetwork": False,
    "allowedOrigins": [],
    "appUrl": "",
    "budgetStart": "2026-11-01",
    "backlogMessages": 500,
    "logRetentionDays": 30,
    "logDailyCapGb": 1,
    "deployerId": "",
    "deployerType": "User",
    "packageUrl": "",
    "stagingPackageUrl": "",
}


def region_of(each: Made, *, restored: bool) -> str | None:
    """Where a resource is to be; None where it is of another, which says that."""
    if each.type in EVERYWHERE:
        return "global"
    if each.type == "Microsoft.DBforPostgreSQL/flexibleServers" and restored:
        return f"where {each.name} is"
    of_another = "/" in each.name and not each.type.endswith("/slots")
    return None if of_another or each.type in NOWHERE else "eastus2"


@pytest.mark.parametrize("name", ALL)
def test_everything_is_where_it_can_be_and_says_whose_it_is(name: str):
    """A region, or none; and the tag by which a bill is read."""
    for each in variant(name).resources:
        expected = region_of(each, restored=name == "restored")
        assert each.body.get("location") == expected, each.symbol
        untagged = each.type.endswith("/virtualNetworkLinks")
        tags = {"application": "huntaze-notifications"} if expected and not untagged else None
        assert each.body.get("tags") == tags, each.symbol


def test_a_region_is_chosen_once_and_the_models_apart():
    """Everything that is in a region is in that of the parameter; models in theirs."""
    elsewhere = made(
        {**parameters("beta"), "location": "westeurope", "aiLocation": "swedencentral"}
    )
    places = {each.body["location"] for each in elsewhere.resources if "location" in each.body}
    assert places == {"global", "westeurope", "swedencentral"}
    ai = elsewhere.one("Microsoft.CognitiveServices/accounts")
    assert ai.body["location"] == "swedencentral"


def test_names_stay_what_they_are():
    """Of another name it is another resource: the former one stays, with its data, and costs."""
    found: dict[str, str] = {}
    for name in ("beta", "restored", "flex"):
        hub = variant(name)
        unique = hub.outputs["appName"].removesuffix("-hub")
        assert unique == f"hzbeta-{UNIQUE(GROUP)[:8]}"
        assert hub.one("Microsoft.Web/sites").name == f"{unique}-hub"
        assert hub.one("Microsoft.Web/serverfarms").name == f"{unique}-hub-plan"
        for kind in {each.type for each in hub.resources} & set(NAMES) - set(found):
            names = " ".join(each.name for each in hub.all(kind))
            found[kind] = names.replace(unique, "*").replace(unique.replace("-", ""), "*")
    assert found == NAMES


def test_everything_is_of_one_group():
    """Deleting it takes everything away, and somebody with rights on it alone may deploy."""
    lines = (INFRA / "main.bicep").read_text().splitlines()
    assert [each for each in lines if "targetScope" in each] == ["targetScope = 'resourceGroup'"]


def test_modules_have_names_of_their_own():
    """Two deployments of one name in a group would wait for each other, or end each other."""
    for path in paths():
        names = [each.body["name"] for each in read(path).modules]
        assert len(set(names)) == len(names)


def test_no_module_says_what_nobody_asks():
    """Each output of a module is read by main.bicep."""
    main = INFRA / "main.bicep"
    text = main.read_text()
    for module in read(main).modules:
        said = read(main.parent / module.type).outputs
        unread = [name for name in said if f"{module.symbol}.outputs.{name}" not in text]
        assert unread == [], module.symbol


@pytest.mark.parametrize("name", ["again", "flex"])
def test_what_has_to_be_there_before_is_waited_for(name: str):
    """Where no name of another resource says so by itself."""
    found = {(each.file, each.symbol): each.after for each in variant(name).resources}
    assert {key: after for key, after in found.items() if after} == {
        key: after for key, after in AFTER.items() if key in found
    }
    main = {each.symbol: each.body.get("dependsOn") for each in read(INFRA / "main.bicep").modules}
    waiting = {key: [each.text for each in of] for key, of in main.items() if of}
    assert waiting == {"premiumApp": ["network"], "flexApp": ["network"]}


def test_a_deployment_that_says_nothing_is_a_small_one():
    """The value of each parameter that a file leaves out."""
    hub = deployed(INFRA / "main.bicep", **SECRETS, **SHORTEST)
    left_out = {key: value for key, value in hub.parameters.items() if key not in SHORTEST}
    assert {key: value for key, value in left_out.items() if key not in SECRETS} == DEFAULTS
    own = deployed(INFRA / "main.bicep", **SECRETS, **SHORTEST, mailDomain="mail.example.com")
    assert own.parameters["mailLimits"] == "30/m,100/h"


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name)
def test_a_module_allows_what_its_caller_allows(path: Any):
    """A value that main.bicep takes is not refused below it, and a secret stays one."""
    file = read(path)
    for module in file.modules:
        asked = read(path.parent / module.type).parameters
        for name, value in module.body["params"].items():
            passed_on = file.parameters.get(getattr(value, "text", ""))
            if passed_on is not None and asked[name].allowed:
                assert asked[name].allowed == passed_on.allowed, f"{module.symbol}.{name}"
            if passed_on is not None and passed_on.secure:
                assert asked[name].secure, f"{module.symbol}.{name}"
    secrets = {key for key, each in file.parameters.items() if each.secure}
    if path.name == "main.bicep":
        assert secrets == set(SECRETS)


def test_secrets_are_handed_on_as_secrets():
    """What the vault, the database and the reports are given is in no log of a deployment."""
    below = {
        ("vault.bicep", "secrets"),
        ("database.bicep", "administratorPassword"),
        ("modules/delivery-reports.bicep", "key"),
    }
    for file, name in below:
        path = INFRA / file if "/" in file else INFRA / "modules" / file
        assert read(path).parameters[name].secure, (file, name)


@pytest.mark.parametrize("place", range(5))
def test_parameters_within_their_bounds_are_taken(place: int):
    """What Azure sells is not refused; it is asked for where the parameter says."""
    given = {name: values[place % len(values)] for name, values in TAKEN.items()}
    made_of = " ".join(
        f"{each.name} {each.body}"
        for each in made({**parameters("beta"), "serviceBusSku": "Premium", **given}).resources
    )
    for name, value in given.items():
        assert str(value) in made_of, name


TAKEN: Mapping[str, tuple[Any, ...]] = {
    # the least and the most of each, or all that there are
    "serviceBusUnits": (1, 2, 4, 8, 16),
    "planSku": ("EP1", "EP2", "EP3"),
    "realtimeSku": ("Free_F1", "Standard_S1", "Premium_P1"),
    "mailDataLocation": ("Europe", "United States"),
    "alwaysReadyInstances": (0, 20),
    "maximumInstances": (1, 100),
    "realtimeUnits": (1, 100),
    "databaseBackupDays": (7, 35),
    "databaseStorageGb": (32, 1024),
    "databaseTier": ("Burstable", "GeneralPurpose"),
    "restoredServer": ("", "x" * 63),
    "monthlyBudgetUsd": (1, 100_000),
    "backlogMessages": (1, 10_000),
    "logDailyCapGb": (-1, 1, 100),
}
