"""The database of one machine: one SQLite file, one owner, one writer that commits in groups.

The embedded bus and the ledger share it, so that an event and its message are one commit. Both
hand in *units of work*: plain functions of a `Transaction`. Units that are waiting when the writer
comes round run in one transaction and share its `fsync`; a unit that fails is taken out and the
others are committed without it. `Batch` units are handed all their waiting items at once, which
turns a thousand small statements into a few `executemany`.

Statements run on the event loop's thread, where no other thread fights them for the interpreter
lock, in bites of `GROUP_LIMIT` items; only the commit, which waits for the disk, runs in a thread.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from notifications import sqlite
from notifications.errors import StoreUnavailable
from notifications.ports import Clock

log = logging.getLogger("huntaze")

metadata = sa.MetaData()
"""Every table of the hub; `stores/tables.py` and `bus/tables.py` add theirs."""

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A 64-bit key; on SQLite only INTEGER makes it the row's own number."""

GROUP_LIMIT = 512
"""Items in one commit: bounds how long the event loop is busy with statements, about 20 ms."""

READERS = 4
"""Threads for reading; in WAL mode they read beside the writer. The loop has a connection more."""

PATIENCE_S = 5.0
"""How long the writer asks for a file that somebody else writes to."""

_PAUSE_S = 0.02

