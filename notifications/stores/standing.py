"""What the ledger says of itself to who reads it without its process: its time, and the retries.

Both are marks. The time is that of the last sweep, or of an orderly end: it is what due times are
to be held against, since the wall clock runs on while a hub is stopped or its machine asleep. A
number of attempts is marked with when it was last in force, so that what ended by another table
than today's is held against its own. When a sweep began and when an endpoint was last resumed tell
together whether what is parked should have moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from notifications.database import Database, Transaction
from notifications.retries import RetryTable
from notifications.stores import tables
from notifications.stores.marks import write_marks

_CLOCK = "clock"
_SWEPT = "swept"
_RESUMED = "resumed"
_ATTEMPTS = "attempts:notifications:"


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A number of attempts that a round had.

    Attributes:
        attempts: How many.
        until: When that was last so; None where it is so now.
    """

    attempts: int
    until: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a ledger says of itself.

    Attributes:
        at: Its time, ms since the epoch; None where it never said.
        in_force: The numbers of attempts it went by, the present one first; empty as above.
        resumed: Some endpoint was resumed since the last sweep began, so that deliveries that
            nothing holds any more may still be parked.
    """

    at: int | None
    in_force: Sequence[InForce]
    resumed: bool


class SqlStanding:
    """Writes it down. Implements `sweep.Standing`."""

    def __init__(self, database: Database, table: RetryTable) -> None:
        self._database = database
        self._table = _ATTEMPTS + str(table.attempts)

    async def begin(self) -> None:
        """Say which table is in force; what time it is is said once things have been seen to."""
        await self._database.write(lambda tx: write_marks(tx, {self._table: tx.now}))

    async def keep(self, swept_at: int) -> None:
        """See `sweep.Standing.keep`."""
        await self._database.write(
            lambda tx: write_marks(tx, {self._table: tx.now, _CLOCK: tx.now, _SWEPT: swept_at})
        )


def note_resumed(tx: Transaction) -> None:
    """Say that an endpoint was resumed: the next sweep begins again with what was parked."""
    write_marks(tx, {_RESUMED: tx.now})


def read_standing(connection: sa.Connection) -> Standing:
    """What the ledger that a connection sees says of itself."""
    marks = {row.name: row.value for row in connection.execute(_MARKS)}
    tables_by_end = sorted(
        (
            (value, int(name.removeprefix(_ATTEMPTS)))
            for name, value in marks.items()
            if name.startswith(_ATTEMPTS)
        ),
        reverse=True,
    )
    return Standing(
        at=marks.get(_CLOCK),
        in_force=[
            InForce(attempts=attempts, until=end if place else None)
            for place, (end, attempts) in enumerate(tables_by_end)
        ],
        resumed=marks.get(_RESUMED, -1) >= marks.get(_SWEPT, 0),
    )


def swept_at(connection: sa.Connection) -> int | None:
    """When the last sweep of any process began, ms since the epoch; None before the first."""
    found: int | None = connection.execute(_SWEPT_AT).scalar_one_or_none()
    return found


_m = tables.marks.c
_SWEPT_AT = sa.select(_m.value).where(_m.name == _SWEPT)
_MARKS = sa.select(_m.name, _m.value).where(
    sa.or_(
        _m.name.in_((_CLOCK, _SWEPT, _RESUMED)),
        # All that begin with it, by the key: ";" follows ":".
        sa.and_(_m.name >= _ATTEMPTS, _m.name < _ATTEMPTS[:-1] + ";"),
    )
)
