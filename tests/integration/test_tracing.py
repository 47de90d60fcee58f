"""Traces, metrics and logs of a hub at work, as a collector gets them."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from notifications.bootstrap import OpenHub
from notifications.messages import EVENTS_TOPIC, Message
from notifications.retries import DAY, RetryTable
from notifications.shipped import SCHEMAS
from tests.hub_world import SETTINGS, document, until
from tests.otlp_receiver import OtlpReceiver, assert_whole, otlp_receiver, path
from tests.traced_world import CHANNELS, PAYMENT, furnish, traced_hub
from tests.webhook_receivers import Receiver, answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SOON = RetryTable(delays=(50, 50), lifetime=DAY)
OFTEN = {
    "OTEL_BSP_SCHEDULE_DELAY": "50",
    "OTEL_BLRP_SCHEDULE_DELAY": "50",
    "OTEL_METRIC_EXPORT_INTERVAL": "200",
}
"""OpenTelemetry's own variables: a test cannot wait for what is sent once a minute."""


@dataclass(slots=True, kw_only=True)
class World:
    """A hub that is traced.

    Attributes:
        hub: Its parts.
        http: Its API, with the tenant's key.
        seen: What the collector got.
        customer: Where the tenant's webhooks arrive.
    """

    hub: OpenHub
    http: httpx.AsyncClient
    seen: OtlpReceiver
    customer: Receiver

    def answers(self, *statuses: int) -> None:
        """What the customer's next requests are answered; the last one from then on."""
        self.customer.requests.clear()
        self.customer.behaviours[:] = [answer(status) for status in statuses]

    async def publish(self, event_id: str, **headers: str) -> None:
        """Publish an event that goes to every channel."""
        event = document(event_id, type="payment.received", data=PAYMENT)
        answered = await self.http.post("/v1/events", json=event, headers=headers)
        assert answered.status_code == 202, answered.text

    async def read(self, event_id: str) -> Mapping[str, Any]:
        """An event and what became of it."""
        found: Mapping[str, Any] = (await self.http.get(f"/v1/events/{event_id}")).json()
        return found

    async def trace_of(self, event_id: str) -> str:
        """The trace that an event's timeline names."""
        return str((await self.read(event_id))["traceId"])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub for all tests; each publishes under ids of its own."""
    customer = Receiver([answer(200)])
    with otlp_receiver() as seen, pytest.MonkeyPatch.context() as environment:
        for name, value in OFTEN.items():
            environment.setenv(name, value)
        settings = replace(SETTINGS, otlp_endpoint=seen.url, retry_notifications=SOON)
        async with customer, traced_hub(tmp_path_factory.mktemp("hub"), settings) as traced:
            await furnish(traced.http, customer.url())
            yield World(hub=traced.hub, http=traced.http, seen=seen, customer=customer)


async def test_an_event_is_one_trace_from_publish_to_each_attempt(world: World) -> None:
    """Published by itself, an event begins a trace: publish, each subscription, each attempt."""
    await world.publish("one")
    trace_id = await world.trace_of("one")
    spans = await world.seen.trace(trace_id, until=CHANNELS)

    root = assert_whole(spans)
    assert (root.name, root.kind) == ("send huntaze-events", "PRODUCER")
    for name in CHANNELS:
        (leaf,) = [span for span in spans if span.name == name]
        assert path(spans, leaf) == ["send huntaze-events", "process huntaze-events", name]
    taken = {span.subscription for span in spans if span.kind == "CONSUMER"}
    assert taken == {"notify-signalr", "notify-email", "notify-webhook", "metrics"}


async def test_a_callers_trace_goes_through_the_hub_to_the_customer(world: World) -> None:
    """What is published follows from the request's trace context, and the customer's receiver gets
    that of the attempt which reached it."""
    await world.publish("asked", traceparent=CALLER)
    assert await world.trace_of("asked") == CALLER[3:35]
    spans = await until(lambda: attempts(world, CALLER[3:35]), "the attempt")

    (sent,) = [span for span in world.seen.spans if span.parent_id == CALLER[36:52]]
    assert (sent.name, sent.kind) == ("send huntaze-events", "PRODUCER")
    (request,) = [each for each in world.customer.requests if b'"asked"' in each.body]
    assert request.headers["traceparent"] == f"00-{CALLER[3:35]}-{spans[0].span_id}-01"
    assert spans[0].attributes["http.response.status_code"] == 200
    assert spans[0].attributes["server.address"] == "127.0.0.1"


async def test_a_retry_is_in_the_trace_of_its_event(world: World) -> None:
    """An attempt that is made again, when the message is long gone, follows from the publish."""
    world.answers(500, 500, 200)
    await world.publish("again")
    trace_id = await world.trace_of("again")
    spans = await world.seen.trace(trace_id, until=(*CHANNELS, "POST", "POST"))

    root = assert_whole(spans)
    tries = {span.attributes["huntaze.attempt"]: span for span in spans if span.name == "POST"}
    assert [tries[number].failed for number in (1, 2, 3)] == [True, True, False]
    assert tries[1].attributes["error.type"] == "http-500"
    assert {tries[2].parent_id, tries[3].parent_id} == {root.span_id}


async def test_a_job_is_one_trace_to_its_model_and_its_events(world: World) -> None:
    """Asked for over HTTP: the run, the model's answer, and what tells the customer of its end."""
    asked = orjson.loads((SCHEMAS / "jobs/chat.suggest/v1.example.json").read_bytes())
    job = {"jobType": "chat.suggest", "userId": "ada", "input": asked}
    answered = await world.http.post("/v1/jobs", json=job)
    job_id = answered.json()["id"]

    async def ended() -> Mapping[str, Any] | None:
        found = await world.http.get(f"/v1/events/{job_id}.end")
        return found.json() if found.status_code == 200 else None

    trace_id = (await until(ended, "the job's end"))["traceId"]
    spans = await world.seen.trace(trace_id, until=("run chat.suggest", "chat", "POST"))

    root = assert_whole(spans)
    assert root.name == "send huntaze-jobs"
    (model,) = [span for span in spans if span.name == "chat"]
    assert path(spans, model) == [root.name, "process huntaze-jobs", "run chat.suggest", "chat"]
    assert model.attributes["gen_ai.response.model"] == "offline"
    (told,) = [span for span in spans if span.name == "POST"]
    assert told.attributes["huntaze.event.type"] == "job.succeeded"


