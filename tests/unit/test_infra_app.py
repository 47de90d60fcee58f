"""The function app that the Bicep makes, and the script around it: they fit the hub and each other.

Settings are read by the hub's own check, after each reference to the vault has been followed.
"""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from notifications import functions_settings
from notifications.http import email_reports, health
from notifications.messages import JOBS_TOPIC
from notifications.settings import VARIABLES, Settings
from tests.bicep_files import INFRA, ROOT
from tests.bicep_values import CLIENT_ID, Deployment, Made, deployed
from tests.fake_azure import FRESH, OUTPUTS, Run, deploy
from tests.infra_variants import PACKAGES, SECRETS, SHORTEST, VARIANTS, made, parameters, variant

HUB = {variable.name for variable in VARIABLES}
PLATFORM: dict[str, str | None] = {
    # Azure's own settings (documentation of 2026-11: identity-based connections, app settings
    # reference) and their values; None where that is another test's
    "AzureWebJobsStorage__accountName": None,
    "AzureWebJobsStorage__credential": "managedidentity",
    "AzureWebJobsStorage__clientId": CLIENT_ID,
    "AZURE_CLIENT_ID": CLIENT_ID,
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": f"Authorization=AAD;ClientId={CLIENT_ID}",
    "PYTHON_ENABLE_OPENTELEMETRY": "true",
    "SERVICEBUS_CONNECTION__credential": "managedidentity",
    "SERVICEBUS_CONNECTION__clientId": CLIENT_ID,
}
PREMIUM: dict[str, str | None] = {
    # What Flex Consumption takes from `functionAppConfig` instead
    "FUNCTIONS_EXTENSION_VERSION": "~4",
    "FUNCTIONS_WORKER_RUNTIME": "python",
    "WEBSITE_RUN_FROM_PACKAGE": None,
    "WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID": None,
    "WEBSITE_HEALTHCHECK_MAXPINGFAILURES": "5",
}
SITE = "Microsoft.Web/sites"
VAULT = "Microsoft.KeyVault/vaults"


def settings_of(name: str, kind: str = f"{SITE}/config") -> dict[str, Any]:
    """The app's settings, or its slot's."""
    found = [each for each in variant(name).all(kind) if each.name.endswith("/appsettings")]
    assert len(found) == 1
    return found[0].body["properties"]


def environment(name: str) -> dict[str, str]:
    """What the app's process sees in a variant."""
    return environment_of(variant(name))


def environment_of(hub: Deployment) -> dict[str, str]:
    """What the app's process sees: references to the vault followed, as the platform does."""
    vault = {each.name: each.body["properties"] for each in hub.all(f"{VAULT}/secrets")}
    address = hub.outputs["vaultName"]

    def followed(value: str) -> str:
        found = re.fullmatch(r"@Microsoft\.KeyVault\(SecretUri=https://(.*)/secrets/(.*)/\)", value)
        if found is None:
            return value
        assert found[1] == f"{address}.vault.azure.net"
        return str(vault[f"{address}/{found[2]}"]["value"])

    (settings,) = [
        each.body["properties"]
        for each in hub.all(f"{SITE}/config")
        if each.name.endswith("/appsettings")
    ]
    return {key: followed(value) for key, value in settings.items()}


@pytest.mark.parametrize("name", [*VARIANTS, "production"])
def test_the_hub_finds_its_settings_right(name: str):
    """`huntaze doctor --functions` has nothing against them, and none is unknown to the hub."""
    settings, secrets = functions_settings.read(environment(name))
    assert settings.warnings == ()
    assert secrets.admin_keys == (SECRETS["adminKey"],)
    assert secrets.encryption_keys == (bytes(range(32)),)
    assert secrets.user_token_secrets == (SECRETS["userTokenSecret"],)
    assert settings.email_reports_key == SECRETS["emailReportsKey"]


