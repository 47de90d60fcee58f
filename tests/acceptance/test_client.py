"""The client against a real hub, and against servers that behave badly."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from notifications.client import (
    AsyncClient,
    Attempt,
    Client,
    Conflict,
    Delivery,
    Endpoint,
    Event,
    Health,
    HubError,
    InboxItem,
    Invalid,
    Misconfigured,
    NewEvent,
    NoAnswer,
    NoHub,
    NotAllowed,
    NotFound,
    OverLimit,
    Published,
    Refused,
    Retries,
)
from notifications.errors import ConfigurationError, Unavailable
from tests.docs_code import blocks
from tests.hub_process import ROOT, HubProcess, environment, hub_process, wait_until

SETTINGS = {"HUNTAZE_LOG": "error", "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
NOWHERE = "https://127.0.0.1:1/hooks"
QUICK = Retries(tries=3, first_pause=0.01, longest_pause=0.02)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with hub_process(tmp_path_factory.mktemp("hub"), SETTINGS) as running:
        yield running


def key_of(hub: HubProcess, tenant_id: str) -> str:
    return hub.tenant_headers(tenant_id)["authorization"].removeprefix("Bearer ")


@pytest.fixture
def acme(hub: HubProcess) -> Iterator[Client]:
    with Client(hub.url, key_of(hub, "acme")) as client:
        yield client


def payment(event_id: str = "", **changes: Any) -> NewEvent:
    fields: dict[str, Any] = {
        "type": "payment.received",
        "source": "/shop",
        "user_id": "ada",
        "data": {"amount": 4200, "currency": "EUR", "payer": {"name": "Zoé"}},
        **({"id": event_id} if event_id else {}),
        **changes,
    }
    return NewEvent(**fields)


def routed(client: Client, event_id: str) -> None:
    """Wait until an event's deliveries are there and done."""

    def done() -> bool:
        deliveries = client.event(event_id).deliveries
        return len(deliveries) == 3 and all(each.state != "pending" for each in deliveries)

    wait_until(done, within_s=15)


# --------------------------------------------------------------------------- with a hub


def test_what_is_published_can_be_read_back(acme: Client):
    """An event comes back as it was sent, with what became of it on every channel."""
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert acme.publish(payment("read-back", subject="s", occurred_at=at)) == Published(
        id="read-back"
    )
    routed(acme, "read-back")
    found = acme.event("read-back")
    assert found.id == "read-back"
    assert found.event["data"]["payer"] == {"name": "Zoé"}
    assert datetime.fromisoformat(found.event["time"]) == at
    assert {each.channel for each in found.deliveries} == {"realtime", "email", "webhook"}
    assert found.accepted_at.tzinfo is not None
    toast = next(each for each in found.deliveries if each.channel == "realtime")
    assert (toast.state, toast.attempts[0].outcome) == ("delivered", "delivered")


def test_the_same_value_again_is_a_duplicate(acme: Client):
    """An event without an id of its own has one from the start: repeating it is harmless."""
    event = payment()
    assert acme.publish(event).duplicate is False
    assert acme.publish(event).duplicate is True


def test_two_events_made_alike_are_two(acme: Client):
    """Ids that are made differ, and grow."""
    first, second = payment(), payment()
    assert first.id != second.id
    assert [acme.publish(each).duplicate for each in (first, second)] == [False, False]


def test_many_are_answered_one_by_one_in_order(acme: Client):
    """Values, mappings and texts are taken; what is refused says why and spoils nothing else."""
    sound = payment("many-1").document()
    answers = acme.publish_many(
        [sound, {**sound, "id": "many-2", "type": "no.such"}, json.dumps({**sound, "id": "many-3"})]
    )
    assert [type(each) for each in answers] == [Published, Invalid, Published]
    assert "no such event type" in str(answers[1])


