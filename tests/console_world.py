"""A real hub with things to look at in its console, and a browser to look with."""

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from notifications.cli.demo_video import make_video
from tests.buried import bury, to_webhook
from tests.hub_process import HubProcess, hub_process, wait_until

SETTINGS = {
    "HUNTAZE_LOG": "error",
    "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HUNTAZE_WEBHOOK_TIMEOUT": "2s",
    # Two attempts, so that there is something given up to look at soon.
    "HUNTAZE_RETRY_NOTIFICATIONS": "200ms",
}
WITHIN_S = 30

BRIEF = httpx.Limits(keepalive_expiry=2)
"""The hub closes a connection that rests for five seconds; the client must not send on it then,
and by default keeps it for just as long."""

# As identity and payment providers make them: long, and nothing in them to break a line at.
LONG_TENANT = "huntaze-production-europe-west-00036"
LONG_USER = "auth0|64f1c2d3e4b5a6978877665544332211"
LONG_EVENT = "payment_intent_3PqXy2LkdIwHu7ix0a1b2c3d4e5f"
LONG_PATH = (
    "/workflows/0a1b2c3d4e5f60718293a4b5c6d7e8f9/triggers/manual/run?sp=%2Ftriggers%2Fmanual"
)


class _Receiver(BaseHTTPRequestHandler):
    """Takes what goes to /ok, refuses everything else; has a video for who waits for it."""

    def do_GET(self) -> None:
        self.server.shows.wait(WITHIN_S)  # type: ignore[attr-defined]
        video = make_video()
        self.send_response(200)
        self.send_header("content-type", "video/mp4")
        self.send_header("content-length", str(len(video)))
        self.end_headers()
        with contextlib.suppress(OSError):  # who asked may be gone
            self.wfile.write(video)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        took = self.server.takes or self.path == "/ok"  # type: ignore[attr-defined]
        answer = b'{"received":true}' if took else b'{"error":"our database is away"}'
        self.send_response(200 if took else 503)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Receiver(ThreadingHTTPServer):
    """A customer's receiver on loopback; `takes` makes it take everything, `shows` sends videos."""

    takes = False

    def __init__(self) -> None:
        self.shows = threading.Event()
        super().__init__(("127.0.0.1", 0), _Receiver)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver, ended at the end."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shows.set()
        receiver.shutdown()
        receiver.server_close()
        thread.join()


@dataclass(slots=True)
class ConsoleWorld:
    """What there is.

    Attributes:
        hub: The process.
        api: Its API, as the admin.
        receiver: Where webhooks go.
        good: An endpoint that takes what it gets.
        bad: One that refuses everything, until the receiver takes.
        long: An endpoint of the tenant whose names are all long.
        long_job: A job of it.
    """

    hub: HubProcess
    api: httpx.Client
    receiver: Receiver
    good: str
    bad: str
    long: str
    long_job: str

    def ask(self, job_type: str, user: str, given: dict[str, Any], **changes: Any) -> str:
        """Ask for a job; its id."""
        body = {"tenantId": "acme", "jobType": job_type, "userId": user, "input": given, **changes}
        answer = self.api.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def publish(self, event_id: str, event_type: str, **changes: Any) -> None:
        """Publish the example of a type."""
        examples = {each["type"]: each["example"] for each in self.items("/v1/event-types")}
        event = {**examples[event_type], "id": event_id, "tenantid": "acme", **changes}
        answer = self.api.post("/v1/events", json={k: v for k, v in event.items() if v is not None})
        assert answer.status_code == 202, answer.text

    def items(self, path: str) -> list[dict[str, Any]]:
        """A list's first page."""
        answer = self.api.get(path)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    def given_up(self) -> Sequence[dict[str, Any]]:
        """Deliveries that were given up."""
        return self.items("/v1/deliveries?tenantId=acme&state=exhausted")

    def until_quiet(self) -> None:
        """Wait until nothing is on its way."""
        path = "/v1/deliveries?tenantId=acme&state=pending"
        wait_until(lambda: not self.items(path), within_s=WITHIN_S)


