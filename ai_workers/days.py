"""Days that are over, added up once and kept: what jobs took outlives the rows of the jobs.

Each row of `job_metrics` says whether it is in its day's figures. What changes a row afterwards,
such as a run that spends something after its job's end, says that it is not, and the tenant's day
is added up anew. Whoever adds up marks first and reads then: what comes in between is read, or
stays marked as missing, or both.
"""

from functools import partial
from typing import Any

import sqlalchemy as sa

from ai_workers.arrivals import GIVEN_UP_MS
from ai_workers.figures import NOT_ROLLED, SHARES, adding_up
from ai_workers.tables import job_days, job_metrics, job_spending
from notifications.database import Database, Transaction
from notifications.ports import Clock
from notifications.retries import DAY
from notifications.stores import codes
from notifications.stores.marks import write_marks

KEPT_MS = 3_660 * DAY
"""How long what days came to is kept: ten years."""

TOGETHER = 50
"""Days of tenants that are looked for at once."""

_ROLLING = "jobs/rolling"
"""Who adds up takes turns with others by this mark: the last to write has then read the most."""

_KEYS = ("tenant_id", "day", "job_type", "model")
_SUMS = ("count", "failures", "input_tokens", "output_tokens", "cost_nano_usd")


class SqlDays:
    """Adds days up."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def roll(self, *, limit: int) -> int:
        """Add up what is over and is not in its day's figures. A step of the sweep.

        A tenant's day is over once it is past, and all its jobs' deliveries are known of, or will
        never be. Each is a transaction of its own: a day can have many jobs.
        """
        now, rolled = self._clock.now(), 0
        query: dict[str, Any] = {
            "today": codes.day_of(now),
            "late": codes.day_of(now - GIVEN_UP_MS),
        }
        while rolled < limit:
            query["limit"] = min(TOGETHER, limit - rolled)
            found = await self._database.read(lambda c: c.execute(_OVER, query).all())
            for row in found:
                of = {"b_tenant": row.tenant_id, "b_day": row.day}
                await self._database.write(partial(_roll, of=of))
            rolled += len(found)
            if len(found) < query["limit"]:
                break
        return rolled

    async def forget(self, *, limit: int) -> int:
        """Delete days and months that nobody compares with any more. A step of the sweep."""

        def forget(tx: Transaction) -> int:
            oldest = codes.day_of(tx.now - KEPT_MS)
            days = tx.connection.execute(_FORGET_DAYS, {"oldest": oldest, "limit": limit})
            months = tx.connection.execute(_FORGET_MONTHS, {"oldest": oldest[:7], "limit": limit})
            return max(len(days.all()), len(months.all()))

        return await self._database.write(forget)


def _roll(tx: Transaction, of: dict[str, str]) -> None:
    write_marks(tx, {_ROLLING: tx.now})
    if not tx.connection.execute(_MARK, of).rowcount:
        return  # another did it, and the rows may be gone by now
    rows = [_row(found) for found in tx.connection.execute(_FIGURES, of)]
    tx.connection.execute(_CLEAR, of)
    if rows:
        tx.connection.execute(sa.insert(job_days), rows)


def _row(found: Any) -> dict[str, Any]:
    row = dict(found._mapping)
    columns = {name: row[name] for name in (*_KEYS, *_SUMS)}
    columns["model"] = columns["model"] or ""
    for kind in ("queue", "run", "deliver"):
        columns |= {f"{kind}_p{share}": row[f"{kind}_p{share}"] for share in SHARES}
    return columns


def _a_page(table: sa.Table, before: sa.ColumnElement[bool]) -> Any:
    """Delete some of a table's rows; those that went are returned by their tenant."""
    keys = list(table.primary_key.columns)
    page = sa.select(*keys).where(before).limit(_b("limit"))
    return sa.delete(table).where(sa.tuple_(*keys).in_(page)).returning(table.c.tenant_id)


_m, _b = job_metrics.c, sa.bindparam
_past = (
    sa.select(_m.tenant_id, _m.day)
    .where(NOT_ROLLED, _m.day < _b("today"))
    .distinct()
    .subquery("past")
)
# Read once, not for each day: without statistics SQLite would go through all that a tenant has.
_sought = sa.select(_m.tenant_id, _m.day).where(_m.look_at > 0)
_OVER = (
    sa.select(_past.c.tenant_id, _past.c.day)
    .where(
        sa.or_(
            _past.c.day < _b("late"),
            sa.tuple_(_past.c.tenant_id, _past.c.day).not_in(_sought),
        )
    )
    .limit(_b("limit"))
)
# A range of one day: to SQLite the tenant alone, by the primary key, looks as good as an equal day.
_OF = (_m.tenant_id == _b("b_tenant"), _m.day.between(_b("b_day"), _b("b_day")))
_MARK = sa.update(job_metrics).where(*_OF, NOT_ROLLED).values(rolled=1)
_FIGURES = adding_up(_OF)
_CLEAR = sa.delete(job_days).where(
    job_days.c.tenant_id == _b("b_tenant"), job_days.c.day == _b("b_day")
)
_FORGET_DAYS = _a_page(job_days, job_days.c.day < _b("oldest"))
_FORGET_MONTHS = _a_page(job_spending, job_spending.c.month < _b("oldest"))
