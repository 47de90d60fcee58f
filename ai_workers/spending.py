"""What tenants spend on AI jobs, by month, in SQL; told of when shares of the budget are spent.

A tenant's month is one row. Whoever adds to it holds it until the commit, so that of many runs
that end at once exactly one sees a share crossed, and tells of it in the same transaction. It is
the last lock that a job's transaction takes, and held for as short as can be.
"""

from collections import Counter
from functools import cache
from typing import Any

import sqlalchemy as sa

from ai_workers import budgets
from ai_workers.announcing import Announcing
from ai_workers.budgets import Standing
from ai_workers.jobs import Failure
from ai_workers.tables import job_spending
from notifications import statements
from notifications.database import Database, Transaction
from notifications.stores import codes
from notifications.stores.tables import tenants


class SqlSpending:
    """Counts money, and holds it against the budgets."""

    def __init__(self, database: Database, announcing: Announcing) -> None:
        self._database = database
        self._announcing = announcing

    def note(self, tx: Transaction, tenant_id: str, cost: int) -> None:
        """Count what was spent, with the rest of `tx`.

        Noted before anything else of the transaction is collected, it is written after it.
        """
        if cost:
            tx.collect(self._count, (tenant_id, cost))

    def refusal(self, tx: Transaction, tenant_id: str) -> Failure | None:
        """Why a tenant's new jobs are not taken; None where they are."""
        query = {"tenant": tenant_id, "month": budgets.month_of(tx.now)}
        row = statements.first(tx.connection, _STANDING, query)
        standing = None if row is None else _standing(row)
        return budgets.refusal(standing) if standing is not None and standing.refusing else None

    async def tell(self, *, limit: int) -> int:
        """Tell of what is spent and nobody was told of, since the budget came after the money.

        A step of the sweep: up to `limit` tenants; how many it was.
        """

        def tell(tx: Transaction) -> int:
            query = {"month": budgets.month_of(tx.now), "limit": limit}
            found = tx.connection.execute(_UNTOLD, query).all()
            return sum(self._tell(tx, _standing(row)) for row in found)

        return await self._database.write(tell)

    def _count(self, tx: Transaction, notes: list[tuple[str, int]]) -> None:
        costs: Counter[str] = Counter()
        for tenant_id, cost in notes:
            costs[tenant_id] += cost
        month = budgets.month_of(tx.now)
        rows = [
            {"tenant_id": tenant_id, "month": month, "cost_nano_usd": cost, "told": 0}
            for tenant_id, cost in sorted(costs.items())
        ]
        statements.run(tx.connection, _adding(tx.connection.dialect.name), rows)
        for tenant_id in sorted(costs):
            query = {"tenant": tenant_id, "month": month}
            row = statements.first(tx.connection, _STANDING, query)
            if row is not None:
                self._tell(tx, _standing(row))

    def _tell(self, tx: Transaction, standing: Standing) -> bool:
        """Tell of the shares that are new; the tenant's row is this transaction's."""
        shares = budgets.crossed(standing)
        if not shares:
            return False
        told = {"b_tenant": standing.tenant_id, "b_month": standing.month, "b_told": max(shares)}
        tx.connection.execute(_TOLD, told)
        self._announcing.put(tx, [budgets.told_of(standing, each, tx.now) for each in shares])
        return True


@cache
def _adding(dialect: str) -> Any:
    statement = codes.upsert_in(dialect, job_spending)
    more = _s.cost_nano_usd + statement.excluded.cost_nano_usd
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "month"], set_={"cost_nano_usd": more}
    )


def _standing(row: sa.Row[Any]) -> Standing:
    return Standing(
        tenant_id=row.tenant_id,
        month=row.month,
        spent=row.cost_nano_usd,
        told=row.told,
        budget=row.budget_nano_usd,
        refuses=bool(row.refuse_over_budget),
    )


_s, _t = job_spending.c, tenants.c
_b = sa.bindparam
_WITH_BUDGET = (
    sa.select(job_spending, _t.budget_nano_usd, _t.refuse_over_budget)
    .join(tenants, _t.tenant_id == _s.tenant_id)
    .where(_t.budget_nano_usd.is_not(None), _s.month == _b("month"))
)
_STANDING = _WITH_BUDGET.where(_s.tenant_id == _b("tenant"))


def _is_crossed(share: int) -> sa.ColumnElement[bool]:
    # Budgets divide by a hundred; times a hundred they would be too large for a column.
    return sa.and_(_s.told < share, _s.cost_nano_usd >= _t.budget_nano_usd // 100 * share)


_UNTOLD = (
    _WITH_BUDGET.where(sa.or_(*(_is_crossed(share) for share in budgets.SHARES)))
    .order_by(_s.tenant_id)
    .limit(_b("limit"))
    .with_for_update(of=job_spending, skip_locked=True)
)
_TOLD = (
    sa.update(job_spending)
    .where(_s.tenant_id == _b("b_tenant"), _s.month == _b("b_month"))
    .values(told=_b("b_told"))
)
