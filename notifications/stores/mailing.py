"""Suppressed addresses, what reports say of mails, and what the mail account may still send."""

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from notifications.database import Database, Transaction
from notifications.deliveries import State
from notifications.mailing import (
    Fate,
    MailLimits,
    MailReport,
    Suppression,
    draw,
    spelled,
)
from notifications.ports import Clock
from notifications.retries import MINUTE
from notifications.stores import codes, tables
from notifications.stores.directory import Cache
from notifications.stores.turns import has_room
from notifications.timing import Numbers

RECORDED_WITHIN = 10 * MINUTE
"""How long a mail may be at the service before its delivery is written down."""

_ACCOUNT = "acs"
_LONGEST_ADDRESS = 320


class SqlSuppressions:
    """Implements `mailing.Suppressions`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._found: Cache[Suppression | None] = Cache(clock)

    async def find(self, tenant_id: str, address: str) -> Suppression | None:
        """See `mailing.Suppressions.find`."""
        known, found = self._found.get((tenant_id, address))
        if known:
            return found
        query = {"tenant": tenant_id, "address": address}
        row = await self._database.look(lambda c: c.execute(_FIND, query).first())
        return self._found.put((tenant_id, address), _suppression(row) if row else None)

    async def save(self, suppression: Suppression, *, most: int) -> bool:
        """See `mailing.Suppressions.save`."""
        key = {"tenant": suppression.tenant_id, "address": suppression.address}
        row = _row(suppression)

        def save(tx: Transaction) -> bool:
            there = tx.connection.execute(_FIND, key).first()
            if there is None and not has_room(tx, tables.suppressions, suppression.tenant_id, most):
                return False
            statement = codes.upsert(tx.connection, tables.suppressions)
            tx.connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["tenant_id", "address"],
                    set_={"reason": statement.excluded.reason},
                ),
                row,
            )
            return True

        saved = await self._database.write(save)
        self.forget(suppression.tenant_id, suppression.address)
        return saved

    async def delete(self, tenant_id: str, address: str) -> bool:
        """See `mailing.Suppressions.delete`."""
        statement = sa.delete(tables.suppressions).where(
            _s.tenant_id == tenant_id, _s.address == address
        )
        gone = await self._database.write(lambda tx: tx.connection.execute(statement).rowcount)
        self.forget(tenant_id, address)
        return bool(gone)

    async def page(self, tenant_id: str, *, after: str, limit: int) -> Sequence[Suppression]:
        """See `mailing.Suppressions.page`."""
        query = (
            sa.select(tables.suppressions)
            .where(_s.tenant_id == tenant_id, _s.address > after)
            .order_by(_s.address)
            .limit(limit)
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [_suppression(row) for row in rows]

    def forget(self, tenant_id: str, address: str) -> None:
        """Somebody changed this one in the database."""
        self._found.forget((tenant_id, address))


class SqlMailReports:
    """Implements `mailing.MailReports`."""

    def __init__(self, database: Database, suppressions: SqlSuppressions) -> None:
        self._database = database
        self._suppressions = suppressions

    async def take(self, report: MailReport) -> bool:
        """See `mailing.MailReports.take`."""

        def take(tx: Transaction) -> tuple[bool, str | None]:
            row = tx.connection.execute(_MAILED, {"number": report.number}).first()
            if row is None:
                age = tx.now - Numbers.time_of(report.number)
                return age > RECORDED_WITHIN, None
            if not _is_news(row, report):
                return True, None
            if report.fate.suppresses:
                _suppress(tx, row.tenant_id, report)
            if row.state == State.PENDING:  # the attempt may be under way still
                return tx.now - report.at > RECORDED_WITHIN, row.tenant_id
            if row.state == State.DELIVERED:
                _end(tx, row, report.fate)
            return True, row.tenant_id

        taken, tenant_id = await self._database.write(take)
        if tenant_id is not None:
            self._suppressions.forget(tenant_id, spelled(report.recipient))
        return taken


def _is_news(row: Any, report: MailReport) -> bool:
    """Whether it was not taken in before: the tenant may have undone since what came of it.

    A former round is over, most often because of this very report; the new mail has its own.
    """
    ended = row.state == State.EXHAUSTED and row.reason == report.fate.value
    return row.round == report.round and not ended


def _suppress(tx: Transaction, tenant_id: str, report: MailReport) -> None:
    address = spelled(report.recipient)
    if not address or len(address) > _LONGEST_ADDRESS:
        return
    suppression = Suppression(
        tenant_id=tenant_id, address=address, reason=report.fate.value, created_at=report.at
    )
    statement = codes.upsert(tx.connection, tables.suppressions)
    tx.connection.execute(statement.on_conflict_do_nothing(), _row(suppression))


def _end(tx: Transaction, row: Any, fate: Fate) -> None:
    tx.connection.execute(
        sa.update(tables.deliveries)
        .where(_d.tenant_id == row.tenant_id, _d.id == row.id)
        .values(state=State.EXHAUSTED.value, reason=fate.value, updated_at=tx.now)
    )


class SqlMailBudget:
    """Implements `mailing.MailBudget`: one row, which every process draws from in turn."""

    def __init__(self, database: Database, limits: MailLimits) -> None:
        self._database = database
        self._limits = limits

    async def draw(self) -> int:
        """See `mailing.MailBudget.draw`."""

        def run(tx: Transaction) -> int:
            row = _locked(tx)
            if row.held_until > tx.now:
                return int(row.held_until - tx.now)
            drawn, wait = draw(orjson.loads(row.drawn), self._limits, tx.now)
            if not wait:
                tx.connection.execute(_SPENT, {"name_": _ACCOUNT, "drawn_": orjson.dumps(drawn)})
            return wait

        return await self._database.write(run)

    async def hold(self, ms: int) -> None:
        """See `mailing.MailBudget.hold`."""

        def run(tx: Transaction) -> None:
            until = max(_locked(tx).held_until, tx.now + ms)
            tx.connection.execute(_HELD, {"name_": _ACCOUNT, "until_": until})

        await self._database.write(run)


def _locked(tx: Transaction) -> Any:
    statement = codes.upsert(tx.connection, tables.mail_budgets)
    fresh = {"name": _ACCOUNT, "drawn": b"{}", "held_until": 0}
    tx.connection.execute(statement.on_conflict_do_nothing(), fresh)
    return tx.connection.execute(_BUDGET, {"name_": _ACCOUNT}).one()


def _suppression(row: Any) -> Suppression:
    return Suppression(
        tenant_id=row.tenant_id,
        address=row.address,
        reason=row.reason,
        created_at=row.created_at,
    )


def _row(suppression: Suppression) -> dict[str, Any]:
    return {
        "tenant_id": suppression.tenant_id,
        "address": suppression.address,
        "reason": suppression.reason,
        "created_at": suppression.created_at,
    }


_s, _d, _m = tables.suppressions.c, tables.deliveries.c, tables.mail_budgets.c
_b = sa.bindparam
_FIND = sa.select(tables.suppressions).where(
    _s.tenant_id == _b("tenant"), _s.address == _b("address")
)
_MAILED = (
    sa.select(_d.tenant_id, _d.id, _d.round, _d.state, _d.reason)
    # Written out, so that the planner sees the partial index.
    .where(_d.id == _b("number"), _d.channel == sa.literal_column("'email'"))
    .with_for_update()
)
_BUDGET = sa.select(_m.drawn, _m.held_until).where(_m.name == _b("name_")).with_for_update()
_SPENT = sa.update(tables.mail_budgets).where(_m.name == _b("name_")).values(drawn=_b("drawn_"))
_HELD = sa.update(tables.mail_budgets).where(_m.name == _b("name_")).values(held_until=_b("until_"))
