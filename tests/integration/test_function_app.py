"""The hub on Functions, under Microsoft's worker library: as the host indexes and calls it."""

import asyncio
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, LiteralString

import httpx
import psycopg
import pytest
import pytest_asyncio

import function_app
from ai_workers.loading import load_ai_workers
from notifications import functions
from notifications.bus.topology import CONSUMERS, EVENTS_TOPIC, JOB_SUBSCRIPTIONS, JOBS_TOPIC
from notifications.errors import ConfigurationError
from notifications.functions import FunctionsHub
from notifications.messages import Complete, DeadLetter, Message, Received
from notifications.retries import HOUR, SECOND
from notifications.testing import ManualClock
from notifications.timing import SystemClock
from tests.functions_runtime import overlaid, service_bus, timer
from tests.functions_world import ADMIN_KEY, Azure, azure, environment, worker
from tests.hub_world import document, until
from tests.webhook_receivers import Receiver, answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parent.parent.parent
CHANNELS = {
    "NotifySignalRWorker": "notify-signalr",
    "NotifyEmailWorker": "notify-email",
    "NotifyWebhookWorker": "notify-webhook",
    "MetricsWorker": "metrics",
}
WORKERS = {
    "VideoAnalysisWorker": "video-analysis",
    "ChatSuggestionsWorker": "chat-suggestions",
    "ContentSuggestionsWorker": "content-suggestions",
    "ContentAnalysisWorker": "content-analysis",
}
TIMERS = {
    "Sweep": "0 * * * * *",
    "Replays": "30 * * * * *",
    "DeadLetterCounts": "15 */5 * * * *",
    "Retention": "45 7 * * * *",
}
NAMES = {"messageId": "x", "deliveryCount": "many", "sequenceNumber": -1, "lockToken": "mine"}
"""What a message's own metadata is called, in a customer's data."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Azure]:
    async with azure(tmp_path_factory.mktemp("functions")) as app:
        yield app


async def deliveries(app: Azure, event_id: str) -> dict[str, str]:
    """The state of an event's deliveries by channel."""
    path = f"/v1/deliveries?tenantId=acme&eventId={event_id}"
    found = await app.json("GET", path, headers=app.admin)
    return {each["channel"]: each["state"] for each in found["items"]}


async def taken(app: Azure, subscription: str, body: bytes) -> Received:
    """The message with that body, and those before it, taken off the bus."""
    async with asyncio.timeout(20):
        while True:
            (found,) = await app.bus.receive(subscription, limit=1)
            await app.bus.settle(found, Complete())
            if found.message.body == body:
                return found


def of_event(event_id: str, **changes: Any) -> bytes:
    """A stranger's event as the body of a message."""
    return json.dumps(document(event_id, **changes)).encode()


def of_job(job_type: str, job_id: str) -> tuple[bytes, dict[str, str]]:
    """A stranger's job: body and properties."""
    example = json.loads((ROOT / "schemas" / "jobs" / job_type / "v1.example.json").read_text())
    job = {"id": job_id, "jobType": job_type, "tenantId": "acme", "userId": "ada"}
    return json.dumps({**job, "input": example}).encode(), {"jobType": job_type}


# --------------------------------------------------------------------------- indexing


async def test_the_host_finds_every_function() -> None:
    """A binary trigger for each subscription, a timer for each chore, one route for the rest."""
    found = {name: bindings[0] for name, bindings in (await worker()).bindings.items()}
    triggers = {n: b for n, b in found.items() if b["type"] == "serviceBusTrigger"}
    assert {n: b["subscriptionName"] for n, b in triggers.items()} == {**CHANNELS, **WORKERS}
    assert set(WORKERS.values()) == set(JOB_SUBSCRIPTIONS.values())
    assert set(CHANNELS.values()) == set(CONSUMERS.values())
    for name, binding in triggers.items():
        assert binding["topicName"] == (EVENTS_TOPIC if name in CHANNELS else JOBS_TOPIC)
        assert binding["dataType"] == "BINARY"
        assert binding["connection"] == "SERVICEBUS_CONNECTION"
        assert binding.get("cardinality", "one").lower() == "one"
    ticking = {n: b["schedule"] for n, b in found.items() if b["type"] == "timerTrigger"}
    assert ticking == TIMERS
    (route,) = [b for b in found.values() if b["type"] == "httpTrigger"]
    assert (route["route"], route["authLevel"]) == ("/{*route}", "ANONYMOUS")
    assert {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} <= set(route["methods"])
    assert set(found) == {*CHANNELS, *WORKERS, *TIMERS, "Api"}


