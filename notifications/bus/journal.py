"""What the embedded bus writes down and reads back. Each function works within a transaction."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from notifications import statements
from notifications.bus import tables
from notifications.bus.queues import Entry
from notifications.database import Transaction
from notifications.errors import FieldError, InvalidInput
from notifications.messages import DeadLetter, Message
from notifications.routing import event_carried

PAGE = 500
"""Messages that one transaction moves, be it from the schedule or to the dead letters."""

LOADED = 2_000
"""Messages that are brought into memory at once: each time is a commit, and with fewer of these
receiving from a backlog costs hardly more than without one (bench/backlog.py)."""

PAGE_BYTES = 4 * 1024 * 1024
"""As much of bodies is read at once: a page is short where messages are long."""

SCAN = 4_000
"""Messages looked at for a page: others may have a backlog in which this one has no share."""

_FETCHED = 64
"""Rows that are taken from the database before the bytes are counted."""

_WORDS = 4_096
"""Characters of a reason or description that are kept, as in Service Bus."""


@dataclass(frozen=True, slots=True)
class Buried:
    """A message that goes to a subscription's dead letters.

    Attributes:
        subscription: The subscription's name.
        topic: Its topic.
        entry: The message.
        delivery_count: How often it was delivered.
        why: What is written on it.
    """

    subscription: str
    topic: str
    entry: Entry
    delivery_count: int
    why: DeadLetter


@dataclass(frozen=True, slots=True)
class Page:
    """A subscription's next messages.

    Attributes:
        rows: The messages, oldest first.
        upto: There are no others of this subscription's up to this sequence number.
        more: Whether there may be some beyond it.
    """

    rows: Sequence["MessageRow"]
    upto: int
    more: bool


_m, _n = tables.messages.c, tables.subscriptions.c
_r, _s = tables.redeliveries.c, tables.scheduled.c

entries = sa.select(
    _m.seq,
    _m.enqueued_at,
    _m.pending,
    _m.message_id,
    _m.properties,
    _m.subject,
    _m.content_type,
    _m.body,
    _m.wire,
    _m.system,
)
"""Messages as `entry_of` takes them."""

MessageRow = Sequence[Any]
"""A row of these; its values stand where the columns do."""

SEQ, _BODY, _WIRE = 0, 7, 8


def message_of(row: Mapping[Any, Any]) -> Message:
    """What was sent."""
    return Message(
        id=row["message_id"],
        body=row["body"],
        properties=orjson.loads(row["properties"]),
        subject=row["subject"],
        content_type=row["content_type"],
        wire=row["wire"],
        system=None if row["system"] is None else orjson.loads(row["system"]),
    )


def entry_of(row: MessageRow) -> Entry:
    """A message of `entries`. By position: it is made for every message of a backlog."""
    seq, enqueued_at, pending, message_id, properties, subject, content_type, body, wire, system = (
        row
    )
    message = Message(
        id=message_id,
        body=body,
        properties=orjson.loads(properties),
        subject=subject,
        content_type=content_type,
        wire=wire,
        system=None if system is None else orjson.loads(system),
    )
    return Entry(seq, message, enqueued_at, pending)


def insert(tx: Transaction, topic: str, arrived: Iterable[Entry]) -> None:
    """Write messages that are visible from now on."""
    rows = []
    for entry in arrived:
        row = columns(topic, entry.seq, entry.message)
        row["event"] = None if entry.message.decoded else event_carried(entry.message)
        row["enqueued_at"] = entry.enqueued_at
        row["pending"] = entry.pending
        rows.append(row)
    statements.run(tx.connection, _INSERT, rows)


def page(tx: Transaction, topic: str, mask: int, *, after: int, limit: int) -> Page:
    """Read up to `limit` messages that wait for one subscription, beyond `after`."""
    asked = {"topic": topic, "mask": mask, "after": after, "limit": limit}
    # The next `SCAN` numbers are no more messages than that; in a backlog of its own they are many.
    rows, cut = fetch(tx.connection, {**asked, "upto": after + SCAN})
    if cut or len(rows) == limit:
        return Page(rows, rows[-1][SEQ], more=True)
    last: int = tx.connection.execute(_LAST).scalar() or 0
    if last <= after + SCAN:
        return Page(rows, rows[-1][SEQ] if rows else after, more=False)
    if rows:
        return Page(rows, rows[-1][SEQ], more=True)
    # Others' messages, or numbers that are gone: count what there is.
    scanned: int | None = tx.connection.execute(_SCANNED, {"after": after}).scalar()
    upto = EVERYTHING if scanned is None else scanned
    rows, cut = fetch(tx.connection, {**asked, "upto": upto})
    if cut or len(rows) == limit:
        return Page(rows, rows[-1][SEQ], more=True)
    if scanned is not None:
        return Page(rows, scanned, more=True)
    return Page(rows, rows[-1][SEQ] if rows else after, more=False)


def fetch(connection: sa.Connection, asked: Mapping[str, object]) -> tuple[list[MessageRow], bool]:
    """Rows beyond `after` and up to `upto`, and whether there are too many for one answer."""
    rows: list[MessageRow] = []
    size = 0
    result = connection.execute(_SELECT_PAGE, asked)
    cursor = result.cursor  # the driver's own rows: half the price, and this is for each message
    assert cursor is not None
    while size <= PAGE_BYTES and (some := cursor.fetchmany(_FETCHED)):
        rows += some
        size += sum([len(row[_BODY]) + len(row[_WIRE] or b"") for row in some])
    result.close()
    return rows, size > PAGE_BYTES


def waiting(
    connection: sa.Connection, topic: str, mask: int, *, after: int, limit: int
) -> Sequence[Entry]:
    """The first `limit` messages beyond `after` that one subscription has not dealt with."""
    asked = {"topic": topic, "mask": mask, "after": after, "limit": limit, "upto": EVERYTHING}
    return [entry_of(row) for row in connection.execute(_SELECT_PAGE, asked)]


def clear(tx: Transaction, done: Mapping[int, int], pending: Mapping[int, int]) -> None:
    """Clear bits of messages; those that nobody waits for any more are deleted.

    Args:
        tx: The transaction.
        done: The bits to clear, by sequence number.
        pending: The bits that were set before, by sequence number.
    """
    left = [{"b_seq": seq, "b_keep": ~bits} for seq, bits in done.items() if pending[seq] & ~bits]
    gone = [{"b_seq": seq} for seq, bits in done.items() if not pending[seq] & ~bits]
    if left:
        statements.run(tx.connection, _CLEAR_BITS, left)
    if gone:
        statements.run(tx.connection, _DELETE_MESSAGE, gone)


def count(tx: Transaction, counts: Iterable[tuple[str, int, int]]) -> None:
    """Write (subscription, sequence number, deliveries so far)."""
    rows = [
        {"subscription": name, "seq": seq, "delivery_count": number} for name, seq, number in counts
    ]
    if rows:
        statements.run(tx.connection, _SET_COUNT, rows)


def forget_counts(tx: Transaction, done: Iterable[tuple[str, int]]) -> None:
    """Forget the counts of (subscription, sequence number)."""
    rows = [{"b_name": name, "b_seq": seq} for name, seq in done]
    if rows:
        statements.run(tx.connection, _FORGET_COUNT, rows)


def write_loaded(tx: Transaction, loaded: Iterable[tuple[str, int]]) -> None:
    """Write how far subscriptions have messages in memory."""
    rows = [{"b_name": name, "b_loaded": seq} for name, seq in loaded]
    if rows:
        statements.run(tx.connection, _SET_LOADED, rows)


def set_apart(tx: Transaction, next_seq: int) -> None:
    """Have the next run begin with this number, if this one does not end in good order."""
    statements.run(tx.connection, _SET_APART, [{"b_next_seq": next_seq}])


def bury(tx: Transaction, dead: Iterable[Buried]) -> None:
    """Write dead letters; the messages themselves are cleared apart from this."""
    rows = [
        {
            **columns(one.topic, one.entry.seq, one.entry.message),
            "event": event_carried(one.entry.message),
            "subscription": one.subscription,
            "enqueued_at": one.entry.enqueued_at,
            "delivery_count": one.delivery_count,
            "reason": one.why.reason[:_WORDS],
            "description": one.why.description[:_WORDS],
            "dead_at": tx.now,
        }
        for one in dead
    ]
    tx.connection.execute(_BURY, rows)


def schedule(tx: Transaction, topic: str, first_seq: int, messages: Sequence[Message]) -> None:
    """Write messages that become visible later."""
    rows = [
        {
            **columns(topic, seq, message),
            "event": event_carried(message),
            "due_at": message.due_at,
        }
        for seq, message in enumerate(messages, first_seq)
    ]
    tx.connection.execute(_SCHEDULE, rows)


def take_due(tx: Transaction) -> dict[str, list[Message]]:
    """Remove a page of messages that are due; by topic, the longest due first."""
    rows = tx.connection.execute(_SELECT_DUE, {"now": tx.now}).mappings().all()
    by_topic: dict[str, list[Message]] = {}
    for row in rows:
        by_topic.setdefault(row["topic"], []).append(message_of(row))
    if rows:
        tx.connection.execute(_DELETE_SCHEDULED, [{"b_seq": row["seq"]} for row in rows])
    return by_topic


def next_due(tx: Transaction) -> int | None:
    """When the next scheduled message is due."""
    due: int | None = tx.connection.execute(_NEXT_DUE).scalar()
    return due


def columns(topic: str, seq: int, message: Message) -> dict[str, object]:
    """What every table has of a message."""
    return {
        "seq": seq,
        "topic": topic,
        "message_id": message.id,
        "body": message.body,
        "properties": _properties(message),
        "subject": message.subject,
        "content_type": message.content_type,
        "system": None if not message.system else orjson.dumps(dict(message.system)),
        "wire": message.wire,
    }


def _properties(message: Message) -> bytes:
    written = orjson.dumps(message.properties)
    if b"null" in written:  # that is how it writes what is no number
        for name, value in message.properties.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidInput([FieldError(f"/properties/{name}", "not a finite number")])
    return written


EVERYTHING = 2**63 - 1
_INSERT = sa.insert(tables.messages)
_SCHEDULE = sa.insert(tables.scheduled)
_LAST = sa.select(sa.func.max(_m.seq))
_SCANNED = (
    sa.select(_m.seq)
    .where(_m.seq > sa.bindparam("after"))
    .order_by(_m.seq)
    .limit(1)
    .offset(SCAN - 1)
)
_SELECT_PAGE = (
    entries.where(
        _m.seq > sa.bindparam("after"),
        _m.seq <= sa.bindparam("upto"),
        _m.topic == sa.bindparam("topic"),
        _m.pending.op("&")(sa.bindparam("mask")) != 0,
    )
    .order_by(_m.seq)
    .limit(sa.bindparam("limit"))
)
_CLEAR_BITS = (
    sa.update(tables.messages)
    .where(_m.seq == sa.bindparam("b_seq"))
    .values(pending=_m.pending.op("&")(sa.bindparam("b_keep")))
)
_DELETE_MESSAGE = sa.delete(tables.messages).where(_m.seq == sa.bindparam("b_seq"))
_SET_COUNT = sa.insert(tables.redeliveries).prefix_with("OR REPLACE")
_FORGET_COUNT = sa.delete(tables.redeliveries).where(
    _r.subscription == sa.bindparam("b_name"), _r.seq == sa.bindparam("b_seq")
)
_SET_LOADED = (
    sa.update(tables.subscriptions)
    .where(_n.name == sa.bindparam("b_name"))
    .values(loaded=sa.bindparam("b_loaded"))
)
_SET_APART = sa.update(tables.runs).values(next_seq=sa.bindparam("b_next_seq"))
_BURY = sa.insert(tables.dead_letters).prefix_with("OR REPLACE")
_SELECT_DUE = (
    sa.select(tables.scheduled)
    .where(_s.due_at <= sa.bindparam("now"))
    .order_by(_s.due_at, _s.seq)
    .limit(PAGE)
)
_DELETE_SCHEDULED = sa.delete(tables.scheduled).where(_s.seq == sa.bindparam("b_seq"))
_NEXT_DUE = sa.select(sa.func.min(_s.due_at))
