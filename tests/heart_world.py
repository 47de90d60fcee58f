"""The heart of the hub on one machine, in a test's hands: real bus and ledger, channels that obey.

Time stands still until the test moves it. Leaving a world is a crash: what was under way is gone,
and the next world on the same file takes up what is in it.
"""

import asyncio
import itertools
import sqlite3
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from notifications.attempts import Policy
from notifications.bus.embedded import EmbeddedBus, EventsOutbox
from notifications.bus.topology import (
    CONSUMERS,
    EVENTS_TOPIC,
    JOBS_TOPIC,
    METRICS,
    TOPOLOGY,
)
from notifications.database import Database
from notifications.deliveries import Delivered, Delivery, Outcome
from notifications.dispatcher import Dispatcher
from notifications.errors import (
    FieldError,
    InvalidEvent,
    InvalidInput,
    StoreUnavailable,
    Unavailable,
)
from notifications.events import Channel, Event, Known, read_event
from notifications.hub import Hub
from notifications.intake import Intake
from notifications.lanes import Lanes
from notifications.messages import Message
from notifications.metrics import MetricsHandler
from notifications.outage import Outage
from notifications.ports import ChannelAdapter
from notifications.postgres import PostgresDatabase
from notifications.records import (
    Accepted,
    Attempted,
    Claim,
    InboxEntry,
    Placed,
    Record,
    Route,
    Written,
)
from notifications.retries import DAY, NOTIFICATIONS, SECOND, RetryTable
from notifications.sqlite_file import SqliteDatabase
from notifications.stopping import StopTime
from notifications.stores.audit import AuditReport, Expectations
from notifications.stores.audit_sources import run_audit, run_shared_audit
from notifications.stores.ledger import SqlLedger
from notifications.stores.leftovers import SqlLeftovers
from notifications.stores.lost import SqlLostEvents
from notifications.stores.on_bus import EmbeddedBusLook
from notifications.stores.outbox import SqlOutbox
from notifications.stores.standing import SqlStanding
from notifications.stores.switching import SqlSwitches
from notifications.stores.upkeep import Keeping, SqlUpkeep
from notifications.sweep import Step, Sweep, upkeep_steps
from notifications.testing import ManualClock, SeededDice
from notifications.timing import Numbers
from notifications.worker import Appetite, Guard, Worker
from tests.new_file import new_file
from tests.postgres_server import migrated_database

SQLITE, POSTGRESQL = "sqlite", "postgresql"
STORES = (SQLITE, POSTGRESQL)
"""The databases that a world's ledger can be on; the bus is on a file beside either."""

PATIENCE_S = 20.0
"""How long a test waits for something before it fails."""

UNKNOWN_TYPE = "no.such"
TAKEN = Delivered(status=200, detail="ok")
WEBHOOK_ONLY = frozenset((Channel.WEBHOOK,))
_seeds = itertools.count(7)


def sample_event(event_id: str = "evt-1", *, tenant_id: str = "acme", **changes: Any) -> Event:
    """An event as it enters; None takes an attribute away."""
    return read_event(document(event_id, tenant_id=tenant_id, **changes), tenant_id=None, now=NOW)


NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def document(event_id: str = "evt-1", *, tenant_id: str = "acme", **changes: Any) -> dict[str, Any]:
    """An event as a producer writes it."""
    whole = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/test",
        "type": "payment.received",
        "tenantid": tenant_id,
        "userid": "ada",
        "time": "2026-03-01T12:00:00Z",
        "data": {"amount": 12},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


class Types:
    """The event types of a world: all but one, carried by the channels it says."""

    def __init__(self, channels: frozenset[Channel]) -> None:
        self.carried = channels

    def check(self, event: Event) -> None:
        if event.data.get("wrong"):
            raise InvalidEvent([FieldError("/data/wrong", "must not be")])

    def channels(self, event_type: str) -> frozenset[Channel]:
        if event_type == UNKNOWN_TYPE:
            raise InvalidEvent([FieldError("/type", "no such event type")])
        return self.carried


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """An attempt that a channel was asked for."""

    event_id: str
    tenant_id: str
    target: str
    number: int
    round: int
    at: int
    webhook_id: str