INDEX = """
import importlib, json, os, sys, time
began = time.process_time()
import function_app
found = {"all": [each.get_function_name() for each in function_app.app.get_functions()]}
took = time.process_time() - began
heavy = {"azure.servicebus", "notifications.bootstrap", "openai", "fastapi"}
loaded = sorted(heavy & {*sys.modules})
for parts in ("channels", "workers"):
    os.environ["HUNTAZE_FUNCTIONS"] = parts
    importlib.reload(function_app)
    found[parts] = [each.get_function_name() for each in function_app.app.get_functions()]
os.environ["HUNTAZE_FUNCTIONS"] = "worker"
try:
    importlib.reload(function_app)
except Exception as error:
    found["worker"] = str(error)
print(json.dumps([took, loaded, found]))
"""


async def test_it_is_indexed_at_once_and_may_be_two_apps() -> None:
    """Under a second, with neither hub nor SDKs loaded; HUNTAZE_FUNCTIONS splits workers off."""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", INDEX], cwd=ROOT, capture_output=True, check=True
    )
    took, loaded, found = json.loads(done.stdout)
    assert took < 1
    assert loaded == []
    assert set(found["all"]) == {*CHANNELS, *WORKERS, *TIMERS, "Api"}
    assert set(found["channels"]) == {*CHANNELS, *TIMERS, "Api"}
    assert set(found["workers"]) == {*WORKERS, "Api"}
    assert found["worker"] == "HUNTAZE_FUNCTIONS: must be one of all, channels, workers"
    assert len((ROOT / "function_app.py").read_text().splitlines()) < 120


async def test_the_hosts_settings_suit_every_function() -> None:
    """host.json: half an hour for a job, its lock kept so long, nothing fetched ahead."""
    host = json.loads((ROOT / "host.json").read_text())
    bus = host["extensions"]["serviceBus"]
    assert host["functionTimeout"] == bus["maxAutoLockRenewalDuration"] == "00:30:00"
    assert (bus["maxConcurrentCalls"], bus["prefetchCount"]) == (32, 0)
    assert host["extensions"]["http"]["routePrefix"] == ""


# --------------------------------------------------------------------------- messages


async def test_a_strangers_event_goes_through_unharmed(app: Azure) -> None:
    """However often it comes, with data full of a message's own names: one item in the inbox, and
    the data as it was."""
    body = of_event(
        "strange", data={"preview": "Salut", "from": {"name": "Zoé"}, "metadata": NAMES}
    )
    data, metadata = service_bus(body, properties={}, message_id="acme:strange", delivery_count=2)
    for name in CHANNELS:
        for _ in range(2):
            answered = await app.functions.invoke(name, data, metadata)
            assert answered.completes, answered.trace
    event = await app.json("GET", "/v1/events/strange?tenantId=acme", headers=app.admin)
    inbox = await app.json("GET", "/v1/inbox?tenantId=acme&userId=ada", headers=app.admin)
    found = await deliveries(app, "strange")

    assert event["event"]["data"]["metadata"] == NAMES
    assert [each["eventId"] for each in inbox["items"]] == ["strange"]
    assert found["realtime"] == "delivered"
    assert set(found) == {"realtime", "webhook"}


async def test_what_the_host_lays_over_the_metadata_is_not_believed(app: Azure) -> None:
    """Were a body's fields laid over its message's own, as for text: the event is that of the body
    all the same."""
    body = of_event("laid-over")
    data, metadata = service_bus(body, properties={}, message_id="acme:laid-over")
    over = overlaid(metadata, {"messageId": "acme:other", "Subject": "drain", "to": "me"})
    assert (await app.functions.invoke("NotifySignalRWorker", data, over)).completes
    assert (await deliveries(app, "laid-over"))["realtime"] == "delivered"
    other = await app.call("GET", "/v1/events/other?tenantId=acme", headers=app.admin)
    assert other.status_code == 404


async def test_every_worker_does_its_job(app: Azure) -> None:
    """A stranger's job message to each worker is done once, whatever comes of it: what cannot be
    fetched fails as a job, not as a function."""
    for name, job_type in zip(
        WORKERS, ("video.analysis", *list(JOB_SUBSCRIPTIONS)[1:]), strict=True
    ):
        body, properties = of_job(job_type, f"of-{WORKERS[name]}")
        if job_type == "video.analysis":
            body = body.replace(b"https://media.example.com", b"https://nowhere.invalid")
        data, metadata = service_bus(body, properties=properties, message_id=name)
        for _ in range(2):
            answered = await app.functions.invoke(name, data, metadata)
            assert answered.completes, answered.trace
        job = await app.json("GET", f"/v1/jobs/of-{WORKERS[name]}?tenantId=acme", headers=app.admin)
        ended = {"retrying", "failed"} if job_type == "video.analysis" else {"succeeded"}
        assert job["state"] in ended, job