def test_more_than_a_request_holds_is_sent_in_several(acme: Client):
    """The limit of a request is the client's to keep."""
    answers = acme.publish_many(payment(f"bulk-{number}") for number in range(1_001))
    assert [each.id for each in answers if isinstance(each, Published)] == [
        f"bulk-{number}" for number in range(1_001)
    ]


def test_a_refusal_has_the_problem_s_sentences(acme: Client):
    """Who made the mistake learns where it is and what would be right."""
    with pytest.raises(Invalid) as caught:
        acme.publish(payment("wrong", data={"amount": "x", "currency": "EUR", "payer": {}}))
    assert caught.value.status == 422
    assert {each.pointer for each in caught.value.errors} == {"/data/amount", "/data/payer/name"}
    assert "/data/amount " in str(caught.value)


def test_the_same_id_with_another_content_is_a_conflict(acme: Client):
    """The first one stays."""
    acme.publish(payment("taken"))
    with pytest.raises(Conflict, match="another content"):
        acme.publish(payment("taken", subject="another"))


def test_a_wrong_key_is_not_allowed(hub: HubProcess):
    """And is a matter of configuration, as commands sort errors; the key is not repeated."""
    with Client(hub.url, "hz_wrong") as client, pytest.raises(NotAllowed) as caught:
        client.publish(payment())
    assert isinstance(caught.value, ConfigurationError)
    assert "hz_wrong" not in str(caught.value)


def test_what_is_not_there_is_not_found(acme: Client):
    """Whatever is in the id, it is one id."""
    for event_id in ("absent", "a/../b", "?x=1#y"):
        with pytest.raises(NotFound, match="no such event"):
            acme.event(event_id)


def test_lists_are_read_to_their_end(acme: Client):
    """Pages are followed; nothing comes twice."""
    acme.publish_many(payment(f"list-{number}", user_id="bob") for number in range(120))
    wanted = {f"list-{number}" for number in range(120)}
    found = [each.id for each in acme.events(user_id="bob")]
    assert len(found) == 120
    assert set(found) == wanted


def test_an_endpoint_s_life(acme: Client):
    """Made, read, changed, paused, resumed, rotated, tested, deleted."""
    made = acme.create_endpoint(NOWHERE, event_types=["job.*"], description="d")
    assert made.secret is not None
    assert made.secret.startswith("whsec_")
    assert made.secret not in repr(made)
    assert acme.endpoint(made.id).secret is None
    changed = acme.change_endpoint(made.id, event_types=["payment.received"])
    assert (changed.event_types, changed.description) == (("payment.received",), "d")
    assert acme.change_endpoint(made.id, rate_per_second=5).rate_per_second == 5
    assert acme.change_endpoint(made.id, rate_per_second=0).rate_per_second is None
    assert acme.pause_endpoint(made.id).state == "paused"
    assert acme.resume_endpoint(made.id).state == "active"
    assert acme.rotate_secret(made.id).secret != made.secret
    tested = acme.test_endpoint(made.id)
    assert (tested.channel, tested.target, len(tested.attempts)) == ("webhook", made.id, 1)
    assert [each.id for each in acme.endpoints()] == [made.id]
    acme.delete_endpoint(made.id)
    assert list(acme.endpoints()) == []


def test_deliveries_are_found_and_retried(acme: Client):
    """What failed is listed, read with its attempts, and begins a new round."""
    made = acme.create_endpoint(NOWHERE, event_types=["payment.received"])
    acme.publish(payment("undelivered"))
    wait_until(lambda: list(acme.deliveries(endpoint_id=made.id)), within_s=15)
    (found,) = acme.deliveries(endpoint_id=made.id, channel="webhook", event_id="undelivered")
    wait_until(lambda: acme.delivery(found.id).attempts, within_s=15)
    assert acme.retry_delivery(found.id).round == 2
    acme.delete_endpoint(made.id)


