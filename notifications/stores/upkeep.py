"""What the sweep and people move by hand, in SQL. Implements `ports.Upkeep` and `ports.Rounds`.

No statement here reads more than a page, however long the backlog is: lanes are found by skipping
from one to the next through a partial index, never by looking at every delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from notifications.crashpoints import Point, passing
from notifications.database import Database, Transaction
from notifications.deliveries import Delivery, State, new_round
from notifications.errors import Conflict
from notifications.lanes import LAST_PROBE
from notifications.retries import MINUTE, RetryTable
from notifications.routing import NOBODY
from notifications.stores import codes, orphans, tables
from notifications.stores.recording import rewrite
from notifications.timing import Numbers

OVERDUE_MS = 5_000
"""How late a drain may be before its lane is woken again."""

_ENDED_LATE_MS = 10 * MINUTE
"""A delivery is tried once at its deadline; so long after, nobody did."""


class Waker(Protocol):
    """Schedules drains within a transaction; the ledger does it."""

    def wake(self, tx: Transaction, wakes: Mapping[str, int]) -> None:
        """Drain each lane at its time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How long things are kept, ms."""

    parked: int
    events: int


class SqlUpkeep:
    """Moves what no wake-up moves."""

    def __init__(
        self, database: Database, waker: Waker, table: RetryTable, keeping: Keeping
    ) -> None:
        self._database = database
        self._waker = waker
        self._table = table
        self._keeping = keeping

    # ---------------------------------------------------------------- ports.Upkeep

    async def wake(self, *, limit: int) -> int:
        """See `ports.Upkeep.wake`."""

        def wake(tx: Transaction) -> int:
            # A drain later than any probe is not for what is due now.
            soon = tx.now + LAST_PROBE + MINUTE
            query = {"late": tx.now - OVERDUE_MS, "soon": soon, "limit": limit}
            lanes = tx.connection.execute(_OVERDUE, query).scalars().all()
            if lanes:
                # A drain that should have come and did not is lost: forget it, for one to be sent.
                tx.connection.execute(_FORGET_DRAINS, [{"b_lane": lane} for lane in sorted(lanes)])
                self._waker.wake(tx, dict.fromkeys(lanes, tx.now))
            return len(lanes)

        return await self._database.write(wake)

    async def end(self, *, limit: int) -> int:
        """See `ports.Upkeep.end`."""

        def end(tx: Transaction) -> int:
            late = {"late": tx.now - _ENDED_LATE_MS, "limit": limit}
            oldest = {"late": tx.now - self._keeping.parked, "limit": limit}
            ended = tx.connection.execute(_END_LATE, {"now": tx.now, **late}).all()
            parked = tx.connection.execute(_END_PARKED, {"now": tx.now, **oldest}).all()
            return len(ended) + len(parked) + orphans.end(tx, limit)

        return await self._database.write(end)

    async def unpark(self, *, limit: int) -> int:
        """See `ports.Upkeep.unpark`."""

        def unpark(tx: Transaction) -> int:
            deliveries: list[Delivery] = []
            for lane in tx.connection.execute(_UNPARKABLE, {"limit": limit}).scalars().all():
                room = limit - len(deliveries)
                rows = tx.connection.execute(_PARKED, {"lane": lane, "limit": room})
                deliveries += [codes.delivery_of(row) for row in rows]
                if len(deliveries) >= limit:
                    break
            self._begin_again(tx, deliveries)
            return len(deliveries)

        return await self._database.write(unpark)

    async def forget(self, *, limit: int) -> int:
        """See `ports.Upkeep.forget`."""

        def forget(tx: Transaction) -> int:
            oldest = Numbers.at(tx.now - self._keeping.events)
            query = {"oldest": oldest, "limit": limit}
            keys = tx.connection.execute(_OLD, query).scalars().all()
            for page in codes.pages(keys):
                for delete in _FORGET:
                    tx.connection.execute(delete, {"keys": page})
            tx.connection.execute(_FORGET_REPLAYS, {"oldest": oldest})
            return len(keys)

        return await self._database.write(forget)

    # ---------------------------------------------------------------- ports.Rounds

    async def retry(self, tenant_id: str, delivery_id: int) -> Delivery | None:
        """See `ports.Rounds.retry`."""

        def retry(tx: Transaction) -> Delivery | Conflict | None:
            row = tx.connection.execute(_ONE, {"tenant": tenant_id, "id": delivery_id}).first()
            if row is None:
                return None
            delivery = codes.delivery_of(row)
            if delivery.state in (State.DELIVERED, State.SKIPPED):
                return Conflict(f"the delivery is {delivery.state}: there is nothing to retry")
            if delivery.target == NOBODY:
                return Conflict("the event was given up before anybody was chosen to get it")
            if delivery.claimed and (delivery.due_at or 0) > tx.now:
                return Conflict("an attempt is under way; see what comes of it first")
            if _waits_only(delivery, tx.now):
                # Asked for twice: it is due already, and no other round makes it sooner.
                self._waker.wake(tx, {delivery.lane: tx.now})
                return delivery
            (again,) = self._begin_again(tx, [delivery])
            return again

        # Raised out here: what raises in a transaction makes the writer try its neighbours again.
        answer = await self._database.write(retry)
        if isinstance(answer, Conflict):
            raise answer
        return answer

    def _begin_again(self, tx: Transaction, deliveries: list[Delivery]) -> list[Delivery]:
        again = [new_round(delivery, now=tx.now, table=self._table) for delivery in deliveries]
        if again:
            rewrite(tx, again)
            passing(Point.UNPARK_WRITTEN)
            self._waker.wake(tx, {delivery.lane: tx.now for delivery in again})
        return again


def _waits_only(delivery: Delivery, now: int) -> bool:
    """Whether it is due, untried in this round, and in nobody's hands."""
    due = delivery.due_at is not None and delivery.due_at <= now < delivery.deadline
    return due and delivery.attempt == 0 and not delivery.claimed


