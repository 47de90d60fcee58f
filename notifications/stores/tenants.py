"""Tenants in SQL. Implements `tenants.Tenants`.

A tenant that has set up nothing has no row here: it is there by what it has elsewhere.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from notifications.database import Database, Transaction
from notifications.directory import Locale
from notifications.stores import codes, tables
from notifications.tenants import Tenant


class SqlTenants:
    """What tenants set up.

    Args:
        database: Holds the ledger.
        changed: Called once something was saved: what hangs on it may be due now.
    """

    def __init__(self, database: Database, changed: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._changed = changed

    async def find(self, tenant_id: str) -> Tenant | None:
        """See `tenants.Tenants.find`."""

        def find(connection: sa.Connection) -> Tenant | None:
            row = connection.execute(_TENANT, {"tenant": tenant_id}).one_or_none()
            if row is not None:
                return _tenant(row)
            return Tenant(id=tenant_id) if _is_there(connection, tenant_id) else None

        return await self._database.look(find)

    async def save(self, tenant: Tenant) -> bool:
        """See `tenants.Tenants.save`."""

        def save(tx: Transaction) -> bool:
            if not _is_there(tx.connection, tenant.id):
                return False
            statement = codes.upsert(tx.connection, tables.tenants)
            row = _row(tenant, tx.now)
            changing = {name: statement.excluded[name] for name in row if name != "tenant_id"}
            tx.connection.execute(
                statement.on_conflict_do_update(index_elements=["tenant_id"], set_=changing), row
            )
            tx.after_commit(self._changed)
            return True

        return await self._database.write(save)


def _is_there(connection: sa.Connection, tenant_id: str) -> bool:
    return connection.execute(_THERE, {"tenant": tenant_id}).first() is not None


def _row(tenant: Tenant, now: int) -> dict[str, Any]:
    return {
        "tenant_id": tenant.id,
        "name": tenant.name,
        "locale": tenant.locale.value,
        "budget_nano_usd": tenant.budget_nano_usd,
        "refuse_over_budget": int(tenant.refuse_over_budget),
        "updated_at": now,
    }


def _tenant(row: Any) -> Tenant:
    return Tenant(
        id=row.tenant_id,
        name=row.name,
        locale=Locale(row.locale),
        budget_nano_usd=row.budget_nano_usd,
        refuse_over_budget=bool(row.refuse_over_budget),
    )


_TENANT = sa.select(tables.tenants).where(tables.tenants.c.tenant_id == sa.bindparam("tenant"))
_THERE: sa.Select[int] = sa.select(sa.literal_column("1", sa.Integer)).where(
    sa.or_(
        *(
            sa.exists().where(table.c.tenant_id == sa.bindparam("tenant"))
            for table in (
                tables.api_keys,
                tables.users,
                tables.endpoints,
                tables.events,
                tables.tenants,
            )
        )
    )
)
