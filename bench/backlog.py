"""What a backlog costs: receiving and completing beside a million waiting messages, and memory.

Two embedded buses on files of their own, one with a thousand messages waiting, one with a million.
Each is kept at its size: what is taken is published again, outside the measured time. Rounds
alternate between the two; the ratio is that of the medians. Memory is the process's resident size
before the million was published and after the last round.
"""

import argparse
import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

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
            found.append(await take(bus, size))
            await publish(bus, size)
    return [statistics.median(found) for found in costs]


def resident_mb() -> float:
    """This process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1_000_000


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=BIG)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--size", type=int, default=800)
    options = parser.parse_args()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)  # as `huntaze up` has it
    with tempfile.TemporaryDirectory(prefix="huntaze-bench-") as folder:
        async with (
            open_bus(Path(folder) / "small.db") as small,
            open_bus(Path(folder) / "big.db") as big,
        ):
            for bus in (small, big):
                await publish(bus, SMALL)
            await measure(small, big, 3, options.size)
            before = resident_mb()
            began = time.monotonic()
            await publish(big, options.waiting - SMALL)
            print(f"{options.waiting:,} published in {time.monotonic() - began:.0f} s", flush=True)
            await take(big, 2 * HOT_LIMIT)  # past what publishing has left in memory
            await publish(big, 2 * HOT_LIMIT)
            few, many = await measure(small, big, options.rounds, options.size)
            grown = resident_mb() - before
    print(f"{'waiting':>10}  {'µs per message':>14}")
    print(f"{SMALL:>10,}  {few * 1e6:>14.1f}")
    print(f"{options.waiting:>10,}  {many * 1e6:>14.1f}")
    print(f"ratio {many / few:.2f}; memory grew by {grown:.0f} MB")


if __name__ == "__main__":
    asyncio.run(main())