def test_an_inbox_is_read_and_marked(acme: Client):
    """Unread, read, unread again, archived; counted."""
    acme.publish_many(payment(f"inbox-{number}", user_id="eve") for number in range(3))
    wait_until(lambda: acme.unread("eve") == 3, within_s=15)
    first, *_ = acme.inbox("eve", state="unread")
    assert (first.title, first.type) == ("Paiement reçu\u00a0: 42,00\u00a0€", "payment.received")
    assert acme.mark_read("eve", first.id).state == "read"
    assert acme.mark_unread("eve", first.id).state == "unread"
    assert acme.archive("eve", first.id).state == "archived"
    acme.mark_all_read("eve")
    assert acme.unread("eve") == 0
    assert [each.id for each in acme.inbox("eve", state="archived")] == [first.id]
    assert [each.seq for each in acme.inbox("eve", after=0)] == sorted(
        each.seq for each in acme.inbox("eve")
    )


def test_the_admin_s_calls_are_about_the_tenant_that_is_named(hub: HubProcess):
    """With `tenant_id`, events, bodies and queries carry it."""
    with Client(hub.url, hub.admin_key, tenant_id="globex") as admin:
        admin.publish(payment("by-admin"))
        made = admin.create_endpoint(NOWHERE)
        assert [each.id for each in admin.endpoints()] == [made.id]
        assert admin.event("by-admin").event["tenantid"] == "globex"
        assert admin.change_endpoint(made.id, description="d").description == "d"
        assert admin.pause_endpoint(made.id).state == "paused"
        assert [each.id for each in admin.events()] == ["by-admin"]
        wait_until(lambda: admin.unread("ada") == 1, within_s=15)
        (item,) = admin.inbox("ada")
        assert admin.mark_read("ada", item.id).state == "read"
        admin.mark_all_read("ada")
        assert list(admin.deliveries(state="exhausted")) == []
        admin.delete_endpoint(made.id)
    with Client(hub.url, key_of(hub, "acme")) as other, pytest.raises(NotFound):
        other.event("by-admin")


def test_any_other_route_can_be_called(acme: Client):
    """What has no method of its own is one call away."""
    acme.call("PUT", "/v1/users/ada", body={"email": "ada@example.com", "locale": "en"})
    assert acme.call("GET", "/v1/users/ada")["email"] == "ada@example.com"
    assert acme.call("DELETE", "/v1/users/ada") is None


async def test_the_asynchronous_client_does_the_same(hub: HubProcess):
    """Publishing, refusals, and lists over several pages."""
    async with AsyncClient(hub.url, key_of(hub, "initech")) as client:
        await client.publish_many(payment(f"async-{number}") for number in range(60))
        with pytest.raises(Conflict):
            await client.publish(payment("async-1", subject="another"))
        assert len([each async for each in client.events()]) == 60


def test_both_clients_have_the_same_calls():
    """What one can do, the other can, with the same parameters."""

    def calls(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in vars(kind).items()
            if callable(method) and name not in ("close", "aclose") and not name.startswith("__")
        }

    assert {"publish", "deliveries", "inbox"} <= set(calls(Client))
    assert calls(AsyncClient) == calls(Client)


