"""Replays in SQL: their rows, and working them off.

Implements `replaying.Replays` and `replaying.ReplayWork`.

Everything goes by one key, the event's number: it is the order of pages, the position that is kept,
and where a time begins. An event has one delivery to an endpoint at most, so that whoever is past
its number never takes it up again.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

from notifications.crashpoints import Point, passing
from notifications.database import Database, Transaction
from notifications.deliveries import Delivery, new_round, webhook_lane
from notifications.directory import Endpoint, EndpointState
from notifications.errors import Conflict
from notifications.events import Channel, decode_stored
from notifications.ids import replay_id
from notifications.ports import Clock
from notifications.replays import Kind, Replay, ReplayState, Running, Selection
from notifications.retries import RetryTable
from notifications.routing import goes_to
from notifications.stores import codes, replay_queries, tables
from notifications.stores.recording import rewrite
from notifications.stores.replay_queries import Scope
from notifications.timing import Numbers


class Waker(Protocol):
    """Schedules drains within a transaction; the ledger does it."""

    def wake(self, tx: Transaction, wakes: Mapping[str, int]) -> None:
        """Drain each lane at its time."""
        ...


class Endpoints(Protocol):
    """Endpoints as a transaction sees them; the directory does it."""

    def endpoint_in(self, tx: Transaction, tenant_id: str, endpoint_id: str) -> Endpoint | None:
        """One endpoint, or None."""
        ...


class SqlReplays:
    """Replays' rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, replay: Replay) -> Replay:
        """See `replaying.Replays.add`."""

        def add(tx: Transaction) -> Replay | Conflict:
            statement = codes.upsert(tx.connection, tables.replays).on_conflict_do_nothing()
            row = _row(replay)
            if tx.connection.execute(statement.returning(_r.id), row).first() is not None:
                return replay
            names = {"tenant": replay.tenant_id, "endpoint": replay.endpoint_id}
            other = tx.connection.execute(_UNDER_WAY, names).scalar()
            named = f" {replay_id(other)}" if other is not None else ""
            return Conflict(f"replay{named} of this endpoint is under way: wait, or cancel it")

        answer = await self._database.write(add)
        if isinstance(answer, Conflict):
            raise answer
        return answer

    async def find(self, tenant_id: str, replay_id: int) -> Replay | None:
        """See `replaying.Replays.find`."""
        names = {"tenant": tenant_id, "id": replay_id}
        row = await self._database.read(lambda c: c.execute(_ONE, names).first())
        return _replay(row) if row else None

    async def page(
        self, tenant_id: str, *, endpoint_id: str | None, below: int | None, limit: int
    ) -> Sequence[Replay]:
        """See `replaying.Replays.page`."""
        query = sa.select(tables.replays).where(_r.tenant_id == tenant_id)
        if endpoint_id is not None:
            query = query.where(_r.endpoint_id == endpoint_id)
        if below is not None:
            query = query.where(_r.id < below)
        query = query.order_by(_r.id.desc()).limit(limit)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [_replay(row) for row in rows]

    async def cancel(self, tenant_id: str, replay_id: int, reason: str) -> Replay | None:
        """See `replaying.Replays.cancel`."""

        def cancel(tx: Transaction) -> Replay | None:
            _end(tx, tenant_id, replay_id, ReplayState.CANCELLED, reason)
            row = tx.connection.execute(_ONE, {"tenant": tenant_id, "id": replay_id}).first()
            return _replay(row) if row else None

        return await self._database.write(cancel)


