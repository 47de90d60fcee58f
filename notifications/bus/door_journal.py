"""What only clients of the door ask of the bus's tables: by number, by page, put aside, cancelled.

Each function works within a transaction, or reads.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from notifications.bus import tables
from notifications.bus.journal import EVERYTHING, PAGE_BYTES, columns, entry_of, fetch
from notifications.bus.queues import Entry
from notifications.database import Transaction
from notifications.routing import event_carried

IN_LIST = 400
"""Numbers that one statement names."""

_m, _s = tables.messages.c, tables.scheduled.c


def seqs(tx: Transaction, topic: str, mask: int) -> Iterator[int]:
    """The numbers of all messages that one subscription has not dealt with."""
    yield from tx.connection.execute(_SELECT_SEQS, {"topic": topic, "mask": mask}).scalars()


def some_waiting(
    connection: sa.Connection, topic: str, mask: int, *, after: int, limit: int
) -> tuple[list[Entry], bool]:
    """The first messages beyond `after` that one subscription has not dealt with, no more than make
    one answer; and whether it was cut short for that."""
    asked = {"topic": topic, "mask": mask, "after": after, "limit": limit}
    rows, cut = fetch(connection, {**asked, "upto": EVERYTHING})
    return [entry_of(row) for row in rows], cut or len(rows) == limit


def one_answer(rows: Iterable[Mapping[Any, Any]]) -> Iterator[Mapping[Any, Any]]:
    """As many rows as make one answer: the first in any case."""
    size = 0
    for row in rows:
        yield row
        size += len(row["body"]) + len(row["wire"] or b"")
        if size > PAGE_BYTES:
            return


def put_aside(tx: Transaction, deferred: Iterable[tuple[str, str, Entry, int]]) -> None:
    """Write (subscription, topic, message, deliveries) that wait to be asked for by number."""
    rows = [
        {
            **columns(topic, entry.seq, entry.message),
            "event": event_carried(entry.message),
            "subscription": name,
            "enqueued_at": entry.enqueued_at,
            "delivery_count": count,
        }
        for name, topic, entry, count in deferred
    ]
    tx.connection.execute(sa.insert(tables.deferred), rows)


def cancel_scheduled(tx: Transaction, topic: str, numbers: Collection[int]) -> bool:
    """Remove messages that become visible later, all or none; whether they were there."""
    for act in (_COUNT_SCHEDULED, _CANCEL_SCHEDULED):
        done = 0
        for page in bites(sorted(numbers)):
            result = tx.connection.execute(act, {"topic": topic, "seqs": page})
            done += result.rowcount if act is _CANCEL_SCHEDULED else result.scalar_one()
        if done != len(numbers):
            return False
    return True


def bites(seqs: Sequence[int]) -> list[Sequence[int]]:
    """In pieces that one statement can name."""
    return [seqs[start : start + IN_LIST] for start in range(0, len(seqs), IN_LIST)]


_SELECT_SEQS = sa.select(_m.seq).where(
    _m.topic == sa.bindparam("topic"), _m.pending.op("&")(sa.bindparam("mask")) != 0
)
_those: tuple[sa.ColumnElement[bool], ...] = (
    _s.topic == sa.bindparam("topic"),
    _s.seq.in_(sa.bindparam("seqs", expanding=True)),
)
_COUNT_SCHEDULED = sa.select(sa.func.count()).where(*_those)
_CANCEL_SCHEDULED = sa.delete(tables.scheduled).where(*_those)
