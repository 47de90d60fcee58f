"""Taking up where the last run of the embedded bus ended, and leaving so that the next one can.

A run that ended in a crash leaves suspects: any message that was in memory may have caused it.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from notifications.bus import journal, tables
from notifications.bus.journal import Buried, MessageRow
from notifications.bus.queues import Entry, Queue
from notifications.bus.topology import Subscription, Topic
from notifications.database import Transaction
from notifications.errors import OverLimit
from notifications.messages import DeadLetter

MAX_SUBSCRIPTIONS = 63
"""Per topic: the bits of a signed 64-bit number."""

_KILLER = DeadLetter(
    "MaxDeliveryCountExceeded",
    "The process died each time it handled this message, the last time with no other in hand.",
)

_m, _n, _r = tables.messages.c, tables.subscriptions.c, tables.redeliveries.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What the last run left.

    Attributes:
        next_seq: The next sequence number.
        subscriptions: Each subscription, its bit, and how often its messages were delivered.
        suspects: (subscription name, message row) of those that have one delivery left after a
            crash.
        next_due: When the next scheduled message is due, or None.
    """

    next_seq: int
    subscriptions: Sequence[tuple[Subscription, int, dict[int, int]]]
    suspects: Sequence[tuple[str, MessageRow]]
    next_due: int | None


def recover(
    tx: Transaction, topology: Sequence[Topic], consuming: frozenset[str], *, wary: bool = True
) -> Recovered:
    """Count what a crashed run had in memory as delivered once, and find what needs care.

    The count goes up to one below the last only: whoever gets there is a suspect and is handed
    out alone. One whose count was at the last already was handed out alone, and the process died
    of it: it goes to the dead letters.
    """
    next_seq, clean = _last_run(tx)
    _drop_removed(tx, topology)
    found = []
    suspects: list[tuple[str, MessageRow]] = []
    for topic in topology:
        bits = _bits(tx, topic)
        for subscription in topic.subscriptions:
            bit, loaded = bits[subscription.name]
            counts = _counts(tx, subscription, 1 << bit)
            if wary and not clean:
                _bury_killers(tx, subscription, bit, counts)
                _count_interrupted(tx, subscription, bit, loaded, counts)
                if subscription.name in consuming:
                    last = subscription.max_delivery_count - 1
                    seqs = sorted(seq for seq, count in counts.items() if count >= last)
                    suspects += [(subscription.name, row) for row in _rows(tx, seqs)]
            found.append((subscription, bit, counts))
    _write_run(tx, next_seq, clean=False)
    return Recovered(
        next_seq=next_seq, subscriptions=found, suspects=suspects, next_due=journal.next_due(tx)
    )


def leave(tx: Transaction, queues: Iterable[Queue], suspects: "Suspects", next_seq: int) -> None:
    """End a run in good order: only what is in somebody's hands counts as delivered once more."""
    counts = []
    for queue in queues:
        last = queue.subscription.max_delivery_count - 1
        for lock in queue.locks.values():
            count = min(queue.counts.get(lock.entry.seq, 0) + 1, last)
            counts.append((queue.subscription.name, lock.entry.seq, count))
    if (unsaid := suspects.marked) is not None:
        queue, entry = unsaid
        last = queue.subscription.max_delivery_count - 1
        counts.append((queue.subscription.name, entry.seq, last))
    journal.count(tx, counts)
    _write_run(tx, next_seq, clean=not suspects)


class Suspects:
    """Messages that may have caused a crash: handed out one at a time, before everything else.

    Nothing else is handed out meanwhile, on the whole bus. But a process that has survived a
    message for as long as its lock lasts is not kept from the others any longer.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Queue, Entry]] = deque()
        self._marked = False
        self._token: int | None = None
        self._until = 0

    def __bool__(self) -> bool:
        return bool(self._waiting) or self._token is not None

    def add(self, queue: Queue, entry: Entry) -> None:
        """Suspect a message."""
        self._waiting.append((queue, entry))

    def first(self, queue: Queue) -> Entry | None:
        """Who is to be handed out now, if it is a message of this queue."""
        if self._token is not None or not self._waiting or self._waiting[0][0] is not queue:
            return None
        return self._waiting[0][1]

    def mark(self, entry: Entry) -> None:
        """It is written down that this one's last delivery is under way."""
        # It may be in somebody's hands already: two receivers wrote it, one was cancelled.
        self._marked = bool(self._waiting) and self._waiting[0][1] is entry

    @property
    def marked(self) -> tuple[Queue, Entry] | None:
        """Who was marked and is not in anybody's hands yet."""
        return self._waiting[0] if self._marked else None

    def drop(self) -> None:
        """The first one needs no delivery any more."""
        self._waiting.popleft()
        self._marked = False

    def hand_out(self, token: int | None, until: int) -> None:
        """The first one is in somebody's hands."""
        self.drop()
        self._token, self._until = token, until

    def settled(self, token: int | None) -> bool:
        """A lock has ended; whether that was the suspect's, so that the others may go on."""
        if token is None or token != self._token:
            return False
        self._token = None
        return True

    def survived(self, now: int) -> bool:
        """Whether the one in hand has had its time alone; it counts as settled from then on."""
        if self._token is None or now < self._until:
            return False
        self._token = None
        return True


