"""Ending locks, within a transaction: what becomes of a message that was in somebody's hands.

Everything is decided on what is true within the transaction, and memory changes only once that is
committed: of a completion and a lock that runs out meanwhile, one wins, the other does nothing.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from notifications.bus import journal
from notifications.bus.journal import Buried
from notifications.bus.queues import Entry, Queue
from notifications.database import Transaction
from notifications.messages import DeadLetter

log = logging.getLogger("huntaze")


def delivered_too_often(times: int) -> DeadLetter:
    """The reason Service Bus gives."""
    return DeadLetter(
        "MaxDeliveryCountExceeded",
        f"Message could not be consumed after {times} delivery attempts.",
    )


class Settling:
    """Ends locks and writes down what that means.

    Args:
        ended: Told of each lock that has ended, by its token.
    """

    def __init__(self, ended: Callable[[int], None]) -> None:
        self._ended = ended

    def complete(self, tx: Transaction, held: Iterable[tuple[Queue, int]]) -> None:
        """Messages have been dealt with, each named by its queue and the token of its lock."""
        ended = [
            (queue, entry, token)
            for queue, token in held
            if (entry := _end(tx, queue, token)) is not None
        ]
        tx.collect(self._write_done, *ended)

    def reject(self, tx: Transaction, queue: Queue, token: int, why: DeadLetter) -> None:
        """The message goes to the dead letters."""
        entry = _end(tx, queue, token)
        if entry is not None:
            delivered = queue.counts.get(entry.seq, 0) + 1
            self._bury(tx, queue, entry, why, delivered, token)

    def give_back(self, tx: Transaction, queue: Queue, token: int) -> None:
        """The message comes again, or has come often enough and goes to the dead letters."""
        entry = _end(tx, queue, token)
        if entry is None:
            return
        limit = queue.subscription.max_delivery_count
        delivered = queue.counts.get(entry.seq, 0) + 1
        if delivered >= limit:
            self._bury(tx, queue, entry, delivered_too_often(limit), delivered, token)
        else:
            tx.collect(self._write_returned, (queue, entry, token, delivered))

    def bury(self, tx: Transaction, queue: Queue, entry: Entry, why: DeadLetter) -> None:
        """A message in nobody's hands goes to the dead letters."""
        self._bury(tx, queue, entry, why, queue.counts.get(entry.seq, 0), None)

    def refuse(self, tx: Transaction, queue: Queue, entry: Entry, why: DeadLetter) -> None:
        """A message goes to the dead letters of a subscription that never had it."""
        tx.collect(_write_dead, _buried(queue, entry, why, 0))

    def _bury(
        self,
        tx: Transaction,
        queue: Queue,
        entry: Entry,
        why: DeadLetter,
        delivered: int,
        token: int | None,
    ) -> None:
        tx.collect(_write_dead, _buried(queue, entry, why, delivered))
        tx.collect(self._write_done, (queue, entry, token))

    def _write_done(self, tx: Transaction, items: list[tuple[Queue, Entry, int | None]]) -> None:
        """Clear the bits; a message nobody waits for is deleted."""
        done: dict[int, int] = {}
        pending: dict[int, int] = {}
        counted = []
        for queue, entry, _token in items:
            done[entry.seq] = done.get(entry.seq, 0) | queue.mask
            pending[entry.seq] = entry.pending
            if entry.seq in queue.counts:
                counted.append((queue.subscription.name, entry.seq))
        journal.clear(tx, done, pending)
        journal.forget_counts(tx, counted)

        def committed() -> None:
            for queue, entry, token in items:
                queue.done(entry, token)
                if token is not None:
                    self._ended(token)

        tx.after_commit(committed)

    def _write_returned(self, tx: Transaction, items: list[tuple[Queue, Entry, int, int]]) -> None:
        journal.count(tx, [(q.subscription.name, entry.seq, count) for q, entry, _, count in items])

        def committed() -> None:
            for queue, _entry, token, count in items:
                queue.give_back(token, count)
                self._ended(token)

        tx.after_commit(committed)


def _end(tx: Transaction, queue: Queue, token: int) -> Entry | None:
    """End a lock within `tx`: its message, or None where it has ended already."""
    lock = queue.locks.get(token)
    if lock is None or lock.ended_by is tx:
        return None
    lock.ended_by = tx
    return lock.entry


def _buried(queue: Queue, entry: Entry, why: DeadLetter, delivered: int) -> Buried:
    return Buried(queue.subscription.name, queue.subscription.topic, entry, delivered, why)


def _write_dead(tx: Transaction, dead: list[Buried]) -> None:
    journal.bury(tx, dead)
    tx.after_commit(lambda: _tell(dead))


def _tell(dead: Sequence[Buried]) -> None:
    for one in dead:
        log.warning(
            "bus.dead_lettered",
            extra={
                "subscription": one.subscription,
                "messageId": one.entry.message.id,
                "reason": one.why.reason,
                "detail": one.why.description,
            },
        )
