"""Receiving from a subscription: one receiver of the SDK, and one task that alone talks to it.

The SDK's receivers are not made for several coroutines at once: they take each other's frames, and
the losers wait. So whoever receives, settles or renews leaves an order here. Ends of locks are
sent together and go first; while messages are in hand, waiting for more is done in short slices.

Nothing is asked of the namespace that nobody waits for: a message that lay here in stock would
lose its lock, and with it one of its deliveries.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusReceiver
from azure.servicebus.exceptions import MessageAlreadySettled, MessageLockLostError

from notifications.bus.servicebus import wire
from notifications.bus.servicebus.connection import USUAL, Pace
from notifications.errors import Unavailable
from notifications.messages import Complete, DeadLetter, Received, Settlement
from notifications.ports import Clock
from notifications.retries import MINUTE

log = logging.getLogger("huntaze")

TOGETHER = 100
"""Locks that are ended at once."""

ANSWER_S = 30.0
"""For renewing a lock, the SDK's own tries included."""

FIRST, SLOWEST = 32, 8
"""Messages that are asked for at once: at first, and at the least."""

Failed = Callable[[BaseException], Unavailable]
"""What an error of the SDK means."""


@dataclass(slots=True, eq=False)
class _Want:
    """Somebody who waits for messages."""

    limit: int
    got: asyncio.Future[Sequence[Received]] = field(repr=False)


@dataclass(slots=True, eq=False)
class _Order:
    """Something that is to be done with a message in hand."""

    run: Callable[[], Awaitable[object]]
    done: asyncio.Future[None] = field(repr=False)