def _last_run(tx: Transaction) -> tuple[int, bool]:
    row = tx.connection.execute(sa.select(tables.runs)).first()
    began, clean = (row.next_seq, row.clean) if row else (1, True)
    highest = (
        sa.select(sa.func.max(column)).scalar_subquery()
        for column in (
            _m.seq,
            tables.scheduled.c.seq,
            tables.dead_letters.c.seq,
            tables.deferred.c.seq,
            _n.loaded,
        )
    )
    seqs = tx.connection.execute(sa.select(*highest)).one()
    return max(began, 1 + max(seq or 0 for seq in seqs)), clean


def _write_run(tx: Transaction, next_seq: int, *, clean: bool) -> None:
    tx.connection.execute(
        sa.insert(tables.runs).prefix_with("OR REPLACE"),
        {"id": 1, "next_seq": next_seq, "clean": clean},
    )
    tx.connection.execute(sa.update(tables.subscriptions).values(loaded=0))


def _drop_removed(tx: Transaction, topology: Sequence[Topic]) -> None:
    """Take away subscriptions that are not in the topology any more, with their messages."""
    wanted = {(topic.name, one.name) for topic in topology for one in topic.subscriptions}
    for row in tx.connection.execute(sa.select(tables.subscriptions)).all():
        if (row.topic, row.name) not in wanted:
            remove(tx, row.topic, row.name, 1 << row.bit)


def remove(tx: Transaction, topic: str, name: str, mask: int) -> None:
    """Take away a subscription, with its messages; its dead letters stay."""
    waits = (_m.topic == topic, _m.pending.op("&")(mask) != 0)
    tx.connection.execute(sa.delete(tables.messages).where(*waits, _m.pending == mask))
    tx.connection.execute(
        sa.update(tables.messages).where(*waits).values(pending=_m.pending.op("&")(~mask))
    )
    tx.connection.execute(sa.delete(tables.subscriptions).where(_n.name == name))
    tx.connection.execute(sa.delete(tables.redeliveries).where(_r.subscription == name))


def add(tx: Transaction, subscription: Subscription) -> int:
    """Add a subscription while the bus runs; its bit.

    Raises:
        OverLimit: The topic has as many as it can have.
    """
    mine = sa.select(_n.bit).where(_n.topic == subscription.topic)
    taken = set(tx.connection.execute(mine).scalars())
    bit = next((bit for bit in range(MAX_SUBSCRIPTIONS) if bit not in taken), None)
    if bit is None:
        raise OverLimit(
            f"the topic {subscription.topic!r} has {MAX_SUBSCRIPTIONS} subscriptions: it can have"
            " no more, delete one that nobody needs",
            retry_after=0.0,
        )
    tx.connection.execute(
        sa.insert(tables.subscriptions).values(
            name=subscription.name, topic=subscription.topic, bit=bit, loaded=0
        )
    )
    return bit


def _bits(tx: Transaction, topic: Topic) -> dict[str, tuple[int, int]]:
    """Each subscription's bit and how far it was loaded; new ones get a bit."""
    rows = tx.connection.execute(sa.select(tables.subscriptions).where(_n.topic == topic.name))
    known = {row.name: (row.bit, row.loaded) for row in rows}
    for subscription in topic.subscriptions:
        if subscription.name not in known:
            known[subscription.name] = (add(tx, subscription), 0)
    return known


def _counts(tx: Transaction, subscription: Subscription, mask: int) -> dict[int, int]:
    """The counts of what is still pending; those of what was settled are forgotten."""
    waits = (
        sa.select(_m.seq)
        .where(_m.seq == _r.seq, _m.topic == subscription.topic, _m.pending.op("&")(mask) != 0)
        .exists()
    )
    mine = _r.subscription == subscription.name
    tx.connection.execute(sa.delete(tables.redeliveries).where(mine, ~waits))
    rows = tx.connection.execute(sa.select(_r.seq, _r.delivery_count).where(mine))
    return {row.seq: row.delivery_count for row in rows}


def _bury_killers(
    tx: Transaction, subscription: Subscription, bit: int, counts: dict[int, int]
) -> None:
    limit = subscription.max_delivery_count
    killers = sorted(seq for seq, count in counts.items() if count >= limit)
    for row in _rows(tx, killers):
        entry = journal.entry_of(row)
        journal.bury(tx, [Buried(subscription.name, subscription.topic, entry, limit, _KILLER)])
        journal.clear(tx, {entry.seq: 1 << bit}, {entry.seq: entry.pending})
    journal.forget_counts(tx, [(subscription.name, seq) for seq in killers])
    for seq in killers:
        del counts[seq]


def _count_interrupted(
    tx: Transaction, subscription: Subscription, bit: int, loaded: int, counts: dict[int, int]
) -> None:
    seqs = tx.connection.execute(
        sa.select(_m.seq).where(
            _m.seq <= loaded,
            _m.topic == subscription.topic,
            _m.pending.op("&")(1 << bit) != 0,
        )
    ).scalars()
    interrupted = []
    for seq in seqs:
        counts[seq] = min(counts.get(seq, 0) + 1, subscription.max_delivery_count - 1)
        interrupted.append((subscription.name, seq, counts[seq]))
    journal.count(tx, interrupted)


def _rows(tx: Transaction, seqs: Sequence[int]) -> list[MessageRow]:
    rows: list[MessageRow] = []
    for start in range(0, len(seqs), journal.PAGE):
        page = seqs[start : start + journal.PAGE]
        query = journal.entries.where(_m.seq.in_(page))
        rows += tx.connection.execute(query.order_by(_m.seq))
    return rows
