"""A subscription's dead letters as clients of the door receive from them."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from notifications.broker import Defer, End, Item, Release
from notifications.bus import tables
from notifications.bus.handing import PEEKED, Around, by_number, shelf, without_lock
from notifications.bus.queues import Queue
from notifications.database import Transaction
from notifications.errors import FieldError, InvalidInput, NotFound
from notifications.messages import Abandon, Complete, DeadLetter

_End = Complete | Abandon | Defer | Release


class DeadLetterOutlet:
    """Implements `broker.Outlet` and `broker.Peekable` for a subscription's dead letters.

    Attributes:
        changed: Set when there may be something for those who wait.
    """

    def __init__(self, around: Around, queue: Queue, path: str) -> None:
        self._around = around
        self._queue = queue
        self._path = path
        self._letters = shelf(around, tables.dead_letters, queue, path)
        self.changed = asyncio.Event()

    # ---------------------------------------------------------------- broker.Outlet

    async def receive(self, *, limit: int, wait: bool, lock: bool) -> Sequence[Item]:
        """See `broker.Outlet.receive`."""
        while True:
            self._check()
            self.changed.clear()
            taken = await self._letters.take(limit)
            if taken or not wait:
                break
            await self._wait()
        return taken if lock else await without_lock(self._around, self._letters, taken)

    async def settle(self, ends: Sequence[tuple[UUID, End]]) -> Sequence[bool]:
        """See `broker.Outlet.settle`.

        Raises:
            InvalidInput: It is a dead letter already.
        """
        self._check()
        wanted = [(token, _not_dead(end)) for token, end in ends]
        holds = [self._letters.holds(token) for token, _ in ends]
        held = [one for one, there in zip(wanted, holds, strict=True) if there]
        if not held:
            return holds
        ended = iter(
            await self._around.database.write(
                lambda tx: [self._end(tx, token, end) for token, end in held]
            )
        )
        self.changed.set()
        return [there and next(ended) for there in holds]

    async def renew(self, token: UUID) -> int | None:
        """See `broker.Outlet.renew`."""
        self._check()
        return self._letters.renew(token)

    async def deferred(self, numbers: Sequence[int], *, lock: bool) -> Sequence[Item]:
        """See `broker.Outlet.deferred`."""
        self._check()
        return await by_number(self._around, self._letters, numbers, lock=lock)

    # ---------------------------------------------------------------- broker.Peekable

    async def peek(self, *, after: int, limit: int) -> Sequence[Item]:
        """See `broker.Peekable.peek`."""
        self._check()
        items, _ = await self._letters.peek(after, min(limit, PEEKED))
        return items

    # ---------------------------------------------------------------- within

    def _check(self) -> None:
        if self._around.bus.queue(self._queue.subscription.name) is not self._queue:
            raise NotFound(f"the subscription {self._path!r} was deleted")

    def _end(self, tx: Transaction, token: UUID, end: _End) -> bool:
        seq = self._letters.end(tx, token)
        if seq is None:
            return False
        if isinstance(end, Complete):
            # Gone already where somebody replayed or purged it meanwhile.
            return self._letters.delete(tx, [seq]) > 0
        if isinstance(end, Abandon):
            self._letters.count(tx, [seq])
        elif isinstance(end, Defer):
            self._letters.put_aside(tx, seq)
        return True

    async def _wait(self) -> None:
        """Until something changed, or a lock ran out."""
        waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(self.changed.wait())}
        until = self._letters.next_end()
        if until is not None:
            waits.add(asyncio.ensure_future(self._around.clock.sleep_until(until)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()


def _not_dead(end: End) -> _End:
    if isinstance(end, DeadLetter):
        raise InvalidInput([FieldError("", "it is a dead letter already")])
    return end
