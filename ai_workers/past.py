"""What was told of jobs, from their own table. Implements `keeping.Past`."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ai_workers.keeping import Told
from ai_workers.tables import job_events
from notifications.database import Database

_ORDER = ("queued", "started", "progress", "retrying")
"""Within a run and a millisecond; whatever else there is ends the job."""


class SqlPast:
    """Reads it, by the key of the table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def told(self, tenant_id: str, job_id: str, *, limit: int) -> Sequence[Told]:
        """See `keeping.Past.told`."""
        values = {"tenant": tenant_id, "job": job_id, "limit": limit}
        rows = await self._database.read(lambda c: c.execute(_LAST, values).all())
        return sorted((_told(row) for row in rows), key=_place)


def _told(row: sa.Row[str, str, int, int, Any]) -> Told:
    return Told(id=row.id, type=row.type, run=row.run, at=row.at, data=row.data)


def _place(told: Told) -> tuple[int, int, int, int]:
    word = told.type.removeprefix("job.")
    number = told.id.rpartition(".")[2]
    return (
        told.at,
        told.run,
        _ORDER.index(word) if word in _ORDER else len(_ORDER),
        int(number) if number.isdecimal() else 0,
    )


_e = job_events.c
_b = sa.bindparam
_LAST = (
    sa.select(_e.id, _e.type, _e.run, _e.at, _e.data)
    .where(_e.tenant_id == _b("tenant"), _e.job_id == _b("job"))
    .order_by(_e.at.desc(), _e.run.desc(), _e.id.desc())
    .limit(_b("limit"))
)