async def test_what_nobody_can_read_is_given_back(app: Azure) -> None:
    """Every trigger raises the reason, and nothing is stored; so does one without a body."""
    for name in (*CHANNELS, *WORKERS):
        for body in (b"\xff not JSON", b""):
            data, metadata = service_bus(body, properties={}, message_id="bad", delivery_count=9)
            answered = await app.functions.invoke(name, data, metadata)
            assert answered.failure is not None
            assert "NotCompletedError: not-json" in answered.failure


async def letters(app: Azure, **asked: str) -> list[Any]:
    """The dead letters of `notify-webhook`, as the API lists them."""
    query = httpx.QueryParams({"subscription": "notify-webhook", **asked})
    found = await app.json("GET", f"/v1/dead-letters?{query}", headers=app.admin)
    return list(found["items"])


async def act(app: Azure, what: str, reason: str) -> Any:
    """Replay or purge those of a reason."""
    chosen = {"subscription": "notify-webhook", "reason": reason}
    return await app.json("POST", f"/v1/dead-letters/{what}", json=chosen, headers=app.admin)


async def rows(app: Azure, query: LiteralString) -> list[Any]:
    """What the database says: the first column."""
    url = app.variables["HUNTAZE_DATABASE_URL"]
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return [found for (found,) in await (await connection.execute(query)).fetchall()]


async def noted(app: Azure) -> list[str]:
    """The messages of `notify-webhook` of which it is written down why they were given back."""
    return await rows(
        app, "SELECT message_id FROM rejections WHERE subscription = 'notify-webhook' ORDER BY at"
    )


async def test_why_nobody_could_read_it_is_in_the_dead_letters(app: Azure) -> None:
    """The whole way: what nobody can read dies of its deliveries, and is listed, chosen, sent again
    and deleted by the reason that a function raised; one row says it, until the letter goes. While
    that cannot be looked up nothing is chosen: it would be by the wrong reason."""
    before = set(await noted(app))
    bodies = {"garbled": b"\xff not JSON", "strange": of_event("strange-1", type="no.such")}
    to_one = {"hubConsumer": "webhook"}
    sent = [Message(id=name, body=body, properties=to_one) for name, body in bodies.items()]
    await app.bus.publish(EVENTS_TOPIC, sent)

    async def both() -> bool:
        return len(await letters(app)) == len(sent)

    async with app.host().at_work() as host:
        await until(both, "the dead letters", within_s=30, every_s=0.25)
    garbled, strange = sorted(await letters(app), key=lambda each: str(each["messageId"]))
    raised = [why for name, why in host.failures if name == "NotifyWebhookWorker"]

    assert len(raised) == garbled["deliveryCount"] + strange["deliveryCount"] == 20
    assert (garbled["messageId"], garbled["reason"]) == ("garbled", "not-json")
    assert (strange["messageId"], strange["reason"]) == ("strange", "unknown-type")
    assert f"unknown-type: {strange['description']}" in "".join(raised)
    assert await letters(app, reason="MaxDeliveryCountExceeded") == []
    assert await letters(app, reason="not-json") == [garbled]
    ours = [each for each in await noted(app) if each not in before]
    assert sorted(ours) == ["garbled", "strange"]

    app.line.cut()
    blind = {"subscription": "notify-webhook", "reason": "MaxDeliveryCountExceeded"}
    refused = await app.call("POST", "/v1/dead-letters/purge", json=blind, headers=app.admin)
    await app.line.mend()
    assert refused.status_code == 503
    assert (await act(app, "purge", "MaxDeliveryCountExceeded"))["count"] == 0
    assert (await act(app, "purge", "not-json"))["reasons"] == {"not-json": 1}
    assert (await act(app, "replay", "unknown-type"))["reasons"] == {"unknown-type": 1}
    again = await taken(app, "notify-webhook", bodies["strange"])
    assert again.message.id != "strange"
    assert await letters(app) == []
    assert set(await noted(app)) == before


