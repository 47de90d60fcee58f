"""What the sweep and people move by hand, in SQL. Implements `ports.Upkeep` and `ports.Rounds`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from notifications.database import Database, Transaction
from notifications.deliveries import Delivery, State, new_round
from notifications.errors import Conflict
from notifications.retries import MINUTE, RetryTable
from notifications.stores import codes, tables
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

    async def wake(self, *, limit: int) -> int:
        """See `ports.Upkeep.wake`."""

        def wake(tx: Transaction) -> int:
            query = _OVERDUE.limit(limit)
            late = {"due": tx.now - OVERDUE_MS, "drain": tx.now - OVERDUE_MS}
            lanes = tx.connection.execute(query, late).scalars().all()
            if lanes:
                # A drain that should have come and did not is lost: forget it, so that one is sent.
                tx.connection.execute(
                    sa.update(tables.lanes)
                    .where(_l.lane.in_(lanes), _l.drain_at < tx.now - OVERDUE_MS)
                    .values(drain_at=None)
                )
                self._waker.wake(tx, dict.fromkeys(lanes, tx.now))
            return len(lanes)

        return await self._database.write(wake)

    async def end(self, *, limit: int) -> int:
        """See `ports.Upkeep.end`."""

        def end(tx: Transaction) -> int:
            late = tx.now - _ENDED_LATE_MS
            ended = tx.connection.execute(
                _end_where(_d.state == "pending", _d.deadline < late, _d.claimed == 0, limit=limit),
                {"now": tx.now, "reason": "deadline"},
            )
            oldest = tx.now - self._keeping.parked
            parked = tx.connection.execute(
                _end_where(_d.state == "parked", _d.updated_at < oldest, limit=limit),
                {"now": tx.now, "reason": "parked-too-long"},
            )
            return max(ended.rowcount, parked.rowcount)

        return await self._database.write(end)

    async def unpark(self, *, limit: int) -> int:
        """See `ports.Upkeep.unpark`."""

        def unpark(tx: Transaction) -> int:
            rows = tx.connection.execute(_UNPARKABLE.limit(limit)).all()
            deliveries = [
                new_round(codes.delivery_of(row), now=tx.now, table=self._table) for row in rows
            ]
            self._begin_again(tx, deliveries)
            return len(rows)

        return await self._database.write(unpark)

    async def forget(self, *, limit: int) -> int:
        """See `ports.Upkeep.forget`."""

        def forget(tx: Transaction) -> int:
            oldest = Numbers.at(tx.now - self._keeping.events)
            keys = tx.connection.execute(_OLD.limit(limit), {"oldest": oldest}).scalars().all()
            if not keys:
                return 0
            mine = sa.select(_d.tenant_id, _d.id).where(_d.event_key.in_(keys)).subquery()
            tx.connection.execute(
                sa.delete(tables.attempts).where(
                    sa.tuple_(_a.tenant_id, _a.delivery_id).in_(sa.select(mine))
                )
            )
            tx.connection.execute(sa.delete(tables.deliveries).where(_d.event_key.in_(keys)))
            tx.connection.execute(sa.delete(tables.events).where(_e.key.in_(keys)))
            return len(keys)

        return await self._database.write(forget)

    # ---------------------------------------------------------------- ports.Rounds

    async def retry(self, tenant_id: str, delivery_id: int) -> Delivery | None:
        """See `ports.Rounds.retry`."""

        def retry(tx: Transaction) -> Delivery | str | None:
            row = tx.connection.execute(
                sa.select(tables.deliveries).where(_d.tenant_id == tenant_id, _d.id == delivery_id)
            ).first()
            if row is None:
                return None
            delivery = codes.delivery_of(row)
            if delivery.state in (State.DELIVERED, State.SKIPPED):
                return f"the delivery is {delivery.state}: there is nothing to retry"
            if delivery.claimed:
                return "an attempt is under way; see what comes of it first"
            again = new_round(delivery, now=tx.now, table=self._table)
            self._begin_again(tx, [again])
            return again

        answer = await self._database.write(retry)
        if isinstance(answer, str):
            raise Conflict(answer)
        return answer

    def _begin_again(self, tx: Transaction, deliveries: list[Delivery]) -> None:
        if not deliveries:
            return
        tx.connection.execute(
            _BEGIN_AGAIN,
            [
                {
                    "b_tenant": delivery.tenant_id,
                    "b_id": delivery.id,
                    "round": delivery.round,
                    "due_at": delivery.due_at,
                    "deadline": delivery.deadline,
                    "updated_at": tx.now,
                }
                for delivery in deliveries
            ],
        )
        self._waker.wake(tx, {delivery.lane: tx.now for delivery in deliveries})


_d, _l, _e, _a = tables.deliveries.c, tables.lanes.c, tables.events.c, tables.attempts.c
_ep = tables.endpoints.c


def _end_where(*conditions: sa.ColumnElement[bool], limit: int) -> sa.Update:
    """Exhaust a page of deliveries."""
    page = sa.select(_d.tenant_id, _d.id).where(*conditions).limit(limit)
    return (
        sa.update(tables.deliveries)
        .where(sa.tuple_(_d.tenant_id, _d.id).in_(page))
        .values(
            state="exhausted",
            reason=sa.bindparam("reason"),
            due_at=None,
            claimed=0,
            updated_at=sa.bindparam("now"),
        )
    )


_OVERDUE = (
    sa.select(_d.lane)
    .distinct()
    .select_from(tables.deliveries.outerjoin(tables.lanes, _l.lane == _d.lane))
    .where(
        _d.state == "pending",
        _d.due_at < sa.bindparam("due"),
        _l.drain_at.is_(None) | (_l.drain_at < sa.bindparam("drain")),
    )
)
_UNPARKABLE = (
    sa.select(tables.deliveries)
    .join(
        tables.endpoints,
        sa.and_(_ep.tenant_id == _d.tenant_id, _ep.id == _d.target, _ep.state == "active"),
    )
    .where(_d.state == "parked")
)
_OLD = (
    sa.select(_e.key)
    .where(
        _e.key < sa.bindparam("oldest"),
        ~sa.exists().where(_d.event_key == _e.key, _d.state.in_(("pending", "parked"))),
    )
    .order_by(_e.key)
)
_BEGIN_AGAIN = (
    sa.update(tables.deliveries)
    .where(_d.tenant_id == sa.bindparam("b_tenant"), _d.id == sa.bindparam("b_id"))
    .values(
        state="pending",
        reason=None,
        attempt=0,
        claimed=0,
        round=sa.bindparam("round"),
        due_at=sa.bindparam("due_at"),
        deadline=sa.bindparam("deadline"),
        updated_at=sa.bindparam("updated_at"),
    )
)