T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Transaction:
    """What a unit of work gets.

    Attributes:
        connection: Runs statements; committed by the writer, never by the unit.
        now: The ledger's time, ms since the epoch.
        collected: What units left to be written once, just before the commit, by its writer.
    """

    def __init__(self, connection: sa.Connection, now: int) -> None:
        self.connection = connection
        self.now = now
        self.collected: dict[Callable[[Transaction, list[Any]], None], list[Any]] = {}
        self._callbacks: list[Callable[[], None]] = []

    def collect(self, write: Callable[["Transaction", list[Any]], None], *items: Any) -> None:
        """Leave `items` for `write`, which is called once with all there are before the commit."""
        self.collected.setdefault(write, []).extend(items)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call back on the event loop once this is durable; not at all if it is not."""
        self._callbacks.append(callback)

    def flush(self) -> None:
        """Write what was collected."""
        while self.collected:
            write, items = self.collected.popitem()
            write(self, items)

    def committed(self) -> None:
        """Call everybody back; whatever they do, it is committed."""
        for callback in self._callbacks:
            try:
                callback()
            except Exception:
                log.exception("database.callback_failed")


@dataclass(frozen=True, slots=True, eq=False)
class Batch(Generic[Item, Answer]):
    """A unit of work that takes many items at once and answers each, in order."""

    run: Callable[[Transaction, Sequence[Item]], Sequence[Answer]]


@dataclass(slots=True, eq=False)
class _Order:
    batch: Batch[Any, Any]
    items: Sequence[Any]
    future: asyncio.Future[Any] = field(repr=False)


class Database:
    """The file, its writer and its readers. Open it inside the event loop that uses it.

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
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="huntaze-commit")
        self._orders: deque[_Order] = deque()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to write."""
        self._writer = asyncio.create_task(self._write_groups(), name="database-writer")

    async def close(self) -> None:
        """Write what is waiting, then close."""
        self._closed = True
        self._wake.set()
        if self._writer is not None:
            await self._writer
        self._committer.shutdown()
        self._readers.shutdown()
        self._writing.dispose()
        self._reading.dispose()

    async def write(self, unit: Callable[[Transaction], T]) -> T:
        """Run one unit of work; durable when it returns.

        A caller that is cancelled meanwhile does not learn whether it was written.

        Raises:
            StoreUnavailable: Nothing was written.
        """

        def run(tx: Transaction, items: Sequence[None]) -> list[T]:
            return [unit(tx) for _ in items]

        answers: Sequence[T] = await self.submit(Batch(run), (None,))
        return answers[0]

    def submit(
        self, batch: Batch[Item, Answer], items: Sequence[Item]
    ) -> asyncio.Future[Sequence[Answer]]:
        """Hand items to a batch; resolves with one answer each, once they are durable."""
        future: asyncio.Future[Sequence[Answer]] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_exception(StoreUnavailable("the hub is stopping"))
            return future
        self._orders.append(_Order(batch, items, future))
        self._wake.set()
        return future

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """Run a query on a reader's thread, on a consistent snapshot.

        Raises:
            StoreUnavailable: The database cannot answer, or is closed.
        """
        if self._closed:
            raise StoreUnavailable("the hub is stopping")
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, self.read_here, query
        )

    def read_here(self, query: Callable[[sa.Connection], T]) -> T:
        """Run a query on the calling thread: for look-ups by key that take microseconds.

        Raises:
            StoreUnavailable: The database cannot answer.
        """
        try:
            with self._reading.connect() as connection:
                return query(connection)
        except DBAPIError as error:
            if sqlite.is_away(error):
                raise sqlite.translated(error) from error
            raise

    async def _write_groups(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._orders:
                if orders := self._take():
                    await self._write_group(orders)
            if self._closed:
                return

    def _take(self) -> list[_Order]:
        orders, size = [], 0
        while self._orders and size < GROUP_LIMIT:
            order = self._orders.popleft()
            if not order.future.cancelled():
                orders.append(order)
                size += len(order.items)
        return orders

    async def _write_group(self, orders: list[_Order]) -> None:
        try:
            answers = await self._commit(orders)
        except _UnitFailed as failed:
            if len(orders) == 1:
                _resolve(orders[0].future, failed.reason)
                return
            # One of them spoils it: each alone, so that only the culprit fails.
            for order in orders:
                if not order.future.cancelled():
                    await self._write_group([order])
                    await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 - whatever it was, its owners are told
            for order in orders:
                _resolve(order.future, sqlite.translated(error))
        else:
            for order, answer in zip(orders, answers, strict=True):
                _resolve(order.future, answer)

    async def _commit(self, orders: Sequence[_Order]) -> list[Sequence[Any]]:
        with self._writing.connect() as connection:
            await self._begin(connection)
            transaction = Transaction(connection, self._clock.now())
            try:
                answers = _run(transaction, orders)
                transaction.flush()
            except Exception as error:
                raise _UnitFailed(sqlite.translated(error)) from error
            await self._make_durable(connection)
        transaction.committed()
        return answers

    async def _make_durable(self, connection: sa.Connection) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._committer, connection.commit)
        except DBAPIError as error:
            # SQLAlchemy takes the transaction for ended; SQLite may still be in it.
            connection.connection.rollback()
            if sqlite.is_away(error):
                raise
            raise _UnitFailed(error) from error

    async def _begin(self, connection: sa.Connection) -> None:
        """Take the write lock: the hub's own, unless somebody looks at the file with a tool."""
        waited = 0.0
        while True:
            try:
                connection.begin()
            except DBAPIError as error:
                if waited >= self._patience_s or sqlite.code(error) != sqlite3.SQLITE_BUSY:
                    raise
                await asyncio.sleep(_PAUSE_S)
                waited += _PAUSE_S
            else:
                return


class _UnitFailed(Exception):
    """A unit's own doing, not that of the file as such."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason
        super().__init__(str(reason))


def _run(transaction: Transaction, orders: Sequence[_Order]) -> list[Sequence[Any]]:
    """Run every batch once over all of its items; give each order its share of the answers."""
    by_batch: dict[int, list[int]] = {}
    for index, order in enumerate(orders):
        by_batch.setdefault(id(order.batch), []).append(index)
    answers: list[Sequence[Any]] = [()] * len(orders)
    for indexes in by_batch.values():
        if len(indexes) == 1:
            order = orders[indexes[0]]
            answers[indexes[0]] = order.batch.run(transaction, order.items)
            continue
        items = [item for index in indexes for item in orders[index].items]
        replies = iter(orders[indexes[0]].batch.run(transaction, items))
        for index in indexes:
            answers[index] = [next(replies) for _ in orders[index].items]
    return answers


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
