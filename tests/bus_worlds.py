"""Buses to hold against `ports.Bus`, each on its own file, with time in the test's hands.

An adapter joins the contract suite by an entry in `WORLDS`: a function that opens a `BusWorld`,
and the `Features` that say what it can be held to.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
import sqlalchemy as sa

from notifications.bus import tables
from notifications.bus.dead_letters import EmbeddedDeadLetters
from notifications.bus.embedded import EmbeddedBus
from notifications.bus.filters import CorrelationFilter, SqlFilter
from notifications.bus.topology import DEFAULT_RULE, Rule, Subscription, Topic
from notifications.database import Transaction
from notifications.dead_letters import DeadLetters, Peek
from notifications.messages import Abandon, Complete, Message, Received, Settlement
from notifications.ports import Bus, Clock
from notifications.sqlite_file import SqliteDatabase
from notifications.testing import ManualClock, SeededDice
from tests.new_file import new_file

PATIENCE_S = 20.0

NEWS = "news"
ALL, BRIEF, BIG, NOBODY = "all", "brief", "big", "nobody"
"""Takes all; takes all, at most three times; takes numbers; takes what nobody receives."""
LABELLED = "labelled"
"""Takes what a correlation filter wants."""

LOCK_MS = 10_000
TTL_MS = 60_000
STEP_MS = 1_000
MANY, FEW = 10, 3
"""Deliveries before a message is dead."""


def _subscription(
    name: str, wanted: str | CorrelationFilter, deliveries: int = MANY
) -> Subscription:
    found = SqlFilter(wanted) if isinstance(wanted, str) else wanted
    return Subscription(
        name=name,
        topic=NEWS,
        rule=Rule(name=DEFAULT_RULE, filter=found),
        max_delivery_count=deliveries,
        lock_ms=LOCK_MS,
        ttl_ms=TTL_MS,
        consumer=name != NOBODY,
    )


SAMPLE: tuple[Topic, ...] = (
    Topic(
        name=NEWS,
        subscriptions=(
            _subscription(ALL, "kind IS NULL OR kind = 'all'", MANY),
            _subscription(BRIEF, "kind = 'brief'", FEW),
            _subscription(BIG, "size > 10", MANY),
            _subscription(NOBODY, "kind = 'nobody'", MANY),
            _subscription(
                LABELLED,
                CorrelationFilter(label="order", content_type="text/x", properties={"Vip": True}),
            ),
        ),
    ),
)
"""A topic whose times are short enough to live through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a bus can be held to, beyond the port.

    Attributes:
        durable: What it was given is there when it is opened again.
        by_hand: Time passes only when the test lets it.
        refuses: A message it cannot carry, or None where it carries all.
        one_commit: The bus is the hub's own file: dead letters move in one commit, past the rules,
            and everything is known of every message.
        backlog: How many messages are many to it, in a test.
        ordered: A backlog comes in the order it was published.
    """

    durable: bool
    by_hand: bool
    refuses: Message | None
    one_commit: bool
    backlog: int
    ordered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """A dead letter."""

    message: Message
    reason: str
    description: str
    delivery_count: int


class BusWorld(Protocol):
    """A bus, and what a test needs around it."""

    features: Features
    clock: Clock

    @property
    def bus(self) -> Bus:
        """The bus, as it is open now."""
        ...

    @property
    def peek(self) -> Peek:
        """Looks at what waits on it."""
        ...

    @property
    def letters(self) -> DeadLetters:
        """Its dead letters."""
        ...

    @property
    def given_up(self) -> Sequence[tuple[str, str]]:
        """Consumer and event of what was purged and is nowhere any more."""
        ...

    async def reopen(self) -> None:
        """Close it in good order and open it again; what was received before is let go of."""
        ...

    async def pass_time(self, ms: int) -> None:
        """Let so much time pass, and the bus do what it brings."""
        ...

    async def at_once(self, subscription: str, *, limit: int = 100) -> Sequence[Received]:
        """What a receiver gets without waiting for more to come; maybe nothing."""
        ...

    async def dead_letters(self, subscription: str) -> Sequence[Dead]:
        """A subscription's dead letters, oldest first."""
        ...


