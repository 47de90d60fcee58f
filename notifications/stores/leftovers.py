"""What is kept only as long as events are, and hangs on no event: inbox items, dead letters,
messages the bus refused, lanes of endpoints that are gone. `tidy` is a step of the sweep.

Each call visits a bounded number of users and lanes and goes on behind them the next time, so that
a round takes minutes and no sweep is felt.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from notifications.database import Database, Transaction
from notifications.ports import Clock
from notifications.stores import codes, switching, tables
from notifications.stores.inbox import UNREAD
from notifications.timing import Numbers

VISITS = 2_000
"""Users, and lanes, that one call looks at."""

_User = tuple[str, str]


class SqlLeftovers:
    """Removes what is older than the retention."""

    def __init__(
        self, database: Database, file: Database | None, clock: Clock, *, keep: int
    ) -> None:
        """Put it together.

        Args:
            database: Holds the ledger.
            file: Holds the embedded bus; the same on one machine. None where there is none.
            clock: Says how old things are.
            keep: How long things are kept, ms.
        """
        self._database = database
        self._file = file
        self._clock = clock
        self._keep = keep
        self._user: _User = ("", "")
        self._lane = ""

    async def tidy(self, *, limit: int) -> int:
        """Remove up to about `limit` rows of each kind; how many it was."""
        removed = await self._tidy_inboxes(limit)
        if self._file is not None:
            removed += await self._tidy_dead_letters(self._file, limit)
        removed += await self._tidy_outbox(limit)
        return removed + await self._tidy_lanes(limit)

    # ---------------------------------------------------------------- inboxes

    async def _tidy_inboxes(self, limit: int) -> int:
        """Items that nothing has changed for so long; the count of unread ones goes with them."""
        oldest = self._clock.now() - self._keep
        query = {"tenant": self._user[0], "user": self._user[1], "limit": VISITS}
        heads = await self._database.read(lambda seen: seen.execute(_HEADS, query).all())
        removed, last = 0, ("", "")
        for head in heads:
            if removed >= limit:
                break
            last = (head.tenant_id, head.user_id)
            if head.first_change is not None and head.first_change < oldest:
                room = limit - removed
                removed += await self._database.write(
                    lambda tx, user=last, room=room: _forget_items(tx, user, oldest, room)  # type: ignore[misc]
                )
        # Who has more than there was room for is visited again at once.
        self._user = last if heads and removed < limit and len(heads) == VISITS else ("", "")
        return removed

    # ---------------------------------------------------------------- dead letters

    async def _tidy_dead_letters(self, file: Database, limit: int) -> int:
        oldest = self._clock.now() - self._keep
        names = await file.read(lambda seen: seen.execute(_SUBSCRIPTIONS).scalars().all())
        return sum(
            [
                await self._forget_dead(file, name, oldest, limit, *statements)
                for name in names
                for statements in ((_DEAD, _FORGET_DEAD), (_DEFERRED, _FORGET_DEFERRED))
            ]
        )

    async def _forget_dead(
        self,
        file: Database,
        subscription: str,
        oldest: int,
        limit: int,
        select: sa.TextClause,
        delete: sa.TextClause,
    ) -> int:
        # They die nearly in the order they came, a day apart at most: old ones stand in front.
        query = {"name": subscription, "limit": limit}
        rows = await file.read(lambda seen: seen.execute(select, query).all())
        old = [row.seq for row in rows if row.since < oldest]

        def forget(tx: Transaction) -> int:
            for page in codes.pages(old):
                tx.connection.execute(delete, {"name": subscription, "seqs": page})
            return len(old)

        return await file.write(forget) if old else 0

    async def _tidy_outbox(self, limit: int) -> int:
        """What the bus refused for good; whatever else is there is still to be sent."""
        oldest = Numbers.at(self._clock.now() - self._keep)
        query = {"oldest": oldest, "limit": limit}
        old = await self._database.read(lambda seen: seen.execute(_REFUSED, query).scalars().all())

        def forget(tx: Transaction) -> int:
            for page in codes.pages(old):
                tx.connection.execute(_FORGET_REFUSED, {"ids": page})
            return len(old)

        return await self._database.write(forget) if old else 0

    # ---------------------------------------------------------------- lanes

    async def _tidy_lanes(self, limit: int) -> int:
        """Lanes of endpoints that are gone, once nothing waits in them."""
        query = {"after": self._lane, "limit": min(VISITS, limit)}
        lanes = await self._database.read(lambda seen: seen.execute(_LANES, query).scalars().all())
        self._lane = lanes[-1] if len(lanes) == query["limit"] else ""
        ours = [lane for lane in lanes if lane.startswith("webhook/")]
        gone = await self._database.read(lambda seen: _without_endpoint(seen, ours))

        def forget(tx: Transaction) -> int:
            switching.forget(tx, gone)
            done = (tx.connection.execute(_FORGET_LANE, {"b_lane": lane}) for lane in gone)
            return sum(each.rowcount for each in done)

        return await self._database.write(forget) if gone else 0


def _forget_items(tx: Transaction, user: _User, oldest: int, limit: int) -> int:
    names = {"b_tenant": user[0], "b_user": user[1]}
    if tx.connection.execute(_LOCK_HEAD, names).first() is None:
        return 0
    rows = tx.connection.execute(_FIRST_ITEMS, {**names, "limit": limit}).all()
    old = [row for row in rows if row.updated_at < oldest]
    if old:
        tx.connection.execute(_FORGET_ITEM, [{**names, "b_item": row.item_id} for row in old])
        unread = sum(row.state == UNREAD for row in old)
        tx.connection.execute(_FEWER_UNREAD, {**names, "unread_less": unread})
    return len(old)


def _without_endpoint(connection: sa.Connection, lanes: Sequence[str]) -> list[str]:
    by_tenant: dict[str, dict[str, str]] = {}
    for lane in lanes:
        _, tenant_id, endpoint_id = lane.split("/", 2)
        by_tenant.setdefault(tenant_id, {})[endpoint_id] = lane
    gone: list[str] = []
    for tenant_id, named in by_tenant.items():
        for page in codes.pages(list(named)):
            query: dict[str, Any] = {"tenant": tenant_id, "ids": page}
            there = set(connection.execute(_THERE, query).scalars())
            gone += [named[endpoint_id] for endpoint_id in page if endpoint_id not in there]
    return gone


_i, _h, _l = tables.inbox.c, tables.inbox_heads.c, tables.lanes.c
_d, _ep = tables.deliveries.c, tables.endpoints.c
_b = sa.bindparam

_HEADS = (
    sa.select(
        _h.tenant_id,
        _h.user_id,
        # A change gives an item its user's next `seq`: the first by it is the longest unchanged.
        sa.select(_i.updated_at)
        .where(_i.tenant_id == _h.tenant_id, _i.user_id == _h.user_id)
        .order_by(_i.seq)
        .limit(1)
        .scalar_subquery()
        .label("first_change"),
    )
    .where(sa.tuple_(_h.tenant_id, _h.user_id) > sa.tuple_(_b("tenant"), _b("user")))
    .order_by(_h.tenant_id, _h.user_id)
    .limit(_b("limit"))
)
_OF_USER = (_i.tenant_id == _b("b_tenant"), _i.user_id == _b("b_user"))
_LOCK_HEAD = (
    sa.select(_h.unread)
    .where(_h.tenant_id == _b("b_tenant"), _h.user_id == _b("b_user"))
    .with_for_update()
)
_FIRST_ITEMS = (
    sa.select(_i.item_id, _i.state, _i.updated_at)
    .where(*_OF_USER)
    .order_by(_i.seq)
    .limit(_b("limit"))
)
_FORGET_ITEM = sa.delete(tables.inbox).where(*_OF_USER, _i.item_id == _b("b_item"))
_FEWER_UNREAD = (
    sa.update(tables.inbox_heads)
    .where(_h.tenant_id == _b("b_tenant"), _h.user_id == _b("b_user"))
    .values(unread=_h.unread - _b("unread_less", type_=sa.Integer))
)

# The bus's tables in plain SQL, as in `on_bus`.
_SUBSCRIPTIONS = sa.text("SELECT name FROM bus_subscriptions")
_DEAD = sa.text(
    "SELECT seq, dead_at AS since FROM bus_dead_letters"
    " WHERE subscription = :name ORDER BY seq LIMIT :limit"
)
_DEFERRED = sa.text(
    "SELECT seq, enqueued_at AS since FROM bus_deferred"
    " WHERE subscription = :name ORDER BY seq LIMIT :limit"
)
_FORGET_DEFERRED = sa.text(
    "DELETE FROM bus_deferred WHERE subscription = :name AND seq IN :seqs"
).bindparams(_b("seqs", expanding=True))
_FORGET_DEAD = sa.text(
    "DELETE FROM bus_dead_letters WHERE subscription = :name AND seq IN :seqs"
).bindparams(_b("seqs", expanding=True))

_o = tables.outbox.c
_REFUSED = (
    sa.select(_o.id)
    .where(_o.id < _b("oldest"), _o.rejected.is_not(None))
    .order_by(_o.id)
    .limit(_b("limit"))
)
_FORGET_REFUSED = sa.delete(tables.outbox).where(_o.id.in_(_b("ids", expanding=True)))

_LANES = sa.select(_l.lane).where(_l.lane > _b("after")).order_by(_l.lane).limit(_b("limit"))
_THERE = sa.select(_ep.id).where(
    _ep.tenant_id == _b("tenant"), _ep.id.in_(_b("ids", expanding=True))
)
_FORGET_LANE = sa.delete(tables.lanes).where(
    _l.lane == _b("b_lane"),
    ~sa.exists().where(_d.lane == _l.lane, _d.state == codes.PENDING),
)