@contextmanager
def console_world(data: Path) -> Iterator[ConsoleWorld]:
    """A hub with two tenants, users, endpoints, events that went well and ill, dead letters."""
    lost = {
        "specversion": "1.0",
        "id": "lost-1",
        "source": "/messages",
        "type": "message.received",
        "time": "2026-01-31T12:00:00Z",
        "tenantid": "acme",
        "userid": "ada",
        "data": {"from": {"name": "Zoé"}, "preview": "Bonjour !"},
    }
    bury(data, [to_webhook("copy-of-lost-1", json.dumps(lost).encode())])
    bury(data, [to_webhook(f"junk-{number}", b"{") for number in range(3)], "not-json")
    with (
        receiving() as receiver,
        hub_process(data, SETTINGS) as hub,
        httpx.Client(base_url=hub.url, headers=hub.admin, timeout=30, limits=BRIEF) as api,
    ):
        world = ConsoleWorld(hub, api, receiver, "", "", "", "")
        _furnish(world)
        yield world


def _furnish(world: ConsoleWorld) -> None:
    api, url = world.api, world.receiver.url
    for tenant, name in (("acme", "Backend"), ("acme", "CI"), ("studio-lumiere", "Backend")):
        made = api.post("/v1/api-keys", json={"tenantId": tenant, "name": name})
        assert made.status_code == 201, made.text
    people: tuple[tuple[str, dict[str, str]], ...] = (
        ("ada", {"email": "ada@example.com", "name": "Ada Lovelace", "locale": "en"}),
        ("camille", {"email": "camille@example.com", "name": "Camille Exemple", "role": "owner"}),
        ("noor", {"name": "Noor Sans-Adresse", "timezone": "Asia/Tokyo"}),
    )
    for user_id, person in people:
        put = api.put(f"/v1/users/{user_id}", json={**person, "tenantId": "acme"})
        assert put.status_code == 200, put.text
    made = {}
    for path, description in (("/ok", "Production"), ("/refuses", "Staging, often away")):
        body = {"tenantId": "acme", "url": url + path, "description": description}
        if path == "/refuses":
            body |= {"eventTypes": ["job.failed", "payment.received"]}  # type: ignore[dict-item]
            body |= {"headers": {"x-api-token": "not-for-the-console"}}  # type: ignore[dict-item]
        answer = api.post("/v1/webhook-endpoints", json=body)
        assert answer.status_code == 201, answer.text
        made[path] = answer.json()["id"]
    world.good, world.bad = made["/ok"], made["/refuses"]
    world.publish("message-1", "message.received", userid="ada")
    world.publish("payment-1", "payment.received", userid="noor")
    world.publish("job-1", "job.failed", userid="camille")
    world.publish("budget-1", "budget.threshold", userid=None)
    chat = {"title": "Sam", "messages": [{"from": "fan", "text": "When is the next live?"}]}
    world.ask("chat.suggest", "ada", chat)
    world.publish("other-1", "message.received", tenantid="studio-lumiere", userid="zoe")
    _furnish_at_length(world)
    world.until_quiet()
    wait_until(lambda: len(world.given_up()) >= 2, within_s=WITHIN_S)


def _furnish_at_length(world: ConsoleWorld) -> None:
    """A tenant with something on every page, all of it as long as it may well be."""
    api = world.api
    person = {
        "tenantId": LONG_TENANT,
        "email": "quelqu.un.avec.un.nom.vraiment.tres.long@sous-domaine.exemple.com",
        "name": "Jean-Baptiste Emmanuel de Saint-Exemple",
        "timezone": "America/Argentina/ComodRivadavia",
    }
    put = api.put(f"/v1/users/{quote(LONG_USER)}", json=person)
    assert put.status_code == 200, put.text
    url = f"{world.receiver.url}{LONG_PATH}"
    body = {"tenantId": LONG_TENANT, "url": url, "description": "Abrechnung" * 12}
    made = api.post("/v1/webhook-endpoints", json=body)
    assert made.status_code == 201, made.text
    world.long = made.json()["id"]
    world.publish(LONG_EVENT, "payment.received", tenantid=LONG_TENANT, userid=LONG_USER)
    replay = {"tenantId": LONG_TENANT, "since": "2026-01-01T00:00:00Z"}
    begun = api.post(f"/v1/webhook-endpoints/{world.long}/replay", json=replay)
    assert begun.status_code == 202, begun.text
    given = {"title": "Abrechnung" * 20, "messages": [{"from": "fan", "text": "Hm" * 400}]}
    named = {"tenantId": LONG_TENANT, "idempotencyKey": "0a1b2c3d4e5f6071" * 8}
    world.long_job = world.ask("chat.suggest", LONG_USER, given, **named)