def test_the_documented_example_prints_what_the_page_says(hub: HubProcess, tmp_path: Path):
    """Who copies the example of docs/client.md gets what the page shows."""
    key = key_of(hub, "documented")
    with Client(hub.url, key) as client:
        client.call("PUT", "/v1/users/ada", body={"locale": "en"})
    example, *_ = blocks("client.md", "python")
    (shown,) = blocks("client.md", "text")
    script = tmp_path / "example.py"
    script.write_text(example)
    settings = {"HUNTAZE_URL": hub.url, "HUNTAZE_API_KEY": key}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60,
        env={**environment(settings), "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.rstrip() for line in done.stdout.splitlines()] == shown.splitlines()


# --------------------------------------------------------------------------- with others


class Scripted(BaseHTTPRequestHandler):
    """Answers what it is told to, one after the other; 0 drops the connection."""

    answers: list[tuple[int, Any]]
    seen: list[tuple[str, str, bytes]]
    retry_after: str | None = None

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.seen.append((self.command, self.path, body))
        status, document = self.answers.pop(0)
        if status == 0:
            self.close_connection = True
            return
        sent = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        if self.retry_after is not None:
            self.send_header("retry-after", self.retry_after)
        self.send_header("content-length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        pass


Serve = Callable[..., tuple[str, type[Scripted]]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[tuple[ThreadingHTTPServer, Thread]] = []

    def start(*answers: tuple[int, Any], retry_after: str | None = None):
        made = {"answers": list(answers), "seen": [], "retry_after": retry_after}
        handler = type("Handler", (Scripted,), made)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}", handler

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


TAKEN = (202, {"items": [{"id": "e", "status": 202, "duplicate": False}]})


def test_an_event_is_sent_again_with_the_same_bytes(serve: Serve):
    """A dropped connection, 503 and 500 are waited out, and each failed try is told of."""
    url, handler = serve((0, None), (503, {}), (500, {}), TAKEN)
    told: list[str] = []
    retries = Retries(tries=4, first_pause=0.01)
    with Client(url, "k", retries=retries, tell=told.append) as client:
        assert client.publish(payment("e")) == Published(id="e")
    assert len({body for _, _, body in handler.seen}) == 1
    assert len(told) == 3
    assert told[-1].endswith("trying again (3 of 3)")


async def test_the_asynchronous_client_repeats_too(serve: Serve):
    """One engine drives both."""
    url, handler = serve((0, None), (503, {}), TAKEN)
    async with AsyncClient(url, "k", retries=QUICK) as client:
        assert await client.publish(payment("e")) == Published(id="e")
    assert len(handler.seen) == 3


def test_no_answer_is_an_error_that_says_so(serve: Serve):
    """After the last try; as commands sort errors, something is unavailable."""
    url, _ = serve((503, {"detail": "Nothing was done."}), (0, None), (503, {}), retry_after="0")
    with Client(url, "k", retries=QUICK) as client, pytest.raises(NoAnswer) as caught:
        client.publish(payment("e"))
    assert isinstance(caught.value, Unavailable)
    assert url in str(caught.value)


def test_a_tenant_that_has_to_wait_for_long_is_told_at_once(serve: Serve):
    """Who asks for more patience than there is, is not asked again; the error says when to."""
    url, handler = serve((429, {"detail": "At most 50 endpoints."}), retry_after="60")
    with Client(url, "k") as client, pytest.raises(OverLimit, match="At most 50") as caught:
        client.create_endpoint(NOWHERE)
    assert (caught.value.status, caught.value.retry_after) == (429, 60)
    assert isinstance(caught.value, Unavailable)
    assert len(handler.seen) == 1


def test_a_tenant_that_has_to_wait_for_a_moment_is_waited_for(serve: Serve):
    """Too many at once are a matter of seconds."""
    url, handler = serve((429, {}), TAKEN, retry_after="0")
    with Client(url, "k", retries=QUICK) as client:
        assert client.publish(payment("e")) == Published(id="e")
    assert len(handler.seen) == 2


def test_what_must_not_be_done_twice_is_not_sent_twice(serve: Serve):
    """A connection that breaks after the request may have made the endpoint: that is said."""
    url, handler = serve((0, None))
    with Client(url, "k", retries=QUICK) as client, pytest.raises(NoAnswer, match="may have been"):
        client.create_endpoint(NOWHERE)
    assert len(handler.seen) == 1


def test_what_must_not_be_done_twice_is_sent_again_when_nothing_was_done(serve: Serve):
    """A hub that answers 503 has done nothing."""
    url, handler = serve((503, {}), (422, {"type": "urn:huntaze:problem:invalid", "detail": "no"}))
    with Client(url, "k", retries=QUICK) as client, pytest.raises(Invalid, match=r"^no$"):
        client.create_endpoint(NOWHERE)
    assert len(handler.seen) == 2


@pytest.mark.parametrize(
    "answer",
    [(404, b"not here"), (405, {}), (200, b"<html>"), (200, {"id": 3}), (302, b""), (200, [])],
    ids=["404", "405", "a page", "another form", "elsewhere", "a list"],
)
def test_what_is_no_hub_is_said(serve: Serve, answer: tuple[int, Any]):
    """An address that leads elsewhere never looks like an answer."""
    url, _ = serve(answer)
    with Client(url, "k") as client, pytest.raises(NoHub, match=url):
        client.event("e")


def test_one_event_that_spoils_a_request_is_found(serve: Serve):
    """A batch that is refused as a whole is halved until only the culprit is refused."""
    whole = (400, {"type": "urn:huntaze:problem:not-json", "detail": "NaN"})
    url, handler = serve(whole, TAKEN, whole)
    with Client(url, "k") as client:
        first, second = client.publish_many(["{}", '{"data": NaN}'])
    assert isinstance(first, Published)
    assert isinstance(second, Refused)
    assert str(second) == "NaN"
    assert len(handler.seen) == 3


def test_a_time_without_zone_is_refused_before_it_is_sent():
    """Nobody can tell when it was."""
    with pytest.raises(ValueError, match="time zone"):
        payment(occurred_at=datetime(2026, 1, 31, 12)).document()  # noqa: DTZ001 - on purpose


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (Attempt, "AttemptOut"),
        (Delivery, "DeliveryOut"),
        (Endpoint, "EndpointWithSecret"),
        (Event, "EventOut"),
        (Health, "HealthOut"),
        (InboxItem, "ItemOut"),
    ],
)
def test_values_have_all_that_the_api_answers(hub: HubProcess, kind: type, schema: str):
    """A field that the API gains is one that the client gains."""
    document = httpx.get(f"{hub.url}/openapi.json", trust_env=False).json()
    answered = set(document["components"]["schemas"][schema]["properties"])
    words = [each.name.split("_") for each in fields(kind)]
    assert {first + "".join(map(str.capitalize, more)) for first, *more in words} == answered


