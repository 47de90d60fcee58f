"""What is the same in every deployment: settings of the services, places, order and defaults.

Azure would take most of these otherwise without a word, and the hub would be less safe, or slower,
or lose something, or be told of nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.bicep_files import INFRA
from tests.bicep_values import CLIENT_ID, IDENTITY, Deployment
from tests.infra_variants import VARIANTS, parameters, variant

ALL = (*VARIANTS, "production")
APP: Mapping[str, Any] = {
    # the app and its slot
    "properties": {
        "httpsOnly": True,
        "clientAffinityEnabled": False,  # any instance answers anybody
        "publicNetworkAccess": "Enabled",  # the hub's keys guard it
        "siteConfig": {"minTlsVersion": "1.2", "ftpsState": "Disabled", "http20Enabled": True},
    },
    "identity": {"type": "UserAssigned"},
}
TLS_AND_IDENTITY: Mapping[str, Any] = {
    # Web PubSub and SignalR
    "identity": {"type": "SystemAssigned"},
    "properties": {
        "disableLocalAuth": True,
        "disableAadAuth": False,
        "publicNetworkAccess": "Enabled",  # browsers connect to it
        "tls": {"clientCertEnabled": False},
    },
}
SETTLED: Mapping[str, Mapping[str, Any]] = {
    "Microsoft.CognitiveServices/accounts": {
        "identity": {"type": "SystemAssigned"},
        "properties": {"disableLocalAuth": True},
    },
    "Microsoft.CognitiveServices/accounts/deployments": {
        "properties": {
            # Models change when somebody has tried the next, and are filtered as Azure ships them.
            "versionUpgradeOption": "NoAutoUpgrade",
            "raiPolicyName": "Microsoft.DefaultV2",
        }
    },
    "Microsoft.Communication/communicationServices": {"properties": {"disableLocalAuth": True}},
    "Microsoft.Communication/emailServices/domains": {
        # No pixel in a mail of ours.
        "properties": {"userEngagementTracking": "Disabled"}
    },
    "Microsoft.DBforPostgreSQL/flexibleServers": {
        "properties": {
            "version": "16",
            "storage": {"autoGrow": "Enabled"},
            "authConfig": {"activeDirectoryAuth": "Disabled", "passwordAuth": "Enabled"},
        }
    },
    "Microsoft.DBforPostgreSQL/flexibleServers/databases": {
        "properties": {"charset": "UTF8", "collation": "en_US.utf8"}
    },
    "Microsoft.Insights/actionGroups": {
        "properties": {
            "groupShortName": "huntaze",  # twelve letters at most
            "emailReceivers": [{"name": "owner", "useCommonAlertSchema": True}],
        }
    },
    "Microsoft.Insights/components": {
        "properties": {
            "Application_Type": "web",
            "IngestionMode": "LogAnalytics",
            "DisableLocalAuth": True,
        }
    },
    "Microsoft.Insights/workbooks": {
        "properties": {"displayName": "Huntaze notification hub", "category": "workbook"}
    },
    "Microsoft.KeyVault/vaults": {
        "properties": {
            "tenantId": "33333333-3333-3333-3333-333333333333",
            "enableRbacAuthorization": True,
            "enabledForTemplateDeployment": True,  # delivery-reports.bicep reads a secret
            "enableSoftDelete": True,
            "softDeleteRetentionInDays": 90,
            "enablePurgeProtection": True,
        }
    },
    "Microsoft.KeyVault/vaults/secrets": {"properties": {"contentType": "text/plain"}},
    "Microsoft.ServiceBus/namespaces": {
        "identity": {"type": "SystemAssigned"},
        "properties": {"minimumTlsVersion": "1.2"},
    },
    "Microsoft.SignalRService/signalR": TLS_AND_IDENTITY
    | {
        "properties": {
            **TLS_AND_IDENTITY["properties"],
            "features": [{"flag": "ServiceMode", "value": "Serverless"}],
            "cors": {"allowedOrigins": parameters("beta")["allowedOrigins"]},
        }
    },
    "Microsoft.SignalRService/webPubSub": TLS_AND_IDENTITY,
    "Microsoft.SignalRService/webPubSub/hubs": {"properties": {"anonymousConnectPolicy": "deny"}},
    "Microsoft.Storage/storageAccounts": {
        "properties": {
            "allowBlobPublicAccess": False,
            "allowSharedKeyAccess": False,
            "defaultToOAuthAuthentication": True,
            "minimumTlsVersion": "TLS1_2",
            "supportsHttpsTrafficOnly": True,
        }
    },
    "Microsoft.Storage/storageAccounts/blobServices": {
        "properties": {"deleteRetentionPolicy": {"enabled": True, "days": 14}}
    },
    "Microsoft.Storage/storageAccounts/blobServices/containers": {
        "properties": {"publicAccess": "None"}
    },
    "Microsoft.Web/sites": APP,
    "Microsoft.Web/sites/slots": APP,
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": {"properties": {"allow": False}},
}
LOGS: Mapping[str, str] = {
    # what keeps a log of its own: which
    "Microsoft.ServiceBus/namespaces": "OperationalLogs",
    "Microsoft.DBforPostgreSQL/flexibleServers": "PostgreSQLLogs",
    "Microsoft.KeyVault/vaults": "AuditEvent",
    "Microsoft.SignalRService/webPubSub": "ConnectivityLogs",
}


def lacking(body: Any, expected: Any, path: str) -> Iterator[str]:
    """Where a body is not as expected; what is in it beside that does not matter."""
    if isinstance(expected, Mapping) and isinstance(body, dict):
        for key, value in expected.items():
            yield from lacking(body.get(key), value, f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(body, list) and len(body) == len(expected):
        for place, value in enumerate(expected):
            yield from lacking(body[place], value, f"{path}[{place}]")
    elif body != expected:
        yield f"{path}: {body!r}, not {expected!r}"


@pytest.mark.parametrize("name", ALL)
def test_services_are_set_as_they_have_to_be(name: str):
    """Safe, without keys, and complete: each of these has a reason, and none may get lost."""
    found = [
        each
        for one in variant(name).resources
        for each in lacking(one.body, SETTLED.get(one.type, {}), f"{one.file} {one.symbol}")
    ]
    assert found == []
    assert {kind for kind in SETTLED if variant("beta").all(kind)} >= set(SETTLED) - {
        "Microsoft.SignalRService/signalR"
    }


@pytest.mark.parametrize("name", ["beta", "flex"])
def test_logs_are_kept_where_they_are_looked_for(name: str):
    """Each service that has a log sends it to the one workspace."""
    hub = variant(name)
    found = {}
    for each in hub.all("Microsoft.Insights/diagnosticSettings"):
        assert each.scope is not None
        assert each.name == "to-workspace"
        properties = each.body["properties"]
        assert properties["workspaceId"] == hub.outputs["workspaceId"]
        (log,) = properties["logs"]
        assert log["enabled"] is True
        (kind,) = [kind for kind in LOGS if f"/{kind}/" in each.scope]
        found[kind] = log["category"]
    assert found == {kind: log for kind, log in LOGS.items() if hub.all(kind)}
    insights = hub.one("Microsoft.Insights/components")
    assert insights.body["properties"]["WorkspaceResourceId"] == hub.outputs["workspaceId"]
    workbook = hub.one("Microsoft.Insights/workbooks").body["properties"]
    assert workbook["sourceId"] == hub.outputs["insightsId"]
    assert workbook["serializedData"] == (INFRA / "workbook.json").read_text()


@pytest.mark.parametrize("name", ["again", "flex"])
def test_the_app_is_its_identity_everywhere(name: str):
    """It reads the vault, its package and its storage with the one identity that has the roles."""
    hub = variant(name)
    (identity,) = hub.all("Microsoft.ManagedIdentity/userAssignedIdentities")
    (app,) = hub.all("Microsoft.Web/sites")
    for each in (app, *hub.all("Microsoft.Web/sites/slots")):
        (given,) = each.body["identity"]["userAssignedIdentities"].items()
        assert given[0].endswith(f"/userAssignedIdentities/{identity.name}")
        assert given[1] == {}
        assert each.body["properties"]["keyVaultReferenceIdentity"] == given[0]
        plan = each.body["properties"]["serverFarmId"]
        assert plan.endswith(f"/serverfarms/{hub.one('Microsoft.Web/serverfarms').name}")
    principals = {
        each.body["properties"]["principalId"]
        for each in hub.all("Microsoft.Authorization/roleAssignments")
    }
    assert IDENTITY in principals
    settings = next(
        each.body["properties"]
        for each in hub.all("Microsoft.Web/sites/config")
        if each.name.endswith("/appsettings")
    )
    clients = [value for key, value in settings.items() if key.lower().endswith("clientid")]
    assert set(clients) == {CLIENT_ID}
    policies = hub.all("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert [each.name for each in policies] == [f"{app.name}/ftp", f"{app.name}/scm"]


def test_flex_runs_what_premium_runs():
    """The same language and version, and its package from the same place, with the identity."""
    config = variant("flex").one("Microsoft.Web/sites").body["properties"]["functionAppConfig"]
    site = variant("beta").one("Microsoft.Web/sites").body["properties"]["siteConfig"]
    assert config["runtime"] == {"name": "python", "version": "3.13"}
    assert site["linuxFxVersion"] == "Python|3.13"
    storage = config["deployment"]["storage"]
    assert (storage["type"], storage["value"]) == (
        "blobContainer",
        variant("flex").outputs["packagesUrl"],
    )
    (identity,) = (
        variant("flex").one("Microsoft.Web/sites").body["identity"]["userAssignedIdentities"]
    )
    assert storage["authentication"] == {
        "type": "UserAssignedIdentity",
        "userAssignedIdentityResourceId": identity,
    }
    plan = variant("flex").one("Microsoft.Web/serverfarms").body
    assert (plan["kind"], plan["properties"]) == ("functionapp", {"reserved": True})
    private = variant("private").one("Microsoft.Web/sites").body["properties"]["siteConfig"]
    for key in ("functionsRuntimeScaleMonitoringEnabled", "vnetRouteAllEnabled"):
        # Else the platform cannot see a backlog behind a door, nor the app go through one.
        assert (site[key], private[key]) == (False, True)


def test_mails_are_sent_from_what_is_verified():
    """Azure's own domain is linked at once and has its one sender; ours once it is verified."""
    domains = "Microsoft.Communication/emailServices/domains"
    for name, own, linked in (("beta", 0, 1), ("domain", 1, 0), ("domain-verified", 1, 1)):
        hub = variant(name)
        service = hub.one("Microsoft.Communication/communicationServices").body["properties"]
        domain = hub.one(domains)
        assert len(service["linkedDomains"]) == linked
        assert sender_of(hub).endswith(f"@{domain.name.replace('/', '-')}.azurecomm.net>")
        assert service["linkedDomains"] in ([], [hub.outputs["mailDomainId"]])
        management = domain.body["properties"]["domainManagement"]
        assert management == ("CustomerManaged" if own else "AzureManaged")
        assert domain.name.endswith("/mail.example.com" if own else "/AzureManagedDomain")
        senders = hub.all(f"{domains}/senderUsernames")
        assert len(senders) == own
        for each in senders:
            assert each.name.endswith("/notifications")
            assert each.body["properties"] == {
                "username": "notifications",
                "displayName": "Huntaze",
            }
        for kind in ("communicationServices", "emailServices"):
            body = hub.one(f"Microsoft.Communication/{kind}").body
            assert body["properties"]["dataLocation"] == "Europe"


def sender_of(hub: Deployment) -> str:
    """Whom mails are from."""
    settings = next(
        each.body["properties"]
        for each in hub.all("Microsoft.Web/sites/config")
        if each.name.endswith("/appsettings")
    )
    return str(settings["HUNTAZE_EMAIL_FROM"])
