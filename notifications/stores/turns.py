"""Counting before adding, exactly: transactions of one tenant that both do so take turns."""

import sqlalchemy as sa

from notifications.database import Transaction
from notifications.stores.marks import write_marks


def has_room(tx: Transaction, table: sa.Table, tenant_id: str, most: int) -> bool:
    """Whether a tenant has fewer than `most` rows; nobody adds another before this is committed.

    What is counted is what is committed, so whoever asks first writes the tenant's row of turns:
    on PostgreSQL another transaction waits there until it sees what this one added. SQLite has one
    writer anyway.
    """
    write_marks(tx, {f"turn/{table.name}/{tenant_id}": tx.now})
    column = table.c.tenant_id
    counted = sa.select(sa.func.count()).where(column == tenant_id)
    return int(tx.connection.execute(counted).scalar_one()) < most
