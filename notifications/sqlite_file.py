"""The database of one machine: one SQLite file, one owner, one writer that commits in groups.

The embedded bus and the ledger share it, so that an event and its message are one commit.

Statements run on the event loop's thread, where no other thread fights them for the interpreter
lock, in bites of `GROUP_LIMIT` items; only the commit, which waits for the disk, runs in a thread.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from notifications import sqlite
from notifications.database import (
    Answer,
    Batch,
    Item,
    Order,
    Orders,
    Transaction,
    run_orders,
    single,
)
from notifications.errors import StoreUnavailable
from notifications.ports import Clock

READERS = 4
"""Threads for reading; in WAL mode they read beside the writer. The loop has a connection more."""

PATIENCE_S = 5.0
"""How long the writer asks for a file that somebody else writes to."""

_PAUSE_S = 0.02

_TURNS = 3
"""Turns of the loop between two groups: so many it takes from an answer to what follows from it."""

T = TypeVar("T")


class SqliteDatabase:
    """The file, its writer and its readers. Implements `database.Database`.

    Open it inside the event loop that uses it.

    Args:
        path: The file, which has its tables already.
        clock: Says what time it is in a transaction.
        patience_s: How long the writer asks for the file while somebody else writes to it.
    """

    def __init__(self, path: Path, clock: Clock, *, patience_s: float = PATIENCE_S) -> None:
        self.path = path
        self._patience_s = patience_s
        self._clock = clock
        self._writing = sqlite.engine(path, pool=sa.StaticPool)
        self._reading = sqlite.engine(
            path, pool=sa.QueuePool, pool_size=READERS + 1, max_overflow=0
        )
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="huntaze-read")
        self._committer = _Committer()
        self._connection: sa.Connection | None = None
        self._orders = Orders()
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._committer.start()
        self._writer = asyncio.create_task(self._write_groups(), name="database-writer")

    async def close(self) -> None:
        """Write what is waiting, then close."""
        self._orders.close()
        if self._writer is not None:
            await self._writer
        self._committer.close()
        self._readers.shutdown()
        if self._connection is not None:
            self._connection.close()
        self._writing.dispose()
        self._reading.dispose()

    async def write(self, unit: Callable[[Transaction], T]) -> T:
        """See `database.Database.write`."""
        answers: Sequence[T] = await self.submit(single(unit), (None,))
        return answers[0]

    def submit(
        self, batch: Batch[Item, Answer], items: Sequence[Item]
    ) -> asyncio.Future[Sequence[Answer]]:
        """See `database.Database.submit`."""
        return self._orders.add(batch, items)

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """See `database.Database.read`: on a reader's thread."""
        if self._orders.closed:
            raise StoreUnavailable("the hub is stopping")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, query)

    async def look(self, query: Callable[[sa.Connection], T]) -> T:
        """See `database.Database.look`: at once, since it takes microseconds."""
        return self._read(query)

    def _read(self, query: Callable[[sa.Connection], T]) -> T:
        try:
            with self._reading.connect() as connection:
                return query(connection)
        except DBAPIError as error:
            if sqlite.is_away(error):
                raise sqlite.translated(error) from error
            raise

    async def _write_groups(self) -> None:
        while True:
            await self._orders.wake.wait()
            self._orders.wake.clear()
            while self._orders:
                if orders := self._orders.take():
                    await self._write_group(orders)
                    # Who was answered just now goes on, and what they ask for is in the next group.
                    for _ in range(_TURNS):
                        await asyncio.sleep(0)
            if self._orders.closed:
                return

    async def _write_group(self, orders: list[Order]) -> None:
        try:
            answers = await self._commit(orders)
        except _UnitFailed as failed:
            if len(orders) == 1:
                orders[0].resolve(failed.reason)
                return
            # One of them spoils it: each alone, so that only the culprit fails.
            for order in orders:
                if not order.future.cancelled():
                    await self._write_group([order])
                    await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 - whatever it was, its owners are told
            for order in orders:
                order.resolve(sqlite.translated(error))
        else:
            for order, answer in zip(orders, answers, strict=True):
                order.resolve(answer)

    async def _commit(self, orders: Sequence[Order]) -> list[Sequence[Any]]:
        # SQLAlchemy's view is one connection in one transaction for ever. A transaction begins
        # and ends at the driver: half of the time that a small one takes was SQLAlchemy's account
        # of that.
        connection = self._connection = self._connection or self._writing.connect()
        raw = cast("sqlite3.Connection", connection.connection.dbapi_connection)
        await self._begin(raw)
        transaction = Transaction(connection, self._clock.now())
        try:
            answers = run_orders(transaction, orders)
        except Exception as error:
            _roll_back(raw)
            raise _UnitFailed(sqlite.translated(error)) from error
        await self._make_durable(raw)
        transaction.committed()
        return answers

    async def _make_durable(self, raw: sqlite3.Connection) -> None:
        try:
            await self._committer.commit(raw)
        except sqlite3.Error as failed:
            _roll_back(raw)  # where it was busy or broke a rule, SQLite is still in it
            error = sqlite.wrapped(failed, "COMMIT")
            if sqlite.is_away(error):
                raise error from failed
            raise _UnitFailed(error) from failed

    async def _begin(self, raw: sqlite3.Connection) -> None:
        """Take the write lock: the hub's own, unless somebody looks at the file with a tool."""
        if raw.in_transaction:  # which could not be rolled back then
            _roll_back(raw)
        waited = 0.0
        while True:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as failed:
                error = sqlite.wrapped(failed, "BEGIN IMMEDIATE")
                if waited >= self._patience_s or sqlite.code(error) != sqlite3.SQLITE_BUSY:
                    raise error from failed
                await asyncio.sleep(_PAUSE_S)
                waited += _PAUSE_S
            else:
                return


def _roll_back(raw: sqlite3.Connection) -> None:
    try:
        raw.rollback()
    except sqlite3.Error as failed:
        raise sqlite.wrapped(failed, "ROLLBACK") from failed


class _Committer:
    """The thread that waits for the disk.

    An executor would do as well; its bookkeeping for each call took longer than SQLite's own work.
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[sqlite3.Connection, asyncio.Future[None]] | None] = (
            SimpleQueue()
        )
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to work."""
        self._thread = Thread(target=self._work, name="huntaze-commit", daemon=True)
        self._thread.start()

    def commit(self, raw: sqlite3.Connection) -> "asyncio.Future[None]":
        """Commit, and resolve when that is durable; one at a time.

        Raises:
            sqlite3.Error: From the future; it is not committed.
        """
        future = asyncio.get_running_loop().create_future()
        self._waiting.put((raw, future))
        return future

    def close(self) -> None:
        """Wait for what is under way."""
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (order := self._waiting.get()) is not None:
            raw, future = order
            failed: Exception | None = None
            try:
                raw.commit()
            except Exception as error:  # noqa: BLE001 - whatever it was, its owner is told
                failed = error
            with contextlib.suppress(RuntimeError):  # the loop was ended before its file
                future.get_loop().call_soon_threadsafe(_resolve, future, failed)


def _resolve(future: "asyncio.Future[None]", failed: Exception | None) -> None:
    if future.cancelled():
        return
    if failed is None:
        future.set_result(None)
    else:
        future.set_exception(failed)


class _UnitFailed(Exception):
    """A unit's own doing, not that of the file as such."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason
        super().__init__(str(reason))
