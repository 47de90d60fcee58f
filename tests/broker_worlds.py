"""A broker on the embedded bus, on its own file, with time in the test's hands."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from notifications.broker import End, Item, Outlet
from notifications.bus.brokering import EmbeddedBroker
from notifications.bus.registry import Registry
from notifications.messages import Message
from tests.bus_worlds import NEWS, SAMPLE, EmbeddedWorld, embedded_world


async def end_lock(outlet: Outlet, token: UUID | None, end: End) -> bool:
    """End one lock; whether there was one."""
    assert token
    (was_held,) = await outlet.settle([(token, end)])
    return was_held


class BrokerWorld:
    """The embedded bus, and the broker on it."""

    def __init__(self, embedded: EmbeddedWorld) -> None:
        self.embedded = embedded
        self.clock = embedded.clock
        self.broker = self._made()

    def _made(self) -> EmbeddedBroker:
        self.registry = Registry.of_topology(SAMPLE, self.clock.now())
        return EmbeddedBroker(
            self.embedded.database,
            self.embedded.bus,
            self.registry,
            clock=self.clock,
            dice=self.embedded.dice,
        )

    async def reopen(self) -> None:
        """End the run in good order, begin another."""
        await self.broker.close()
        await self.embedded.reopen()
        self.broker = self._made()

    async def crash(self) -> None:
        """Go on as if the process had died of SIGKILL."""
        await self.embedded.crash()
        self.broker = self._made()

    async def pass_time(self, ms: int) -> None:
        """Let so much time pass."""
        await self.embedded.pass_time(ms)

    async def send(self, *names: str, **changes: Any) -> Sequence[int]:
        """Send messages of these names; their numbers."""
        sent = [sample(name, **changes) for name in names]
        return await self.broker.inlet(NEWS).send(sent)

    def outlet(self, name: str, *, dead: bool = False) -> Outlet:
        """A subscription, or its dead letters."""
        return self.broker.outlet(path(name, dead=dead))

    async def take(self, name: str, *, dead: bool = False, lock: bool = True) -> Sequence[Item]:
        """What there is now."""
        return await self.outlet(name, dead=dead).receive(limit=100, wait=False, lock=lock)


def path(name: str, *, dead: bool = False) -> str:
    """A subscription's path, as the SDKs write it."""
    return f"{NEWS}/Subscriptions/{name}" + ("/$DeadLetterQueue" if dead else "")


def sample(name: str, **changes: Any) -> Message:
    """A message as a client of the door sends it."""
    made: dict[str, Any] = {
        "id": name,
        "body": name.encode(),
        "properties": {},
        "wire": b"wire of " + name.encode(),
        "system": {"CorrelationId": f"c-{name}"},
        **changes,
    }
    return Message(**made)


def names(items: Sequence[Item]) -> list[str]:
    """Whose they are."""
    return [one.message.id for one in items]


@asynccontextmanager
async def broker_world(folder: Path) -> AsyncIterator[BrokerWorld]:
    """A broker with the sample topology."""
    async with embedded_world(folder, consuming=()) as embedded:
        world = BrokerWorld(embedded)
        try:
            yield world
        finally:
            await world.broker.close()
