"""Dead letters in a hub's data folder, as a run before might have left them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from notifications.bus.embedded import EmbeddedBus
from notifications.bus.topology import EVENTS_TOPIC, TOPOLOGY
from notifications.messages import DeadLetter, Message
from notifications.sqlite_file import SqliteDatabase
from notifications.stores.migrate import migrate
from notifications.timing import SystemClock

WEBHOOK = "notify-webhook"


def bury(data: Path, messages: Sequence[Message], reason: str = "handler-failed") -> None:
    """Leave dead letters of the webhook's; no hub may be at work there."""
    data.mkdir(exist_ok=True)
    migrate(data / "hub.db")
    asyncio.run(_bury(data, messages, reason))


async def _bury(data: Path, messages: Sequence[Message], reason: str) -> None:
    clock = SystemClock()
    database = SqliteDatabase(data / "hub.db", clock)
    database.start()
    bus = EmbeddedBus(database, TOPOLOGY, clock)
    await bus.start([WEBHOOK])
    await bus.publish(EVENTS_TOPIC, messages)
    left = len(messages)
    while left:
        page = await bus.receive(WEBHOOK, limit=500)
        for received in page:
            await bus.settle(received, DeadLetter(reason, "it \x1b[2Jdid not\nwork"))
        left -= len(page)
    await bus.close()
    await database.close()


def to_webhook(name: str, body: bytes) -> Message:
    """A message for the webhook consumer alone."""
    return Message(id=name, body=body, properties={"hubConsumer": "webhook", "hubKind": "event"})
