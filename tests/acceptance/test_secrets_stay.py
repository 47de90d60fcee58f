"""Secrets are planted wherever a hub takes them, and looked for wherever it writes or answers."""

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.hub_process import HubProcess, hub_process, wait_until

SETTINGS = {
    "HUNTAZE_LOG": "debug,json",
    "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HUNTAZE_WEBHOOK_TIMEOUT": "200ms",
    "HUNTAZE_RETRY_NOTIFICATIONS": "200ms",
    "HUNTAZE_EMAIL": "smtp",
    "HUNTAZE_SMTP_URL": "smtp://planted-user:planted-smtp-password@127.0.0.1:9",
    "HUNTAZE_AI_KEY": "planted-key-of-models",
}
HEADER_VALUE = "Bearer planted-header-value"
URL_PASSWORD = "planted-url-password"
PAGES = (
    "", "/live", "/events", "/event?tenant=acme&id=event-1", "/deliveries?tenant=acme",
    "/endpoints?tenant=acme", "/endpoint?tenant=acme&id={endpoint}", "/replays?tenant=acme",
    "/users?tenant=acme", "/user?tenant=acme&id=ada", "/tenants", "/tenant?tenant=acme",
    "/dead-letters",
)  # fmt: skip


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


def plant(hub: HubProcess, planted: Planted) -> str:
    """Have the hub make and take secrets; the endpoint's id."""
    secrets = planted.secrets
    headers = hub.tenant_headers("acme")
    secrets["tenant's key"] = headers["authorization"].removeprefix("Bearer ").encode()
    secrets["admin's key"] = hub.admin_key.encode()
    for name in ("encryption.keys", "user-token.secret"):
        secrets[name] = (hub.data / name).read_text().split()[0].encode()
    secrets["header's value"] = HEADER_VALUE.encode()
    secrets["mail server's password"] = b"planted-smtp-password"
    secrets["model's key"] = b"planted-key-of-models"
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
        opened = http.post("/v1/realtime/negotiate?userId=ada").raise_for_status()
        secrets["socket's token"] = re.split("access_token=", opened.json()["url"])[1].encode()
        event = {
            "specversion": "1.0",
            "id": "event-1",
            "source": "/test",
            "type": "payment.received",
            "userid": "ada",
            "data": {"amount": 1, "currency": "EUR", "payer": {"name": "Sample"}},
        }
        http.post("/v1/events", json=event).raise_for_status()
        # Everything fails here: the receiver is a closed port, and so is the mail server.
        wait_until(lambda: http.get("/v1/deliveries?state=exhausted").json()["items"], within_s=30)
    return endpoint


def provoke(hub: HubProcess, planted: Planted, endpoint: str) -> None:
    """Come with the secrets where they do not belong."""
    key = planted.secrets["tenant's key"].decode()
    token = planted.secrets["user's token"].decode()
    bearer = f"Bearer {key}"
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
    }
    for name, (method, path, shown, body) in asked.items():
        headers = {"authorization": shown}
        answer = httpx.request(method, hub.url + path, headers=headers, json=body)
        assert 400 <= answer.status_code < 500, name
        planted.problems[name] = answer.content + str(answer.headers).encode()
    httpx.get(f"{hub.url}/v1/events?key={key}", headers={"authorization": bearer})
    httpx.get(f"{hub.url}/v1/inbox?access_token={token}")


def look_around(hub: HubProcess, planted: Planted, endpoint: str) -> None:
    """The console's pages, to who may see them."""
    with httpx.Client(base_url=hub.url, follow_redirects=True) as browser:
        refused = browser.post("/console/sign-in", data={"key": hub.admin_key + "x"})
        planted.pages["refused"] = refused.content
        browser.post("/console/sign-in", data={"key": hub.admin_key})
        for path in PAGES:
            page = browser.get("/console" + path.format(endpoint=endpoint))
            assert page.status_code == 200, path
            assert b"sign-in" not in page.url.raw_path, path
            planted.pages[path] = page.content


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """What a hub made of the secrets, after it has ended."""
    folder = tmp_path_factory.mktemp("secrets")
    found, log = Planted(), folder / "log"
    with hub_process(folder / "data", SETTINGS, log=log) as hub:
        endpoint = plant(hub, found)
        provoke(hub, found, endpoint)
        look_around(hub, found, endpoint)
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


def test_a_secret_that_is_there_would_be_found(planted: Planted) -> None:
    """The search finds what is written in the clear: the endpoint's own address."""
    probe = Planted(secrets={"address": b"http://127.0.0.1:9/"})
    assert probe.found_in(planted.pages)
    assert probe.found_in(planted.written)
    assert b"delivery.failed" in planted.written["log"]