class Reception:
    """One subscription's messages, and the locks that this process holds on them."""

    def __init__(
        self,
        receiver: ServiceBusReceiver,
        subscription: str,
        failed: Failed,
        clock: Clock,
        *,
        pace: Pace = USUAL,
    ) -> None:
        self._receiver = receiver
        self._subscription = subscription
        self._failed = failed
        self._clock = clock
        self._waits = pace
        self._looked_at = 0
        self._held: dict[int, ServiceBusReceivedMessage] = {}
        self._last_token = 0
        self._spare: deque[Received] = deque()
        self._wants: deque[_Want] = deque()
        self._orders: deque[_Order] = deque()
        self._came = asyncio.Event()
        self._greedy = True
        self._left = False
        self._pace = FIRST
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work; the connection is made when the first message is wanted."""
        self._task = asyncio.create_task(self._run(), name=f"receive-{self._subscription}")

    async def close(self) -> None:
        """Stop. What nobody took is given back; what is in hand comes again without its lock."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        closed = Unavailable("the bus is closed")
        self._refuse(closed)
        for order in self._orders:
            if not order.done.done():
                order.done.set_exception(closed)
        await self._let_go()
        with contextlib.suppress(Exception):  # it may be away
            await self._receiver.close()

    @property
    def at_rest(self) -> bool:
        """Whether nobody waits, and nothing is asked for that nobody waits for."""
        return not (self._wants or self._orders or self._left)

    async def receive(self, limit: int) -> Sequence[Received]:
        """See `ports.Bus.receive`.

        Raises:
            Unavailable: The bus is away.
        """
        if self._task is None:
            raise Unavailable("the bus is closed")
        want = _Want(limit, asyncio.get_running_loop().create_future())
        self._wants.append(want)
        self._came.set()
        try:
            return await want.got
        except asyncio.CancelledError:
            self._left = True
            self._came.set()
            if want.got.done() and not want.got.cancelled() and want.got.exception() is None:
                self._spare.extendleft(reversed(want.got.result()))  # it came a moment too late
            raise

    async def settle(self, received: Received, settlement: Settlement) -> None:
        """See `ports.Bus.settle`."""
        found = self._held.pop(received.token or 0, None)
        if found is None:
            return
        receiver = self._receiver

        async def end() -> None:
            with contextlib.suppress(MessageLockLostError, MessageAlreadySettled):
                if isinstance(settlement, Complete):
                    await receiver.complete_message(found)
                elif isinstance(settlement, DeadLetter):
                    reason = settlement.reason[: wire.LONGEST_REASON]
                    why = settlement.description[: wire.LONGEST_REASON]
                    await receiver.dead_letter_message(found, reason=reason, error_description=why)
                else:
                    await receiver.abandon_message(found)

        try:
            await self._order(end)
        except Unavailable:
            self._held[received.token or 0] = found  # it may be settled again
            raise

    async def renew(self, received: Received) -> None:
        """See `ports.Bus.renew`."""
        found = self._held.get(received.token or 0)
        if found is None:
            return
        try:
            await self._order(lambda: self._receiver.renew_message_lock(found, timeout=ANSWER_S))
        except Unavailable as error:
            # Its lock runs out and it comes again; the ledger knows what was done.
            log.warning("bus.renew_failed", extra={"detail": str(error)})

    async def _order(self, run: Callable[[], Awaitable[object]]) -> None:
        if self._task is None:
            raise Unavailable("the bus is closed")
        order = _Order(run, asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._came.set()
        await order.done

    # ---------------------------------------------------------------- the one task

    async def _run(self) -> None:
        while True:
            self._serve_spare()
            if self._orders:
                await self._end_some()
            elif self._wants:
                await self._pull()
            elif self._left:
                await self._let_go()
            else:
                self._greedy = True  # whoever comes now has not waited for the first one
                self._came.clear()
                await self._came.wait()

    async def _end_some(self) -> None:
        lot = [self._orders.popleft() for _ in range(min(TOGETHER, len(self._orders)))]
        try:
            answers = await asyncio.gather(*(one.run() for one in lot), return_exceptions=True)
        except asyncio.CancelledError:
            self._orders.extendleft(reversed(lot))  # `close` tells those who wait
            raise
        for order, answer in zip(lot, answers, strict=True):
            if order.done.done():
                continue
            if isinstance(answer, MessageLockLostError | MessageAlreadySettled):
                order.done.set_result(None)
            elif isinstance(answer, BaseException):
                order.done.set_exception(self._failed(answer))
            else:
                order.done.set_result(None)

    async def _pull(self) -> None:
        """Ask for what is wanted: all of it while messages come, then for the next one alone.

        The SDK waits a while for the rest of what it is asked for; the first message after a
        silence shall not wait for that.
        """
        wanted = sum(want.limit for want in self._wants if not want.got.done())
        if self._greedy:
            count, wait = min(wanted, self._pace), self._waits.slice_s
        else:
            count, wait = 1, self._waits.slice_s if self._held else self._waits.patience_s
        try:
            await self._receiver.__aenter__()  # opens what is not open; a slice is too short for it
            found = await self._receiver.receive_messages(count, max_wait_time=wait)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises
            self._refuse(self._failed(error))
            return
        # What was asked for and comes after the slice is given back unseen, and comes once more.
        self._pace = 2 * count if len(found) == count else max(len(found), SLOWEST)
        self._greedy = bool(found)
        for one in found:
            try:
                self._spare.append(self._hold(one))
            except Exception:
                # Nobody could ever read it: it comes until it has come too often, and is dead.
                log.exception("bus.unreadable", extra={"subscription": self._subscription})

    async def _let_go(self) -> None:
        """Give back what was asked for, come or not: nobody waits for it any more.

        Should that fail, locks run out by themselves.
        """
        self._left = False
        spare = [self._held.pop(one.token or 0, None) for one in self._spare]
        self._spare.clear()
        await let_go(self._receiver, [each for each in spare if each is not None])

    def _hold(self, found: ServiceBusReceivedMessage) -> Received:
        self._forget_lost()
        self._last_token += 1
        self._held[self._last_token] = found
        return wire.received(found, self._subscription, token=self._last_token)

    def _serve_spare(self) -> None:
        while self._wants and self._wants[0].got.done():
            self._wants.popleft()  # it was cancelled
        while self._spare and self._wants:
            want = self._wants.popleft()
            if want.got.done():
                continue  # it was cancelled
            count = min(want.limit, len(self._spare))
            page = [self._spare.popleft() for _ in range(count)]
            page = [one for one in page if not self._lost(one.token or 0)]
            if page:
                want.got.set_result(page)
            else:
                self._wants.appendleft(want)

    def _lost(self, token: int) -> bool:
        """Whether a lock ran out; then the message comes again, and this copy is forgotten."""
        found = self._held.get(token)
        until = None if found is None else found.locked_until_utc
        if until is not None and until > self._clock.wall():
            return False
        self._held.pop(token, None)
        return True

    def _refuse(self, error: Unavailable) -> None:
        for want in self._wants:
            if not want.got.done():
                want.got.set_exception(error)
        self._wants.clear()
        self._greedy = True

    def _forget_lost(self) -> None:
        """Once a minute: what was never settled and has no lock any more is in nobody's hands."""
        if self._clock.now() - self._looked_at >= MINUTE:
            self._looked_at = self._clock.now()
            for token in list(self._held):
                self._lost(token)


async def let_go(receiver: Any, messages: Sequence[Any] = ()) -> None:
    """Give messages back unseen, and what a receiver asked for besides.

    The SDK does that only while it closes a receiver, and offers none of it: what is called here
    is what it calls then. Never raises.
    """
    with contextlib.suppress(Exception):
        handler = receiver._handler
        for found in messages:
            tag = found._delivery_tag
            await handler.settle_messages_async(found._delivery_id, tag, "released")
        await receiver._amqp_transport.drain_and_release_messages_async(handler)
