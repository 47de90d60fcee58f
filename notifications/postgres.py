"""The database that several hub processes share: PostgreSQL.

Like the file of one machine it is handed units of work and commits them in groups; unlike there,
several groups are under way at once, here and in other processes. Units are the same plain
functions: SQLAlchemy's greenlets let the event loop go on while a statement waits for the server.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

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
from notifications.timing import SystemClock

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

log = logging.getLogger("huntaze")

WRITERS = 4
"""Groups under way at once. While all are, what comes is gathered into larger ones."""

READERS = 8
"""Connections for reading."""

CONNECT_S = 5
"""How long a connection may take to be made, and to become free."""

STATEMENT_S = 30
"""How long one statement may take: none of ours is near it, unless something holds it up."""

TRIES = 5
"""How often a group is run that the server ended for another's sake."""

LOCK_S = 5
"""How long one may wait for a lock: whoever asked is told then, as on the file of one machine."""

_ROUND_TRIPS = 5
_CLOCK_EVERY_S = 60.0

_AGAIN = frozenset({"40001", "40P01"})
"""Serialization failure, deadlock: run again, it had no effect."""

_AWAY_CLASSES = ("08", "53", "57P", "58", "XX")
"""SQLSTATEs of a server that cannot answer at present, whatever it is asked: connection, resources
(a full disk among them), operator intervention, system error, internal error."""

_AWAY = frozenset({"25006", "55P03", "57014"})
"""Read-only (a standby that has not taken over yet), a lock not to be had, a statement too slow."""

T = TypeVar("T")


def driver_url(url: str) -> sa.URL:
    """A `postgresql://` URL with the driver that the hub uses."""
    return sa.make_url(url).set(drivername="postgresql+psycopg")


