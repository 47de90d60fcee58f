"""What the console reads beside the API's lists, in SQL. Implements `browsing.Tenancy` and `Pulse`.

Tenants have no table: they are found by skipping through the indexes that begin with the tenant,
from each to the next. Counts stop at a bound. `tests/integration/test_query_plans.py` holds that.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from notifications.browsing import Held, Leg, Recent
from notifications.database import Database
from notifications.deliveries import State
from notifications.directory import User
from notifications.events import Channel
from notifications.stores import codes, tables

_HELD = (State.PENDING, State.PARKED, State.EXHAUSTED)
_NEEDING = (State.PARKED, State.EXHAUSTED)

STEPS = 2_000
"""Tenants with something held that one look for those in need passes: ten milliseconds' worth."""


class SqlBrowsing:
    """Looks around."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---------------------------------------------------------------- browsing.Tenancy

    async def tenants(self, *, after: str, limit: int) -> Sequence[str]:
        """See `browsing.Tenancy.tenants`."""
        asked = {"after": after, "limit": limit}
        return await self._database.read(lambda c: c.execute(_TENANTS, asked).scalars().all())

    async def users(self, tenant_id: str, *, after: str, limit: int) -> Sequence[User]:
        """See `browsing.Tenancy.users`."""
        asked = {"tenant": tenant_id, "after": after, "limit": limit}
        rows = await self._database.read(lambda c: c.execute(_USERS, asked).all())
        return [codes.user_of(row) for row in rows]

    async def held(self, tenant_ids: Sequence[str], *, most: int) -> Mapping[str, Held]:
        """See `browsing.Tenancy.held`."""

        def read(connection: sa.Connection) -> dict[str, Held]:
            found = {}
            for tenant_id in tenant_ids:
                asked = {"tenant": tenant_id, "most": most}
                counts = [connection.execute(_COUNTS[state], asked).scalar_one() for state in _HELD]
                pending, parked, exhausted = counts
                found[tenant_id] = Held(pending=pending, parked=parked, exhausted=exhausted)
            return found

        return await self._database.read(read)

    async def needing(self, *, limit: int) -> Sequence[str]:
        """See `browsing.Tenancy.needing`."""
        asked = {"limit": limit, "steps": STEPS}
        return await self._database.read(lambda c: c.execute(_IN_NEED, asked).scalars().all())

    # ---------------------------------------------------------------- browsing.Pulse

    async def recent(self, tenant_id: str | None, *, limit: int) -> Sequence[Recent]:
        """See `browsing.Pulse.recent`."""
        query = _RECENT if tenant_id is None else _RECENT.where(_e.tenant_id == tenant_id)
        rows = await self._database.read(lambda c: c.execute(query.limit(limit)).all())
        return [Recent(**row._mapping) for row in rows]

    async def legs(self, keys: Sequence[int]) -> Mapping[int, Sequence[Leg]]:
        """See `browsing.Pulse.legs`."""

        def read(connection: sa.Connection) -> dict[int, list[Leg]]:
            found: defaultdict[int, list[Leg]] = defaultdict(list)
            for page in codes.pages(keys):
                for row in connection.execute(_LEGS, {"keys": page}):
                    found[row.event_key].append(_leg(row))
            return {key: found[key] for key in keys}

        return await self._database.read(read)


def _leg(row: Any) -> Leg:
    return Leg(
        channel=Channel(row.channel),
        state=row.state,
        attempt=row.attempt,
        first_at=row.first_at,
        first_ms=row.first_ms,
        first_ok=row.first_outcome == "delivered",
    )


def _next_tenant(after: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    """The tenant behind another: the least of what each index finds with one step."""
    columns = (_e.tenant_id, _u.tenant_id, _ep.tenant_id, _k.tenant_id)
    steps = [
        sa.select(sa.func.min(each).label("tenant_id")).where(each > after) for each in columns
    ]
    found = sa.union_all(*steps).subquery("step")
    return sa.select(sa.func.min(found.c.tenant_id)).scalar_subquery()


def _skipping() -> sa.Select[Any]:
    first = sa.select(_next_tenant(sa.bindparam("after", type_=sa.Text)).label("id"))
    skip = first.cte("skip", recursive=True)
    # By its name: as a column it would join the table once more in every step.
    here = sa.literal_column("skip.id", sa.Text)
    further = sa.select(_next_tenant(here)).where(skip.c.id.is_not(None))
    skip = skip.union_all(further)
    return sa.select(skip.c.id).where(skip.c.id.is_not(None)).limit(sa.bindparam("limit"))


def _skipping_to_those_in_need() -> sa.Select[Any]:
    """From each tenant with something held to the next; the index of what is held has no others."""

    def step(after: sa.ColumnElement[str]) -> sa.ScalarSelect[Any]:
        found = sa.select(sa.func.min(_d.tenant_id)).where(_d.tenant_id > after, _is_held())
        return found.scalar_subquery()

    def has(state: State) -> sa.ColumnElement[bool]:
        # Not EXISTS: that goes down other indexes, through all that is parked or all that there is.
        some = sa.select(_d.id).where(
            _d.tenant_id == here, _d.state == _constant(state), _is_held()
        )
        return some.order_by(_d.id).limit(_one).scalar_subquery().is_not(None)

    here = sa.literal_column("skip.id", sa.Text)
    passed = sa.literal_column("skip.passed", sa.Integer)
    first = sa.select(step(sa.literal_column("''", sa.Text)).label("id"), _one.label("passed"))
    skip = first.cte("skip", recursive=True)
    further = sa.select(step(here), passed + _one).where(
        skip.c.id.is_not(None), skip.c.passed < _b("steps", type_=sa.Integer)
    )
    skip = skip.union_all(further)
    in_need = sa.or_(*(has(state) for state in _NEEDING))
    return sa.select(skip.c.id).where(skip.c.id.is_not(None), in_need).limit(_b("limit"))


def _count(state: State) -> sa.Select[Any]:
    """Of one state, up to a bound."""
    some = (
        sa.select(_d.id)
        .where(_d.tenant_id == _b("tenant"), _d.state == _constant(state), _is_held())
        .limit(_b("most"))
        .subquery("some")
    )
    return sa.select(sa.func.count()).select_from(some)


def _is_held() -> sa.ColumnElement[bool]:
    """As the partial index has it; in constants, so that it fits (see `queries`)."""
    return _d.state.in_([_constant(each) for each in _HELD])


def _constant(state: State) -> sa.ColumnElement[str]:
    return sa.literal_column(f"'{state}'", sa.Text)


_e, _u, _ep, _k, _d = (
    table.c
    for table in (
        tables.events,
        tables.users,
        tables.endpoints,
        tables.api_keys,
        tables.deliveries,
    )
)
_b = sa.bindparam
_one: sa.ColumnElement[int] = sa.literal_column("1", sa.Integer)
_IN_NEED = _skipping_to_those_in_need()
_TENANTS = _skipping()
_USERS = (
    sa.select(tables.users)
    .where(_u.tenant_id == _b("tenant"), _u.id > _b("after"))
    .order_by(_u.id)
    .limit(_b("limit"))
)
_COUNTS = {state: _count(state) for state in _HELD}
_RECENT = sa.select(_e.key, _e.tenant_id, _e.id, _e.type, _e.user_id, _e.accepted_at).order_by(
    _e.key.desc()
)
_LEGS = (
    sa.select(
        _d.event_key,
        _d.channel,
        _d.state,
        _d.attempt,
        _d.first_at,
        _d.first_ms,
        _d.first_outcome,
    )
    .where(_d.event_key.in_(_b("keys", expanding=True)))
    .order_by(_d.event_key, _d.id)
)