@pytest.mark.parametrize("name", ["beta", "flex", "domain", "no-key", "production"])
def test_each_setting_leads_to_the_service_that_is_made(name: str):
    """Hosts, the hub's name, models, limits and origins are those of the deployment."""
    settings, hub = Settings.read(environment(name)), variant(name)
    given = {
        **parameters("production" if name == "production" else "beta"),
        **VARIANTS.get(name, {}),
    }
    assert settings.service_bus is not None
    assert settings.service_bus.host == hub.outputs["serviceBusEndpoint"]
    assert hub.one("Microsoft.ServiceBus/namespaces").name == hub.outputs["serviceBusName"]
    assert settings.service_bus.host == f"{hub.outputs['serviceBusName']}.servicebus.windows.net"
    push = settings.signalr if given["realtime"] == "signalr" else settings.webpubsub
    assert push is not None
    signalr = given["realtime"] == "signalr"
    kind = "signalR" if signalr else "webPubSub"
    domain = "service.signalr.net" if signalr else "webpubsub.azure.com"
    assert push.host == f"{hub.one(f'Microsoft.SignalRService/{kind}').name}.{domain}"
    assert settings.realtime == given["realtime"]
    assert settings.realtime_hub == given.get("realtimeHub", "huntaze")
    if not signalr:
        hubs = hub.one("Microsoft.SignalRService/webPubSub/hubs").name
        assert hubs.rpartition("/")[2] == settings.realtime_hub
    mail = hub.one("Microsoft.Communication/communicationServices").name
    assert settings.acs is not None
    assert settings.acs.host == f"{mail}.communication.azure.com"
    ai = hub.one("Microsoft.CognitiveServices/accounts")
    assert settings.ai_endpoint == f"https://{ai.name}.services.ai.azure.com/openai/v1"
    assert ai.body["properties"]["customSubDomainName"] == ai.name
    assert settings.insights is not None
    assert hub.one("Microsoft.Insights/components").name in settings.insights
    for job in ("video", "chat", "suggest", "analyze"):
        assert list(getattr(settings, f"ai_models_{job}")) == given["modelOrder"][job]
    assert list(settings.allowed_origins) == given["allowedOrigins"]
    assert settings.app_url == (given["appUrl"] or None)
    assert (settings.bus, settings.email) == ("servicebus", "acs")
    assert (settings.log_level, settings.log_form) == ("info", "json")
    own = "mailDomain" in given
    assert (settings.acs_limits.per_minute, settings.acs_limits.per_hour) == (
        (30, 100) if own else (5, 10)
    )
    assert settings.email_from.startswith("Huntaze <")
    assert ("<notifications@" if own else "<DoNotReply@") in settings.email_from


@pytest.mark.parametrize("name", [*VARIANTS, "production"])
def test_every_other_setting_is_azures(name: str):
    """A name that is neither the hub's nor known of the platform would have no effect."""
    found = settings_of(name)
    flex = VARIANTS.get(name, {}).get("hosting") == "flex"
    known = PLATFORM if flex else {**PLATFORM, **PREMIUM}
    others = {key: value for key, value in found.items() if key not in HUB}
    assert set(others) <= set(known), "neither the hub nor Azure knows it"
    missing = set(known) - set(others) - {"WEBSITE_RUN_FROM_PACKAGE"}
    assert missing == set(), "the platform needs it"
    assert {key: value for key, value in others.items() if known[key] is not None} == {
        key: known[key] for key in others if known[key] is not None
    }
    hub = variant(name)
    assert found["AzureWebJobsStorage__accountName"] == hub.outputs["storageName"]
    identity = "WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID"
    (app,) = hub.all(SITE)
    assert flex or [found[identity]] == list(app.body["identity"]["userAssignedIdentities"])


def test_each_slot_keeps_its_own_package():
    """A new deployment takes away neither the release that runs nor the one before."""
    for kind, package in (("config", "packageUrl"), ("slots/config", "stagingPackageUrl")):
        settings = settings_of("again", f"{SITE}/{kind}")
        assert settings["WEBSITE_RUN_FROM_PACKAGE"] == PACKAGES[package]
        assert "WEBSITE_RUN_FROM_PACKAGE" not in settings_of("beta", f"{SITE}/{kind}")


def test_the_staging_slot_differs_from_the_app_in_that_it_sleeps():
    """A release is tried with production's settings; what keeps it asleep stays with the slot."""
    app, staging = settings_of("beta"), settings_of("beta", f"{SITE}/slots/config")
    asleep = set(staging) - set(app)
    assert {key: staging[key] for key in app} == app
    assert all(re.fullmatch(r"AzureWebJobs\.\w+\.Disabled", each) for each in asleep)
    (stays,) = variant("beta").all(f"{SITE}/config", "stays")
    assert stays.name.endswith("/slotConfigNames")
    assert set(stays.body["properties"]["appSettingNames"]) == asleep


def test_the_platform_looks_where_the_hub_answers():
    """The health check's path is one that the hub has, for the app and for the slot."""
    paths = {getattr(route, "path", "") for route in health.router.routes}
    for kind in (SITE, f"{SITE}/slots"):
        assert (
            variant("beta").one(kind).body["properties"]["siteConfig"]["healthCheckPath"] in paths
        )


# --------------------------------------------------------------------------- delivery reports


def reports() -> Made:
    """The subscription of delivery reports, as the script deploys it."""
    return deployed(
        INFRA / "delivery-reports.bicep",
        reportsTopic="hz-mail-reports",
        vaultName="hz-kv",
        hubUrl="https://hz-hub.azurewebsites.net",
    ).one("Microsoft.EventGrid/systemTopics/eventSubscriptions")


