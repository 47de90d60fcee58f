"""A subscription as clients of the door receive from it: its queue, and what they deferred."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from notifications.broker import Defer, End, Item
from notifications.bus import door_journal, journal, tables
from notifications.bus.handing import PEEKED, Around, by_number, for_good, shelf
from notifications.bus.journal import Buried
from notifications.bus.queues import Entry, Queue
from notifications.database import Batch, Transaction
from notifications.errors import NotFound
from notifications.messages import Abandon, Complete, DeadLetter, Received


class SubscriptionOutlet:
    """Implements `broker.Outlet` and `broker.Peekable` for a subscription."""

    def __init__(self, around: Around, queue: Queue, path: str) -> None:
        self._around = around
        self._queue = queue
        self._path = path
        self._aside = shelf(around, tables.deferred, queue, path)
        self._ending = Batch(self._end)

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
        await for_good(
            self._around,
            lambda tx: bus.settling.complete(tx, held),
            lambda tx: bus.put_to(tx, name, messages),
            lambda tx: [bus.settling.release(tx, self._queue, token) for token in tokens],
        )
        return [self._item(one, lock=False) for one in taken]

    async def settle(self, ends: Sequence[tuple[UUID, End]]) -> Sequence[bool]:
        """See `broker.Outlet.settle`."""
        self._name()
        now = self._around.clock.now()
        holds = [self._holds(token, now) for token, _ in ends]
        held = [one for one, there in zip(ends, holds, strict=True) if there]
        if not held:
            return holds
        ended = iter(await self._around.database.submit(self._ending, held))
        return [there and next(ended) for there in holds]

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
        return await by_number(self._around, self._aside, numbers, lock=lock)

    # ---------------------------------------------------------------- broker.Peekable

    async def peek(self, *, after: int, limit: int) -> Sequence[Item]:
        """See `broker.Peekable.peek`."""
        self._name()
        queue, most = self._queue, min(limit, PEEKED)
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

    def _holds(self, token: UUID, now: int) -> bool:
        lock = self._queue.locks.get(self._around.lock_number(token))
        if lock is None:
            return self._aside.holds(token)
        return lock.until > now  # else it ran out, unswept as yet

    def _end(self, tx: Transaction, ends: Sequence[tuple[UUID, End]]) -> Sequence[bool]:
        return [self._end_one(tx, token, end) for token, end in ends]

    def _end_one(self, tx: Transaction, token: UUID, end: End) -> bool:
        settling, queue = self._around.bus.settling, self._queue
        number = self._around.lock_number(token)
        if number not in queue.locks:
            return self._end_aside(tx, token, end)
        if isinstance(end, Complete):
            return settling.complete(tx, ((queue, number),)) > 0
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
