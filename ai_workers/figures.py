"""What jobs took, added up in SQL. Implements `keeping.Figures`.

A job is a row that has the job as its key, so whatever comes twice is counted once. A tenant's day
is read from its rows as long as one of them is not in the day's own figures (see `days`), and from
these afterwards: the same, since they were made of the rows.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ai_workers.jobs import State
from ai_workers.keeping import Figure, Percentiles
from ai_workers.tables import job_days, job_metrics
from notifications.database import Database

SHARES = (50, 95, 99)
"""Which percentiles there are."""

_KINDS = ("queue", "run", "deliver")
"""What there are percentiles of: the columns of `job_metrics` that end with `_ms`."""


class SqlFigures:
    """Adds up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_day(
        self, tenant_id: str | None, *, since: str, until: str, job_type: str | None, limit: int
    ) -> Sequence[Figure]:
        """See `keeping.Figures.by_day`."""

        def days(table: sa.FromClause) -> list[sa.ColumnElement[bool]]:
            found = [table.c.day >= since, table.c.day <= until]
            return found if tenant_id is None else [*found, table.c.tenant_id == tenant_id]

        def wanted(table: sa.FromClause) -> list[sa.ColumnElement[bool]]:
            found = days(table)
            return found if job_type is None else [*found, table.c.job_type == job_type]

        # Of whatever type: a day that is not wholly in its figures is read from its rows.
        still_open = sa.select(_m.tenant_id, _m.day).where(*days(job_metrics), NOT_ROLLED)
        still_open = still_open.distinct()
        of_rows = adding_up(wanted(job_metrics), still_open.subquery()).limit(limit)
        of_days = (
            sa.select(job_days)
            .where(*wanted(job_days), sa.tuple_(_d.tenant_id, _d.day).not_in(still_open))
            .order_by(_d.day.desc(), _d.tenant_id, _d.job_type, _d.model)
            .limit(limit)
        )

        # Both on the same snapshot: a tenant's day is in one of the two.
        def read(connection: sa.Connection) -> list[Figure]:
            return [_figure(row) for each in (of_rows, of_days) for row in connection.execute(each)]

        figures = await self._database.read(read)
        figures.sort(key=lambda each: (each.tenant_id, each.job_type, each.model or ""))
        figures.sort(key=lambda each: each.day, reverse=True)
        return figures[:limit]


def adding_up(
    wanted: Sequence[sa.ColumnElement[bool]], days: sa.Subquery | None = None
) -> sa.Select[Any]:
    """One row a group of `job_metrics`, the newest day first.

    A percentile is the smallest value whose place covers its share.

    Args:
        wanted: Which rows.
        days: Of these tenants' days alone.
    """
    keys = (_m.tenant_id, _m.day, _m.job_type, _m.model)

    def ranked_by(kind: str) -> tuple[sa.ColumnElement[int], sa.ColumnElement[int]]:
        """A job's place, and how many have one: those without a time stand behind those with."""
        column = _m[f"{kind}_ms"]
        order = (sa.case((column.is_(None), 1), else_=0), column)
        place = sa.func.row_number().over(partition_by=keys, order_by=order)
        placed = sa.func.count(column).over(partition_by=keys)
        return place.label(f"{kind}_place"), placed.label(f"{kind}_placed")

    places = [column for kind in _KINDS for column in ranked_by(kind)]
    rows = sa.select(job_metrics, *places).where(*wanted)
    if days is not None:
        of = sa.and_(days.c.tenant_id == _m.tenant_id, days.c.day == _m.day)
        rows = rows.select_from(sa.join(days, job_metrics, of))
    r = rows.subquery().c
    failed = r.state.in_((State.FAILED.value, State.EXPIRED.value))

    def shares(kind: str) -> list[sa.ColumnElement[Any]]:
        place, placed, value = r[f"{kind}_place"], r[f"{kind}_placed"], r[f"{kind}_ms"]
        return [
            sa.func.min(sa.case((place * 100 >= placed * share, value))).label(f"{kind}_p{share}")
            for share in SHARES
        ]

    return (
        sa.select(
            *(groups := (r.tenant_id, r.day, r.job_type, r.model)),
            sa.func.count().label("count"),
            sa.func.sum(sa.case((failed, 1), else_=0)).label("failures"),
            *(_sum(r[name]) for name in ("input_tokens", "output_tokens", "cost_nano_usd")),
            *(column for kind in _KINDS for column in shares(kind)),
        )
        .group_by(*groups)
        .order_by(r.day.desc(), r.tenant_id, r.job_type, r.model)
    )


def _sum(column: Any) -> sa.ColumnElement[Any]:
    # PostgreSQL adds whole numbers up to a decimal one.
    return sa.cast(sa.func.sum(column), sa.BigInteger).label(column.name)


def _figure(row: sa.Row[Any]) -> Figure:
    queue, run, deliver = (
        Percentiles(**{f"p{share}": getattr(row, f"{kind}_p{share}") for share in SHARES})
        for kind in _KINDS
    )
    return Figure(
        tenant_id=row.tenant_id,
        day=row.day,
        job_type=row.job_type,
        model=row.model or None,
        count=row._mapping["count"],
        failures=row.failures,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_nano_usd=row.cost_nano_usd,
        queue=queue,
        run=run,
        deliver=deliver,
    )


_m, _d = job_metrics.c, job_days.c
# Written out: a parameter would hide the partial index from the planner.
NOT_ROLLED = _m.rolled == sa.literal_column("0")
"""What is not in its day's figures."""
