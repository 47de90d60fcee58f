"""A trace that Microsoft's SDK begins, through the door and a hub whose bus is Service Bus."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from notifications.bus.brokering import EmbeddedBroker
from notifications.bus.embedded import EmbeddedBus
from notifications.bus.registry import Registry
from notifications.bus.topology import TOPOLOGY
from notifications.settings import Settings
from notifications.sqlite_file import SqliteDatabase
from notifications.stores.migrate import migrate
from notifications.timing import SystemClock, SystemDice
from tests.door_worlds import OpenDoor, open_door
from tests.hub_process import ROOT
from tests.hub_world import SETTINGS, document
from tests.otlp_receiver import assert_whole, otlp_receiver, path
from tests.postgres_server import migrated_database
from tests.traced_world import CHANNELS, PAYMENT, furnish, traced_hub
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


def send(connection: str, collector: str, event: dict[str, object]) -> str:
    """Send an event as a customer's program does, traced by the SDK; the trace's id."""
    named = ("type=payment.received", "tenantId=acme")
    program = [sys.executable, "-m", "tests.traced_producer", connection, "huntaze-events"]
    done = subprocess.run(
        [*program, collector, orjson.dumps(event).decode(), *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.long
async def test_the_sdks_trace_leads_to_each_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the span in which the SDK sent the message to each channel's attempt, all is one trace
    with no parent missing; and what the hub publishes on that bus itself is one, too."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with otlp_receiver() as seen:
        async with Receiver([answer(200)]) as customer, door(tmp_path) as opened:
            settings = Settings.read(
                {
                    "HUNTAZE_BUS": "servicebus",
                    "SERVICEBUS_CONNECTION": opened.connection(),
                    "HUNTAZE_DATABASE_URL": migrated_database(),
                    "OTEL_EXPORTER_OTLP_ENDPOINT": seen.url,
                }
            )
            settings = replace(settings, webhook_allowed_networks=SETTINGS.webhook_allowed_networks)
            async with traced_hub(tmp_path / "hub", settings) as traced:
                http = traced.http
                await furnish(http, customer.url())
                event = document("theirs", type="payment.received", data=PAYMENT)
                theirs = await asyncio.to_thread(send, opened.connection(), seen.url, event)
                spans = await seen.trace(theirs, until=(*CHANNELS, "ask"))
                shown = (await http.get("/v1/events/theirs")).json()["traceId"]
                own = document("ours", type="payment.received", data=PAYMENT)
                assert (await http.post("/v1/events", json=own)).status_code == 202
                ours = (await http.get("/v1/events/ours")).json()["traceId"]
                published = await seen.trace(ours, until=CHANNELS)

    assert shown == theirs
    assert (assert_whole(spans).name, assert_whole(spans).service) == ("ask", "producer")
    message, process = "ServiceBus.message", "process huntaze-events"
    for name in CHANNELS:
        (leaf,) = [span for span in spans if span.name == name]
        assert path(spans, leaf)[0] == "ask"
        assert path(spans, leaf)[-3:] == [message, process, name]
        (leaf,) = [span for span in published if span.name == name]
        assert path(published, leaf) == ["send huntaze-events", process, name]
    assert_whole(published)
