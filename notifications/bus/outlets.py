"""What a client of the door receives from: a subscription's queue, or its dead letters."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from notifications.broker import Defer, End, Item, Release
from notifications.bus import door_journal, journal, tables
from notifications.bus.embedded import EmbeddedBus
from notifications.bus.journal import Buried
from notifications.bus.queues import Entry, Queue
from notifications.bus.shelf import Shelf
from notifications.database import Database, Transaction
from notifications.errors import FieldError, InvalidInput, NotFound
from notifications.messages import Abandon, Complete, DeadLetter, Received
from notifications.ports import Clock

_PEEKED = 250
"""Messages that one look shows at most, as in Service Bus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What outlets work with.

    Attributes:
        database: Holds the bus.
        bus: Carries the messages.
        clock: The bus's.
        token: Names a lock that is not the bus's.
        lock_name: The name of the bus's lock of a number.
        lock_number: The other way; 0 where it is none of this process's.
        later: Does something in the background.
    """

    database: Database
    bus: EmbeddedBus
    clock: Clock
    token: Callable[[], UUID]
    lock_name: Callable[[int], UUID]
    lock_number: Callable[[UUID], int]
    later: Callable[[Coroutine[Any, Any, None]], None]


class SubscriptionOutlet:
    """Implements `broker.Outlet` and `broker.Peekable` for a subscription."""

    def __init__(self, around: Around, queue: Queue, path: str) -> None:
        self._around = around
        self._queue = queue
        self._path = path
        self._aside = _shelf(around, tables.deferred, queue, path)

    # ---------------------------------------------------------------- broker.Outlet

    async def receive(self, *, limit: int, wait: bool, lock: bool) -> Sequence[Item]:
        """See `broker.Outlet.receive`."""
        bus, name = self._around.bus, self._name()
        taken = await (bus.receive(name, limit=limit) if wait else bus.at_once(name, limit=limit))
        if lock or not taken:
            return [self._item(one, lock=True) for one in taken]
        tokens = [one.token or 0 for one in taken]
        held = [(self._queue, token) for token in tokens]
        messages = [one.message for one in taken]
        await _for_good(
            self._around,
            lambda tx: bus.settling.complete(tx, held),
            lambda tx: bus.put_to(tx, name, messages),
            lambda tx: [bus.settling.release(tx, self._queue, token) for token in tokens],
        )
        return [self._item(one, lock=False) for one in taken]

    async def settle(self, token: UUID, end: End) -> bool:
        """See `broker.Outlet.settle`."""
        self._name()
        if self._aside.holds(token):
            return await self._around.database.write(lambda tx: self._end_aside(tx, token, end))
        number = self._around.lock_number(token)
        lock = self._queue.locks.get(number)
        if lock is None or lock.until <= self._around.clock.now():  # it ran out, unswept as yet
            return False
        return await self._around.database.write(lambda tx: self._end(tx, number, end))

    async def renew(self, token: UUID) -> int | None:
        """See `broker.Outlet.renew`."""
        self._name()
        lock = self._queue.locks.get(self._around.lock_number(token))
        if lock is None:
            return self._aside.renew(token)
        now = self._around.clock.now()
        if lock.until <= now:
            return None
        lock.until = now + self._queue.subscription.lock_ms
        return lock.until

    async def deferred(self, numbers: Sequence[int], *, lock: bool) -> Sequence[Item]:
        """See `broker.Outlet.deferred`."""
        self._name()
        return await _by_number(self._around, self._aside, numbers, lock=lock)

    # ---------------------------------------------------------------- broker.Peekable

    async def peek(self, *, after: int, limit: int) -> Sequence[Item]:
        """See `broker.Peekable.peek`."""
        self._name()
        queue, most = self._queue, min(limit, _PEEKED)
        topic, mask = queue.subscription.topic, queue.mask

        def waiting(connection: sa.Connection) -> tuple[list[Entry], bool]:
            return door_journal.some_waiting(connection, topic, mask, after=after, limit=most)

        entries, cut = await self._around.database.read(waiting)
        items = [
            Item(
                message=entry.message,
                sequence_number=entry.seq,
                enqueued_at=entry.enqueued_at,
                delivery_count=queue.counts.get(entry.seq, 0),
            )
            for entry in entries
        ]
        aside, more = await self._aside.peek(after, most)
        # Of two pages, what is beyond the end of the shorter one comes with the next look.
        ends = [entries[-1].seq] if cut else []
        ends += [aside[-1].sequence_number] if more else []
        upto = min(ends, default=2**63)
        found = sorted([*items, *aside], key=lambda one: one.sequence_number)
        return [one for one in found if one.sequence_number <= upto][:most]

    # ---------------------------------------------------------------- within

    def _name(self) -> str:
        name = self._queue.subscription.name
        if self._around.bus.queue(name) is not self._queue:
            raise NotFound(f"the subscription {self._path!r} was deleted")
        return name

    def _end(self, tx: Transaction, number: int, end: End) -> bool:
        settling, queue = self._around.bus.settling, self._queue
        if isinstance(end, Complete):
            return settling.complete(tx, [(queue, number)]) > 0
        if isinstance(end, Abandon):
            return settling.give_back(tx, queue, number)
        if isinstance(end, DeadLetter):
            return settling.reject(tx, queue, number, end)
        if isinstance(end, Defer):
            return settling.put_aside(tx, queue, number)
        return settling.release(tx, queue, number)

    def _end_aside(self, tx: Transaction, token: UUID, end: End) -> bool:
        seq = self._aside.end(tx, token)
        if seq is None:
            return False
        if isinstance(end, Abandon | Defer):
            self._aside.count(tx, [seq])
        elif isinstance(end, Complete | DeadLetter):
            if isinstance(end, DeadLetter):
                self._bury(tx, seq, end)
            self._aside.delete(tx, [seq])
        return True

    def _bury(self, tx: Transaction, seq: int, why: DeadLetter) -> None:
        subscription, settling = self._queue.subscription, self._around.bus.settling
        for row in self._aside.rows(tx, [seq]):
            entry = Entry(seq, journal.message_of(row), row["enqueued_at"], 0)
            count = row["delivery_count"] + 1
            buried = Buried(subscription.name, subscription.topic, entry, count, why)
            settling.write_dead(tx, [buried])

    def _item(self, received: Received, *, lock: bool) -> Item:
        held = self._queue.locks.get(received.token or 0) if lock else None
        return Item(
            message=received.message,
            sequence_number=received.sequence_number,
            enqueued_at=received.enqueued_at,
            delivery_count=received.delivery_count - 1,
            token=self._around.lock_name(received.token or 0) if held else None,
            locked_until=held.until if held else None,
        )


class DeadLetterOutlet:
    """Implements `broker.Outlet` and `broker.Peekable` for a subscription's dead letters.

    Attributes:
        changed: Set when there may be something for those who wait.
    """

    def __init__(self, around: Around, queue: Queue, path: str) -> None:
        self._around = around
        self._queue = queue
        self._path = path
        self._letters = _shelf(around, tables.dead_letters, queue, path)
        self.changed = asyncio.Event()

    # ---------------------------------------------------------------- broker.Outlet

    async def receive(self, *, limit: int, wait: bool, lock: bool) -> Sequence[Item]:
        """See `broker.Outlet.receive`."""
        while True:
            self._check()
            self.changed.clear()
            taken = await self._letters.take(limit)
            if taken or not wait:
                break
            await self._wait()
        return taken if lock else await _without_lock(self._around, self._letters, taken)

    async def settle(self, token: UUID, end: End) -> bool:
        """See `broker.Outlet.settle`.

        Raises:
            InvalidInput: It is a dead letter already.
        """
        self._check()
        if isinstance(end, DeadLetter):
            raise InvalidInput([FieldError("", "it is a dead letter already")])
        if not self._letters.holds(token):
            return False
        ended = await self._around.database.write(lambda tx: self._end(tx, token, end))
        self.changed.set()
        return ended

    async def renew(self, token: UUID) -> int | None:
        """See `broker.Outlet.renew`."""
        self._check()
        return self._letters.renew(token)

    async def deferred(self, numbers: Sequence[int], *, lock: bool) -> Sequence[Item]:
        """See `broker.Outlet.deferred`."""
        self._check()
        return await _by_number(self._around, self._letters, numbers, lock=lock)

    # ---------------------------------------------------------------- broker.Peekable

    async def peek(self, *, after: int, limit: int) -> Sequence[Item]:
        """See `broker.Peekable.peek`."""
        self._check()
        items, _ = await self._letters.peek(after, min(limit, _PEEKED))
        return items

    # ---------------------------------------------------------------- within

    def _check(self) -> None:
        if self._around.bus.queue(self._queue.subscription.name) is not self._queue:
            raise NotFound(f"the subscription {self._path!r} was deleted")

    def _end(self, tx: Transaction, token: UUID, end: Complete | Abandon | Defer | Release) -> bool:
        seq = self._letters.end(tx, token)
        if seq is None:
            return False
        if isinstance(end, Complete):
            # Gone already where somebody replayed or purged it meanwhile.
            return self._letters.delete(tx, [seq]) > 0
        if isinstance(end, Abandon):
            self._letters.count(tx, [seq])
        elif isinstance(end, Defer):
            self._letters.put_aside(tx, seq)
        return True

    async def _wait(self) -> None:
        """Until something changed, or a lock ran out."""
        waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(self.changed.wait())}
        until = self._letters.next_end()
        if until is not None:
            waits.add(asyncio.ensure_future(self._around.clock.sleep_until(until)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()


def _shelf(around: Around, table: sa.Table, queue: Queue, path: str) -> Shelf:
    return Shelf(
        around.database,
        around.clock,
        table,
        queue.subscription.name,
        source=path,
        lock_ms=lambda: queue.subscription.lock_ms,
        token=around.token,
    )


async def _by_number(
    around: Around, shelf: Shelf, numbers: Sequence[int], *, lock: bool
) -> Sequence[Item]:
    taken = await shelf.take_numbers(numbers)
    if taken is None:
        raise NotFound("one of the messages is not among the deferred, or is in somebody's hands")
    return taken if lock else await _without_lock(around, shelf, taken)


async def _without_lock(around: Around, shelf: Shelf, taken: Sequence[Item]) -> Sequence[Item]:
    if not taken:
        return []
    tokens = [one.token for one in taken if one.token is not None]
    rows: list[dict[str, Any]] = []

    def delete(tx: Transaction) -> None:
        seqs = [seq for token in tokens if (seq := shelf.end(tx, token)) is not None]
        rows[:] = shelf.rows(tx, seqs)
        shelf.delete(tx, seqs)

    await _for_good(
        around,
        delete,
        lambda tx: shelf.put_back(tx, rows),
        lambda tx: [shelf.end(tx, token) for token in tokens],
    )
    return [replace(one, token=None, locked_until=None) for one in taken]


Step = Callable[[Transaction], Any]


async def _for_good(around: Around, delete: Step, undo: Step, release: Step) -> None:
    """Delete what is handed out without a lock, before it is handed out.

    Whoever is cancelled meanwhile has got nothing: then it is put back, whether or not that was
    committed.
    """
    deleting = asyncio.ensure_future(around.database.write(delete))
    try:
        await asyncio.shield(deleting)
    except asyncio.CancelledError:
        around.later(_restore(around, deleting, undo))
        raise
    except BaseException:
        around.later(_restore(around, None, release))
        raise


async def _restore(around: Around, deleting: "asyncio.Future[Any] | None", undo: Step) -> None:
    if deleting is not None:
        await asyncio.wait({deleting})
        if deleting.exception() is not None:
            return  # its locks run out
    await around.database.write(undo)
