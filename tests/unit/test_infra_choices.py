"""What the Bicep makes of its parameters: the network, bounds, names, and a restored database."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.bicep_expressions import Refused
from tests.bicep_files import INFRA, read
from tests.bicep_values import Deployment
from tests.infra_variants import ON_FLEX, VARIANTS, made, parameters, variant

DOORS: Mapping[str, str] = {
    # what has a door: the name of that; of another name it is another, and the former one stays
    "vaults": "vault",
    "storageAccounts/blob": "blob",
    "storageAccounts/queue": "queue",
    "storageAccounts/table": "table",
    "flexibleServers": "database",
    "accounts": "ai",
    "namespaces": "bus",
}
ZONES: Mapping[str, tuple[str, str]] = {
    # what has a door: its group, and the zone whose names lead there (Azure's list of private
    # endpoints' DNS zones, 2026-11)
    "vaults": ("vault", "privatelink.vaultcore.azure.net"),
    "storageAccounts/blob": ("blob", "privatelink.blob.core.windows.net"),
    "storageAccounts/queue": ("queue", "privatelink.queue.core.windows.net"),
    "storageAccounts/table": ("table", "privatelink.table.core.windows.net"),
    "flexibleServers": ("postgresqlServer", "privatelink.postgres.database.azure.com"),
    "accounts": ("account", "privatelink.services.ai.azure.com"),
    "namespaces": ("namespace", "privatelink.servicebus.windows.net"),
}


@pytest.mark.parametrize("name", ["private", "flex-private", "restored"])
def test_every_door_has_the_zone_that_leads_to_it(name: str):
    """A name in another zone would not be found, or lead outside."""
    hub = variant(name)
    found = {}
    groups = hub.all("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")
    doors = hub.all("Microsoft.Network/privateEndpoints")
    for door, group in zip(doors, groups, strict=True):
        assert group.name == f"{door.name}/default"
        assert door.body["properties"]["subnet"]["id"].endswith("-network/subnets/endpoints")
        (link,) = door.body["properties"]["privateLinkServiceConnections"]
        (kind,) = link["properties"]["groupIds"]
        of = link["properties"]["privateLinkServiceId"].split("/")[-2]
        (zone,) = group.body["properties"]["privateDnsZoneConfigs"]
        assert zone["name"] == link["name"]
        assert door.name.endswith(f"-{link['name']}")
        key = f"{of}/{kind}" if of == "storageAccounts" else of
        assert link["name"].partition("-")[0] == DOORS[key]
        found[key] = (kind, zone["properties"]["privateDnsZoneId"].rpartition("/")[2])
    bus = {"namespaces"} if name == "private" else set()
    assert found == {key: each for key, each in ZONES.items() if key != "namespaces" or key in bus}
    zones = [each.name for each in hub.all("Microsoft.Network/privateDnsZones")]
    assert sorted(zones) == sorted(zone for _, zone in found.values())
    links = hub.all("Microsoft.Network/privateDnsZones/virtualNetworkLinks")
    (network,) = hub.all("Microsoft.Network/virtualNetworks")
    for each in links:
        assert each.body["properties"]["virtualNetwork"]["id"].endswith(network.name)
        assert each.body["properties"]["registrationEnabled"] is False
    link = network.name.replace("-network", "-link")
    assert [each.name for each in links] == [f"{zone}/{link}" for zone in zones]


def test_what_has_a_door_is_closed_outside():
    """Vault, storage, database and models take nobody from outside; nor does a bus without keys."""
    closed = {
        "Microsoft.KeyVault/vaults": True,
        "Microsoft.Storage/storageAccounts": True,
        "Microsoft.CognitiveServices/accounts": True,
        "Microsoft.ServiceBus/namespaces": False,
        "Microsoft.DBforPostgreSQL/flexibleServers": True,
    }
    for kind, for_flex in closed.items():
        for name, shut in (("private", True), ("flex-private", for_flex), ("beta", False)):
            properties = variant(name).one(kind).body["properties"]
            found = properties.get("network", properties)["publicNetworkAccess"]
            assert found == ("Disabled" if shut else "Enabled"), (kind, name)
            if kind in ("Microsoft.KeyVault/vaults", "Microsoft.Storage/storageAccounts"):
                assert properties["networkAcls"] == {
                    "bypass": "AzureServices",
                    "defaultAction": "Deny" if shut else "Allow",
                }
    rules = "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules"
    assert variant("private").all(rules) == []
    azure = variant("beta").one(rules).body["properties"]
    assert azure == {"startIpAddress": "0.0.0.0", "endIpAddress": "0.0.0.0"}


@pytest.mark.parametrize("open_for", ["no network", "a key", "a small bus"])
def test_the_bus_is_closed_where_everybody_is_inside_alone(open_for: str):
    """Not where it can have no door, nor where Vercel sends with a key; those are outside."""
    changes = {
        "no network": {"privateNetwork": False},
        "a key": {"sendKey": True},
        "a small bus": {"serviceBusSku": "Standard"},
    }[open_for]
    hub = made({**parameters("beta"), **VARIANTS["private"], **changes})
    bus = hub.one("Microsoft.ServiceBus/namespaces").body["properties"]
    assert bus["publicNetworkAccess"] == "Enabled"


@pytest.mark.parametrize(
    ("name", "service"),
    [("private", "Microsoft.Web/serverFarms"), ("flex-private", "Microsoft.App/environments")],
)
def test_the_app_is_in_a_subnet_of_its_own(name: str, service: str):
    """Delegated to what runs it, apart from the doors, inside the network."""
    assert variant("beta").all("Microsoft.Network/virtualNetworks") == []
    hub = variant(name)
    network = hub.one("Microsoft.Network/virtualNetworks")
    app, endpoints = network.body["properties"]["subnets"]
    assert (app["name"], endpoints["name"]) == ("app", "endpoints")
    (delegation,) = app["properties"]["delegations"]
    assert delegation == {"name": "app", "properties": {"serviceName": service}}
    assert network.body["properties"]["addressSpace"] == {"addressPrefixes": ["10.40.0.0/16"]}
    assert [each["properties"]["addressPrefix"] for each in (app, endpoints)] == [
        "10.40.1.0/24",
        "10.40.2.0/24",
    ]
    guard = hub.one("Microsoft.Network/networkSecurityGroups")
    assert guard.body["properties"] == {"securityRules": []}
    for each in (app, endpoints):
        assert each["properties"]["networkSecurityGroup"]["id"].endswith(guard.name)
    for kind in ("Microsoft.Web/sites", "Microsoft.Web/sites/slots"):
        for each in hub.all(kind):
            subnet = each.body["properties"]["virtualNetworkSubnetId"]
            assert subnet.endswith(f"/virtualNetworks/{network.name}/subnets/app")
        for each in variant("beta").all(kind):
            assert each.body["properties"]["virtualNetworkSubnetId"] is None


# --------------------------------------------------------------------------- what is refused


def test_flex_has_bounds_of_its_own():
    """It may sleep altogether, and takes no bound below 40; Premium has one instance always."""
    scale = "scaleAndConcurrency"
    asleep = made({**parameters("beta"), **ON_FLEX}).one("Microsoft.Web/sites")
    found = asleep.body["properties"]["functionAppConfig"][scale]
    assert found == {"maximumInstanceCount": 40, "instanceMemoryMB": 2048, "alwaysReady": []}
    awake = {**parameters("beta"), **ON_FLEX, "alwaysReadyInstances": 2, "maximumInstances": 60}
    found = made(awake).one("Microsoft.Web/sites").body["properties"]["functionAppConfig"][scale]
    assert found["alwaysReady"] == [{"name": "http", "instanceCount": 2}]
    assert found["maximumInstanceCount"] == 60
    warm = made({**parameters("beta"), "alwaysReadyInstances": 0})
    site = warm.one("Microsoft.Web/sites").body["properties"]["siteConfig"]
    assert site["minimumElasticInstanceCount"] == 1
    assert warm.one("Microsoft.Web/serverfarms").body["sku"]["capacity"] == 1


NAMES: Mapping[str, str] = {
    # type: what Azure takes for a name (its rules for names, 2026-11)
    "Microsoft.KeyVault/vaults": r"(?=.{3,24}$)[a-zA-Z](-?[a-zA-Z0-9])*",
    "Microsoft.Storage/storageAccounts": r"[a-z0-9]{3,24}",
    "Microsoft.ServiceBus/namespaces": r"(?=.{6,50}$)[a-zA-Z][a-zA-Z0-9-]*[a-zA-Z0-9]",
    "Microsoft.DBforPostgreSQL/flexibleServers": r"(?=.{3,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?",
    "Microsoft.Web/sites": r"(?=.{2,60}$)[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]",
    "Microsoft.CognitiveServices/accounts": r"(?=.{2,64}$)[a-z0-9][a-z0-9-]*[a-z0-9]",
    "Microsoft.SignalRService/webPubSub": r"(?=.{3,63}$)[a-zA-Z][a-zA-Z0-9-]*[a-zA-Z0-9]",
    "Microsoft.Communication/communicationServices": r"[a-zA-Z0-9-]{1,63}",
    "Microsoft.OperationalInsights/workspaces": r"(?=.{4,63}$)[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]",
    "Microsoft.EventGrid/systemTopics": r"[a-zA-Z0-9-]{3,128}",
}


@pytest.mark.parametrize("prefix", ["abc", "Huntaze", "a1b2c3d4e5"])
def test_a_prefix_that_is_taken_makes_names_that_azure_takes(prefix: str):
    """The shortest, the longest, and one with capitals: every name is by Azure's rules."""
    hub = made({**parameters("beta"), "prefix": prefix})
    for kind, rule in NAMES.items():
        assert re.fullmatch(rule, hub.one(kind).name), f"{kind}: {hub.one(kind).name}"


