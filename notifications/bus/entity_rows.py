"""Topics, subscriptions and rules as they are kept in the file of a door that runs alone.

Each function works within a transaction. What is in memory follows once that is committed.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import orjson
import sqlalchemy as sa

from notifications.broker import NamedRule
from notifications.bus import tables
from notifications.bus.registry import RULES, Listed, Registry
from notifications.database import Transaction
from notifications.entities import Entity, Holding, Standing, SubscriptionEntity, TopicEntity

_TOPIC, _SUBSCRIPTION, _RULE = "topic", "subscription", "rule"

_e = tables.entities.c


def load(connection: sa.Connection) -> Registry:
    """What is in the file."""
    registry = Registry()
    rows = connection.execute(sa.select(tables.entities).order_by(_e.path)).all()
    for row in rows:
        if row.kind == _TOPIC:
            topic = TopicEntity(**orjson.loads(row.description))
            registry.topics[row.path] = _standing(topic, row)
    for row in rows:
        if row.kind == _SUBSCRIPTION:
            entity = SubscriptionEntity(**orjson.loads(row.description))
            standing: Standing[SubscriptionEntity] = _standing(entity, row)
            registry.put(Listed(standing, entity.path, {}))
    rules: dict[str, dict[str, NamedRule]] = {path: {} for path in registry.subscriptions}
    for row in rows:
        if row.kind == _RULE:
            path, name = row.path.rsplit(f"/{RULES}/", 1)
            rules[path][name] = NamedRule(**orjson.loads(row.description))
    for path, listed in registry.subscriptions.items():
        listed.rules = rules[path]
    return registry


def write(tx: Transaction, entity: Entity) -> None:
    """Write an entity that is new, or has other properties now."""
    kind = _TOPIC if isinstance(entity, TopicEntity) else _SUBSCRIPTION
    _write(tx, entity.path, kind, asdict(entity))


def write_rules(tx: Transaction, path: str, rules: Iterable[NamedRule]) -> None:
    """Write the rules of a subscription; those that are not among them are gone."""
    tx.connection.execute(sa.delete(tables.entities).where(_under(f"{path}/{RULES}")))
    for rule in rules:
        written = {**asdict(rule), "correlation": dict(rule.correlation)}
        _write(tx, f"{path}/{RULES}/{rule.name.casefold()}", _RULE, written)


def remove(tx: Transaction, path: str) -> None:
    """Remove an entity, and all that is below it."""
    tx.connection.execute(sa.delete(tables.entities).where((_e.path == path) | _under(path)))


def remove_left(tx: Transaction, topic: str, queues: Iterable[str]) -> None:
    """Remove what subscriptions that are gone left behind on the bus."""
    for table in (tables.dead_letters, tables.deferred, tables.redeliveries):
        for queue in queues:
            tx.connection.execute(sa.delete(table).where(table.c.subscription == queue))
    m = tables.messages.c
    tx.connection.execute(sa.delete(tables.messages).where(m.topic == topic, m.pending == 0))


def remove_scheduled(tx: Transaction, topic: str) -> None:
    """Remove the messages that wait for their time on a topic."""
    tx.connection.execute(sa.delete(tables.scheduled).where(tables.scheduled.c.topic == topic))


def holding_of_topic(connection: sa.Connection, topic: str) -> Holding:
    """How many messages a topic has."""
    scheduled, size = _number(connection, tables.scheduled, tables.scheduled.c.topic == topic)
    _, more = _number(connection, tables.messages, tables.messages.c.topic == topic)
    return Holding(scheduled=scheduled, size=size + more)


def holding_of_queue(connection: sa.Connection, queue: str, topic: str, mask: int) -> Holding:
    """How many messages a subscription has."""
    m, d, a = tables.messages.c, tables.dead_letters.c, tables.deferred.c
    waits = sa.and_(m.topic == topic, m.pending.op("&")(mask) != 0)
    active, size = _number(connection, tables.messages, waits)
    dead, size_dead = _number(connection, tables.dead_letters, d.subscription == queue)
    aside, size_aside = _number(connection, tables.deferred, a.subscription == queue)
    return Holding(active=active, dead=dead, deferred=aside, size=size + size_dead + size_aside)


def _number(
    connection: sa.Connection, table: sa.Table, which: sa.ColumnElement[bool]
) -> tuple[int, int]:
    size = sa.func.coalesce(sa.func.sum(sa.func.length(table.c.body)), 0)
    row = connection.execute(sa.select(sa.func.count(), size).where(which)).one()
    return int(row[0]), int(row[1])


def _write(tx: Transaction, path: str, kind: str, description: dict[str, Any]) -> None:
    row = {"kind": kind, "description": orjson.dumps(description), "updated_at": tx.now}
    done = tx.connection.execute(sa.update(tables.entities).where(_e.path == path).values(row))
    if not done.rowcount:
        made = {"path": path, "created_at": tx.now, **row}
        tx.connection.execute(sa.insert(tables.entities).values(made))


def _standing(entity: Any, row: Any) -> Standing[Any]:
    return Standing(entity=entity, created_at=row.created_at, updated_at=row.updated_at)


def _under(path: str) -> sa.ColumnElement[bool]:
    # By range, since `_` and `%` of a name would mean something to LIKE: `0` comes after `/`.
    return sa.and_(_e.path > f"{path}/", _e.path < f"{path}0")