async def test_a_reason_that_cannot_be_kept_changes_nothing(
    app: Azure, caplog: pytest.LogCaptureFixture
) -> None:
    """With the database away, what cannot be read is given back with its reason all the same, which
    is in the log."""
    data, metadata = service_bus(b"?", properties={}, message_id="unkept")
    await app.json("GET", "/readyz")
    app.line.cut()
    try:
        with caplog.at_level(logging.WARNING, "huntaze"):
            answered = await app.functions.invoke("NotifyWebhookWorker", data, metadata)
    finally:
        await app.line.mend()
    told = {each.message: each for each in caplog.records}

    assert "NotCompletedError: not-json" in str(answered.failure)
    assert told["message.rejected"].reason == "not-json"  # type: ignore[attr-defined]
    assert told["message.reason_not_kept"].messageId == "unkept"  # type: ignore[attr-defined]
    assert "unkept" not in await noted(app)


# --------------------------------------------------------------------------- timers


async def test_the_timers_do_the_chores(app: Azure, caplog: pytest.LogCaptureFixture) -> None:
    """A replay goes on with its tick, dead letters are counted, the sweep is noted for all, and
    reasons that are older than their letters are kept are removed."""
    async with Receiver([answer(200)]) as receiver:
        endpoint = await app.json(
            "POST",
            "/v1/webhook-endpoints",
            headers=app.admin,
            json={"tenantId": "acme", "url": receiver.url(), "eventTypes": ["message.received"]},
        )
        await app.json(
            "POST",
            f"/v1/webhook-endpoints/{endpoint['id']}/replay",
            headers=app.admin,
            json={"tenantId": "acme", "since": "2026-01-01T00:00:00Z"},
        )
        assert (await app.functions.invoke("Replays", timer(late=True))).completes
        replays = await app.json("GET", "/v1/replays?tenantId=acme", headers=app.admin)
        assert [each["state"] for each in replays["items"]] == ["done"]

    await app.bus.publish(EVENTS_TOPIC, [Message(id="bad", body=b"?", properties={})])
    (first,) = await app.bus.receive("metrics", limit=1)
    await app.bus.settle(first, DeadLetter("spoilt", "it is"))
    with caplog.at_level(logging.INFO, "huntaze"):
        assert (await app.functions.invoke("DeadLetterCounts", timer())).completes
    counted = next(each for each in caplog.records if each.message == "dead_letters.counted")
    assert (counted.metrics, counted.unroutable) == (1, 0)  # type: ignore[attr-defined]

    await rows(
        app, "INSERT INTO rejections VALUES ('metrics', 'old', 'spoilt', '', 0) RETURNING at"
    )
    before = (await app.json("GET", "/readyz"))["sweepAgeSeconds"]
    for name in ("Retention", "Sweep"):
        assert (await app.functions.invoke(name, timer())).completes
    await app.json("GET", "/readyz")
    metrics = await app.call("GET", "/metrics", headers=app.admin)
    found = re.search(r"^huntaze_sweep_age_seconds ([\d.]+)$", metrics.text, re.MULTILINE)
    assert found is not None
    assert float(found[1]) < before
    assert await rows(app, "SELECT at FROM rejections WHERE message_id = 'old'") == []


# --------------------------------------------------------------------------- the API


async def test_the_api_is_served_through_its_function(app: Azure) -> None:
    """Keys, bodies, queries, problems and letters of any script, as over a socket."""
    refused = await app.call("GET", "/v1/events/x")
    assert (refused.status_code, refused.headers["content-type"]) == (
        401,
        "application/problem+json",
    )
    user = {"tenantId": "acme", "email": "zoe@example.com", "locale": "fr"}
    await app.json("PUT", "/v1/users/zo%C3%A9%2F1", json=user, headers=app.admin)
    found = await app.json("GET", "/v1/users/zo%C3%A9%2F1?tenantId=acme", headers=app.admin)
    sent = await app.call(
        "POST",
        "/v1/events",
        headers={**app.admin, "content-type": "application/cloudevents+json"},
        content=of_event("by-http"),
    )
    page = await app.call("GET", "/toasts/huntaze-toasts.js")

    assert found["id"] == "zoé/1"
    assert (sent.status_code, sent.json()["id"]) == (202, "by-http")
    assert page.headers["content-type"].startswith("text/javascript")


async def test_the_console_is_served_through_it(app: Azure) -> None:
    """Signing in gives a cookie that opens the first page; without it nothing opens."""
    outside = await app.call("GET", "/console")
    form = {"content-type": "application/x-www-form-urlencoded"}
    signed = await app.call(
        "POST", "/console/sign-in", headers=form, content=f"key={ADMIN_KEY}".encode()
    )
    cookie = signed.headers["set-cookie"].partition(";")[0]
    inside = await app.call("GET", "/console", headers={"cookie": cookie})

    assert outside.status_code == 303
    assert outside.headers["location"].startswith("/console/sign-in")
    assert (signed.status_code, inside.status_code) == (303, 200)
    assert "<html" in inside.text