@pytest.mark.parametrize("prefix", ["my-hub", "3hub", "hub_", "hüb", "ab", "a1b2c3d4e5f", "hub "])
def test_a_prefix_that_azure_would_refuse_is_refused_at_once(prefix: str):
    """Before anything is made, in words that name the parameter."""
    with pytest.raises(Refused, match=r"^prefix: "):
        made({**parameters("beta"), "prefix": prefix})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hosting", "consumption"),
        ("planSku", "P1v3"),
        ("alwaysReadyInstances", -1),
        ("alwaysReadyInstances", 21),
        ("maximumInstances", 0),
        ("maximumInstances", 101),
        ("serviceBusSku", "Basic"),
        ("serviceBusUnits", 3),
        ("realtime", "both"),
        ("realtimeSku", "Standard_S2"),
        ("realtimeUnits", 0),
        ("realtimeUnits", 101),
        ("mailDataLocation", "europe"),
        ("databaseTier", "MemoryOptimized"),
        ("databaseStorageGb", 31),
        ("databaseBackupDays", 6),
        ("databaseBackupDays", 36),
        ("deployerType", "Group"),
        ("restoredServer", "x" * 64),
        ("monthlyBudgetUsd", 0),
        ("backlogMessages", 0),
        ("backlogMessages", 10_001),
        ("logDailyCapGb", -2),
        ("logDailyCapGb", 0),
    ],
)
def test_a_parameter_beyond_its_bounds_is_refused(name: str, value: Any):
    """Before anything is made."""
    with pytest.raises(Refused, match=f"^{name}: "):
        made({**parameters("beta"), name: value})


