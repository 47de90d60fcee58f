"""What the API and the console read, in SQL. Implements `ports.Queries` and `HealthQueries`.

Every list goes down an index from its cursor; `tests/integration/test_query_plans.py` holds that.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from notifications.database import Database
from notifications.deliveries import State
from notifications.endpoints import EndpointHealth
from notifications.events import Channel, decode_stored
from notifications.records import AttemptView, DeliveryView, EventView
from notifications.stores import codes, tables

HEALTH_OF = 20
"""An endpoint's health is that of its last deliveries."""

_NEWEST = (1 << 63) - 1
_IN_LIST = 400
_HELD = (State.PENDING, State.PARKED, State.EXHAUSTED)
"""The states of the partial indexes `deliveries_held…`."""


class SqlQueries:
    """Reads events and deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(
        self,
        tenant_id: str | None,
        *,
        event_type: str | None = None,
        user_id: str | None = None,
        below: int | None = None,
        limit: int,
    ) -> Sequence[EventView]:
        """See `ports.Queries.events`."""
        query = _events(tenant_id, event_type, user_id, below).limit(limit)

        def read(connection: sa.Connection) -> list[EventView]:
            rows = connection.execute(query).all()
            routed = _routed(connection, [row.key for row in rows])
            return [_event_view(row, _is_routed(row.channels, routed[row.key])) for row in rows]

        return await self._database.read(read)

    async def event(self, tenant_id: str, event_id: str) -> EventView | None:
        """See `ports.Queries.event`."""

        def read(connection: sa.Connection) -> EventView | None:
            names = {"tenant": tenant_id, "id": event_id}
            row = connection.execute(_EVENT, names).first()
            if row is None:
                return None
            routed = _routed(connection, [row.key])
            found = connection.execute(_DELIVERIES_OF, {"key": row.key}).all()
            views = _with_attempts(connection, tenant_id, found)
            return _event_view(row, _is_routed(row.channels, routed[row.key]), views)

        return await self._database.read(read)

    async def deliveries(
        self,
        tenant_id: str,
        *,
        endpoint_id: str | None = None,
        state: str | None = None,
        event_id: str | None = None,
        channel: str | None = None,
        below: int | None = None,
        limit: int,
    ) -> Sequence[DeliveryView]:
        """See `ports.Queries.deliveries`."""

        def read(connection: sa.Connection) -> list[DeliveryView]:
            event_key = None
            if event_id is not None:
                names = {"tenant": tenant_id, "id": event_id}
                event_key = connection.execute(_EVENT_KEY, names).scalar()
                if event_key is None:
                    return []
            query = _deliveries(tenant_id, endpoint_id, state, event_key, channel, below)
            return [_delivery_view(row) for row in connection.execute(query.limit(limit))]

        return await self._database.read(read)

    async def delivery(self, tenant_id: str, delivery_id: int) -> DeliveryView | None:
        """See `ports.Queries.delivery`."""

        def read(connection: sa.Connection) -> DeliveryView | None:
            found = connection.execute(_DELIVERY, {"tenant": tenant_id, "id": delivery_id}).all()
            views = _with_attempts(connection, tenant_id, found)
            return views[0] if views else None

        return await self._database.read(read)

    async def health(
        self, tenant_id: str, endpoint_ids: Sequence[str]
    ) -> Mapping[str, EndpointHealth]:
        """See `endpoints.HealthQueries.health`."""

        def read(connection: sa.Connection) -> dict[str, EndpointHealth]:
            return {each: _health(connection, tenant_id, each) for each in endpoint_ids}

        return await self._database.read(read)


# --------------------------------------------------------------------------- statements


def _events(
    tenant_id: str | None, event_type: str | None, user_id: str | None, below: int | None
) -> sa.Select[Any]:
    query = _EVENT_ROW.where(_e.key < (_NEWEST if below is None else below))
    if tenant_id is not None:
        query = query.where(_e.tenant_id == tenant_id)
    if event_type is not None:
        query = query.where(_e.type == event_type)
    if user_id is not None:
        query = query.where(_e.user_id == user_id)
    return query.order_by(_e.key.desc())


def _deliveries(
    tenant_id: str,
    endpoint_id: str | None,
    state: str | None,
    event_key: int | None,
    channel: str | None,
    below: int | None,
) -> sa.Select[Any]:
    query = _DELIVERY_ROW.where(_d.id < (_NEWEST if below is None else below))
    # The event's number is unique in the ledger and was looked up with the tenant; naming the
    # tenant again would send the planner down all of its deliveries.
    query = query.where(_d.event_key == event_key if event_key else _d.tenant_id == tenant_id)
    if endpoint_id is not None:
        query = query.where(_d.channel == _literal(Channel.WEBHOOK), _d.target == endpoint_id)
    if state is not None:
        query = query.where(_d.state == state)
        if state in _HELD and event_key is None:
            query = query.where(_d.state.in_([_literal(each) for each in _HELD]))
    if channel is not None:
        query = query.where(_d.channel == channel)
    return query.order_by(_d.id.desc())


def _literal(value: str) -> sa.ColumnClause[str]:
    """A constant in the statement's text.

    With a parameter in its place SQLite prepares the statement anew for each value, to see whether
    a partial index fits.
    """
    return sa.literal_column(f"'{value}'", sa.Text)


# --------------------------------------------------------------------------- rows to views


def _routed(
    connection: sa.Connection, keys: Sequence[int]
) -> defaultdict[int, dict[str, tuple[int, int]]]:
    """By event and channel: how many rows there are, and how many there are to be."""
    found: defaultdict[int, dict[str, tuple[int, int]]] = defaultdict(dict)
    for start in range(0, len(keys), _IN_LIST):
        for row in connection.execute(_ROUTED, {"keys": keys[start : start + _IN_LIST]}):
            found[row.event_key][row.channel] = (row.there, row.routed)
    return found


def _is_routed(channels: int, rows: Mapping[str, tuple[int, int]]) -> bool:
    counts = (rows.get(channel, (0, 1)) for channel in codes.channels_of(channels))
    return all(there >= routed for there, routed in counts)


def _event_view(row: Any, routed: bool, deliveries: Sequence[DeliveryView] = ()) -> EventView:
    return EventView(
        key=row.key,
        event=decode_stored(row.body),
        accepted_at=row.accepted_at,
        routed=routed,
        deliveries=deliveries,
    )


def _delivery_view(row: Any, attempts: Sequence[AttemptView] = ()) -> DeliveryView:
    return DeliveryView(delivery=codes.delivery_of(row), event_id=row.event_id, attempts=attempts)


def _with_attempts(
    connection: sa.Connection, tenant_id: str, rows: Sequence[Any]
) -> list[DeliveryView]:
    later: defaultdict[int, list[AttemptView]] = defaultdict(list)
    ids = [row.id for row in rows]
    for start in range(0, len(ids), _IN_LIST):
        page = {"tenant": tenant_id, "ids": ids[start : start + _IN_LIST]}
        for row in connection.execute(_ATTEMPTS, page):
            later[row.delivery_id].append(_attempt(row))
    return [_delivery_view(row, [*_first(row), *later[row.id]]) for row in rows]


def _first(row: Any) -> list[AttemptView]:
    if row.first_at is None:
        return []
    return [
        AttemptView(
            round=1,
            number=1,
            at=row.first_at,
            duration_ms=row.first_ms,
            outcome=row.first_outcome,
            status=row.first_status,
            detail=row.first_detail,
        )
    ]


def _attempt(row: Any) -> AttemptView:
    return AttemptView(
        round=row.round,
        number=row.number,
        at=row.at,
        duration_ms=row.duration_ms,
        outcome=row.outcome,
        status=row.status,
        detail=row.detail,
    )


def _health(connection: sa.Connection, tenant_id: str, endpoint_id: str) -> EndpointHealth:
    query = _deliveries(tenant_id, endpoint_id, None, None, None, None).limit(HEALTH_OF)
    views = _with_attempts(connection, tenant_id, connection.execute(query).all())
    tried = [attempt for view in views for attempt in view.attempts]
    return EndpointHealth(
        last_attempt_at=max((each.at for each in tried), default=None),
        last_success_at=max((e.at for e in tried if e.outcome == "delivered"), default=None),
        recent_failures=sum(
            bool(view.attempts) and view.attempts[-1].outcome != "delivered" for view in views
        ),
    )


_e, _d, _a = tables.events.c, tables.deliveries.c, tables.attempts.c
_b = sa.bindparam

_EVENT_ROW = sa.select(_e.key, _e.channels, _e.accepted_at, _e.body)
_EVENT = _EVENT_ROW.where(_e.tenant_id == _b("tenant"), _e.id == _b("id"))
_EVENT_KEY = sa.select(_e.key).where(_e.tenant_id == _b("tenant"), _e.id == _b("id"))
_DELIVERY_ROW = sa.select(tables.deliveries, _e.id.label("event_id")).join(
    tables.events, _e.key == _d.event_key
)
_DELIVERY = _DELIVERY_ROW.where(_d.tenant_id == _b("tenant"), _d.id == _b("id"))
_DELIVERIES_OF = _DELIVERY_ROW.where(_d.event_key == _b("key")).order_by(_d.id)
_ROUTED = (
    sa.select(
        _d.event_key,
        _d.channel,
        sa.func.count().label("there"),
        sa.func.max(_d.routed).label("routed"),
    )
    .where(_d.event_key.in_(_b("keys", expanding=True)))
    .group_by(_d.event_key, _d.channel)
)
_ATTEMPTS = (
    sa.select(tables.attempts)
    .where(_a.tenant_id == _b("tenant"), _a.delivery_id.in_(_b("ids", expanding=True)))
    .order_by(_a.delivery_id, _a.round, _a.number)
)
