"""A trace that Microsoft's SDK begins, through the door and a hub whose bus is Service Bus."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from notifications.bus.brokering import EmbeddedBroker
from notifications.bus.embedded import EmbeddedBus
from notifications.bus.registry import Registry
from notifications.bus.topology import TOPOLOGY
from notifications.settings import Settings
from notifications.shipped import SCHEMAS
from notifications.sqlite_file import SqliteDatabase
from notifications.stores.migrate import migrate
from notifications.timing import SystemClock, SystemDice
from tests.door_worlds import OpenDoor, open_door
from tests.hub_world import document
from tests.otlp_receiver import Seen, assert_whole, otlp_receiver, path
from tests.postgres_server import migrated_database
from tests.traced_producer import send
from tests.traced_world import CHANNELS, PAYMENT, TENANT, furnish, traced_hub
from tests.webhook_receivers import Receiver, answer


@asynccontextmanager
async def door(folder: Path) -> AsyncIterator[OpenDoor]:
    """A namespace with the hub's topics."""
    clock, dice = SystemClock(), SystemDice()
    migrate(folder / "door.db")
    database = SqliteDatabase(folder / "door.db", clock)
    database.start()
    bus = EmbeddedBus(database, TOPOLOGY, clock, wary=False)
    await bus.start()
    registry = Registry.of_topology(TOPOLOGY, clock.now())
    broker = EmbeddedBroker(database, bus, registry, clock=clock, dice=dice)
    async with AsyncExitStack() as stack:
        for close in (database.close, bus.close, broker.close):
            stack.push_async_callback(close)
        yield await stack.enter_async_context(open_door(broker))


def theirs() -> list[Mapping[str, Any]]:
    """What a customer's program sends: an event, and a job."""
    event = document("theirs", type="payment.received", data=PAYMENT)
    wanted = orjson.loads((SCHEMAS / "jobs/chat.suggest/v1.example.json").read_bytes())
    job = {"id": "job-1", "tenantId": TENANT, "userId": "ada", "input": wanted}
    return [
        {
            "topic": "huntaze-events",
            "body": orjson.dumps(event).decode(),
            "properties": {"type": "payment.received", "tenantId": TENANT},
        },
        {
            "topic": "huntaze-jobs",
            "body": orjson.dumps({**job, "jobType": "chat.suggest"}).decode(),
            "properties": {"jobType": "chat.suggest"},
        },
    ]


@pytest.mark.long
async def test_the_sdks_trace_leads_to_each_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the span in which the SDK sent an event, or a job, to each channel's attempt all is one
    trace with no parent missing; and what the hub publishes on that bus itself is one, too."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with otlp_receiver() as seen:
        async with Receiver([answer(200)]) as customer, door(tmp_path) as opened:
            variables = {
                "HUNTAZE_BUS": "servicebus",
                "SERVICEBUS_CONNECTION": opened.connection(),
                "HUNTAZE_DATABASE_URL": migrated_database(),
                "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
                "OTEL_EXPORTER_OTLP_ENDPOINT": seen.url,
            }
            async with traced_hub(tmp_path / "hub", Settings.read(variables)) as traced:
                http = traced.http
                await furnish(http, customer.url())
                event, job = await asyncio.to_thread(send, opened.connection(), seen.url, *theirs())
                spans = await seen.trace(event, until=(*CHANNELS, "ask"))
                done = await seen.trace(job, until=(*CHANNELS, "ask", "chat"))
                shown = (await http.get("/v1/events/theirs")).json()["traceId"]
                own = document("ours", type="payment.received", data=PAYMENT)
                assert (await http.post("/v1/events", json=own)).status_code == 202
                ours = (await http.get("/v1/events/ours")).json()["traceId"]
                published = await seen.trace(ours, until=CHANNELS)

    assert shown == event
    process = "process huntaze-events"
    for channel in CHANNELS:
        assert way(spans, channel)[0] == "ask"
        assert way(spans, channel)[-3:] == ["ServiceBus.message", process, channel]
        assert way(published, channel) == ["send huntaze-events", process, channel]
        assert "process huntaze-jobs" in way(done, channel)
    assert way(done, "chat")[-3:] == ["process huntaze-jobs", "run chat.suggest", "chat"]
    for whole, service in ((spans, "producer"), (done, "producer"), (published, "huntaze")):
        assert assert_whole(whole).service == service


def way(spans: Sequence[Seen], name: str) -> list[str]:
    """The names from the beginning of a trace to the first span of a name."""
    return path(spans, next(span for span in spans if span.name == name))