# --------------------------------------------------------------------------- no hub


async def test_without_its_settings_there_is_no_hub(
    app: Azure, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests get 503 that tells nobody why; the log names every setting at once; a timer fails;
    when they are set, all is well."""
    await function_app.hub.close()
    unread = "@Microsoft.KeyVault(SecretUri=https://vault.example.net/secrets/admin-key/)"
    wrong = {**app.variables, "HUNTAZE_ADMIN_KEY": unread, "HUNTAZE_REALTIME": "local"}
    del wrong["HUNTAZE_DATABASE_URL"]
    with environment(wrong), caplog.at_level(logging.ERROR, "huntaze"):
        refused = await app.call("GET", "/readyz")
        lives = await app.call("GET", "/healthz")
        ticked = await app.functions.invoke("Sweep", timer())
    await app.json("GET", "/readyz")

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "HUNTAZE" not in refused.text
    assert lives.json() == {"status": "ok"}
    assert ticked.failure is not None
    told = next(each.detail for each in caplog.records if each.message == "hub.not_opened")  # type: ignore[attr-defined]
    for name in ("HUNTAZE_ADMIN_KEY", "HUNTAZE_DATABASE_URL", "HUNTAZE_REALTIME"):
        assert f"{name}: " in told
    assert "vault.example.net" not in told


async def test_a_cold_start_waits_for_the_database(app: Azure) -> None:
    """A message that comes while the database is away is handled as soon as it is back, in one
    call; requests meanwhile are told to come again."""
    await function_app.hub.close()
    app.line.cut()
    data, metadata = service_bus(of_event("cold"), properties={}, message_id="acme:cold")
    waiting = asyncio.create_task(app.functions.invoke("NotifySignalRWorker", data, metadata))
    assert (await app.call("GET", "/v1/events/cold")).status_code == 503
    assert not waiting.done()
    await app.line.mend()
    async with asyncio.timeout(20):
        assert (await waiting).completes
    assert (await deliveries(app, "cold"))["realtime"] == "delivered"


@pytest.mark.parametrize("lacking", ["database", "time", "both"])
async def test_what_cannot_be_handled_in_time_loses_no_message(
    app: Azure, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    """Before the lock of a message, or the time of a function, runs out, the message goes back on
    the bus for its own consumer, later, and the host may complete it."""
    late = SystemClock(wall=lambda: time.time() - HOUR / SECOND)  # what it sends is due at once
    clock = late if lacking == "both" else Hasty(late.now())
    began = clock.now()
    variables = dict(app.variables)
    hub = FunctionsHub(variables, load_ai_workers, clock)
    if lacking != "time":
        variables["HUNTAZE_DATABASE_URL"] = "postgresql://hub@127.0.0.1:9/hub"
    else:
        await hub.replay()
    if lacking != "database":
        # For both it runs out while the guard waits: it is the time of all tries together.
        monkeypatch.setattr(functions, "HANDLED_WITHIN_S", 0 if lacking == "time" else 0.5)
    body = of_event(f"without-{lacking}")
    try:
        await hub.handle("notify-email", HostsMessage(body, "acme:later"))
    finally:
        await hub.close()
    again = await taken(app, "notify-email", body)

    assert again.message.properties["hubConsumer"] == "email"
    assert again.message.properties["hubTries"] == 1
    waited = 45 * SECOND if lacking == "database" else 0
    assert waited <= clock.now() - began < waited + 15 * SECOND


async def test_who_asks_whether_it_lives_does_not_wait_for_the_hub(app: Azure) -> None:
    """A cold process answers /healthz at once, and begins to open its hub."""
    begun = asyncio.Event()

    def extension() -> None:
        begun.set()
        raise ConfigurationError("this one is never open")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append((message, begun.is_set()))

    hub = FunctionsHub(app.variables, extension)
    scope = {"type": "http", "method": "GET", "path": "/healthz", "headers": []}
    await hub.answer(scope, receive, send)
    assert (sent[0][0]["status"], sent[-1][1]) == (200, False)
    async with asyncio.timeout(20):
        await begun.wait()
    await hub.close()


class Hasty(ManualClock):
    """A clock on which nobody waits."""

    async def sleep_until(self, at: int) -> None:
        await self.advance(max(at - self.now(), 0))


class HostsMessage:
    """A message, as `azure.functions` has it."""

    subject = content_type = None
    application_properties = None
    sequence_number = delivery_count = 1
    enqueued_time_utc = None

    def __init__(self, body: bytes, message_id: str) -> None:
        self.message_id = message_id
        self._body = body

    def get_body(self) -> bytes:
        return self._body
