"""What a replay takes up, in SQL: counted, found, and read for the commit that takes it up.

Counting and finding go over bounded windows of a tenant's events, on a reader's thread.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from notifications.deliveries import Delivery
from notifications.directory import Endpoint
from notifications.events import Channel, decode_stored
from notifications.replays import Kind, Selection
from notifications.routing import DISABLED_EVENT, TEST_EVENT, goes_to
from notifications.stores import codes, tables
from notifications.timing import Numbers

WINDOW = 20_000
"""Events that one look goes over: what a reader's thread does in a tenth of a second."""

_WEBHOOK: sa.ColumnElement[str] = sa.literal_column(f"'{Channel.WEBHOOK}'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose events, and which of them."""

    endpoint: Endpoint
    selection: Selection


def count(
    connection: sa.Connection, scope: Scope, after: int
) -> tuple[Mapping[Kind, int], int, bool]:
    """What a window holds, by kind; how far it went, and whether that was the end."""
    upto, done = _window(connection, scope, after)
    counts: Counter[Kind] = Counter()
    matching = _matching(scope, after, upto)
    kind = sa.func.coalesce(_mine.c.state, Kind.ABSENT.value).label("kind")
    grouped = matching.with_only_columns(kind, sa.func.count().label("number")).group_by(kind)
    for row in connection.execute(grouped):
        counts[Kind(row.kind)] += row.number
    if Kind.ABSENT in scope.selection.kinds:
        counts[Kind.ABSENT] -= _not_for_it(connection, scope, after, upto)
    return counts, upto, done


def look(
    connection: sa.Connection, scope: Scope, after: int, limit: int
) -> tuple[Sequence[int], int, bool]:
    """Up to `limit` events to take up; how far it went, and whether that was the end."""
    upto, done = _window(connection, scope, after)
    query = _matching(scope, after, upto).with_only_columns(_e.key).order_by(_e.key)
    keys: Sequence[int] = connection.execute(query.limit(limit)).scalars().all()
    if len(keys) == limit:
        return keys, keys[-1], done and keys[-1] == upto
    return keys, upto, done


def deliveries(connection: sa.Connection, scope: Scope, keys: Sequence[int]) -> dict[int, Delivery]:
    """The endpoint's deliveries of these events, locked, by event."""
    return {
        row.event_key: codes.delivery_of(row)
        for page in codes.pages(keys)
        for row in connection.execute(_OWN, {"keys": page, "target": scope.endpoint.id})
        if row.tenant_id == scope.endpoint.tenant_id
    }


def bodies(connection: sa.Connection, scope: Scope, keys: Sequence[int]) -> list[Any]:
    """Events that were routed, with how many deliveries they have by webhook."""
    return [
        row
        for page in codes.pages(keys)
        for row in connection.execute(_ROUTED, {"keys": page, "tenant": scope.endpoint.tenant_id})
    ]


def _window(connection: sa.Connection, scope: Scope, after: int) -> tuple[int, bool]:
    below = Numbers.at(scope.selection.until)
    bounds = {
        "tenant": scope.endpoint.tenant_id,
        "after": after,
        "below": below,
        "skip": WINDOW - 1,
    }
    end: int | None = connection.execute(_WINDOW_END, bounds).scalar()
    return (below - 1, True) if end is None else (end, False)


def _matching(scope: Scope, after: int, upto: int) -> sa.Select[Any]:
    """The events of a window that are to be taken up, beside the endpoint's delivery."""
    selection = scope.selection
    states = [kind.value for kind in selection.kinds if kind is not Kind.ABSENT]
    wanted: sa.ColumnElement[bool] = _mine.c.state.in_(states)
    if Kind.ABSENT in selection.kinds:
        wanted = wanted | sa.and_(
            _mine.c.id.is_(None),
            _of_types(scope.endpoint.event_types),
            _e.type != TEST_EVENT,
            # What is not routed yet will be; another attempt beside it would be a second one.
            sa.exists().where(_any.c.event_key == _e.key, _any.c.channel == _WEBHOOK),
        )
    return (
        sa.select(_e.key)
        .select_from(
            tables.events.outerjoin(
                _mine,
                (_mine.c.event_key == _e.key)
                & (_mine.c.channel == _WEBHOOK)
                & (_mine.c.target == scope.endpoint.id),
            )
        )
        .where(
            _e.tenant_id == scope.endpoint.tenant_id,
            _e.key > after,
            _e.key <= upto,
            _of_types(selection.event_types),
            wanted,
        )
    )


def _not_for_it(connection: sa.Connection, scope: Scope, after: int, upto: int) -> int:
    """Of the absent ones, those that tell of the endpoint itself: their data says so."""
    query = (
        _matching(scope, after, upto)
        .with_only_columns(_e.body)
        .where(_mine.c.id.is_(None), _e.type == DISABLED_EVENT)
    )
    found = connection.execute(query).scalars()
    return sum(not goes_to(decode_stored(body), scope.endpoint) for body in found)


def _of_types(patterns: Sequence[str]) -> sa.ColumnElement[bool]:
    if "*" in patterns:
        return sa.true()
    exact = [each for each in patterns if not each.endswith(".*")]
    families = [each[:-1] for each in patterns if each.endswith(".*")]
    return sa.or_(
        _e.type.in_(exact), *(_e.type.startswith(each, autoescape=True) for each in families)
    )


_mine, _any = tables.deliveries.alias("mine"), tables.deliveries.alias("others")
_e, _d = tables.events.c, tables.deliveries.c
_b = sa.bindparam
_WINDOW_END = (
    sa.select(_e.key)
    .where(_e.tenant_id == _b("tenant"), _e.key > _b("after"), _e.key < _b("below"))
    .order_by(_e.key)
    .limit(1)
    .offset(_b("skip"))
)
_OWN = (
    sa.select(tables.deliveries)
    .where(
        _d.event_key.in_(_b("keys", expanding=True)),
        _d.channel == _WEBHOOK,
        _d.target == _b("target"),
    )
    .order_by(_d.id)
    .with_for_update()
)
_ROUTED = (
    sa.select(_e.key, _e.body, sa.func.max(_d.routed).label("routed"))
    .select_from(
        tables.events.join(tables.deliveries, (_d.event_key == _e.key) & (_d.channel == _WEBHOOK))
    )
    .where(_e.key.in_(_b("keys", expanding=True)), _e.tenant_id == _b("tenant"))
    .group_by(_e.key, _e.body)
)
