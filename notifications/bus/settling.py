"""Ending locks, within a transaction: what becomes of a message that was in somebody's hands.

Everything is decided on what is true within the transaction, and memory changes only once that is
committed: of a completion and a lock that runs out meanwhile, one wins, the other does nothing.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from notifications.bus import door_journal, journal
from notifications.bus.journal import Buried
from notifications.bus.queues import Entry, Queue
from notifications.database import Transaction
from notifications.messages import DeadLetter

log = logging.getLogger("huntaze")


EXPIRED = DeadLetter("TTLExpiredException", "The message expired and was dead lettered.")


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

    Attributes:
        buried: Told of each dead letter, by its subscription.
    """

    def __init__(self, ended: Callable[[int], None]) -> None:
        self._ended = ended
        self.buried: Callable[[str], None] = lambda _subscription: None

    def complete(self, tx: Transaction, held: Iterable[tuple[Queue, int]]) -> int:
        """Messages have been dealt with, each named by its queue and the token of its lock; how
        many locks that ended."""
        ended = [
            (queue, entry, token)
            for queue, token in held
            if (entry := _end(tx, queue, token)) is not None
        ]
        tx.collect(self._write_done, *ended)
        return len(ended)

    def reject(self, tx: Transaction, queue: Queue, token: int, why: DeadLetter) -> bool:
        """The message goes to the dead letters; whether there was such a lock."""
        entry = _end(tx, queue, token)
        if entry is None:
            return False
        delivered = queue.counts.get(entry.seq, 0) + 1
        self._bury(tx, queue, entry, why, delivered, token)
        return True

    def give_back(self, tx: Transaction, queue: Queue, token: int) -> bool:
        """The message comes again, or has come often enough and goes to the dead letters; whether
        there was such a lock."""
        entry = _end(tx, queue, token)
        if entry is None:
            return False
        limit = queue.subscription.max_delivery_count
        delivered = queue.counts.get(entry.seq, 0) + 1
        if delivered >= limit:
            self._bury(tx, queue, entry, delivered_too_often(limit), delivered, token)
        else:
            tx.collect(self._write_returned, (queue, entry, token, delivered))
        return True

    def release(self, tx: Transaction, queue: Queue, token: int) -> bool:
        """Nobody looked at the message: it comes again, as if it had not been delivered."""
        entry = _end(tx, queue, token)
        if entry is None:
            return False
        count = queue.counts.get(entry.seq, 0)
        if count:  # a suspect's last delivery is written down before it is handed out
            journal.count(tx, [(queue.subscription.name, entry.seq, count)])
        tx.after_commit(lambda: self._returned(queue, token, count))
        return True

    def put_aside(self, tx: Transaction, queue: Queue, token: int) -> bool:
        """The message waits until somebody asks for it by its number."""
        entry = _end(tx, queue, token)
        if entry is None:
            return False
        subscription, count = queue.subscription, queue.counts.get(entry.seq, 0) + 1
        door_journal.put_aside(tx, [(subscription.name, subscription.topic, entry, count)])
        tx.collect(self._write_done, (queue, entry, token))
        return True

    def expire(self, tx: Transaction, queue: Queue, entry: Entry) -> None:
        """A message in nobody's hands has outlived its time."""
        if queue.gone:
            return
        if queue.subscription.dead_letter_expired:
            self.bury(tx, queue, entry, EXPIRED)
        else:
            tx.collect(self._write_done, (queue, entry, None))

    def bury(self, tx: Transaction, queue: Queue, entry: Entry, why: DeadLetter) -> None:
        """A message in nobody's hands goes to the dead letters."""
        self._bury(tx, queue, entry, why, queue.counts.get(entry.seq, 0), None)

    def refuse(self, tx: Transaction, queue: Queue, entry: Entry, why: DeadLetter) -> None:
        """A message goes to the dead letters of a subscription that never had it."""
        tx.collect(self.write_dead, _buried(queue, entry, why, 0))

    def _bury(
        self,
        tx: Transaction,
        queue: Queue,
        entry: Entry,
        why: DeadLetter,
        delivered: int,
        token: int | None,
    ) -> None:
        tx.collect(self.write_dead, _buried(queue, entry, why, delivered))
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
                self._returned(queue, token, count)

        tx.after_commit(committed)

    def _returned(self, queue: Queue, token: int, count: int) -> None:
        queue.give_back(token, count)
        self._ended(token)

    def write_dead(self, tx: Transaction, dead: list[Buried]) -> None:
        """Write dead letters, and tell of them once they are written."""
        journal.bury(tx, dead)

        def committed() -> None:
            _tell(dead)
            for name in {one.subscription for one in dead}:
                self.buried(name)

        tx.after_commit(committed)


def _end(tx: Transaction, queue: Queue, token: int) -> Entry | None:
    """End a lock within `tx`: its message, or None where it has ended already."""
    lock = queue.locks.get(token)
    if lock is None or lock.ended_by is tx or queue.gone:
        return None
    lock.ended_by = tx
    return lock.entry


def _buried(queue: Queue, entry: Entry, why: DeadLetter, delivered: int) -> Buried:
    return Buried(queue.subscription.name, queue.subscription.topic, entry, delivered, why)


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