def test_every_error_is_a_hub_error():
    """One `except` is enough."""
    refused = (Invalid, NotAllowed, NotFound, Conflict, OverLimit, Refused)
    for kind in (*refused, NoAnswer, NoHub, Misconfigured):
        assert issubclass(kind, HubError)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "hub.example.com:8080",
        "ftp://hub.example.com",
        "https://",
        "http://:8080",
        "http://[::1",
        "http://hub.example.com:0",
        "http://hub.example.com:99999",
        "http://hub.example.com:eighty",
        "http://hub example.com",
        "http://hub.example.com\n",
        "http://u:hunter2@hub.example.com",
        "http://hub.example.com/?key=hunter2",
        "http://hub.example.com/#hunter2",
    ],
)
def test_what_is_no_url_is_said_when_the_client_is_made(kind: type[Client], url: str):
    """Nobody waits for tries at it; as commands sort errors, a setting is wrong."""
    with pytest.raises(Misconfigured, match="URL") as caught:
        kind(url, "hz_key")
    assert isinstance(caught.value, ConfigurationError)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("key", ["", "hz_hünter2", "hz_hunter2\n", "hz_hunter2 ", "hz_\x00hunter2"])
def test_what_is_no_key_is_said_when_the_client_is_made(kind: type[Client], key: str):
    """What cannot be a header's value; the key itself is not repeated."""
    with pytest.raises(Misconfigured, match="key") as caught:
        kind("http://127.0.0.1:8080", key)
    assert "nter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/",
        "https://hub.example.com/below",
        "http://[::1]:1",
        "https://hüb.example",
    ],
)
def test_every_address_of_a_hub_is_taken(url: str):
    """With a path that a proxy puts before it, as IPv6, in any script."""
    Client(url, "hz_key").close()
