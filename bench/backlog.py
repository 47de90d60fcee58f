"""What a backlog on the bus costs: receiving and completing beside a million waiting messages.

Two embedded buses on files of their own, one with a thousand messages waiting, one with a million.
Each is kept at its size: what is taken is published again, outside the measured time. Rounds
alternate between the two; the ratio is that of the medians. Memory is the process's resident size
before the million was published and after the last round.
"""

import asyncio
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import rows

sys.path.insert(0, str(Path(__file__).parent.parent))  # these files, not those installed

from notifications.bus.embedded import EmbeddedBus
from notifications.bus.filters import SqlFilter
from notifications.bus.queues import HOT_LIMIT
from notifications.bus.topology import DEFAULT_RULE, Rule, Subscription, Topic
from notifications.database import metadata
from notifications.messages import Complete, Message
from notifications.sqlite_file import SqliteDatabase
from notifications.timing import SystemClock

TOPIC, READER = "work", "reader"
SMALL, BIG = 1_000, 1_000_000
SIZE, PARTS = 400, 5
"""A round takes so many messages, so often: together as many as are read from a backlog at once, so
that each round pays for it."""
GOAL_RATIO = 1.2
TRIED = "other pages, plain weak references, values by place (bench/RESULTS.md)"
THRESHOLDS = gc.get_threshold()
BATCH = 128
PUBLISHED_AT_ONCE = 1_000
BODY = b"x" * 700

TOPOLOGY = (
    Topic(
        name=TOPIC,
        subscriptions=(
            Subscription(
                name=READER,
                topic=TOPIC,
                rule=Rule(
                    name=DEFAULT_RULE,
                    filter=SqlFilter("hubConsumer IS NULL OR hubConsumer = 'reader'"),
                ),
                max_delivery_count=10,
                lock_ms=60_000,
                ttl_ms=86_400_000,
            ),
        ),
    ),
)


@asynccontextmanager
async def open_bus(path: Path) -> AsyncIterator[EmbeddedBus]:
    """A bus on a new file."""
    clock = SystemClock()
    database = SqliteDatabase(path, clock)
    database.start()
    await database.write(lambda tx: metadata.create_all(tx.connection))
    bus = EmbeddedBus(database, TOPOLOGY, clock)
    await bus.start([READER])
    try:
        yield bus
    finally:
        await bus.close()
        await database.close()


def messages(count: int) -> Sequence[Message]:
    """Messages such as events are."""
    properties = {"type": "payment.received", "tenantId": "bench", "userId": "u1"}
    return [
        Message(id=f"bench:{time.time_ns():x}-{number}", body=BODY, properties=properties)
        for number in range(count)
    ]


async def publish(bus: EmbeddedBus, count: int) -> None:
    """Put so many on the bus."""
    for start in range(0, count, PUBLISHED_AT_ONCE):
        await bus.publish(TOPIC, messages(min(PUBLISHED_AT_ONCE, count - start)))


async def take(bus: EmbeddedBus, count: int) -> float:
    """Receive and complete so many; processor seconds for each."""
    began = time.process_time()
    left = count
    while left:
        page = await bus.receive(READER, limit=min(BATCH, left))
        await asyncio.gather(*(bus.settle(one, Complete()) for one in page))
        left -= len(page)
    return (time.process_time() - began) / count


async def measure(small: EmbeddedBus, big: EmbeddedBus, rounds: int, size: int) -> list[float]:
    """Medians of seconds per message, beside few and beside many."""
    costs: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for bus, found in zip((small, big), costs, strict=True):
            parts = []
            for _ in range(PARTS):
                parts.append(await take(bus, size))
                await publish(bus, size)
            found.append(statistics.mean(parts))
    return [statistics.median(found) for found in costs]


def resident_mb() -> float:
    """This process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1_000_000


async def compare(options: rows.Options) -> tuple[float, float]:
    """The ratio of a message's costs, and by how many MB the process grew."""
    waiting, rounds = options.size(BIG, 50_000), options.size(11, 5)
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)  # as `huntaze up` has it
    with tempfile.TemporaryDirectory(prefix="huntaze-bench-") as folder:
        async with (
            open_bus(Path(folder) / "small.db") as small,
            open_bus(Path(folder) / "big.db") as big,
        ):
            for bus in (small, big):
                await publish(bus, SMALL)
            await measure(small, big, 3, SIZE)
            before = resident_mb()
            began = time.monotonic()
            await publish(big, waiting - SMALL)
            rows.tell(f"{waiting:,} messages published in {time.monotonic() - began:.0f} s")
            await take(big, 2 * HOT_LIMIT)  # past what publishing has left in memory
            await publish(big, 2 * HOT_LIMIT)
            few, many = await measure(small, big, rounds, SIZE)
            grown = resident_mb() - before
    rows.tell(f"beside {SMALL:,}: {few * 1e6:.1f} µs a message, beside more {many * 1e6:.1f}")
    return many / few, grown


def measured(options: rows.Options) -> Sequence[rows.Row]:
    """Cost and memory."""
    ratio, grown = asyncio.run(compare(options))
    gc.unfreeze()
    gc.set_threshold(*THRESHOLDS)
    waiting = f"{options.size(BIG, 50_000):,} messages wait on the bus"
    return [
        rows.Row(
            name="growth-bus-cost-ratio",
            value=ratio,
            unit=f"times beside {SMALL:,}",
            at_most=GOAL_RATIO,
            limited_by=f"the bus's processor time; {waiting}",
            tried=TRIED,
        ),
        rows.Row(name="growth-bus-memory", value=grown, unit="MB more", limited_by=waiting),
    ]


if __name__ == "__main__":
    rows.alone(measured, __doc__)
