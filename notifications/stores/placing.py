"""Placing entries in users' inboxes, within the transaction that records their deliveries."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from notifications import statements
from notifications.database import Transaction
from notifications.records import InboxEntry, InboxItem, Placed
from notifications.stores import codes, tables

_User = tuple[str, str]
_Item = tuple[str, str, str]


def place(tx: Transaction, entries: Sequence[InboxEntry | None]) -> list[Placed | None]:
    """Put each entry that is there in its inbox; one answer per entry, in order.

    An entry whose item is there already with the same or a higher rank is not placed: it was
    placed before, or something newer was.
    """
    if not any(entries):
        return [None] * len(entries)
    heads = _Heads(tx, {(e.tenant_id, e.user_id) for e in entries if e is not None})
    items = _items(tx, {_key(e) for e in entries if e is not None})
    changed: dict[_Item, dict[str, Any]] = {}
    placed = [_place(tx, entry, heads, items, changed) for entry in entries]
    _write(tx, list(changed.values()))
    heads.write(tx)
    return placed


class _Heads:
    """Each user's last `seq` and unread count."""

    def __init__(self, tx: Transaction, users: set[_User]) -> None:
        self._heads: dict[_User, list[int]] = {}
        if tx.shared:
            _make_heads(tx, sorted(users))  # so that there is a row to lock
        for tenant_id, user_id in sorted(users):
            row = statements.first(tx.connection, _HEAD, {"tenant": tenant_id, "user": user_id})
            self._heads[(tenant_id, user_id)] = [row.seq, row.unread] if row else [0, 0]
        self._changed: set[_User] = set()

    def unread(self, user: _User) -> int:
        return self._heads[user][1]

    def step(self, user: _User, newly_unread: bool) -> int:
        """The next `seq` of a user's inbox."""
        head = self._heads[user]
        head[0] += 1
        head[1] += newly_unread
        self._changed.add(user)
        return head[0]

    def write(self, tx: Transaction) -> None:
        rows = [
            {
                "tenant_id": tenant_id,
                "user_id": user_id,
                "seq": self._heads[(tenant_id, user_id)][0],
                "unread": self._heads[(tenant_id, user_id)][1],
            }
            for tenant_id, user_id in sorted(self._changed)
        ]
        if rows:
            statements.run(tx.connection, _heads(tx.connection.dialect.name), rows)


def _make_heads(tx: Transaction, users: Sequence[_User]) -> None:
    statement = codes.upsert(tx.connection, tables.inbox_heads).on_conflict_do_nothing()
    rows = [
        {"tenant_id": tenant_id, "user_id": user_id, "seq": 0, "unread": 0}
        for tenant_id, user_id in users
    ]
    tx.connection.execute(statement, rows)


def _place(
    tx: Transaction,
    entry: InboxEntry | None,
    heads: _Heads,
    items: dict[_Item, tuple[int, str]],
    changed: dict[_Item, dict[str, Any]],
) -> Placed | None:
    if entry is None:
        return None
    user = (entry.tenant_id, entry.user_id)
    there = items.get(_key(entry))
    if there is not None and there[0] >= entry.rank:
        return Placed(item=None, unread=heads.unread(user))
    # News of a job brings a notification that was read back to unread only when it is the end:
    # progress is not worth a second look.
    state = "unread" if there is None or entry.progress is None else there[1]
    newly_unread = state == "unread" and (there is None or there[1] != "unread")
    seq = heads.step(user, newly_unread)
    items[_key(entry)] = (entry.rank, state)
    changed[_key(entry)] = {
        "tenant_id": entry.tenant_id,
        "user_id": entry.user_id,
        "item_id": entry.item_id,
        "seq": seq,
        "rank": entry.rank,
        "state": state,
        "event_id": entry.event_id,
        "type": entry.type,
        "title": codes.text(entry.title),
        "body": codes.text(entry.body),
        "url": entry.url,
        "progress": entry.progress,
        "created_at": entry.created_at,
        "updated_at": tx.now,
    }
    item = InboxItem(entry=entry, seq=seq, state=state, updated_at=tx.now)
    return Placed(item=item, unread=heads.unread(user))


def _key(entry: InboxEntry) -> _Item:
    return (entry.tenant_id, entry.user_id, entry.item_id)


def _items(tx: Transaction, keys: set[_Item]) -> dict[_Item, tuple[int, str]]:
    found: dict[_Item, tuple[int, str]] = {}
    for tenant_id, user_id, item_id in sorted(keys):
        item = {"tenant": tenant_id, "user": user_id, "item": item_id}
        row = statements.first(tx.connection, _ITEM, item)
        if row is not None:
            found[(tenant_id, user_id, item_id)] = (row.rank, row.state)
    return found


def _write(tx: Transaction, rows: list[dict[str, Any]]) -> None:
    if rows:
        statements.run(tx.connection, _newest(tx.connection.dialect.name), rows)


@cache
def _heads(dialect: str) -> Any:
    statement = codes.upsert_in(dialect, tables.inbox_heads)
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "user_id"],
        set_={"seq": statement.excluded.seq, "unread": statement.excluded.unread},
    )


@cache
def _newest(dialect: str) -> Any:
    statement = codes.upsert_in(dialect, tables.inbox)
    # `created_at` goes along with what it is of: an item that tells of something new is new.
    key = ("tenant_id", "user_id", "item_id")
    names = [column.name for column in tables.inbox.columns if column.name not in key]
    replaced = {name: statement.excluded[name] for name in names}
    return statement.on_conflict_do_update(index_elements=key, set_=replaced)


_i, _h = tables.inbox.c, tables.inbox_heads.c
_HEAD = (
    sa.select(_h.seq, _h.unread)
    .where(_h.tenant_id == sa.bindparam("tenant"), _h.user_id == sa.bindparam("user"))
    .with_for_update()
)
_ITEM = sa.select(_i.rank, _i.state).where(
    _i.tenant_id == sa.bindparam("tenant"),
    _i.user_id == sa.bindparam("user"),
    _i.item_id == sa.bindparam("item"),
)
