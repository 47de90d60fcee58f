"""Events coming into the ledger, being looked up and counted, within a transaction."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from notifications import statements
from notifications.database import Transaction
from notifications.events import Channel, Event, Known, decode_stored
from notifications.messages import Message
from notifications.records import Accepted
from notifications.routing import event_message
from notifications.stores import codes, tables
from notifications.timing import Numbers

Offer = tuple[Event, frozenset[Channel], bool]
"""An event, the channels that carry it, and whether its message is to be sent."""

Name = tuple[str, str]
"""Tenant id and event id."""


def accept(
    tx: Transaction, offers: Sequence[Offer], numbers: Numbers
) -> tuple[list[Accepted], list[Message]]:
    """Insert what is new; one answer per offer, in order, and the messages to send."""
    prints = [event.fingerprint() for event, _, _ in offers]
    first: dict[Name, int] = {}
    for index, (event, _, _) in enumerate(offers):
        first.setdefault((event.tenant_id, event.id), index)
    inserted = _insert(tx, offers, prints, first.values(), numbers)
    kept = {name: (key, prints[first[name]]) for name, key in inserted.items()}
    kept.update(_stored_prints(tx, [name for name in first if name not in kept]))
    answers = []
    for index, (event, _, _) in enumerate(offers):
        name = (event.tenant_id, event.id)
        key, stored = kept[name]
        new = name in inserted and first[name] == index
        same = stored == prints[index]
        answers.append(Accepted(key=key, duplicate=same and not new, conflict=not same))
    messages = [
        event_message(event, decoded=Known(key=key, event=event, channels=channels))
        for name, key in inserted.items()
        for event, channels, send in (offers[first[name]],)
        if send
    ]
    return answers, messages


def _insert(
    tx: Transaction,
    offers: Sequence[Offer],
    prints: Sequence[bytes],
    indexes: Collection[int],
    numbers: Numbers,
) -> dict[Name, int]:
    """Insert those that are new; their numbers, in the order offered."""
    rows: list[dict[str, Any]] = [
        {
            "key": key,
            "tenant_id": event.tenant_id,
            "id": event.id,
            "type": event.type,
            "user_id": event.user_id,
            "channels": codes.channels_code(channels),
            "counted": 0,
            "accepted_at": tx.now,
            "fingerprint": prints[index],
            "body": event.body,
        }
        for index, key in zip(indexes, numbers.several(len(indexes)), strict=True)
        for event, channels, _ in (offers[index],)
    ]
    dialect = tx.connection.dialect.name
    if not tx.shared:
        insert = _new_events(dialect)
        told = zip(rows, statements.new_of(tx.connection, insert, rows), strict=True)
        return {(row["tenant_id"], row["id"]): row["key"] for row, new in told if new}
    found = tx.connection.execute(_new_events_told(dialect), rows)
    keys = {(row.tenant_id, row.id): row.key for row in found}
    return dict(sorted(keys.items(), key=lambda item: item[1]))


def _stored_prints(tx: Transaction, names: Sequence[Name]) -> dict[Name, tuple[int, bytes]]:
    found: dict[Name, tuple[int, bytes]] = {}
    for tenant_id, event_id in names:
        row = tx.connection.execute(_PRINT, {"tenant": tenant_id, "id": event_id}).one()
        found[(tenant_id, event_id)] = (row.key, row.fingerprint)
    return found


def look(connection: sa.Connection, names: Sequence[Name], channel: Channel) -> dict[Name, Known]:
    """What is known of events, by name, and who has a row already on a channel."""
    # By tenant: SQLite finds no index for (tenant, id) IN a list of pairs.
    by_tenant: dict[str, list[str]] = {}
    for tenant_id, event_id in names:
        by_tenant.setdefault(tenant_id, []).append(event_id)
    rows: list[Any] = []
    for tenant_id, ids in by_tenant.items():
        for page in codes.pages(ids):
            rows += connection.execute(_EVENTS, {"tenant": tenant_id, "ids": page})
    targets: dict[int, set[str]] = {row.key: set() for row in rows}
    for keys in codes.pages(list(targets)):
        for row in connection.execute(_TARGETS, {"keys": keys, "channel": channel.value}):
            targets[row.event_key].add(row.target)
    return {
        (row.tenant_id, row.id): Known(
            key=row.key,
            event=decode_stored(row.body),
            channels=codes.channels_of(row.channels),
            routed=frozenset(targets[row.key]),
        )
        for row in rows
    }


def count(tx: Transaction, keys: Sequence[int]) -> int:
    """Count the events that were not counted yet; how many those were."""
    alike: Counter[tuple[str, str, int]] = Counter()
    for page in codes.pages(keys):
        alike.update(map(tuple, tx.connection.execute(_COUNT_NEW, {"keys": page})))
    new: Counter[tuple[str, str, str]] = Counter()
    for (tenant_id, kind, accepted_at), number in alike.items():
        new[(tenant_id, codes.day_of(accepted_at), kind)] += number
    if new:
        _add_counts(tx, new)
    return new.total()


def _add_counts(tx: Transaction, new: Mapping[tuple[str, str, str], int]) -> None:
    tx.connection.execute(
        _new_counts(tx.connection.dialect.name),
        [
            {"tenant_id": tenant, "day": day, "type": kind, "count": number}
            for (tenant, day, kind), number in sorted(new.items())
        ],
    )


@cache
def _new_events(dialect: str) -> Any:
    statement = codes.upsert_in(dialect, tables.events)
    return statement.on_conflict_do_nothing(index_elements=["tenant_id", "id"])


@cache
def _new_events_told(dialect: str) -> Any:
    return _new_events(dialect).returning(_e.tenant_id, _e.id, _e.key)


@cache
def _new_counts(dialect: str) -> Any:
    statement = codes.upsert_in(dialect, tables.event_counts)
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "day", "type"],
        set_={"count": tables.event_counts.c.count + statement.excluded.count},
    )


_e, _d = tables.events.c, tables.deliveries.c
_b = sa.bindparam

_PRINT = sa.select(_e.key, _e.fingerprint).where(_e.tenant_id == _b("tenant"), _e.id == _b("id"))
_EVENTS = sa.select(_e.tenant_id, _e.id, _e.key, _e.channels, _e.body).where(
    _e.tenant_id == _b("tenant"), _e.id.in_(_b("ids", expanding=True))
)
_TARGETS = sa.select(_d.event_key, _d.target).where(
    _d.event_key.in_(_b("keys", expanding=True)), _d.channel == _b("channel")
)
_COUNT_NEW = (
    sa.update(tables.events)
    .where(_e.key.in_(_b("keys", expanding=True)), _e.counted == 0)
    .values(counted=1)
    .returning(_e.tenant_id, _e.type, _e.accepted_at)
)
