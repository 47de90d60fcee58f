"""Taking up where the last run of the embedded bus ended, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from notifications.bus import tables
from notifications.bus.topology import Subscription, Topic
from notifications.database import Transaction

_MAX_SUBSCRIPTIONS = 63
"""Per topic: the bits of a signed 64-bit number."""

_m, _n, _r = tables.messages.c, tables.subscriptions.c, tables.redeliveries.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What the last run left.

    Attributes:
        next_seq: The next sequence number.
        subscriptions: Each subscription, its bit, and how often its messages were delivered.
        suspects: (subscription name, message row) of those that have one delivery left.
        next_due: When the next scheduled message is due, or None.
    """

    next_seq: int
    subscriptions: Sequence[tuple[Subscription, int, dict[int, int]]]
    suspects: Sequence[tuple[str, sa.RowMapping]]
    next_due: int | None


def recover(tx: Transaction, topology: Sequence[Topic], consuming: frozenset[str]) -> Recovered:
    """Count what the last run had in memory as delivered once, and find what needs care.

    The count goes up to one below the last only: whoever gets there is a suspect and is handed
    out alone. One whose count was at the last already was handed out alone, and the process died
    of it: it goes to the dead letters.
    """
    tx.connection.execute(sa.delete(tables.messages).where(_m.pending == 0))
    next_seq = _next_seq(tx)
    found = []
    suspects: list[tuple[str, sa.RowMapping]] = []
    for topic in topology:
        bits = _bits(tx, topic)
        for subscription in topic.subscriptions:
            bit, loaded = bits[subscription.name]
            counts = _counts(tx, subscription)
            _bury_killers(tx, subscription, bit, counts)
            _count_interrupted(tx, subscription, bit, loaded, counts)
            last = subscription.max_delivery_count - 1
            if subscription.name in consuming:
                seqs = sorted(seq for seq, count in counts.items() if count >= last)
                suspects += [(subscription.name, row) for row in _rows(tx, seqs)]
            found.append((subscription, bit, counts))
    tx.connection.execute(sa.update(tables.subscriptions).values(loaded=0))
    next_due = tx.connection.execute(sa.select(sa.func.min(tables.scheduled.c.due_at))).scalar()
    return Recovered(next_seq=next_seq, subscriptions=found, suspects=suspects, next_due=next_due)


def _next_seq(tx: Transaction) -> int:
    highest = (
        sa.select(sa.func.max(column)).scalar_subquery()
        for column in (_m.seq, tables.scheduled.c.seq, tables.dead_letters.c.seq, _n.loaded)
    )
    row = tx.connection.execute(sa.select(*highest)).one()
    return 1 + max(value or 0 for value in row)


def _bits(tx: Transaction, topic: Topic) -> dict[str, tuple[int, int]]:
    """Each subscription's bit and how far it was loaded; new ones get a bit."""
    rows = tx.connection.execute(sa.select(tables.subscriptions).where(_n.topic == topic.name))
    known = {row.name: (row.bit, row.loaded) for row in rows}
    wanted = {subscription.name for subscription in topic.subscriptions}
    for name in known.keys() - wanted:
        keep = ~(1 << known.pop(name)[0])
        tx.connection.execute(
            sa.update(tables.messages)
            .where(_m.topic == topic.name)
            .values(pending=_m.pending.op("&")(keep))
        )
        tx.connection.execute(sa.delete(tables.subscriptions).where(_n.name == name))
    free = (b for b in range(_MAX_SUBSCRIPTIONS) if b not in {bit for bit, _ in known.values()})
    for subscription in topic.subscriptions:
        if subscription.name not in known:
            known[subscription.name] = (next(free), 0)
            tx.connection.execute(
                sa.insert(tables.subscriptions).values(
                    name=subscription.name,
                    topic=topic.name,
                    bit=known[subscription.name][0],
                    loaded=0,
                )
            )
    return known


def _counts(tx: Transaction, subscription: Subscription) -> dict[int, int]:
    rows = tx.connection.execute(
        sa.select(_r.seq, _r.delivery_count).where(_r.subscription == subscription.name)
    )
    return {row.seq: row.delivery_count for row in rows}


def _bury_killers(
    tx: Transaction, subscription: Subscription, bit: int, counts: dict[int, int]
) -> None:
    limit = subscription.max_delivery_count
    killers = [seq for seq, count in counts.items() if count >= limit]
    for row in _rows(tx, killers):
        columns = {c.name: row[c.name] for c in tables.messages.c if c.name != "pending"}
        tx.connection.execute(
            sa.insert(tables.dead_letters).prefix_with("OR REPLACE"),
            {
                **columns,
                "subscription": subscription.name,
                "delivery_count": limit,
                "reason": "MaxDeliveryCountExceeded",
                "description": "The process died each time it handled this message, "
                "the last time with no other in hand.",
                "dead_at": tx.now,
            },
        )
        tx.connection.execute(
            sa.update(tables.messages)
            .where(_m.seq == row["seq"])
            .values(pending=_m.pending.op("&")(~(1 << bit)))
        )
    for seq in killers:
        del counts[seq]
        tx.connection.execute(
            sa.delete(tables.redeliveries).where(
                _r.subscription == subscription.name, _r.seq == seq
            )
        )


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
    rows = []
    for seq in seqs:
        counts[seq] = min(counts.get(seq, 0) + 1, subscription.max_delivery_count - 1)
        rows.append({"subscription": subscription.name, "seq": seq, "delivery_count": counts[seq]})
    if rows:
        tx.connection.execute(sa.insert(tables.redeliveries).prefix_with("OR REPLACE"), rows)


def _rows(tx: Transaction, seqs: Sequence[int]) -> list[sa.RowMapping]:
    rows: list[sa.RowMapping] = []
    for start in range(0, len(seqs), 500):
        query = sa.select(tables.messages).where(_m.seq.in_(seqs[start : start + 500]))
        rows += tx.connection.execute(query.order_by(_m.seq)).mappings()
    return rows
