"""Whether the database can be written, asked by writing."""

import asyncio

import sqlalchemy as sa

from notifications.database import Database, Transaction
from notifications.errors import HuntazeError, StoreUnavailable
from notifications.ports import Clock
from notifications.stores import tables

FRESH_MS = 5_000
"""How long an answer stands: however often it is asked, it is written every five seconds."""

PATIENCE_S = 2.0

_NAME = "probe/" + "x" * 8_192
"""Larger than a page: a file that may not grow is full for this, too."""


class WriteProbe:
    """Writes a row and deletes it, in one transaction that nobody sees anything of.

    Reading answers long after a disk is full, a volume was mounted read-only, or somebody has
    locked the file; a hub that cannot write accepts nothing.
    """

    def __init__(self, database: Database, clock: Clock, *, patience_s: float = PATIENCE_S) -> None:
        self._database = database
        self._clock = clock
        self._patience_s = patience_s
        self._asking = asyncio.Lock()
        self._asked_at: int | None = None
        self._found: HuntazeError | None = None

    async def __call__(self) -> None:
        """Return where it can be written, or could be a moment ago.

        Raises:
            HuntazeError: It cannot.
        """
        async with self._asking:
            if self._asked_at is None or self._clock.now() - self._asked_at >= FRESH_MS:
                self._found = await self._ask()
                self._asked_at = self._clock.now()
        if self._found is not None:
            raise self._found

    async def _ask(self) -> HuntazeError | None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._database.write(_write_nothing)
        except TimeoutError:
            return StoreUnavailable(f"the database took no write within {self._patience_s} s")
        except HuntazeError as error:
            return error
        return None


def _write_nothing(tx: Transaction) -> None:
    row = {"name": _NAME, "value": tx.now}
    tx.connection.execute(sa.insert(tables.marks), row)
    tx.connection.execute(sa.delete(tables.marks).where(tables.marks.c.name == _NAME))
