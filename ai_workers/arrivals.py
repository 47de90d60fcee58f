"""How soon a job's end reached anybody: read from the ledger by the sweep, and written beside what
the job took.

A delivery's first success stays what it was, however often its event or its message comes again,
so looking twice finds the same. A job is looked for at the next sweep after its end, and then at
twice its age each time, until it is found, everything is over, or deliveries are given up.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ai_workers.tables import job_metrics
from ai_workers.telling import end_id
from notifications.database import Database, Transaction
from notifications.deliveries import State
from notifications.events import Channel
from notifications.retries import DAY, MINUTE
from notifications.stores import codes, tables

CHANNELS = (Channel.REALTIME, Channel.WEBHOOK)
"""What reaches somebody by itself: a mail waits until it is fetched."""

GIVEN_UP_MS = DAY + 5 * MINUTE
"""So long after its end, no delivery of a job is tried any more, save those that parked."""

_Name = tuple[str, str]
_OPEN = (State.PENDING.value, State.PARKED.value)


class SqlArrivals:
    """Looks for first deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look(self, *, limit: int) -> int:
        """Look for up to `limit` jobs that are due; how many it was. A step of the sweep."""

        def look(tx: Transaction) -> int:
            due = tx.connection.execute(_DUE, {"now": tx.now, "limit": limit}).all()
            if due:
                found = _found(tx.connection, [(row.tenant_id, row.job_id) for row in due])
                rows = [
                    _row(each, found.get((each.tenant_id, each.job_id)), tx.now) for each in due
                ]
                tx.connection.execute(_WRITE, rows)
            return len(due)

        return await self._database.write(look)


def _row(job: Any, legs: Sequence[Any] | None, now: int) -> dict[str, Any]:
    """What is written of a job; `legs` are its end's deliveries, None where the event is gone."""
    arrived = min((leg.at for leg in legs or () if leg.at is not None), default=None)
    age = now - job.finished_at
    waits = arrived is None and legs is not None and age < GIVEN_UP_MS and not _over(legs)
    return {
        "b_tenant": job.tenant_id,
        "b_id": job.job_id,
        "b_ms": None if arrived is None else max(arrived - job.finished_at, 0),
        "b_at": min(now + max(age, MINUTE), job.finished_at + GIVEN_UP_MS) if waits else None,
    }


def _over(legs: Sequence[Any]) -> bool:
    """Whether each channel has been to wherever it went, and nothing is on its way."""
    routed = {leg.channel for leg in legs}
    return len(routed) == len(CHANNELS) and all(leg.state not in _OPEN for leg in legs)


def _found(connection: sa.Connection, jobs: Iterable[_Name]) -> Mapping[_Name, Sequence[Any]]:
    """By job: the deliveries of its end, each with when it first arrived."""
    by_tenant: dict[str, list[str]] = {}
    for tenant_id, job_id in jobs:
        by_tenant.setdefault(tenant_id, []).append(job_id)
    found: dict[_Name, list[Any]] = {}
    for tenant_id, names in by_tenant.items():
        for page in codes.pages(names):
            by_event = {end_id(job_id): (tenant_id, job_id) for job_id in page}
            query = {"tenant": tenant_id, "ids": list(by_event)}
            for row in connection.execute(_LEGS, query):
                legs = found.setdefault(by_event[row.event_id], [])
                if row.channel is not None:
                    legs.append(row)
    return found


_m, _e, _d, _a = job_metrics.c, tables.events.c, tables.deliveries.c, tables.attempts.c
_b = sa.bindparam
_DUE = (
    sa.select(_m.tenant_id, _m.job_id, _m.finished_at)
    .where(_m.look_at <= _b("now"))
    .order_by(_m.look_at)
    .limit(_b("limit"))
    .with_for_update(skip_locked=True)
)
_LATER = (
    sa.select(sa.func.min(_a.at + _a.duration_ms))
    .where(_a.tenant_id == _d.tenant_id, _a.delivery_id == _d.id, _a.outcome == "delivered")
    .scalar_subquery()
)
# A delivery that was replayed is in another round, and maybe pending: its attempts are there still.
_ARRIVED = sa.case((_d.first_outcome == "delivered", _d.first_at + _d.first_ms), else_=_LATER)
_LEGS = (
    sa.select(_e.id.label("event_id"), _d.channel, _d.state, _ARRIVED.label("at"))
    .select_from(
        sa.outerjoin(
            tables.events,
            tables.deliveries,
            sa.and_(
                _d.event_key == _e.key, _d.channel.in_([channel.value for channel in CHANNELS])
            ),
        )
    )
    .where(_e.tenant_id == _b("tenant"), _e.id.in_(_b("ids", expanding=True)))
)
_WRITE = (
    sa.update(job_metrics)
    .where(_m.tenant_id == _b("b_tenant"), _m.job_id == _b("b_id"))
    .values(deliver_ms=_b("b_ms"), look_at=_b("b_at"), rolled=0)
)