async def test_what_a_producer_does_not_trace_begins_with_its_first_consumer(world: World) -> None:
    """A message that names no trace: whoever takes its event in begins one, and every attempt is
    in it, whichever subscription made it."""
    event = document("untraced", type="payment.received", data=PAYMENT)
    properties = {"type": "payment.received", "tenantId": "acme"}
    message = Message(id="theirs", body=orjson.dumps(event), properties=properties)
    await world.hub.bus.publish(EVENTS_TOPIC, [message])

    async def taken_in() -> bool:
        return (await world.http.get("/v1/events/untraced")).status_code == 200

    await until(taken_in, "the event")
    spans = await world.seen.trace(await world.trace_of("untraced"), until=CHANNELS)
    assert assert_whole(spans).name == "process huntaze-events"


async def test_metrics_and_logs_go_along(world: World) -> None:
    """The figures of `/metrics` and how long things take are sent, and the log with its traces."""
    world.answers(503, 200)
    await world.publish("logged")
    trace_id = await world.trace_of("logged")

    async def logged() -> list[Mapping[str, Any]]:
        return [said for _, said in world.seen.logs if said.get("traceId") == trace_id]

    (said,) = await until(logged, "the log")
    assert (said["eventId"], said["reason"]) == ("logged", "http-503")

    async def measured() -> bool:
        posts = world.seen.metrics.get("http.client.request.duration", [])
        return any(each.get("http.response.status_code") == 503 for each in posts)

    await until(measured, "the metrics")
    states = {each["state"] for each in world.seen.metrics["huntaze_deliveries"]}
    assert "delivered" in states
    assert {"messaging.process.duration", "huntaze_sweep_age_seconds"} <= set(world.seen.metrics)


async def test_nothing_of_a_customer_is_in_a_span(world: World) -> None:
    """Spans name tenants, events and hosts; no address, no path of a URL and no payload."""
    await world.publish("private")
    spans = await world.seen.trace(await world.trace_of("private"), until=CHANNELS)
    said = " ".join(str(value) for span in spans for value in span.attributes.values())
    assert "private" in said
    assert re.search(r"ada@|/hook|Ada|EUR|USD", said) is None


async def attempts(world: World, trace_id: str) -> list[Any]:
    """The POSTs of a trace that came so far."""
    return [span for span in world.seen.of_trace(trace_id) if span.name == "POST"]