def engine(url: str) -> "AsyncEngine":
    """Connections to the database of a `postgresql://` URL; none is made before it is needed."""
    # Here, since loading it takes as long as a tenth of what a hub on SQLite needs to start.
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(
        driver_url(url),
        pool_size=WRITERS + READERS,
        max_overflow=0,
        pool_timeout=CONNECT_S,
        pool_use_lifo=True,
        hide_parameters=True,  # errors go to the log, what people entered does not
        connect_args={
            "connect_timeout": CONNECT_S,
            "application_name": "huntaze",
            "options": (
                f"-c statement_timeout={STATEMENT_S * 1000} -c lock_timeout={LOCK_S * 1000}"
                " -c timezone=UTC"
            ),
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
    )


class PostgresDatabase:
    """Implements `database.Database`. Open it inside the event loop that uses it.

    Args:
        url: `postgresql://…`; the database has its tables already.
        clock: Says what time it is in a transaction; by default the server's clock.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self._engine = engine(url)
        self._alone = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshot = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._server_time = ServerTime()
        self._clock = clock
        self._orders = Orders(alike=True)
        self._room = asyncio.Semaphore(WRITERS)
        self._at_work: set[asyncio.Task[Any]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def clock(self) -> Clock:
        """The clock of leases, due times and deadlines: all processes' the same."""
        assert self._clock is not None, "the database has not been started"
        return self._clock

    async def start(self) -> None:
        """Read the server's clock and begin to write.

        Raises:
            StoreUnavailable: The server does not answer.
        """
        if self._clock is None:
            await self._read_clock()
            self._clock = SystemClock(wall=self._server_time)
            self._tasks.append(asyncio.create_task(self._keep_time(), name="database-clock"))
        self._tasks.append(asyncio.create_task(self._write_groups(), name="database-writer"))

    async def close(self) -> None:
        """Write what is waiting, then close."""
        self._orders.close()
        for task in self._tasks:
            if task.get_name() == "database-writer":
                await task
            task.cancel()
        await asyncio.gather(*self._tasks, *self._at_work, return_exceptions=True)
        await self._engine.dispose()

    # ---------------------------------------------------------------- database.Database

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
        """See `database.Database.read`."""
        return await self._query(self._snapshot, query)

    async def look(self, query: Callable[[sa.Connection], T]) -> T:
        """See `database.Database.look`."""
        return await self._query(self._alone, query)

    async def _query(self, source: "AsyncEngine", query: Callable[[sa.Connection], T]) -> T:
        if self._orders.closed:
            raise StoreUnavailable("the hub is stopping")
        # In a task of its own: whoever is cancelled while a statement is under way would leave the
        # connection in the middle of it.
        task = asyncio.create_task(self._query_persistently(source, query), name="database-query")
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        return await asyncio.shield(task)

    async def _query_persistently(
        self, source: "AsyncEngine", query: Callable[[sa.Connection], T]
    ) -> T:
        for stale in (True, False):
            try:
                async with source.connect() as connection:
                    return await connection.run_sync(query)
            except Exception as error:
                # A kept connection whose server went away meanwhile: nothing was changed, ask anew.
                if stale and _was_cut(error):
                    continue
                raise translated(error) from error
        raise AssertionError("unreachable")

    # ---------------------------------------------------------------- writing

    async def _write_groups(self) -> None:
        while True:
            await self._orders.wake.wait()
            self._orders.wake.clear()
            while self._orders:
                await self._room.acquire()
                writing = self._write_and_make_room(self._orders.take())
                task = asyncio.create_task(writing, name="database-group")
                self._at_work.add(task)
                task.add_done_callback(self._at_work.discard)
            if self._orders.closed:
                return

    async def _write_and_make_room(self, orders: list[Order]) -> None:
        try:
            if orders:
                await self._write_group(orders)
        finally:
            self._room.release()

    async def _write_group(self, orders: list[Order]) -> None:
        try:
            answers = await self._commit_persistently(orders)
        except Exception as error:  # noqa: BLE001 - whatever it was, its owners are told
            reason = translated(error)
            if len(orders) == 1 or isinstance(reason, StoreUnavailable):
                for order in orders:
                    order.resolve(reason)
                return
            # One of them spoils it: each alone, so that only the culprit fails.
            for order in orders:
                if not order.future.cancelled():
                    await self._write_group([order])
        else:
            for order, answer in zip(orders, answers, strict=True):
                order.resolve(answer)

    async def _commit_persistently(self, orders: Sequence[Order]) -> list[Sequence[Any]]:
        """Commit a group; again where that is sure to have had no effect and may end otherwise."""
        for left in reversed(range(TRIES)):
            try:
                return await self._commit(orders)
            except _CommitFailed as error:
                raise error.reason from error  # nobody knows whether it was written
            except Exception as error:
                if not left or not (_state(error) in _AGAIN or _was_cut(error)):
                    raise
                log.info("database.again", extra={"reason": _reason(error)})
        raise AssertionError("unreachable")

    async def _commit(self, orders: Sequence[Order]) -> list[Sequence[Any]]:
        async with self._engine.connect() as connection:
            transaction, answers = await connection.run_sync(self._run, orders)
            await _make_durable(connection)
        transaction.committed()
        return answers

    def _run(
        self, connection: sa.Connection, orders: Sequence[Order]
    ) -> tuple[Transaction, list[Sequence[Any]]]:
        transaction = Transaction(connection, self.clock.now(), shared=True)
        return transaction, run_orders(transaction, orders)

    # ---------------------------------------------------------------- the server's clock

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(_CLOCK_EVERY_S)
            with contextlib.suppress(StoreUnavailable):  # until it is back, this machine's goes on
                await self._read_clock()

    async def _read_clock(self) -> None:
        for _ in range(_ROUND_TRIPS):
            asked = time.time()
            told = await self.look(lambda c: float(c.execute(_SERVER_NOW).scalar_one()))
            self._server_time.learn(told, asked=asked, answered=time.time())
        self._server_time.settle()


class ServerTime:
    """The server's wall clock, seconds since the epoch: this machine's and how far it is off."""

    def __init__(self) -> None:
        self._off = 0.0
        self._found: list[tuple[float, float]] = []  # round trip, how far off

    def __call__(self) -> float:
        """Now."""
        return time.time() + self._off

    def learn(self, told: float, *, asked: float, answered: float) -> None:
        """The server said `told` at some moment between asking and its answer."""
        self._found.append((answered - asked, told - (asked + answered) / 2))

    def settle(self) -> None:
        """Believe the quickest answer: it is the least wrong."""
        _, self._off = min(self._found)
        self._found.clear()


class _CommitFailed(Exception):
    """The connection was lost with the commit under way."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason
        super().__init__(str(reason))


async def _make_durable(connection: "AsyncConnection") -> None:
    try:
        await connection.commit()
    except DBAPIError as error:
        if _was_cut(error):
            raise _CommitFailed(error) from error
        raise


def _state(error: Exception) -> str:
    """The SQLSTATE, or an empty text where the server said none."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state if isinstance(state, str) else ""


def _was_cut(error: Exception) -> bool:
    """Whether the connection broke; what was not committed is undone."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_away(error: Exception) -> bool:
    """Whether the database cannot answer at present, whatever it is asked."""
    if isinstance(error, PoolTimeout | OSError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = _state(error)
    if not state:
        return isinstance(error, OperationalError | InterfaceError)
    return state in _AWAY or state in _AGAIN or state.startswith(_AWAY_CLASSES)


def translated(error: Exception) -> Exception:
    """The hub's own error where the database is away; else the error itself."""
    if is_away(error):
        return StoreUnavailable(f"the database cannot answer: {_reason(error)}")
    return error


def _reason(error: Exception) -> str:
    """What the server said, in a line."""
    detail = str(getattr(error, "orig", None) or error).splitlines()
    return detail[0] if detail else repr(error)


_SERVER_NOW = sa.text("SELECT extract(epoch FROM clock_timestamp())")
