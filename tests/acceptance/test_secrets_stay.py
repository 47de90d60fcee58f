"""Secrets are planted wherever a hub takes them, and looked for wherever it writes or answers."""

import base64
import dataclasses
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from ai_workers.console import section
from notifications.http.console.guard import NOWHERE
from notifications.http.console.router import router
from notifications.service_bus_address import BY_IDENTITY
from notifications.settings import VARIABLES, Settings
from tests.hub_process import HubProcess, hub_process, run_huntaze, wait_until
from tests.job_runs import schema_of

AWAY = "127.0.0.1:9"
"""Nobody is there, so that everything fails."""

IN_BASE64 = base64.b64encode(b"planted key of thirty-two bytes!").decode()
PLANTED: Mapping[str, tuple[str, str]] = {
    "HUNTAZE_ADMIN_KEY": ("{}", "hz_admin_planted-0123456789-0123456789"),
    "HUNTAZE_ENCRYPTION_KEYS": ("{}", IN_BASE64),
    "HUNTAZE_USER_TOKEN_SECRET": ("{}", "planted-secret-of-user-tokens-0123456789"),
    "HUNTAZE_DATABASE_URL": (f"postgresql://hub:{{}}@{AWAY}/hub", "planted-database-password"),
    "SERVICEBUS_CONNECTION": (
        f"Endpoint=sb://{AWAY}/;SharedAccessKeyName=hub;SharedAccessKey={{}}",
        "planted-key-of-the-bus-0123456789012345678",
    ),
    "SERVICEBUS_CONNECTION_SEND": (
        f"Endpoint=sb://{AWAY}/;SharedAccessKeyName=send;SharedAccessKey={{}}",
        "planted-key-of-producers-01234567890123456",
    ),
    "HUNTAZE_SERVICEBUS_KEYS": ("hub={}", "planted-key-of-the-door-0123456789"),
    "HUNTAZE_WEBPUBSUB_CONNECTION": (
        f"Endpoint=http://{AWAY};AccessKey={{}}", "planted-key-of-web-pubsub-0123456789",
    ),
    "HUNTAZE_SIGNALR_CONNECTION": (
        f"Endpoint=http://{AWAY};AccessKey={{}}", "planted-key-of-signalr-0123456789",
    ),
    "HUNTAZE_SMTP_URL": (f"smtp://planted-user:{{}}@{AWAY}", "planted-smtp-password"),
    "HUNTAZE_ACS_CONNECTION": (
        f"endpoint=http://{AWAY};accesskey={{}}",
        base64.b64encode(b"planted key of the mail service.").decode(),
    ),
    "HUNTAZE_EMAIL_REPORTS_KEY": ("{}", "planted-key-of-reports-0123456789"),
    "HUNTAZE_AI_KEY": ("{}", "planted-key-of-models"),
    "APPLICATIONINSIGHTS_CONNECTION_STRING": (
        f"InstrumentationKey={{}};IngestionEndpoint=http://{AWAY}/",
        "0123abcd-0123-4567-89ab-0123456789ab",
    ),
    "HUNTAZE_API_KEY": ("{}", "planted-key-of-commands"),
}  # fmt: skip
"""Every setting that holds a secret: what is around it, and the secret."""

EVERYTHING = {name: form.format(secret) for name, (form, secret) in PLANTED.items()}
ELSEWHERE = ("HUNTAZE_DATABASE_URL", "APPLICATIONINSIGHTS_CONNECTION_STRING")
"""What a hub that is to work cannot be given where nobody is there."""

IN_FILES = ("HUNTAZE_ADMIN_KEY", "HUNTAZE_ENCRYPTION_KEYS", "HUNTAZE_USER_TOKEN_SECRET")
COMMON = {
    **{name: value for name, value in EVERYTHING.items() if name not in ELSEWHERE},
    "HUNTAZE_AI_ENDPOINT": f"http://{AWAY}",
    "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HUNTAZE_WEBHOOK_TIMEOUT": "200ms",
    "HUNTAZE_RETRY_NOTIFICATIONS": "200ms",
    "HUNTAZE_RETRY_LIGHT": "200ms",
}
HUBS = {
    "by itself": {
        **{name: value for name, value in COMMON.items() if name not in IN_FILES},
        "HUNTAZE_LOG": "debug,json",
        "HUNTAZE_EMAIL": "smtp",
    },
    "with Azure": {
        **COMMON,
        "HUNTAZE_LOG": "debug,text",
        "HUNTAZE_EMAIL": "acs",
        "HUNTAZE_REALTIME": "signalr",
    },
}
"""One with files of its own secrets and the log in JSON; one with nothing of its own, in text."""

HEADER_VALUE = "Bearer planted-header-value"
URL_PASSWORD = "planted-url-password"
OPEN = ("/console/sign-in", "/console/files/{name}", NOWHERE)
"""What shows nothing of a tenant."""


