"""Handing messages out to clients of the door: what a subscription and its dead letters share."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from notifications.broker import Item
from notifications.bus.embedded import EmbeddedBus
from notifications.bus.queues import Queue
from notifications.bus.shelf import Shelf
from notifications.database import Database, Transaction
from notifications.errors import NotFound
from notifications.ports import Clock

PEEKED = 250
"""Messages that one look shows at most, as in Service Bus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What outlets work with.

    Attributes:
        database: Holds the bus.
        bus: Carries the messages.
        clock: The bus's.
        token: Names a lock that is not the bus's.
        lock_name: The name of the bus's lock of a number.
        lock_number: The other way; 0 where it is none of this process's.
        later: Does something in the background.
    """

    database: Database
    bus: EmbeddedBus
    clock: Clock
    token: Callable[[], UUID]
    lock_name: Callable[[int], UUID]
    lock_number: Callable[[UUID], int]
    later: Callable[[Coroutine[Any, Any, None]], None]


def shelf(around: Around, table: sa.Table, queue: Queue, path: str) -> Shelf:
    """A subscription's messages in a table of their own."""
    return Shelf(
        around.database,
        around.clock,
        table,
        queue.subscription.name,
        source=path,
        lock_ms=lambda: queue.subscription.lock_ms,
        token=around.token,
    )


async def by_number(
    around: Around, shelf: Shelf, numbers: Sequence[int], *, lock: bool
) -> Sequence[Item]:
    """See `broker.Outlet.deferred`."""
    taken = await shelf.take_numbers(numbers)
    if taken is None:
        raise NotFound("one of the messages is not among the deferred, or is in somebody's hands")
    return taken if lock else await without_lock(around, shelf, taken)


async def without_lock(around: Around, shelf: Shelf, taken: Sequence[Item]) -> Sequence[Item]:
    """Hand out for good what was locked for that."""
    if not taken:
        return []
    tokens = [one.token for one in taken if one.token is not None]
    rows: list[dict[str, Any]] = []

    def delete(tx: Transaction) -> None:
        seqs = [seq for token in tokens if (seq := shelf.end(tx, token)) is not None]
        rows[:] = shelf.rows(tx, seqs)
        shelf.delete(tx, seqs)

    await for_good(
        around,
        delete,
        lambda tx: shelf.put_back(tx, rows),
        lambda tx: [shelf.end(tx, token) for token in tokens],
    )
    return [replace(one, token=None, locked_until=None) for one in taken]


Step = Callable[[Transaction], Any]


async def for_good(around: Around, delete: Step, undo: Step, release: Step) -> None:
    """Delete what is handed out without a lock, before it is handed out.

    Whoever is cancelled meanwhile has got nothing: then it is put back, whether or not that was
    committed.
    """
    deleting = asyncio.ensure_future(around.database.write(delete))
    try:
        await asyncio.shield(deleting)
    except asyncio.CancelledError:
        around.later(_restore(around, deleting, undo))
        raise
    except BaseException:
        around.later(_restore(around, None, release))
        raise


async def _restore(around: Around, deleting: "asyncio.Future[Any] | None", undo: Step) -> None:
    if deleting is not None:
        await asyncio.wait({deleting})
        if deleting.exception() is not None:
            return  # its locks run out
    await around.database.write(undo)