@dataclass(slots=True)
class ObedientChannel:
    """A channel that routes and answers as it is told. Implements `ports.ChannelAdapter`.

    Attributes:
        targets: Who every event goes to; may be a function of the event.
        scripts: Per target or event id, what the next attempts return; then `answer`.
        answer: What attempts return without a script: an outcome, or what is raised.
        held: Targets whose attempts do not come back before they are taken out.
        tries: Every attempt, in the order they began.
        told: What was told of the inbox.
        telling_raises: What telling of the inbox raises.
        pace: How long an attempt takes, in real seconds.
        rates: Per lane, how many attempts a second it may have.
        most_at_once: The most attempts that were under way at the same time.
    """

    clock: ManualClock
    channel: Channel
    targets: tuple[str, ...] | Callable[[Event], Route] = ("ep_1",)
    answer: Outcome | Exception = TAKEN
    scripts: dict[str, deque[Outcome | Exception]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    tries: list[Try] = field(default_factory=list)
    told: list[tuple[str, Placed]] = field(default_factory=list)
    telling_raises: Exception | None = None
    pace: float = 0.0
    rates: dict[str, int] = field(default_factory=dict)
    most_at_once: int = 0
    _at_once: int = 0

    async def route(self, event: Event) -> Route:
        if callable(self.targets):
            return self.targets(event)
        return Route(targets=self.targets) if self.targets else Route(reason="no-endpoint")

    async def attempt(self, delivery: Delivery, event: Event) -> Attempted:
        self.tries.append(
            Try(
                event_id=event.id,
                tenant_id=event.tenant_id,
                target=delivery.target,
                number=delivery.attempt + 1,
                round=delivery.round,
                at=self.clock.now(),
                webhook_id=event.webhook_id,
            )
        )
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self._take_time(delivery.target)
        finally:
            self._at_once -= 1
        outcome = self._next(event.id, delivery.target)
        if isinstance(outcome, Exception):
            raise outcome
        entry = self._entry(delivery, event) if isinstance(outcome, Delivered) else None
        return Attempted(outcome=outcome, entry=entry)

    async def _take_time(self, target: str) -> None:
        if self.pace:
            await asyncio.sleep(self.pace)
        held = self.held.get(target)
        if held is not None:
            await held.wait()

    async def rate(self, lane: str) -> int | None:
        return self.rates.get(lane)

    async def recorded(self, delivery: Delivery, event: Event, placed: Placed) -> None:
        self.told.append((event.id, placed))
        if self.telling_raises is not None:
            raise self.telling_raises

    def script(self, name: str, *outcomes: Outcome | Exception) -> None:
        """What the next attempts at a target, or of an event, return."""
        self.scripts[name].extend(outcomes)

    def hold(self, target: str) -> asyncio.Event:
        """Attempts at a target hang until the event is set."""
        return self.held.setdefault(target, asyncio.Event())

    def tries_at(self, target: str) -> list[Try]:
        """The attempts at one target."""
        return [each for each in self.tries if each.target == target]

    def _next(self, *names: str) -> Outcome | Exception:
        for name in names:
            if self.scripts.get(name):
                return self.scripts[name].popleft()
        return self.answer

    def _entry(self, delivery: Delivery, event: Event) -> InboxEntry | None:
        if self.channel is not Channel.REALTIME:
            return None
        return InboxEntry(
            tenant_id=event.tenant_id,
            user_id=delivery.target,
            item_id=event.id,
            rank=0,
            event_id=event.id,
            type=event.type,
            title="title",
            body="body",
            url=None,
            progress=None,
            created_at=self.clock.now(),
        )


@dataclass(slots=True)
class FaultyLedger:
    """A ledger that is away, or breaks, in the calls it is told. Implements `ports.Ledger`.

    Attributes:
        ledger: The real one.
        faults: By method: what it raises instead of doing it.
        afterthoughts: What the next records raise after they were written.
        calls: How often each method was called.
    """

    ledger: SqlLedger
    faults: dict[str, Exception] = field(default_factory=dict)
    afterthoughts: list[Exception] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def away(self, *methods: str) -> None:
        """From now on these cannot answer."""
        for method in methods or ("accept", "look", "record", "claim"):
            self.faults[method] = StoreUnavailable("away")

    def back(self) -> None:
        """From now on all is well."""
        self.faults.clear()

    async def accept(
        self, events: Sequence[Event], channels: Sequence[frozenset[Channel]], *, send: bool = True
    ) -> Sequence[Accepted]:
        self._call("accept")
        return await self.ledger.accept(events, channels, send=send)

    async def look(
        self, messages: Sequence[tuple[str, str]], channel: Channel
    ) -> Mapping[tuple[str, str], Known]:
        self._call("look")
        return await self.ledger.look(messages, channel)

    async def record(self, record: Record) -> Sequence[Written]:
        self._call("record")
        written = await self.ledger.record(record)
        if self.afterthoughts:
            raise self.afterthoughts.pop()
        return written

    async def claim(self, lane: str, *, limit: int, until: int) -> Claim:
        self._call("claim")
        return await self.ledger.claim(lane, limit=limit, until=until)

    def _call(self, method: str) -> None:
        self.calls[method] += 1
        if method in self.faults:
            raise self.faults[method]


@dataclass(slots=True)
class Carrier:
    """Puts messages on the topic, unless it is told that the bus is away, or to refuse some.

    Attributes:
        bus: The real one.
        away: Whether it is.
        refuses: Ids of messages that it will never take.
        lots: How many messages each call carried.
    """

    bus: EmbeddedBus
    away: bool = False
    refuses: set[str] = field(default_factory=set)
    lots: list[int] = field(default_factory=list)

    async def __call__(self, messages: Sequence[Message]) -> None:
        if self.away:
            raise Unavailable("the bus is away")
        for message in messages:
            if message.id in self.refuses:
                raise InvalidInput([FieldError("", f"{message.id} is refused for good")])
        await self.bus.publish(EVENTS_TOPIC, messages)
        self.lots.append(len(messages))


@dataclass(slots=True, kw_only=True)
class HeartWorld:
    """Everything between the bus and the channels."""

    path: Path
    store: str
    clock: ManualClock
    dice: SeededDice
    database: Database
    bus_database: SqliteDatabase
    carrier: Carrier
    outbox: SqlOutbox | None
    within: SqlOutbox | EventsOutbox
    bus: EmbeddedBus
    ledger: SqlLedger
    faulty: FaultyLedger
    numbers: Numbers
    types: Types
    channels: dict[Channel, ObedientChannel]
    lanes: Lanes
    dispatchers: dict[Channel, Dispatcher]
    workers: dict[str, Worker]
    upkeep: SqlUpkeep
    lost: SqlLostEvents
    leftovers: SqlLeftovers
    sweep: Sweep
    hub: Hub
    policy: Policy
    stop_time: StopTime
    listeners: list[Callable[[str], None]]
    """Are told the tenant whose endpoint was switched off."""

    @property
    def webhooks(self) -> ObedientChannel:
        """The channel that most tests are about."""
        return self.channels[Channel.WEBHOOK]

    async def publish(self, *events: Event) -> list[Accepted]:
        """Accept events, with their messages."""
        channels = [self.types.channels(event.type) for event in events]
        return list(await self.ledger.accept(events, channels))

    async def put(self, *messages: Message) -> None:
        """Put messages on the topic, as a stranger would."""
        await self.bus.publish(EVENTS_TOPIC, messages)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What is in the database; the tables of the bus are always in the file."""
        if self.store == SQLITE or "bus_" in query:
            return read_rows(self.path, query, *parameters)
        with psycopg.connect(self.store) as connection:
            found = connection.execute(query.replace("?", "%s").encode(), parameters).fetchall()
        return [tuple(row) for row in found]

    def one(self, query: str, *parameters: Any) -> Any:
        """The one value that a query finds."""
        ((value,),) = self.rows(query, *parameters)
        return value

    def states(self) -> dict[str, int]:
        """How many deliveries are in each state."""
        return dict(self.rows("SELECT state, count(*) FROM deliveries GROUP BY state"))

    def waiting_for(self, subscription: str) -> int:
        """How many messages a subscription has not dealt with."""
        return int(
            self.one(
                "SELECT count(*) FROM bus_messages m JOIN bus_subscriptions s ON s.topic = m.topic"
                " AND m.pending & (1 << s.bit) WHERE s.name = ?",
                subscription,
            )
        )

    def dead(self) -> list[tuple[str, str]]:
        """Subscription and reason of every dead letter."""
        return self.rows("SELECT subscription, reason FROM bus_dead_letters ORDER BY seq")

    async def write(self, statement: str, *parameters: Any) -> None:
        """Change the database behind everybody's back."""
        there = self.bus_database if "bus_" in statement else self.database
        if there is not self.bus_database:
            statement = statement.replace("?", "%s")
        await there.write(lambda tx: tx.connection.exec_driver_sql(statement, tuple(parameters)))

    async def sent(self) -> None:
        """Wait until the bus has whatever was left for it."""
        if self.outbox is not None:
            await self.until(lambda: self.one("SELECT count(*) FROM outbox") == 0)

    @asynccontextmanager
    async def sending_broken(self, table: str) -> AsyncIterator[None]:
        """Meanwhile no transaction can leave a message that would go into a table of the bus."""
        if self.outbox is not None:
            await self.write("ALTER TABLE outbox ADD CONSTRAINT broken CHECK (false) NOT VALID")
            yield
            await self.write("ALTER TABLE outbox DROP CONSTRAINT broken")
            return
        await self.write(
            f"CREATE TRIGGER bus_broken BEFORE INSERT ON {table}"
            " BEGIN SELECT RAISE(FAIL, 'the bus is broken'); END"
        )
        yield
        await self.write("DROP TRIGGER bus_broken")

    async def until(self, condition: Callable[[], Any], within_s: float = PATIENCE_S) -> None:
        """Wait until something is so; fails when it does not become so."""
        give_up = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > give_up:
                raise AssertionError(f"did not come to be within {within_s} s: {self.picture()}")
            await asyncio.sleep(0.002)

    async def until_tried(self, count: int, channel: Channel = Channel.WEBHOOK) -> None:
        """Wait until a channel was asked for so many attempts."""
        await self.until(lambda: len(self.channels[channel].tries) >= count)

    async def until_states(self, **states: int) -> None:
        """Wait until there are exactly these deliveries."""
        await self.until(lambda: self.states() == states)

    async def until_quiet(self) -> None:
        """Wait until no message is on the bus that is visible now, or on its way there."""
        await self.sent()
        await self.until(lambda: self.one("SELECT count(*) FROM bus_messages") == 0)

    async def until_waiting(self, count: int) -> None:
        """Wait until so many deliveries are pending, with no attempt under way."""
        query = "SELECT count(*), sum(claimed) FROM deliveries WHERE state = 'pending'"
        await self.until(lambda: self.rows(query) == [(count, 0)])

    async def pass_time(self, ms: int) -> None:
        """Let time pass at once, as it does for a machine that slept; everybody wakes after it."""
        self.clock.ms += max(ms - 1, 0)
        await self.clock.advance(min(ms, 1))

    async def live_until(self, condition: Callable[[], Any], step: int = SECOND) -> None:
        """Let time pass, a step after the other, until something is so."""
        give_up = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up, self.picture()
            await self.pass_time(step)
            await asyncio.sleep(0.005)

    async def pass_to_next_drain(self) -> int:
        """Let time pass until the next scheduled message is due; how long that was."""
        found: list[int] = []

        def scheduled() -> bool:
            due = self.one("SELECT min(due_at) FROM bus_scheduled")
            found.extend([due] if due is not None and due > self.clock.now() else [])
            return bool(found)

        await self.until(scheduled)
        waited = found[0] - self.clock.now()
        await self.pass_time(waited)
        return waited

    def audit(self) -> AuditReport:
        """What the audit says now."""
        expected = expectations(self.clock.now(), self.policy.table)
        if self.store == SQLITE:
            return run_audit(self.path, expected)
        return run_shared_audit(self.store, [self.path], expected)

    def picture(self) -> str:
        """What there is, for whoever reads a failure."""
        return str(
            {
                "states": self.states(),
                "dead": self.dead(),
                "lanes": self.rows("SELECT * FROM lanes"),
                "waiting": self.one("SELECT count(*) FROM bus_messages"),
                "scheduled": self.rows("SELECT message_id, due_at FROM bus_scheduled"),
                "now": self.clock.now(),
                "tries": [len(each.tries) for each in self.channels.values()],
            }
        )


def read_rows(path: Path, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """What is in a database file."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(query, parameters).fetchall()


def expectations(now: int, table: RetryTable = NOTIFICATIONS) -> Expectations:
    """What the audit holds a world against."""
    return Expectations(now=now, table=table, topic=EVENTS_TOPIC, subscriptions=CONSUMERS)


@asynccontextmanager
async def heart_world(
    folder: Path,
    *,
    channels: frozenset[Channel] = WEBHOOK_ONLY,
    table: RetryTable = NOTIFICATIONS,
    grace: float = 0.05,
    patience: float = DAY / SECOND,
    working: bool = True,
    clock: ManualClock | None = None,
    adapters: Callable[[Database, ManualClock], Mapping[Channel, ChannelAdapter]] | None = None,
    store: str = SQLITE,
    drains: int = 1_000,
) -> AsyncIterator[HeartWorld]:
    """A hub's heart on `folder/hub.db`, new or as the last one left it.

    Args:
        store: Where its ledger is: `sqlite`, in the same file; `postgresql`, in a new database; or
            the URL of one that is there.
        drains: How many a worker has in hand at once.
    """
    path = folder / "hub.db"
    if not path.exists():
        new_file(path)
    before = asyncio.all_tasks()
    url = migrated_database() if store == POSTGRESQL else store
    shared = url != SQLITE
    world = await _build(
        path,
        url,
        channels,
        Policy(table=table, grace=grace, claim=45_000, patience=patience, shared=shared),
        clock or ManualClock(),
        adapters,
        drains,
    )
    if working:
        for worker in world.workers.values():
            worker.start()
    try:
        yield world
    finally:
        await _crash(world, before)


async def _build(
    path: Path,
    store: str,
    channels: frozenset[Channel],
    policy: Policy,
    clock: ManualClock,
    adapters: Callable[[Database, ManualClock], Mapping[Channel, ChannelAdapter]] | None,
    drains: int,
) -> HeartWorld:
    dice = SeededDice(next(_seeds))  # as different from process to process as the real ones
    file = SqliteDatabase(path, clock, patience_s=0.05)
    file.start()
    bus = EmbeddedBus(file, TOPOLOGY, clock)
    await bus.start(CONSUMERS.values())
    numbers = Numbers(clock, dice)
    publish = Carrier(bus)

    database: Database = file
    outbox = None
    within: SqlOutbox | EventsOutbox
    if store == SQLITE:
        within = EventsOutbox(bus, EVENTS_TOPIC)
        ledger = SqlLedger(database, within, numbers, dice)
        await ledger.release_claims()
    else:
        database = PostgresDatabase(store, clock)
        await database.start()
        jobs = {JOBS_TOPIC: partial(bus.publish, JOBS_TOPIC)}
        outbox = within = SqlOutbox(database, numbers, publish, jobs)
        outbox.start()
        ledger = SqlLedger(database, outbox, numbers, dice)
    types = Types(channels)
    real = dict(adapters(database, clock)) if adapters else {}
    listeners: list[Callable[[str], None]] = []
    ledger.heed(
        SqlSwitches(
            types.channels,
            park_days=7,
            changed=lambda tenant: [each(tenant) for each in listeners],
        )
    )
    faulty = FaultyLedger(ledger)
    intake = Intake(faulty, types, clock)
    lanes, outage, stop_time = Lanes(), Outage(clock), StopTime(PATIENCE_S)
    obedient = {channel: ObedientChannel(clock, channel) for channel in Channel}
    dispatchers = {
        channel: Dispatcher(
            channel,
            real.get(channel, obedient[channel]),
            ledger=faulty,
            intake=intake,
            lanes=lanes,
            policy=policy,
            clock=clock,
            dice=dice,
            numbers=numbers,
            outage=outage,
            stopping=lambda: stop_time.begun,
        )
        for channel in Channel
    }
    handlers = {channel.value: one.handle for channel, one in dispatchers.items()}
    handlers[METRICS] = MetricsHandler(ledger, intake).handle
    workers = {
        consumer: Worker(
            CONSUMERS[consumer],
            Guard(consumer, handler, publish, clock, dice, outage),
            bus,
            clock,
            Appetite(window=128, drains=drains),
        )
        for consumer, handler in handlers.items()
    }
    keeping = Keeping(parked=7 * DAY, events=30 * DAY)
    upkeep = SqlUpkeep(database, ledger, policy.table, keeping)
    lost = SqlLostEvents(
        database, EmbeddedBusLook(file, CONSUMERS), ledger, clock, consumers=CONSUMERS
    )
    leftovers = SqlLeftovers(database, file, clock, keep=keeping.events)
    standing = SqlStanding(database, policy.table)
    await standing.begin()
    steps: dict[str, Step] = {**upkeep_steps(upkeep), "resent": lost.resend}
    if outbox is not None:
        steps["relayed"] = outbox.relay
    return HeartWorld(
        path=path,
        store=store,
        clock=clock,
        dice=dice,
        database=database,
        bus_database=file,
        carrier=publish,
        outbox=outbox,
        within=within,
        bus=bus,
        ledger=ledger,
        faulty=faulty,
        numbers=numbers,
        types=types,
        channels=obedient,
        lanes=lanes,
        dispatchers=dispatchers,
        workers=workers,
        upkeep=upkeep,
        lost=lost,
        leftovers=leftovers,
        sweep=Sweep(steps, clock, standing, tidying={"forgotten": upkeep.forget}),
        hub=Hub(ledger, types, clock),
        policy=policy,
        stop_time=stop_time,
        listeners=listeners,
    )


def _is_the_database(task: asyncio.Task[Any]) -> bool:
    """Whether it is a connection's, which a crash of the hub leaves to the server to undo."""
    own = task.get_name().startswith("database-")
    return own or getattr(task.get_coro(), "__qualname__", "") == "AsyncConnection.close"


async def _crash(world: HeartWorld, before: set[asyncio.Task[Any]]) -> None:
    """Nobody finishes anything; only the file is closed."""
    tasks = [
        task
        for task in asyncio.all_tasks() - before
        if task is not asyncio.current_task() and not _is_the_database(task)
    ]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await world.bus_database.close()
    if isinstance(world.database, PostgresDatabase):
        await world.database.close()
