"""What every database of the hub gives to the adapters that store things in it.

They hand in *units of work*: plain functions of a `Transaction`. Units that are waiting when the
writer of a file comes round run in one transaction and share its `fsync`; a unit that fails is
taken out and the others are committed without it. `Batch` units are handed all their waiting items
at once, which turns a thousand small statements into a few `executemany`. Where several
transactions write at once, one has a single batch's items: see `Orders`.

`sqlite_file.SqliteDatabase` is the database of one machine, `postgres.PostgresDatabase` the one
that several processes share.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from notifications.errors import StoreUnavailable

log = logging.getLogger("huntaze")

metadata = sa.MetaData()
"""Every table of the hub; `stores/tables.py` and `bus/tables.py` add theirs."""

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A 64-bit key; on SQLite only INTEGER makes it the row's own number."""

GROUP_LIMIT = 512
"""Items in one commit: bounds how long the event loop is busy with statements, about 20 ms."""

T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Transaction:
    """What a unit of work gets.

    Attributes:
        connection: Runs statements; committed by the writer, never by the unit.
        now: The ledger's time, ms since the epoch.
        shared: Whether other transactions write beside this one. Where none does, what was read
            stays so until the commit, without a lock.
        collected: What units left to be written once, just before the commit, by its writer.
    """

    def __init__(self, connection: sa.Connection, now: int, *, shared: bool = False) -> None:
        self.connection = connection
        self.now = now
        self.shared = shared
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


class Database(Protocol):
    """Where adapters store things.

    Raises:
        StoreUnavailable: From any method; nothing was done.
    """

    async def write(self, unit: Callable[[Transaction], T]) -> T:
        """Run one unit of work; durable when it returns.

        A caller that is cancelled meanwhile does not learn whether it was written.
        """
        ...

    def submit(
        self, batch: Batch[Item, Answer], items: Sequence[Item]
    ) -> asyncio.Future[Sequence[Answer]]:
        """Hand items to a batch; resolves with one answer each, once they are durable."""
        ...

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """Run a query of any length on a consistent snapshot, beside whoever writes."""
        ...

    async def look(self, query: Callable[[sa.Connection], T]) -> T:
        """Run a query that finds a few rows by their key, the quickest way there is."""
        ...


@dataclass(slots=True, eq=False)
class Order:
    """Items that wait to be written, and who waits for the answers."""

    batch: Batch[Any, Any]
    items: Sequence[Any]
    future: asyncio.Future[Any] = field(repr=False)

    def resolve(self, result: Any) -> None:
        """Answer, or raise what it came to."""
        if self.future.done():
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class Orders:
    """What waits to be written: each batch's in the order it came, the batches in turn.

    Args:
        alike: Whether a group is of one batch alone. Where several are written at once they then
            lock rows in one order, the batch's, and do not wait for each other in a circle.
    """

    def __init__(self, *, alike: bool = False) -> None:
        self._alike = alike
        self._waiting: dict[Batch[Any, Any], deque[Order]] = {}
        self.wake = asyncio.Event()
        """Set when something came, or when there is to be no more."""
        self.closed = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(
        self, batch: Batch[Item, Answer], items: Sequence[Item]
    ) -> asyncio.Future[Sequence[Answer]]:
        """See `Database.submit`."""
        future: asyncio.Future[Sequence[Answer]] = asyncio.get_running_loop().create_future()
        if self.closed:
            future.set_exception(StoreUnavailable("the hub is stopping"))
            return future
        self._waiting.setdefault(batch, deque()).append(Order(batch, items, future))
        self.wake.set()
        return future

    def take(self) -> list[Order]:
        """The next group; those that nobody waits for any more are left out."""
        orders: list[Order] = []
        size = 0
        while self._waiting and size < GROUP_LIMIT and not (self._alike and orders):
            batch = next(iter(self._waiting))
            waiting = self._waiting.pop(batch)
            while waiting and size < GROUP_LIMIT:
                order = waiting.popleft()
                if not order.future.cancelled():
                    orders.append(order)
                    size += len(order.items)
            if waiting:  # behind the others
                self._waiting[batch] = waiting
        return orders

    def close(self) -> None:
        """Take no more; what waits is still to be written."""
        self.closed = True
        self.wake.set()


def single(unit: Callable[[Transaction], T]) -> Batch[None, T]:
    """A unit of work as a batch of one."""

    def run(tx: Transaction, items: Sequence[None]) -> list[T]:
        return [unit(tx) for _ in items]

    return Batch(run)


def run_orders(transaction: Transaction, orders: Sequence[Order]) -> list[Sequence[Any]]:
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
    transaction.flush()
    return answers
