"""Ending what is open of endpoints that were deleted, a page at a time, within a transaction.

Whoever deletes an endpoint ends the first page in the same commit and leaves its lane here where
there is more; the sweep ends the rest. Meanwhile none of it is sent: every attempt looks first
whether its endpoint is there.
"""

import sqlalchemy as sa

from notifications.database import Transaction
from notifications.stores import codes, tables
from notifications.stores.standing import note_resumed

PAGE = 500
"""Deliveries that end in the commit that deletes their endpoint."""

_REASON = "endpoint-deleted"


def leave(tx: Transaction, lane: str) -> None:
    """End a page of the lane's open deliveries; what is beyond it is the sweep's."""
    if _end(tx, lane, PAGE) == PAGE:
        statement = codes.upsert(tx.connection, tables.deleted_lanes).on_conflict_do_nothing()
        tx.connection.execute(statement, {"lane": lane})
        note_resumed(tx)  # what is still parked until then is held by nothing, and that is right


def end(tx: Transaction, limit: int) -> int:
    """End up to `limit` deliveries of the lanes that were left; how many it was."""
    ended = 0
    for lane in tx.connection.execute(_LEFT, {"limit": limit}).scalars().all():
        room = limit - ended
        page = _end(tx, lane, room)
        ended += page
        if page == room:
            break
        tx.connection.execute(_DONE, {"b_lane": lane})
    return ended


def _end(tx: Transaction, lane: str, limit: int) -> int:
    ended = 0
    for statement in (_END_PENDING, _END_PARKED):
        if ended < limit:
            page = {"b_lane": lane, "limit": limit - ended, "now": tx.now}
            ended += len(tx.connection.execute(statement, page).all())
    return ended


_d, _l = tables.deliveries.c, tables.deleted_lanes.c
_b = sa.bindparam


def _ending(state: sa.ColumnElement[str]) -> sa.Update:
    page = (
        sa.select(_d.tenant_id, _d.id)
        .where(_d.lane == _b("b_lane"), _d.state == state)
        .limit(_b("limit"))
    )
    return (
        sa.update(tables.deliveries)
        .where(sa.tuple_(_d.tenant_id, _d.id).in_(page))
        .values(state="skipped", reason=_REASON, due_at=None, claimed=0, updated_at=_b("now"))
        .returning(_d.id)
    )


_END_PENDING, _END_PARKED = _ending(codes.PENDING), _ending(codes.PARKED)
_LEFT = sa.select(_l.lane).order_by(_l.lane).limit(_b("limit"))
_DONE = sa.delete(tables.deleted_lanes).where(_l.lane == _b("b_lane"))