def test_delivery_reports_go_to_a_route_of_the_api():
    """Host, path and parameter are those under which the hub takes them, with its own key."""
    assert reports().name == "hz-mail-reports/huntaze"
    where = reports().body["properties"]["destination"]
    url = urlsplit(where["properties"]["endpointUrl"])
    assert (where["endpointType"], url.scheme, url.netloc) == (
        "WebHook",
        "https",
        "hz-hub.azurewebsites.net",
    )
    taken = {
        getattr(route, "path", "")
        for route in email_reports.router.routes
        if "POST" in getattr(route, "methods", ())
    }
    assert url.path in taken, "the API has no such route"
    assert set(parse_qs(url.query)) == {"code"}
    assert 'query_params.get("code"' in (ROOT / "notifications/http/email_reports.py").read_text()
    secret = parse_qs(url.query)["code"][0].removesuffix("-of-hz-kv")
    assert f"{variant('beta').outputs['vaultName']}/{secret}" in {
        each.name for each in variant("beta").all(f"{VAULT}/secrets")
    }
    assert SECRETS["emailReportsKey"] == environment("beta")["HUNTAZE_EMAIL_REPORTS_KEY"]


def test_delivery_reports_are_events_that_the_hub_reads():
    """Type and schema are those that it parses; a batch is none that it refuses."""
    body = reports().body["properties"]
    assert body["filter"]["includedEventTypes"] == [email_reports._DELIVERY]
    assert body["eventDeliverySchema"] == "EventGridSchema", "the hub reads eventType, not type"
    assert body["destination"]["properties"]["maxEventsPerBatch"] <= email_reports.MAX_EVENTS
    # Event Grid's bounds: 30 attempts within a day, batches of 1,024 kB
    assert body["retryPolicy"] == {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440}
    assert 1 <= body["destination"]["properties"]["preferredBatchSizeInKilobytes"] <= 1024
    topic = variant("beta").one("Microsoft.EventGrid/systemTopics").body["properties"]
    assert topic["topicType"] == "Microsoft.Communication.CommunicationServices"
    assert topic["source"].endswith(
        variant("beta").one("Microsoft.Communication/communicationServices").name
    )


# --------------------------------------------------------------------------- the script


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A first deployment with a parameter file that says nothing that has a default."""
    folder = tmp_path_factory.mktemp("deployment")
    shortest = folder / "shortest.json"
    given = {name: {"value": value} for name, value in SHORTEST.items()}
    shortest.write_text(json.dumps({"parameters": given}))
    found = deploy(folder / "run", FRESH, ["--parameters", str(shortest)])
    assert (found.code, found.err) == (0, "")
    return found


def value_of(call: list[str], option: str) -> str:
    """What an option of a call says."""
    return call[call.index(option) + 1]


def passed(run: Run, template: str) -> dict[str, str]:
    """The parameters that the script gives a template on its command line."""
    (call,) = [
        each
        for each in run.called("deployment", "group", "create")
        if value_of(each, "--template-file").endswith(f"/infra/{template}.bicep")
    ]
    return dict(re.findall(r"^(\w+)=(.*)$", "\n".join(call), re.MULTILINE))


def test_the_script_passes_parameters_that_there_are(run: Run):
    """What is in its own file and on the command line is all that has no default, and is taken."""
    own = {key: each["value"] for key, each in json.loads(run.parameters)["parameters"].items()}
    assert set(own) >= {*SECRETS, *PACKAGES, "deployerId", "deployerType"}
    assert passed(run, "main") == {"location": "eastus2"}
    hub = deployed(INFRA / "main.bicep", **SHORTEST, **own, **passed(run, "main"))
    assert environment_of(hub)["HUNTAZE_ENCRYPTION_KEYS"] == own["encryptionKeys"]
    assert set(passed(run, "delivery-reports")) == {"reportsTopic", "vaultName", "hubUrl"}
    deployed(INFRA / "delivery-reports.bicep", **passed(run, "delivery-reports"))
    # A first day of the budget that is there already.
    deployed(INFRA / "main.bicep", **SHORTEST, **own, budgetStart="2026-03-01")
    assert "budgetStart" not in own


def test_what_is_left_out_of_a_parameter_file_is_the_same_to_both(run: Run):
    """The script does what the template's defaults ask for."""
    hub = made(SHORTEST)
    assert hub.outputs["hosting"] == "premium"
    assert run.called("functionapp", "deployment", "slot", "swap")
    assert hub.all("Microsoft.Network/virtualNetworks") == []
    assert run.called("postgres", "flexible-server", "firewall-rule", "create")
    assert len(hub.all("Microsoft.ServiceBus/namespaces/topics/authorizationRules")) == 1
    assert run.called("servicebus", "topic", "authorization-rule", "keys", "list")
    assert hub.outputs["mailDomainId"].endswith("/AzureManagedDomain")
    assert "Mails wait" not in run.out
    (models,) = run.called("cognitiveservices", "model", "list")
    ai = hub.one("Microsoft.CognitiveServices/accounts").body
    assert value_of(models, "--location") == ai["location"] == "eastus2"


