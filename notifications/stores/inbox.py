"""Users' inboxes in SQL, as their users see and change them. Implements `ports.Inbox`.

A row's `seq` and its user's head (`inbox_heads`: last `seq`, unread count) change in one unit of
work, so that the count is always the number of rows that it counts.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from notifications.database import Database, Transaction
from notifications.records import InboxEntry, InboxItem, Placed
from notifications.stores import tables

UNREAD = "unread"
READ = "read"


class SqlInbox:
    """Inboxes. What the realtime channel puts in them is the ledger's (`stores.placing`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        tenant_id: str,
        user_id: str,
        *,
        state: str | None,
        after: int | None,
        limit: int,
        below: int | None = None,
    ) -> Sequence[InboxItem]:
        """See `ports.Inbox.page`; newest first it goes on below `below`."""
        query = _page(tenant_id, user_id, state, after, below).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [_item(row) for row in rows]

    async def unread(self, tenant_id: str, user_id: str) -> int:
        """See `ports.Inbox.unread`."""
        names = {"tenant": tenant_id, "user": user_id}
        head = await self._database.look(
            lambda connection: connection.execute(_HEAD, names).first()
        )
        return head.unread if head else 0

    async def mark(self, tenant_id: str, user_id: str, item_id: str, state: str) -> Placed | None:
        """See `ports.Inbox.mark`."""
        return await self._database.write(lambda tx: _mark(tx, tenant_id, user_id, item_id, state))

    async def read_all(self, tenant_id: str, user_id: str) -> int:
        """See `ports.Inbox.read_all`."""
        return await self._database.write(lambda tx: _read_all(tx, tenant_id, user_id))


def _page(
    tenant_id: str, user_id: str, state: str | None, after: int | None, below: int | None
) -> sa.Select[Any]:
    query = sa.select(tables.inbox).where(_i.tenant_id == tenant_id, _i.user_id == user_id)
    if after is not None:
        query = query.where(_i.seq > after).order_by(_i.seq)
    else:
        query = query.order_by(_i.seq.desc())
    if below is not None:
        query = query.where(_i.seq < below)
    if state is not None:
        query = query.where(_i.state == state)
    return query


def _mark(tx: Transaction, tenant_id: str, user_id: str, item_id: str, state: str) -> Placed | None:
    names = {"tenant": tenant_id, "user": user_id}
    head = tx.connection.execute(_HEAD.with_for_update(), names).first()
    row = tx.connection.execute(_ITEM, {**names, "item": item_id}).first()
    if head is None or row is None:
        return None
    if row.state == state:
        return Placed(item=_item(row), unread=head.unread)
    seq = head.seq + 1
    unread = head.unread + (state == UNREAD) - (row.state == UNREAD)
    change = {"seq": seq, "state": state, "updated_at": tx.now}
    tx.connection.execute(_CHANGE_ITEM, {**_bound(names), "b_item": item_id, **change})
    tx.connection.execute(_CHANGE_HEAD, {**_bound(names), "seq": seq, "unread": unread})
    return Placed(item=_item(row, **change), unread=unread)


def _read_all(tx: Transaction, tenant_id: str, user_id: str) -> int:
    """Each item gets a `seq` of its own, in the old order: clients page by it."""
    names = {"tenant": tenant_id, "user": user_id}
    head = tx.connection.execute(_HEAD.with_for_update(), names).first()
    if head is None or not head.unread:
        return 0
    count = tx.connection.execute(
        _READ_ALL, {**_bound(names), "b_seq": head.seq, "b_now": tx.now}
    ).rowcount
    tx.connection.execute(
        _CHANGE_HEAD, {**_bound(names), "seq": head.seq + count, "unread": head.unread - count}
    )
    return count


def _bound(names: dict[str, str]) -> dict[str, str]:
    return {f"b_{name}": value for name, value in names.items()}


def _item(row: Any, **changed: Any) -> InboxItem:
    values = {**row._mapping, **changed}
    own = {name: values.pop(name) for name in ("seq", "state", "updated_at")}
    return InboxItem(entry=InboxEntry(**values), **own)


_i, _h = tables.inbox.c, tables.inbox_heads.c
_b = sa.bindparam

_HEAD = sa.select(_h.seq, _h.unread).where(_h.tenant_id == _b("tenant"), _h.user_id == _b("user"))
_ITEM = sa.select(tables.inbox).where(
    _i.tenant_id == _b("tenant"), _i.user_id == _b("user"), _i.item_id == _b("item")
)
_CHANGE_ITEM = (
    sa.update(tables.inbox)
    .where(_i.tenant_id == _b("b_tenant"), _i.user_id == _b("b_user"), _i.item_id == _b("b_item"))
    .values(seq=_b("seq"), state=_b("state"), updated_at=_b("updated_at"))
)
_CHANGE_HEAD = (
    sa.update(tables.inbox_heads)
    .where(_h.tenant_id == _b("b_tenant"), _h.user_id == _b("b_user"))
    .values(seq=_b("seq"), unread=_b("unread"))
)
_UNREAD = (
    sa.select(_i.item_id, sa.func.row_number().over(order_by=_i.seq).label("place"))
    .where(_i.tenant_id == _b("b_tenant"), _i.user_id == _b("b_user"), _i.state == UNREAD)
    .subquery("unread_items")
)
_READ_ALL = (
    sa.update(tables.inbox)
    .where(
        _i.tenant_id == _b("b_tenant"),
        _i.user_id == _b("b_user"),
        _i.item_id == _UNREAD.c.item_id,
    )
    .values(
        seq=_b("b_seq", type_=sa.BigInteger) + _UNREAD.c.place, state=READ, updated_at=_b("b_now")
    )
)
