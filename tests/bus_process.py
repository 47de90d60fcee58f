"""A process that publishes and consumes for as long as it lives, and tells what it was promised.

    python -m tests.bus_process FILE RUN

It prints a line for what the bus has answered: `published NAME`, `completed SUBSCRIPTION NAME`;
and before it asks: `taking SUBSCRIPTION NAME`. Who kills it reads what must be true of the file.
"""

import asyncio
import os
import sys
from pathlib import Path

from notifications.bus.embedded import EmbeddedBus
from notifications.bus.filters import SqlFilter
from notifications.bus.topology import DEFAULT_RULE, Rule, Subscription, Topic
from notifications.database import metadata
from notifications.messages import Complete, Message, Received
from notifications.sqlite_file import SqliteDatabase
from notifications.timing import SystemClock

TOPIC = "work"
SUBSCRIPTIONS = ("left", "right")
BATCH = 7
"""Messages that are published together: all or none."""

TOPOLOGY = (
    Topic(
        name=TOPIC,
        subscriptions=tuple(
            Subscription(
                name=name,
                topic=TOPIC,
                rule=Rule(name=DEFAULT_RULE, filter=SqlFilter("1 = 1")),
                max_delivery_count=1_000,
                lock_ms=60_000,
                ttl_ms=10**9,
            )
            for name in SUBSCRIPTIONS
        ),
    ),
)


async def open_bus(path: Path) -> tuple[SqliteDatabase, EmbeddedBus]:
    """The bus on a file."""
    clock = SystemClock()
    database = SqliteDatabase(path, clock)
    database.start()
    await database.write(lambda tx: metadata.create_all(tx.connection))
    bus = EmbeddedBus(database, TOPOLOGY, clock)
    await bus.start(SUBSCRIPTIONS)
    return database, bus


def batch(name: str) -> list[str]:
    """The messages of a batch."""
    return [f"{name}.{number}" for number in range(BATCH)]


async def publish(bus: EmbeddedBus, name: str, due_at: int | None = None) -> None:
    """Publish a batch, and say so."""
    body = name.encode() * 100
    sent = [Message(id=one, body=body, properties={}, due_at=due_at) for one in batch(name)]
    await bus.publish(TOPIC, sent)
    say(f"published {name}")


async def consume(bus: EmbeddedBus, subscription: str) -> None:
    """Receive and complete, and say so."""

    async def complete(received: Received) -> None:
        say(f"taking {subscription} {received.message.id}")
        await bus.settle(received, Complete())
        say(f"completed {subscription} {received.message.id}")

    while True:
        page = await bus.receive(subscription, limit=30)
        await asyncio.gather(*(complete(one) for one in page))


def say(line: str) -> None:
    """Print, past every buffer of ours."""
    os.write(1, line.encode() + b"\n")


async def main(path: Path, run: str) -> None:
    """Work until killed."""
    _, bus = await open_bus(path)
    clock = SystemClock()
    consumers = [asyncio.create_task(consume(bus, name)) for name in SUBSCRIPTIONS]
    number = 0
    while not any(consumer.done() for consumer in consumers):
        names = [f"{run}-{number + offset}" for offset in range(4)]
        number += len(names)
        late = publish(bus, f"{run}-{number}", clock.now() + 30)
        number += 1
        await asyncio.gather(late, *(publish(bus, name) for name in names))
    await asyncio.gather(*consumers)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