# --------------------------------------------------------------------------- a restored database


def test_a_restored_server_takes_the_place_of_the_one_before():
    """The hub, the outputs, the door and what is set of a server are of the restored one."""
    usual, hub = made({**parameters("beta"), "privateNetwork": True}), variant("restored")
    kind = "Microsoft.DBforPostgreSQL/flexibleServers"
    assert hub.one(kind).name == "hub-restored", "and the one before is left alone"
    assert "restoredDatabase" in hub.modules
    assert "restoredDatabase" not in usual.modules
    assert (hub.outputs["databaseServer"], hub.outputs["databaseHost"]) == (
        "hub-restored",
        "hub-restored.postgres.database.azure.com",
    )
    url, before = (secret(each, "database-url") for each in (hub, usual))
    name = usual.outputs["databaseServer"]
    assert url == before.replace(name, "hub-restored") != before
    assert hub.one(kind).body["properties"] == usual.one(kind).body["properties"]
    assert hub.one(f"{kind}/databases").name == "hub-restored/huntaze"
    (door,) = [
        each
        for each in hub.all("Microsoft.Network/privateEndpoints")
        if "flexibleServers/hub-restored" in str(each.body)
    ]
    assert door.name not in {each.name for each in usual.all("Microsoft.Network/privateEndpoints")}
    assert {each.name for each in hub.resources if "hub-restored" not in each.name} <= {
        each.name for each in usual.resources
    } | {door.name, f"{door.name}/default"}


def test_a_restored_server_has_to_be_there():
    """It is asked where it is: a name that is mistyped makes no empty database, and the vault does
    not name it."""
    said = [
        line.strip()
        for line in (INFRA / "main.bicep").read_text().splitlines()
        if re.search(r"\brestoredServer\b", line)
    ]
    assert [each for each in said if "uniqueString(" not in each] == [
        "param restoredServer string = ''",
        "var restored = !empty(restoredServer)",
        "name: restoredServer",
    ], "whatever needs its name waits for restored-database.bicep to say it"
    module = read(INFRA / "modules" / "restored-database.bicep")
    (server,) = module.resources
    assert server.existing
    server_made = variant("restored").one("Microsoft.DBforPostgreSQL/flexibleServers")
    assert server_made.body["location"] == "where hub-restored is"
    assert variant("beta").one(server_made.type).body["location"] == "eastus2"


def secret(hub: Deployment, name: str) -> str:
    """What is put into the vault under a name."""
    (found,) = [
        each for each in hub.all("Microsoft.KeyVault/vaults/secrets") if each.name.endswith(name)
    ]
    return str(found.body["properties"]["value"])


@pytest.mark.parametrize(
    "given",
    [
        {"alwaysReadyInstances": 2, "maximumInstances": 6},
        {"alwaysReadyInstances": 3, "maximumInstances": 2},
    ],
)
def test_zones_take_three_instances(given: Mapping[str, int]):
    """On Premium, at once and at most; Azure would refuse fewer after ten minutes."""
    with pytest.raises(Refused, match=r"^zoneRedundant: "):
        made({**parameters("production"), "zoneRedundant": True, **given})
    three = {"zoneRedundant": True, "alwaysReadyInstances": 3, "maximumInstances": 3}
    plan = made({**parameters("production"), **three}).one("Microsoft.Web/serverfarms")
    assert (plan.body["properties"]["zoneRedundant"], plan.body["sku"]["capacity"]) == (True, 3)
    made({**parameters("production"), **ON_FLEX, "zoneRedundant": True})
