"""A door in front of a durable broker of its own, as clients find it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from notifications.broker import Broker
from notifications.door.limits import Limits
from notifications.door.listener import Door
from notifications.door_alone import Alone, open_alone
from notifications.entities import SubscriptionEntity, TopicEntity
from notifications.timing import SystemClock, SystemDice

PATIENCE_S = 20.0
LOCK_MS = 5_000
"""The shortest that Service Bus has."""
DELIVERIES = 3

ONE = "one"
"""The subscription that each topic of a test has."""


@dataclass(frozen=True, kw_only=True)
class OpenDoor:
    """A door that listens."""

    door: Door
    port: int

    def connection(
        self, key: str = "SAS_KEY_VALUE", policy: str = "RootManageSharedAccessKey"
    ) -> str:
        """The connection string that clients use."""
        return (
            f"Endpoint=sb://localhost:{self.port};SharedAccessKeyName={policy};"
            f"SharedAccessKey={key};UseDevelopmentEmulator=true;"
        )


@asynccontextmanager
async def open_door(
    broker: Broker, *, limits: Limits | None = None, keys: dict[str, str] | None = None
) -> AsyncIterator[OpenDoor]:
    """A door in front of a broker, on a free port."""
    door = Door(broker, clock=SystemClock(), dice=SystemDice(), limits=limits, keys=keys)
    port = await door.start("127.0.0.1", 0)
    try:
        yield OpenDoor(door=door, port=port)
    finally:
        await door.stop()


@asynccontextmanager
async def durable(folder: Path, topics: Iterable[str]) -> AsyncIterator[Alone]:
    """A broker on its own file that has these topics, each with the subscription `ONE`."""
    async with open_alone(folder / "door.db", SystemClock(), SystemDice()) as alone:
        for topic in topics:
            await alone.topology.create(TopicEntity(name=topic))
            await alone.topology.create(
                SubscriptionEntity(
                    topic=topic, name=ONE, lock_ms=LOCK_MS, max_delivery_count=DELIVERIES
                )
            )
        yield alone


async def until(true: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Return when it is true."""
    give_up = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < give_up, "it did not come true in time"
        await asyncio.sleep(0.01)


def memory_kb(pid: int) -> int:
    """What a process has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
