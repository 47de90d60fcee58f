"""Lanes in the ledger, within a transaction: scheduling drains, claiming what is due, health.

A lane's `drain_at` says when its next drain is due, or until when one is at work. Whoever wants an
earlier one sends another message and moves it; a drain that comes while another is due or at work
claims what it finds and schedules none, so that doubles die out.
"""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from notifications import statements
from notifications.crashpoints import Point, passing
from notifications.database import Transaction
from notifications.events import Event, decode_stored
from notifications.lanes import Health
from notifications.records import Claim, Record
from notifications.stores import codes, tables

_LOST_MS = 60_000
"""A drain that should have come so long ago is taken for lost."""

_EARLY_MS = 2_000
"""How much earlier than by this clock a drain may come: the bus may have another one."""


def schedule(tx: Transaction, wakes: Mapping[str, int]) -> list[tuple[str, int]]:
    """Note drains, save where an earlier one is on its way; the lanes and times to send for."""
    if not wakes:
        return []
    statement = codes.upsert(tx.connection, tables.lanes)
    statement = statement.on_conflict_do_update(
        index_elements=["lane"],
        set_={"drain_at": statement.excluded.drain_at},
        where=_l.drain_at.is_(None)
        | (_l.drain_at > statement.excluded.drain_at)
        | (_l.drain_at < tx.now - _LOST_MS),
    ).returning(_l.lane, _l.drain_at)
    rows = [{"lane": lane, "drain_at": at, "timeouts": 0} for lane, at in sorted(wakes.items())]
    return [(row.lane, row.drain_at) for row in tx.connection.execute(statement, rows)]


def lock(tx: Transaction, records: Sequence[Record]) -> None:
    """Lock the lanes that these records say something of, before the first is written."""
    lanes = {lane for record in records for lane in record.wakes}
    lanes.update(health.lane for record in records for health in record.health)
    lanes.update(record.drained[0] for record in records if record.drained is not None)
    codes.lock(tx, _l.lane, lanes)


def wakes_of(tx: Transaction, records: Sequence[Record]) -> dict[str, int]:
    """When each lane of these records is to be drained; ends the drains that are over.

    For a lane whose drain is over, what is due next in the ledger decides; what the record says
    is the earliest that makes sense.
    """
    wakes: dict[str, int] = {}
    for record in records:
        lane, until = record.drained or ("", 0)
        for wanted, at in record.wakes.items():
            if wanted != lane:
                wakes[wanted] = min(at, wakes.get(wanted, at))
        if record.drained is None:
            continue
        tx.connection.execute(_END_DRAIN, {"b_lane": lane, "b_until": until})
        passing(Point.DRAIN_ENDS)
        due_at = next_due(tx, lane)
        if due_at is not None:
            at = max(due_at, record.wakes.get(lane, tx.now))
            wakes[lane] = min(at, wakes.get(lane, at))
    return wakes


def next_due(tx: Transaction, lane: str) -> int | None:
    """When the earliest delivery of a lane that nobody works on is due."""
    due_at: int | None = tx.connection.execute(_NEXT_DUE, {"lane": lane}).scalar()
    return due_at


def claim(tx: Transaction, lane: str, limit: int, until: int) -> Claim:
    """Claim due deliveries, the longest due first; the lane is being drained until `until`."""
    rows = tx.connection.execute(_DUE, {"lane": lane, "now": tx.now, "limit": limit}).all()
    claims = [{"b_tenant": row.tenant_id, "b_id": row.id, "b_until": until} for row in rows]
    statements.run(tx.connection, _CLAIM, claims)
    events = _events(tx, [row.event_key for row in rows])
    _hold(tx, lane, until)
    found = tx.connection.execute(_HEALTH, {"lane": lane}).one()
    return Claim(
        deliveries=[(codes.delivery_of(row), events[row.event_key]) for row in rows],
        health=Health(
            lane=lane,
            timeouts=found.timeouts,
            probe_at=found.probe_at,
            probe_delay=found.probe_delay,
        ),
        next_due=next_due(tx, lane),
    )


def _events(tx: Transaction, keys: Sequence[int]) -> dict[int, Event]:
    return {
        row.key: decode_stored(row.body)
        for page in codes.pages(keys)
        for row in tx.connection.execute(_BODIES, {"keys": page})
    }


def _hold(tx: Transaction, lane: str, until: int) -> None:
    """Note the drain at work, unless another is due or at work."""
    statement = codes.upsert(tx.connection, tables.lanes).on_conflict_do_update(
        index_elements=["lane"],
        set_={"drain_at": until},
        where=_l.drain_at.is_(None) | (_l.drain_at <= tx.now + _EARLY_MS),
    )
    tx.connection.execute(statement, {"lane": lane, "drain_at": until, "timeouts": 0})


def free_all(tx: Transaction) -> list[str]:
    """Free the claims of a process that is gone; the lanes that have something due by it."""
    lanes: Iterable[str] = tx.connection.execute(_FREE, {"now": tx.now}).scalars()
    freed = sorted(set(lanes))
    tx.connection.execute(_FORGET_DRAINS)
    return freed


def write_health(tx: Transaction, changed: Sequence[Health]) -> None:
    """Write lanes' health; of several of one lane the last."""
    if not changed:
        return
    statement = codes.upsert(tx.connection, tables.lanes)
    statement = statement.on_conflict_do_update(
        index_elements=["lane"],
        set_={
            "timeouts": statement.excluded.timeouts,
            "probe_at": statement.excluded.probe_at,
            "probe_delay": statement.excluded.probe_delay,
        },
    )
    rows = {
        health.lane: {
            "lane": health.lane,
            "timeouts": health.timeouts,
            "probe_at": health.probe_at,
            "probe_delay": health.probe_delay,
        }
        for health in changed
    }
    tx.connection.execute(statement, [rows[lane] for lane in sorted(rows)])


_d, _l, _e = tables.deliveries.c, tables.lanes.c, tables.events.c
_b = sa.bindparam

_DUE = (
    sa.select(tables.deliveries)
    .where(_d.lane == _b("lane"), _d.state == codes.PENDING, _d.due_at <= _b("now"))
    .order_by(_d.due_at)
    .limit(_b("limit"))
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    sa.update(tables.deliveries)
    .where(_d.tenant_id == _b("b_tenant"), _d.id == _b("b_id"))
    .values(claimed=sa.literal_column("1"), due_at=_b("b_until"))
)
_BODIES = sa.select(_e.key, _e.body).where(_e.key.in_(_b("keys", expanding=True)))
_HEALTH = sa.select(_l.timeouts, _l.probe_at, _l.probe_delay).where(_l.lane == _b("lane"))
_NEXT_DUE = sa.select(sa.func.min(_d.due_at)).where(
    _d.lane == _b("lane"), _d.state == codes.PENDING, _d.claimed == 0
)
_END_DRAIN = (
    sa.update(tables.lanes)
    .where(_l.lane == _b("b_lane"), _l.drain_at == _b("b_until"))
    .values(drain_at=None)
)
_FREE = (
    sa.update(tables.deliveries)
    .where(_d.state == codes.PENDING, _d.claimed == 1)
    .values(claimed=0, due_at=_b("now"))
    .returning(_d.lane)
)
_FORGET_DRAINS = sa.update(tables.lanes).where(_l.drain_at.is_not(None)).values(drain_at=None)