@dataclass(slots=True)
class EmbeddedWorld:
    """The embedded bus on a file."""

    folder: Path
    topology: Sequence[Topic]
    consuming: Sequence[str]
    features: Features
    clock: ManualClock = field(default_factory=ManualClock)
    dice: SeededDice = field(default_factory=SeededDice)
    patience_s: float = 5.0
    runs: int = 0
    _database: SqliteDatabase | None = None
    _bus: EmbeddedBus | None = None
    _left: list[tuple[EmbeddedBus, SqliteDatabase]] = field(default_factory=list)
    given_up: list[tuple[str, str]] = field(default_factory=list)

    @property
    def bus(self) -> EmbeddedBus:
        """See `BusWorld.bus`."""
        assert self._bus is not None
        return self._bus

    @property
    def peek(self) -> EmbeddedBus:
        """See `BusWorld.peek`."""
        return self.bus

    @property
    def letters(self) -> EmbeddedDeadLetters:
        """See `BusWorld.letters`."""
        names = {f"of-{name}": name for name in self.consuming}
        return EmbeddedDeadLetters(self.database, self.bus, self.dice, self, consumers=names)

    def give_up(self, tx: Transaction, consumer: str, names: Collection[str]) -> None:
        """Implements `bus.dead_letters.GivenUp`: keeps what it was told, once it is committed."""
        told = [(consumer, name) for name in sorted(names)]
        tx.after_commit(lambda: self.given_up.extend(told))

    @property
    def database(self) -> SqliteDatabase:
        """The file."""
        assert self._database is not None
        return self._database

    async def open(self) -> None:
        """Begin a run."""
        path = self.folder / f"{self.runs}.db"
        if not path.exists():
            new_file(path)
        self._database = SqliteDatabase(path, self.clock, patience_s=self.patience_s)
        self._database.start()
        self._bus = EmbeddedBus(self._database, self.topology, self.clock)
        await self._bus.start(self.consuming)

    async def close(self) -> None:
        """End the run in good order, and those that crashed."""
        for bus, database in [*self._left, (self.bus, self.database)]:
            await bus.close()
            await database.close()
        self._left.clear()

    async def reopen(self) -> None:
        """See `BusWorld.reopen`."""
        await self.bus.close()
        await self.database.close()
        await self.open()

    async def crash(self) -> None:
        """Go on with what is in the file now, as if the process had died of SIGKILL."""
        await self.database.write(lambda _tx: None)  # no commit is under way afterwards
        for suffix in ("", "-wal"):
            source = self.folder / f"{self.runs}.db{suffix}"
            shutil.copyfile(source, self.folder / f"{self.runs + 1}.db{suffix}")
        self._left.append((self.bus, self.database))
        self.runs += 1
        await self.open()

    async def pass_time(self, ms: int) -> None:
        """See `BusWorld.pass_time`."""
        while ms > 0:  # in steps: what wakes may have to wait for the disk
            step = min(ms, STEP_MS)
            await self.clock.advance(step)
            await self.rest()
            ms -= step

    async def rest(self) -> None:
        """Let everything that is under way come to its end."""
        for _ in range(3):
            await self.database.write(lambda _tx: None)
            await self.clock.advance(0)

    async def at_once(self, subscription: str, *, limit: int = 100) -> Sequence[Received]:
        """See `BusWorld.at_once`."""
        receiving = asyncio.create_task(self.bus.receive(subscription, limit=limit))
        await self.rest()
        if receiving.done():
            return receiving.result()
        receiving.cancel()
        await asyncio.wait({receiving})
        return []

    async def dead_letters(self, subscription: str) -> Sequence[Dead]:
        """See `BusWorld.dead_letters`."""
        await self.rest()
        query = sa.select(tables.dead_letters).where(
            tables.dead_letters.c.subscription == subscription
        )
        rows = await self.database.read(
            lambda connection: connection.execute(query.order_by("seq")).mappings().all()
        )
        return [_dead(row) for row in rows]

    async def rows(self, table: sa.Table) -> Sequence[sa.RowMapping]:
        """A table's rows."""
        return await self.database.read(
            lambda connection: connection.execute(sa.select(table)).mappings().all()
        )


