"""The ledger in SQL. One adapter for SQLite and PostgreSQL.

Implements `ports.Ledger` and `ports.Counts`; what happens within the transactions is in
`arrivals`, `recording`, `placing` and `drains`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from notifications.crashpoints import Point, passing
from notifications.database import Batch, Database, Transaction
from notifications.events import Channel, Event, Known
from notifications.messages import Message, Received
from notifications.ports import Dice
from notifications.records import Accepted, Claim, Placed, Record, Result, Written
from notifications.routing import addressed, drain_message
from notifications.stores import arrivals, drains
from notifications.stores.placing import place
from notifications.stores.recording import write_results
from notifications.timing import Numbers


class Outbox(Protocol):
    """Where a transaction leaves its messages. The embedded bus is one: same file, same commit."""

    def put(self, tx: Transaction, messages: Sequence[Message]) -> None:
        """Send messages to the events topic once `tx` is committed."""
        ...

    def complete(self, tx: Transaction, received: Sequence[Received]) -> None:
        """Complete messages with `tx`, where the bus shares the commit."""
        ...


class Switches(Protocol):
    """What is made of attempts in the commit that records them."""

    def note(self, tx: Transaction, results: Sequence[Result]) -> Sequence[arrivals.Offer]:
        """Look at results that were written; the events that are to be accepted with them."""
        ...


class SqlLedger:
    """The truth about events and deliveries."""

    def __init__(self, database: Database, outbox: Outbox, numbers: Numbers, dice: Dice) -> None:
        self._database = database
        self._outbox = outbox
        self._numbers = numbers
        self._dice = dice
        self._switches: Switches | None = None
        self._accepting: Batch[arrivals.Offer, Accepted] = Batch(self.accept_within)
        self._recording: Batch[Record, Sequence[Written]] = Batch(self._record)

    async def release_claims(self) -> None:
        """At the start of a process that alone owns the database: no attempt is under way."""
        await self._database.write(
            lambda tx: self.wake(tx, dict.fromkeys(drains.free_all(tx), tx.now))
        )

    def heed(self, switches: Switches) -> None:
        """From now on, let these look at what is recorded."""
        self._switches = switches

    # ---------------------------------------------------------------- ports.Ledger

    async def accept(
        self, events: Sequence[Event], channels: Sequence[frozenset[Channel]], *, send: bool = True
    ) -> Sequence[Accepted]:
        """See `ports.Ledger.accept`."""
        offers = [(event, carried, send) for event, carried in zip(events, channels, strict=True)]
        return await self._database.submit(self._accepting, offers)

    async def look(
        self, messages: Sequence[tuple[str, str]], channel: Channel
    ) -> Mapping[tuple[str, str], Known]:
        """See `ports.Ledger.look`."""
        return await self._database.look(
            lambda connection: arrivals.look(connection, messages, channel)
        )

    async def record(self, record: Record) -> Sequence[Written]:
        """See `ports.Ledger.record`."""
        (written,) = await self._database.submit(self._recording, (record,))
        return written

    def _record(self, tx: Transaction, records: Sequence[Record]) -> list[Sequence[Written]]:
        results = [result for record in records for result in record.results]
        written = write_results(tx, results)
        passing(Point.RECORD_WRITTEN)
        entries = [r.entry if ok else None for r, ok in zip(results, written, strict=True)]
        each = map(_written, written, place(tx, entries))
        answers = [[next(each) for _ in record.results] for record in records]
        passing(Point.RECORD_PLACED)
        if self._switches is not None:
            known = [result for result, ok in zip(results, written, strict=True) if ok]
            if offers := self._switches.note(tx, known):
                self.accept_within(tx, offers)
        drains.lock(tx, records)
        drains.write_health(tx, [health for record in records for health in record.health])
        self.wake(tx, drains.wakes_of(tx, records))
        completes = [received for record in records for received in record.completes]
        if completes:
            self._outbox.complete(tx, completes)
            passing(Point.SETTLE_ENDED)
        return list(answers)

    async def claim(self, lane: str, *, limit: int, until: int) -> Claim:
        """See `ports.Ledger.claim`."""

        def claim(tx: Transaction) -> Claim:
            claimed = drains.claim(tx, lane, limit, until)
            passing(Point.CLAIM_MARKED)
            return claimed

        return await self._database.write(claim)

    # ---------------------------------------------------------------- ports.Counts

    async def count(self, keys: Sequence[int], completes: Sequence[Received]) -> int:
        """See `ports.Counts.count`."""

        def count(tx: Transaction) -> int:
            counted = arrivals.count(tx, sorted(set(keys)))
            passing(Point.COUNT_COUNTED)
            self._outbox.complete(tx, completes)
            return counted

        return await self._database.write(count)

    # ---------------------------------------------------------------- within a transaction

    def accept_within(self, tx: Transaction, offers: Sequence[arrivals.Offer]) -> list[Accepted]:
        """Store events within somebody's transaction; as `accept` does otherwise.

        Where others write at the same time, the caller's own rows are locked before: every
        transaction then takes its locks in one order.
        """
        answers, messages = arrivals.accept(tx, offers, self._numbers)
        passing(Point.ACCEPT_STORED)
        if messages:
            self._outbox.put(tx, messages)
            passing(Point.ACCEPT_SENT)
        return answers

    def wake(self, tx: Transaction, wakes: Mapping[str, int]) -> None:
        """Schedule drains, save where an earlier one is on its way."""
        if not wakes:
            return
        passing(Point.SCHEDULE_BEGINS)
        messages = [
            drain_message(lane, message_id=self._message_id("drain"), due_at=at)
            for lane, at in drains.schedule(tx, wakes)
        ]
        if messages:
            passing(Point.SCHEDULE_NOTED)
            self._outbox.put(tx, messages)
            passing(Point.SCHEDULE_SENT)

    def send_again(self, tx: Transaction, events: Sequence[Event], consumer: str) -> None:
        """Send events once more, to one consumer alone."""
        messages = [
            addressed(event, consumer, message_id=self._message_id("again"), due_at=None)
            for event in events
        ]
        self._outbox.put(tx, messages)

    def _message_id(self, kind: str) -> str:
        return f"{kind}-{self._dice.token(12).hex()}"


_WRITTEN, _LEFT_OUT = Written(), Written(ok=False)


def _written(ok: bool, placed: Placed | None) -> Written:
    if placed is not None:
        return Written(placed=placed)
    return _WRITTEN if ok else _LEFT_OUT