@dataclass(slots=True)
class Planted:
    """Secrets by name, and what a hub answered that was no success, or a page of its console.

    Attributes:
        secrets: What is to be nowhere.
        problems: Problem documents, by what was asked for.
        pages: Console pages, by their path.
        written: Files of the data folder that hold what the hub knows, and its log.
    """

    secrets: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, bytes] = field(default_factory=dict)
    pages: dict[str, bytes] = field(default_factory=dict)
    written: dict[str, bytes] = field(default_factory=dict)

    def found_in(self, places: dict[str, bytes]) -> list[str]:
        """Which secret is where."""
        return [
            f"{name} in {place}"
            for place, text in places.items()
            for name, secret in self.secrets.items()
            if secret in text
        ]


def plant(hub: HubProcess, planted: Planted, given: Mapping[str, str]) -> dict[str, str]:
    """Have the hub make and take secrets; the ids of what there is, by the page that shows it."""
    secrets = planted.secrets
    secrets |= {name: secret.encode() for name, (_, secret) in PLANTED.items() if name in given}
    headers = hub.tenant_headers("acme")
    secrets["tenant's key"] = headers["authorization"].removeprefix("Bearer ").encode()
    secrets["admin's key"] = hub.admin_key.encode()
    if not set(IN_FILES) & set(given):
        for name in ("admin.key", "encryption.keys", "user-token.secret"):
            secrets[name] = (hub.data / name).read_text().split()[0].encode()
    secrets["header's value"] = HEADER_VALUE.encode()
    secrets["password in a URL"] = URL_PASSWORD.encode()
    with httpx.Client(base_url=hub.url, headers=headers) as http:
        user = {"email": "ada@example.com", "locale": "en"}
        http.put("/v1/users/ada", json=user).raise_for_status()
        made = http.post(
            "/v1/webhook-endpoints",
            json={"url": "http://127.0.0.1:9/", "headers": {"Authorization": HEADER_VALUE}},
        ).raise_for_status()
        endpoint = str(made.json()["id"])
        rotated = http.post(f"/v1/webhook-endpoints/{endpoint}/rotate-secret").raise_for_status()
        for name, answer in (("first", made), ("rotated", rotated)):
            text = answer.json()["secret"].removeprefix("whsec_")
            secrets[f"{name} signing secret"] = text.encode()
            secrets[f"{name} signing secret's bytes"] = base64.b64decode(text)
        token = http.post("/v1/user-tokens", json={"userId": "ada"}).raise_for_status()
        secrets["user's token"] = token.json()["token"].encode()
        managed = given.get("HUNTAZE_REALTIME") == "signalr"
        opening = "/v1/realtime/signalr/negotiate" if managed else "/v1/realtime/negotiate"
        opened = http.post(opening, params={"userId": "ada"}).raise_for_status().json()
        shown = opened["accessToken"] if managed else opened["url"].partition("access_token=")[2]
        secrets["socket's token"] = shown.encode()
        event = {
            "specversion": "1.0",
            "id": "event-1",
            "source": "/test",
            "type": "payment.received",
            "userid": "ada",
            "data": {"amount": 1, "currency": "EUR", "payer": {"name": "Sample"}},
        }
        http.post("/v1/events", json=event).raise_for_status()
        chat = schema_of("chat.suggest", "v1.example")
        chat = {name: each for name, each in chat.items() if name != "title"}
        asked = {"jobType": "chat.suggest", "userId": "ada", "input": chat, "idempotencyKey": "k"}
        job = http.post("/v1/jobs", json=asked).raise_for_status().json()["id"]
        # Everything fails here: receiver, mail server and models are closed ports.
        wait_until(lambda: http.get(f"/v1/jobs/{job}").json()["state"] == "failed", within_s=30)
        ended = "/v1/deliveries?state=exhausted&channel="
        for channel in ("webhook", "email"):
            wait_until(lambda of=channel: http.get(ended + of).json()["items"], within_s=30)
        mails = http.get(ended + "email").json()["items"]
    ids = {"event": "event-1", "endpoint": endpoint, "user": "ada", "job": job}
    return ids | dict.fromkeys(("delivery", "mail"), mails[0]["id"])


def provoke(hub: HubProcess, planted: Planted, endpoint: str) -> None:
    """Come with the secrets where they do not belong."""
    key = planted.secrets["tenant's key"].decode()
    token = planted.secrets["user's token"].decode()
    bearer, reports = f"Bearer {key}", PLANTED["HUNTAZE_EMAIL_REPORTS_KEY"][1]
    url = f"https://user:{URL_PASSWORD}@example.com/"
    bad_headers = {"url": "http://127.0.0.1:9/", "headers": {"Host": HEADER_VALUE}}
    no_header = {"headers": {"a b": HEADER_VALUE}}
    endpoints = "/v1/webhook-endpoints"
    asked = {
        "another scheme": ("GET", "/v1/events", f"Basic {key}", None),
        "a key with a letter more": ("GET", "/v1/events", f"Bearer {key}x", None),
        "a token with a letter more": ("GET", "/v1/inbox", f"Bearer {token}x", None),
        "a token for what is a key's": ("GET", "/v1/events", f"Bearer {token}", None),
        "credentials in a URL": ("POST", endpoints, bearer, {"url": url}),
        "a header that is the hub's": ("POST", endpoints, bearer, bad_headers),
        "a header that is none": ("PATCH", f"{endpoints}/{endpoint}", bearer, no_header),
        "a value of a wrong kind": ("POST", "/v1/api-keys", bearer, {"name": [key]}),
        "no JSON": ("POST", "/v1/events", bearer, None),
        "no reports": ("POST", f"/v1/email/reports?code={reports}", "", {}),
        "a code with a letter more": ("POST", f"/v1/email/reports?code={reports}x", "", []),
    }
    for name, (method, path, shown, body) in asked.items():
        headers = {"authorization": shown}
        answer = httpx.request(method, hub.url + path, headers=headers, json=body)
        assert 400 <= answer.status_code < 500, name
        planted.problems[name] = answer.content + str(answer.headers).encode()
    httpx.get(f"{hub.url}/v1/events?key={key}", headers={"authorization": bearer})
    httpx.get(f"{hub.url}/v1/inbox?access_token={token}")