def _dead(row: sa.RowMapping) -> Dead:
    message = Message(id=row["message_id"], body=row["body"], properties={})
    return Dead(
        message=message,
        reason=row["reason"],
        description=row["description"],
        delivery_count=row["delivery_count"],
    )


EMBEDDED = Features(
    durable=True,
    by_hand=True,
    refuses=Message(id="refused", body=b"", properties={"size": float("nan")}),
    one_commit=True,
    backlog=20_000,
    ordered=True,
)


@asynccontextmanager
async def embedded_world(
    folder: Path,
    topology: Sequence[Topic] = SAMPLE,
    consuming: Sequence[str] = (ALL, BRIEF, BIG),
    clock: ManualClock | None = None,
) -> AsyncIterator[EmbeddedWorld]:
    """The embedded bus, open on a new file."""
    world = EmbeddedWorld(folder, topology, consuming, EMBEDDED, clock or ManualClock())
    await world.open()
    try:
        yield world
    finally:
        await world.close()


OpenWorld = Callable[..., AbstractAsyncContextManager[BusWorld]]


def _service_bus_world(*args: Any, **named: Any) -> AbstractAsyncContextManager[BusWorld]:
    from tests.service_bus_world import service_bus_world  # it is made of what is here

    return service_bus_world(*args, **named)


WORLDS = [
    pytest.param(embedded_world, id="embedded"),
    pytest.param(_service_bus_world, id="servicebus"),
]
"""The adapters of `ports.Bus`."""


def message(name: str = "m", **changes: Any) -> Message:
    """A message for everybody who takes anything."""
    sample: dict[str, Any] = {"id": name, "body": name.encode(), "properties": {}, **changes}
    return Message(**sample)


def messages(names: Iterable[object], **changes: Any) -> list[Message]:
    """Several of them."""
    return [message(str(name), **changes) for name in names]


def ids(received: Iterable[Received]) -> list[str]:
    """What was received."""
    return [one.message.id for one in received]


async def receive(
    world: BusWorld, subscription: str = ALL, *, limit: int = 100
) -> Sequence[Received]:
    """Receive, but not for ever."""
    return await asyncio.wait_for(world.bus.receive(subscription, limit=limit), PATIENCE_S)


async def receive_number(world: BusWorld, number: int, subscription: str = ALL) -> list[Received]:
    """Receive so many: a bus need not hand out at once all that there is."""
    found: list[Received] = []
    while len(found) < number:
        found += await receive(world, subscription, limit=number - len(found))
    return found


async def receive_one(world: BusWorld, subscription: str = ALL) -> Received:
    """Receive one message."""
    (received,) = await receive(world, subscription, limit=1)
    return received


async def settle(
    world: BusWorld, received: Iterable[Received], settlement: Settlement | None = None
) -> None:
    """Settle; without another word, complete."""
    ends = settlement or Complete()
    await asyncio.gather(*(world.bus.settle(one, ends) for one in received))


async def abandon(world: BusWorld, subscription: str, times: int) -> None:
    """Take the first message and give it back, so many times."""
    for _ in range(times):
        await world.bus.settle(await receive_one(world, subscription), Abandon())


async def drain(world: BusWorld, subscription: str = ALL) -> list[Received]:
    """Receive and complete everything there is."""
    found: list[Received] = []
    while page := await world.at_once(subscription):
        found += page
        await settle(world, page)
    return found


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Somebody else has the write lock of a database."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.rollback()
        other.close()
