"""A ledger on a file, without anybody at work: what is in it is what a test put there."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from notifications.bus.embedded import EmbeddedBus, EventsOutbox
from notifications.bus.topology import EVENTS_TOPIC, TOPOLOGY
from notifications.database import Database
from notifications.deliveries import Attempt, Delivered, Delivery, Failed, Outcome, State
from notifications.events import Channel, Event, Known, read_event
from notifications.records import InboxEntry, Placed, Record, Result
from notifications.shipped import load_catalogue
from notifications.sqlite_file import SqliteDatabase
from notifications.stores.browsing import SqlBrowsing
from notifications.stores.inbox import SqlInbox
from notifications.stores.ledger import SqlLedger
from notifications.stores.queries import SqlQueries
from notifications.timing import Numbers, SystemClock, SystemDice
from tests.new_file import new_file

NOON = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)
CATALOGUE = load_catalogue()


@dataclass(slots=True)
class HandClock:
    """A clock that stands until it is moved; whoever sleeps wakes at once, later."""

    at: int = NOON

    def now(self) -> int:
        """The time it was moved to."""
        return self.at

    def wall(self) -> datetime:
        """The same, for people."""
        return datetime.fromtimestamp(self.at / 1000, UTC)

    async def sleep_until(self, at: int) -> None:
        """Move there."""
        self.at = max(self.at, at)


@dataclass(slots=True)
class LedgerWorld:
    """A ledger and what reads it."""

    database: Database
    ledger: SqlLedger
    queries: SqlQueries
    browsing: SqlBrowsing
    inbox: SqlInbox
    clock: HandClock
    _numbers: Numbers = field(repr=False)

    def number(self) -> int:
        """A new delivery's number."""
        return self._numbers.next()

    async def accept(self, event_id: str, tenant_id: str = "acme", **changes: Any) -> Known:
        """Put a sample event into the ledger."""
        event = sample_event(event_id, tenantid=tenant_id, **changes)
        channels = CATALOGUE.channels(event.type)
        (accepted,) = await self.ledger.accept([event], [channels])
        return Known(key=accepted.key, event=event, channels=channels)

    async def deliver(
        self,
        known: Known,
        outcomes: Sequence[Outcome] = (),
        *,
        channel: Channel = Channel.WEBHOOK,
        target: str = "ep_1",
        **changes: Any,
    ) -> Delivery:
        """Put a delivery into the ledger, with an attempt a second for each outcome."""
        delivery = Delivery(
            tenant_id=known.event.tenant_id,
            id=self._numbers.next(),
            event_key=known.key,
            channel=channel,
            target=target,
            deadline=self.clock.now() + 86_400_000,
            created_at=self.clock.now(),
            due_at=self.clock.now(),
        )
        made = [replaced(delivery, changes, number) for number in range(len(outcomes) + 1)]
        first = self._attempt(outcomes[0], 1) if outcomes else None
        start = made[1] if outcomes else made[0]
        await self.ledger.record(Record(results=[Result(before=None, after=start, attempt=first)]))
        for number, outcome in enumerate(outcomes[1:], start=2):
            attempt = self._attempt(outcome, number)
            step = Result(before=made[number - 1], after=made[number], attempt=attempt)
            await self.ledger.record(Record(results=[step]))
        return made[-1]

    async def notify(
        self,
        item_id: str,
        user_id: str = "ada",
        tenant_id: str = "acme",
        *,
        rank: int = 0,
        progress: int | None = None,
    ) -> Placed:
        """Put an item into an inbox, as the realtime channel does."""
        known = await self.accept(f"event-of-{item_id}-{rank}-{user_id}", tenant_id)
        entry = InboxEntry(
            tenant_id=tenant_id,
            user_id=user_id,
            item_id=item_id,
            rank=rank,
            event_id=known.event.id,
            type=known.event.type,
            title=f"title of {item_id}",
            body="body",
            url="/somewhere",
            progress=progress,
            created_at=self.clock.now(),
        )
        delivery = Delivery(
            tenant_id=tenant_id,
            id=self._numbers.next(),
            event_key=known.key,
            channel=Channel.REALTIME,
            target=user_id,
            state=State.DELIVERED,
            deadline=0,
            created_at=self.clock.now(),
        )
        result = Result(before=None, after=delivery, entry=entry)
        (written,) = await self.ledger.record(Record(results=[result]))
        assert written.placed is not None
        return written.placed

    def _attempt(self, outcome: Outcome, number: int) -> Attempt:
        at = self.clock.now() + 1_000 * (number - 1)
        return Attempt(round=1, number=number, at=at, duration_ms=7, outcome=outcome)


def replaced(delivery: Delivery, changes: dict[str, Any], attempt: int) -> Delivery:
    """The delivery after so many attempts."""
    return replace(delivery, **{"attempt": attempt, **changes})


def sample_event(event_id: str, **changes: Any) -> Event:
    """A message that somebody sent; None takes a field away."""
    document = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/messages",
        "type": "message.received",
        "tenantid": "acme",
        "userid": "ada",
        "time": "2026-01-31T12:00:00Z",
        "data": {"from": {"name": "Zoé"}, "preview": "Bonjour !"},
        **changes,
    }
    kept = {name: value for name, value in document.items() if value is not None}
    return read_event(kept, tenant_id=None, now=datetime.fromtimestamp(NOON / 1000, UTC))


REFUSED = Failed(reason="http-500", status=500, detail="no")
TAKEN = Delivered(status=200, detail="ok")


@asynccontextmanager
async def ledger_world(folder: Path) -> AsyncIterator[LedgerWorld]:
    """A new ledger in a folder."""
    path = folder / "hub.db"
    new_file(path)
    clock = HandClock()
    database = SqliteDatabase(path, clock)
    database.start()
    # The bus ticks by the real clock: one that never stands still for whoever sleeps by it.
    bus = EmbeddedBus(database, TOPOLOGY, SystemClock())
    await bus.start()
    dice = SystemDice()
    numbers = Numbers(clock, dice)
    ledger = SqlLedger(database, EventsOutbox(bus, EVENTS_TOPIC), numbers, dice)
    try:
        yield LedgerWorld(
            database,
            ledger,
            SqlQueries(database),
            SqlBrowsing(database),
            SqlInbox(database),
            clock,
            numbers,
        )
    finally:
        await bus.close()
        await database.close()