def shown_at(ids: Mapping[str, str]) -> Iterator[str]:
    """Every page of the console that there is to be looked at, of what there is."""
    for route in (*router.routes, *section.pages.routes):
        path, methods = str(getattr(route, "path", "")), getattr(route, "methods", None) or ()
        if "GET" in methods and path not in OPEN:
            of = path.removeprefix("/console").strip("/").partition("/")[0]
            yield path + "?tenant=acme" + (f"&id={quote(ids[of])}" if of in ids else "")


def look_around(hub: HubProcess, planted: Planted, ids: Mapping[str, str]) -> None:
    """The console's pages, to who may see them."""
    with httpx.Client(base_url=hub.url, follow_redirects=True) as browser:
        refused = browser.post("/console/sign-in", data={"key": hub.admin_key + "x"})
        planted.pages["refused"] = refused.content
        browser.post("/console/sign-in", data={"key": hub.admin_key})
        for path in shown_at(ids):
            page = browser.get(path)
            assert page.status_code == 200, path
            assert b"sign-in" not in page.url.raw_path, path
            planted.pages[path] = page.content


@pytest.fixture(scope="module", params=HUBS)
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """What a hub made of the secrets, after it has ended."""
    folder = tmp_path_factory.mktemp("secrets")
    found, log, given = Planted(), folder / "log", HUBS[request.param]
    with hub_process(folder / "data", given, log=log) as hub:
        ids = plant(hub, found, given)
        provoke(hub, found, ids["endpoint"])
        look_around(hub, found, ids)
        found.written = _database(folder / "data")  # with what is not in its file yet
    found.written |= {"log": log.read_bytes()}
    return found


def _database(data: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data.glob("hub.db*")}


@pytest.mark.fault("look for secrets in problems, pages, the log and the database", "attackers")
@pytest.mark.parametrize("where", ["problems", "pages", "written"])
def test_no_secret_is_anywhere(planted: Planted, where: str) -> None:
    """No key, token, signing secret, password or value of a customer's header is in any of them."""
    places: dict[str, bytes] = getattr(planted, where)
    assert len(places) >= 2
    assert all(len(text) > 20 for text in places.values())
    assert planted.found_in(places) == []


@pytest.mark.fault("look for secrets in what commands say", "attackers")
@pytest.mark.parametrize("command", ["doctor", "up --port 0", "audit", "migrate"])
def test_no_secret_is_in_what_a_command_says(tmp_path: Path, command: str) -> None:
    """With every setting that holds one, and nobody there where they lead, none is said."""
    given = {**EVERYTHING, "HUNTAZE_BUS": "servicebus", "HUNTAZE_REALTIME": "webpubsub"}
    given |= {"HUNTAZE_EMAIL": "acs", "HUNTAZE_LOG": "debug"}
    done = run_huntaze([*command.split(), "--data", str(tmp_path)], given)
    said = Planted(secrets={name: secret.encode() for name, (_, secret) in PLANTED.items()})
    assert said.found_in({"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}) == []
    assert done.returncode
    assert AWAY.partition(":")[0] in done.stdout + done.stderr


def test_every_setting_that_holds_a_secret_is_planted() -> None:
    """What is not to be shown in a setting, or in what it is read into, is among the secrets."""
    kinds = typing.get_type_hints(Settings)
    secret = {
        each.name
        for each in dataclasses.fields(Settings)
        if not each.repr
        or any(
            not part.repr
            for kind in typing.get_args(kinds[each.name])
            if dataclasses.is_dataclass(kind)
            for part in dataclasses.fields(kind)
        )
    }
    assert {"admin_keys", "acs"} <= secret
    named = {each.name for each in VARIABLES if secret & set(each.fields)}
    assert {name for name in named if not name.endswith(BY_IDENTITY)} == set(PLANTED)


def test_a_secret_that_is_there_would_be_found(planted: Planted) -> None:
    """The search finds what is written in the clear: the endpoint's own address."""
    probe = Planted(secrets={"address": b"http://127.0.0.1:9/"})
    assert probe.found_in(planted.pages)
    assert probe.found_in(planted.written)
    assert b"delivery.failed" in planted.written["log"]