class SqlReplayWork:
    """Takes deliveries up again."""

    def __init__(
        self,
        database: Database,
        waker: Waker,
        endpoints: Endpoints,
        table: RetryTable,
        *,
        clock: Clock,
        numbers: Numbers,
    ) -> None:
        self._database = database
        self._waker = waker
        self._endpoints = endpoints
        self._table = table
        self._clock = clock
        self._numbers = numbers

    async def count(self, endpoint: Endpoint, selection: Selection) -> Mapping[Kind, int]:
        """See `replaying.ReplayWork.count`."""
        scope = Scope(endpoint=endpoint, selection=selection)
        counts: Counter[Kind] = Counter(dict.fromkeys(selection.kinds, 0))
        after, done = Numbers.at(selection.since) - 1, False
        while not done:
            found, after, done = await self._database.read(
                lambda c, after=after: replay_queries.count(c, scope, after)  # type: ignore[misc]
            )
            counts.update(found)
        return counts

    async def running(self, after: Running | None, *, limit: int) -> Sequence[Running]:
        """See `replaying.ReplayWork.running`."""
        names = (after.tenant_id, after.endpoint_id) if after else ("", "")
        query = {"tenant": names[0], "endpoint": names[1], "limit": limit}
        rows = await self._database.look(lambda c: c.execute(_RUNNING, query).all())
        return [
            Running(tenant_id=row.tenant_id, endpoint_id=row.endpoint_id, id=row.id) for row in rows
        ]

    async def advance(self, one: Running, *, limit: int) -> int:
        """See `replaying.ReplayWork.advance`."""
        names = {"tenant": one.tenant_id, "id": one.id}

        def ready(tx: Transaction) -> tuple[Replay, Scope] | None:
            row = tx.connection.execute(_ONE_RUNNING, names).first()
            if row is None:
                return None
            endpoint = self._endpoints.endpoint_in(tx, one.tenant_id, one.endpoint_id)
            if endpoint is None:
                _end(tx, one.tenant_id, one.id, ReplayState.CANCELLED, "endpoint-deleted")
                return None
            if endpoint.state is not EndpointState.ACTIVE:
                return None
            replay = _replay(row)
            return replay, Scope(endpoint=endpoint, selection=replay.selection)

        lane = webhook_lane(one.tenant_id, one.endpoint_id)
        if await self._busy(lane, limit):
            return 0
        begun = await self._database.write(ready)
        if begun is None:
            return 0
        replay, scope = begun
        keys, upto, done = await self._database.read(
            lambda c: replay_queries.look(c, scope, replay.position, limit)
        )
        return await self._database.write(
            lambda tx: self._take_up(tx, replay, scope, keys, upto, done=done)
        )

    async def _busy(self, lane: str, limit: int) -> bool:
        """Whether a lane has half a page of due deliveries or more."""
        query = {"lane": lane, "now": self._clock.now(), "limit": limit}
        waiting = await self._database.look(lambda c: c.execute(_WAITING, query).scalar())
        return (waiting or 0) >= max(limit // 2, 1)

    def _take_up(
        self,
        tx: Transaction,
        replay: Replay,
        scope: Scope,
        keys: Sequence[int],
        upto: int,
        *,
        done: bool,
    ) -> int:
        """A page's deliveries, and how far it came: one commit, unless somebody was first."""
        row = tx.connection.execute(
            _ONE_RUNNING, {"tenant": replay.tenant_id, "id": replay.id}
        ).first()
        if row is None or row.position != replay.position:
            return 0
        found = replay_queries.deliveries(tx.connection, scope, keys)
        again = [
            new_round(each, now=tx.now, table=self._table)
            for each in found.values()
            if each.state.value in replay.selection.kinds
        ]
        rewrite(tx, again)
        made = 0
        if Kind.ABSENT in replay.selection.kinds:
            made = self._make(tx, scope, [key for key in keys if key not in found])
        passing(Point.REPLAY_TAKEN_UP)
        tx.connection.execute(
            _ADVANCE,
            {
                "b_tenant": replay.tenant_id,
                "b_id": replay.id,
                "b_position": upto,
                "b_begun": len(again),
                "b_made": made,
                "b_state": (ReplayState.DONE if done else ReplayState.RUNNING).value,
                "b_now": tx.now,
            },
        )
        passing(Point.REPLAY_POSITION)
        if again or made:
            lane = webhook_lane(replay.tenant_id, replay.endpoint_id)
            self._waker.wake(tx, {lane: tx.now})
        return len(again) + made or 1

    def _make(self, tx: Transaction, scope: Scope, keys: Sequence[int]) -> int:
        """Deliveries for events that the endpoint never got; how many there were not meanwhile."""
        rows = []
        for row in replay_queries.bodies(tx.connection, scope, keys):
            if not goes_to(decode_stored(row.body), scope.endpoint):
                continue
            delivery = Delivery(
                tenant_id=scope.endpoint.tenant_id,
                id=self._numbers.next(),
                event_key=row.key,
                channel=Channel.WEBHOOK,
                target=scope.endpoint.id,
                routed=row.routed + 1,
                due_at=tx.now,
                deadline=tx.now + self._table.lifetime,
                created_at=tx.now,
            )
            rows.append({**codes.delivery_row(delivery, tx.now), **codes.NO_FIRST})
        if not rows:
            return 0
        statement = codes.upsert(tx.connection, tables.deliveries).on_conflict_do_nothing()
        return len(tx.connection.execute(statement.returning(_d.id), rows).all())


def _end(tx: Transaction, tenant_id: str, number: int, state: ReplayState, reason: str) -> None:
    tx.connection.execute(
        _END,
        {
            "b_tenant": tenant_id,
            "b_id": number,
            "b_state": state.value,
            "b_reason": reason,
            "b_now": tx.now,
        },
    )


def _row(replay: Replay) -> dict[str, Any]:
    return {
        "tenant_id": replay.tenant_id,
        "id": replay.id,
        "endpoint_id": replay.endpoint_id,
        "asked_by": replay.asked_by,
        "since": replay.selection.since,
        "until": replay.selection.until,
        "event_types": list(replay.selection.event_types),
        "states": [kind.value for kind in replay.selection.kinds],
        "position": replay.position,
        "total": replay.total,
        "begun": replay.begun,
        "made": replay.made,
        "state": replay.state.value,
        "reason": replay.reason,
        "created_at": replay.created_at,
        "updated_at": replay.updated_at,
    }


def _replay(row: Any) -> Replay:
    return Replay(
        tenant_id=row.tenant_id,
        id=row.id,
        endpoint_id=row.endpoint_id,
        asked_by=row.asked_by,
        selection=Selection(
            since=row.since,
            until=row.until,
            event_types=tuple(row.event_types),
            kinds=tuple(Kind(each) for each in row.states),
        ),
        position=row.position,
        total=row.total,
        begun=row.begun,
        made=row.made,
        state=ReplayState(row.state),
        reason=row.reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


_r, _d = tables.replays.c, tables.deliveries.c
_b = sa.bindparam
_IS_RUNNING = _r.state == sa.literal_column("'running'")
_ONE = sa.select(tables.replays).where(_r.tenant_id == _b("tenant"), _r.id == _b("id"))
_ONE_RUNNING = _ONE.where(_IS_RUNNING).with_for_update()
_UNDER_WAY = sa.select(_r.id).where(
    _r.tenant_id == _b("tenant"), _r.endpoint_id == _b("endpoint"), _IS_RUNNING
)
_LAST = sa.tuple_(_b("tenant", type_=sa.Text), _b("endpoint", type_=sa.Text))
_RUNNING = (
    sa.select(_r.tenant_id, _r.endpoint_id, _r.id)
    .where(_IS_RUNNING, sa.tuple_(_r.tenant_id, _r.endpoint_id) > _LAST)
    .order_by(_r.tenant_id, _r.endpoint_id)
    .limit(_b("limit"))
)
_THIS = (_r.tenant_id == _b("b_tenant"), _r.id == _b("b_id"))
_END = (
    sa.update(tables.replays)
    .where(*_THIS, _IS_RUNNING)
    .values(state=_b("b_state"), reason=_b("b_reason"), updated_at=_b("b_now"))
)
_ADVANCE = (
    sa.update(tables.replays)
    .where(*_THIS)
    .values(
        position=_b("b_position"),
        begun=_r.begun + _b("b_begun"),
        made=_r.made + _b("b_made"),
        state=_b("b_state"),
        updated_at=_b("b_now"),
    )
)
_WAITING = sa.select(sa.func.count()).select_from(
    sa.select(_d.id)
    .where(_d.lane == _b("lane"), _d.state == codes.PENDING, _d.due_at <= _b("now"))
    .limit(_b("limit"))
    .subquery("waiting_items")
)