_d, _l, _e, _a = tables.deliveries.c, tables.lanes.c, tables.events.c, tables.attempts.c
_ep = tables.endpoints.c
_b = sa.bindparam


def _lanes(state: sa.ColumnElement[str]) -> sa.CTE:
    """The lanes with deliveries in a state; the last row is NULL."""
    first = sa.select(sa.func.min(_d.lane).label("lane")).where(_d.state == state)
    lanes = first.cte(recursive=True)
    following = sa.select(sa.func.min(_d.lane)).where(_d.state == state, _d.lane > lanes.c.lane)
    return lanes.union_all(sa.select(following.scalar_subquery()).where(lanes.c.lane.is_not(None)))


def _end(reason: str, *conditions: sa.ColumnElement[bool]) -> sa.Update:
    """Exhaust a page of deliveries."""
    page = sa.select(_d.tenant_id, _d.id).where(*conditions).limit(_b("limit"))
    return (
        sa.update(tables.deliveries)
        .where(sa.tuple_(_d.tenant_id, _d.id).in_(page))
        .values(state="exhausted", reason=reason, due_at=None, claimed=0, updated_at=_b("now"))
        .returning(_d.id)  # the driver does not count the rows of a statement that begins WITH
    )


_pending, _parked = _lanes(codes.PENDING), _lanes(codes.PARKED)

_OVERDUE = (
    sa.select(_pending.c.lane)
    .where(
        sa.exists().where(
            _d.lane == _pending.c.lane, _d.state == codes.PENDING, _d.due_at < _b("late")
        ),
        ~sa.exists().where(_l.lane == _pending.c.lane, _l.drain_at.between(_b("late"), _b("soon"))),
    )
    .limit(_b("limit"))
)
_FORGET_DRAINS = sa.update(tables.lanes).where(_l.lane == _b("b_lane")).values(drain_at=None)
_END_LATE = _end("deadline", _d.state == codes.PENDING, _d.deadline < _b("late"), _d.claimed == 0)
_END_PARKED = _end(
    "parked-too-long",
    _d.state == codes.PARKED,
    _d.lane.in_(sa.select(_parked.c.lane)),
    _d.updated_at < _b("late"),
)


def _of_parked(column: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """A column of one of a lane's parked deliveries: all of them have the same endpoint."""
    one = sa.select(column).where(_d.lane == _parked.c.lane, _d.state == codes.PARKED).limit(1)
    return one.scalar_subquery()


_UNPARKABLE = (
    sa.select(_parked.c.lane)
    .where(
        _parked.c.lane.is_not(None),
        ~sa.exists().where(
            _ep.tenant_id == _of_parked(_d.tenant_id),
            _ep.id == _of_parked(_d.target),
            _ep.state.in_(("paused", "disabled")),
        ),
    )
    .limit(_b("limit"))
)
_PARKED = (
    sa.select(tables.deliveries)
    .where(_d.lane == _b("lane"), _d.state == codes.PARKED)
    .order_by(_d.updated_at)
    .limit(_b("limit"))
    .with_for_update()
)
_OLD = (
    sa.select(_e.key)
    .where(
        _e.key < _b("oldest"),
        ~sa.exists().where(_d.event_key == _e.key, _d.state.in_(("pending", "parked"))),
    )
    .order_by(_e.key)
    .limit(_b("limit"))
)
_keys: sa.BindParameter[int] = _b("keys", expanding=True)
_FORGET = (
    sa.delete(tables.attempts).where(
        sa.tuple_(_a.tenant_id, _a.delivery_id).in_(
            sa.select(_d.tenant_id, _d.id).where(_d.event_key.in_(_keys))
        )
    ),
    sa.delete(tables.deliveries).where(_d.event_key.in_(_keys)),
    sa.delete(tables.events).where(_e.key.in_(_keys)),
)
_FORGET_REPLAYS = sa.delete(tables.replays).where(
    tables.replays.c.id < _b("oldest"), tables.replays.c.state != "running"
)
_ONE = (
    sa.select(tables.deliveries)
    .where(_d.tenant_id == _b("tenant"), _d.id == _b("id"))
    .with_for_update()
)