def test_the_script_asks_for_outputs_that_there_are(run: Run):
    """Each is an output, is read into what it is used as, and names what is made."""
    (call,) = run.called("deployment", "group", "show")
    asked = re.findall(r"(\w+)\.value", value_of(call, "--query"))
    read = dict(zip(asked, OUTPUTS.splitlines(), strict=True))
    hub = variant("beta")
    assert set(asked) <= set(hub.outputs), "main.bicep has no such output"
    assert (read["appName"], read["vaultName"]) == ("hz-hub", "hz-kv")
    assert (read["databaseServer"], read["serviceBusName"]) == ("hz-db", "hz-bus")
    assert (read["storageName"], read["reportsTopic"]) == ("hzstore", "hz-mail-reports")
    names = {
        "appName": hub.one(SITE).name,
        "storageName": hub.one("Microsoft.Storage/storageAccounts").name,
        "vaultName": hub.one(VAULT).name,
        "databaseServer": hub.one("Microsoft.DBforPostgreSQL/flexibleServers").name,
        "serviceBusName": hub.one("Microsoft.ServiceBus/namespaces").name,
        "reportsTopic": hub.one("Microsoft.EventGrid/systemTopics").name,
        "realtime": "webpubsub",
        "hosting": "premium",
    }
    names |= {
        "url": f"https://{names['appName']}.azurewebsites.net",
        "databaseHost": f"{names['databaseServer']}.postgres.database.azure.com",
        "serviceBusEndpoint": f"{names['serviceBusName']}.servicebus.windows.net",
        "packagesUrl": f"https://{names['storageName']}.blob.core.windows.net/packages",
    }
    assert {key: hub.outputs[key] for key in names} == names
    ids = {
        "mailDomainId": hub.one("Microsoft.Communication/emailServices/domains").name,
        "insightsId": hub.one("Microsoft.Insights/components").name,
        "workspaceId": hub.one("Microsoft.OperationalInsights/workspaces").name,
    }
    for key, name in ids.items():
        assert hub.outputs[key].endswith(f"/{name.replace('/', '/domains/')}"), key
    assert set(hub.outputs) == {*names, *ids}
    assert variant("flex").outputs["hosting"] == "flex"


def test_the_script_names_what_the_template_makes(run: Run):
    """The key for Vercel, the container of packages, the slot, and the database with its login."""
    hub = variant("beta")
    (key,) = hub.all("Microsoft.ServiceBus/namespaces/topics/authorizationRules")
    _, topic, rule = key.name.split("/")
    assert (topic, key.body["properties"]["rights"]) == (JOBS_TOPIC, ["Send"])
    (call,) = run.called("servicebus", "topic", "authorization-rule", "keys", "list")
    assert (value_of(call, "--topic-name"), value_of(call, "--name")) == (topic, rule)
    container = hub.one("Microsoft.Storage/storageAccounts/blobServices/containers").name
    (call,) = run.called("storage", "blob", "upload")
    assert f"/{value_of(call, '--container-name')}" == container[container.rindex("/") :]
    slot = hub.one(f"{SITE}/slots").name.rpartition("/")[2]
    (call,) = run.called("functionapp", "deployment", "slot", "swap")
    assert value_of(call, "--slot") == slot
    server = hub.one("Microsoft.DBforPostgreSQL/flexibleServers")
    login, password = (
        server.body["properties"][key]
        for key in ("administratorLogin", "administratorLoginPassword")
    )
    database = hub.one("Microsoft.DBforPostgreSQL/flexibleServers/databases").name
    at = f":5432/{database.rpartition('/')[2]}?sslmode=verify-full&sslrootcert="
    assert environment("beta")["HUNTAZE_DATABASE_URL"] == (
        f"postgresql://{login}:{password}@{server.name}.postgres.database.azure.com{at}"
        "/etc/ssl/certs/ca-certificates.crt"
    )
    own = json.loads(run.parameters)["parameters"]["databasePassword"]["value"]
    assert run.migrated.startswith(
        f"postgresql://{login}:{own}@hz-db.postgres.database.azure.com{at}"
    )
