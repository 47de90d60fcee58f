"""What jobs took, added up in SQL. Implements `keeping.Figures`.

A job is a row that has the job as its key, so whatever comes twice is counted once.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ai_workers.jobs import State
from ai_workers.keeping import Figure, Percentiles
from ai_workers.tables import job_metrics
from notifications.database import Database

_SHARES = (50, 95, 99)


class SqlFigures:
    """Adds up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_day(
        self, tenant_id: str | None, *, since: str, until: str, job_type: str | None, limit: int
    ) -> Sequence[Figure]:
        """See `keeping.Figures.by_day`."""
        wanted = [_m.day >= since, _m.day <= until]
        if tenant_id is not None:
            wanted.append(_m.tenant_id == tenant_id)
        if job_type is not None:
            wanted.append(_m.job_type == job_type)
        query = _added_up(wanted).limit(limit)
        return [_figure(row) for row in await self._database.read(lambda c: c.execute(query).all())]


def _added_up(wanted: Sequence[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    """One row a group. A percentile is the smallest value whose place covers its share."""
    keys = (_m.tenant_id, _m.day, _m.job_type, _m.model)

    def place(column: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
        # Jobs that never ran have no time in the queue: they stand behind those that have.
        order = (sa.case((column.is_(None), 1), else_=0), column)
        return sa.func.row_number().over(partition_by=keys, order_by=order)

    ranked = (
        sa.select(
            job_metrics,
            place(_m.queue_ms).label("queue_place"),
            place(_m.run_ms).label("run_place"),
            sa.func.count(_m.queue_ms).over(partition_by=keys).label("queued"),
            sa.func.count().over(partition_by=keys).label("all"),
        )
        .where(*wanted)
        .subquery()
    )
    r = ranked.c
    failed = r.state.in_((State.FAILED.value, State.EXPIRED.value))

    def share(percent: int, value: Any, at: Any, of: Any) -> sa.ColumnElement[Any]:
        return sa.func.min(sa.case((at * 100 >= of * percent, value)))

    return (
        sa.select(
            *(groups := (r.tenant_id, r.day, r.job_type, r.model)),
            sa.func.count().label("count"),
            sa.func.sum(sa.case((failed, 1), else_=0)).label("failures"),
            *(_sum(r[name]) for name in ("input_tokens", "output_tokens", "cost_nano_usd")),
            *(share(p, r.queue_ms, r.queue_place, r.queued).label(f"q{p}") for p in _SHARES),
            *(share(p, r.run_ms, r.run_place, r["all"]).label(f"r{p}") for p in _SHARES),
        )
        .group_by(*groups)
        .order_by(r.day.desc(), r.tenant_id, r.job_type, r.model)
    )


def _sum(column: Any) -> sa.ColumnElement[Any]:
    # PostgreSQL adds whole numbers up to a decimal one.
    return sa.cast(sa.func.sum(column), sa.BigInteger).label(column.name)


def _figure(row: sa.Row[Any]) -> Figure:
    queue, run = ([getattr(row, f"{kind}{p}") for p in _SHARES] for kind in "qr")
    return Figure(
        tenant_id=row.tenant_id,
        day=row.day,
        job_type=row.job_type,
        model=row.model,
        count=row._mapping["count"],
        failures=row.failures,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_nano_usd=row.cost_nano_usd,
        queue=Percentiles(p50=queue[0], p95=queue[1], p99=queue[2]),
        run=Percentiles(p50=run[0], p95=run[1], p99=run[2]),
    )


_m = job_metrics.c
