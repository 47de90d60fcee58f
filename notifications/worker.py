"""Consuming a subscription, and the rule of whose fault a failure is (design 6.5).

What a target does is an outcome and never gets here. What gets here is ours: a message nobody can
read goes to the dead letters with its reason; an outage, or an exception no rule knows, makes the
message come again later, as a copy addressed to its own consumer, because abandoning it would burn
its ten deliveries within a second.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace

from notifications import tracing
from notifications.crashpoints import Point, between
from notifications.draining import Draining
from notifications.errors import Unavailable
from notifications.messages import Abandon, Complete, DeadLetter, Message, Received, Settlement
from notifications.outage import Outage, what_is_away
from notifications.ports import Bus, Clock, Dice
from notifications.retries import DAY, SECOND
from notifications.routing import is_drain, resend
from notifications.spans import processing

log = logging.getLogger("huntaze")

OUTAGE_PATIENCE_MS = 45 * SECOND
"""How long a handler waits for what is away, inside its lock of a minute."""

_PROBE_MS = 1 * SECOND
_RENEW_MS = 20 * SECOND
"""Locks last a minute."""

_PUT_OFF_MS = 2 * SECOND
"""When a drain that there is no room for comes again."""

_STOP_GRACE_S = 2.5
"""How long handlers that are let go of may take to leave their work in order."""

Handler = Callable[[Sequence[Received]], Awaitable[Sequence[Settlement]]]
Publish = Callable[[Sequence[Message]], Awaitable[None]]
"""Puts messages on the topic the worker consumes."""


class Guard:
    """Runs a handler so that no failure of ours loses or burns a message.

    Functions triggers and the worker of one machine share it.
    """

    def __init__(
        self,
        consumer: str,
        handler: Handler,
        publish: Publish,
        clock: Clock,
        dice: Dice,
        outage: Outage | None = None,
    ) -> None:
        """Wire it; `outage` is the one that all guards of the process share."""
        self._consumer = consumer
        self._handler = handler
        self._publish = publish
        self._clock = clock
        self._dice = dice
        self._outage = outage or Outage(clock)

    @property
    def handler(self) -> Handler:
        """What it guards, for a host that guards more than that."""
        return self._handler

    async def __call__(self, messages: Sequence[Received]) -> list[Settlement]:
        """One settlement each, in order; never raises but when the process stops."""
        return list(await in_spans(self._handle, messages))

    async def put_off(self, messages: Sequence[Received], *, until: int) -> list[Settlement]:
        """Have messages that say all by themselves come again then, as copies.

        One settlement each; none where that failed, for a message that is given back comes at once.
        """
        copies = [
            replace(each.message, id=f"again-{self._dice.token(16).hex()}", due_at=until)
            for each in messages
        ]
        return [Complete() for _ in messages] if await self._sent(copies) else []

    async def _handle(self, messages: Sequence[Received]) -> list[Settlement]:
        try:
            return list(await self._handler(messages))
        except Exception as error:  # noqa: BLE001 - that is what this is for
            return await self._fault([_plain(message) for message in messages], error)

    async def _fault(self, messages: Sequence[Received], error: Exception) -> list[Settlement]:
        """What is away is waited for; what fails otherwise is found by handling each alone."""
        give_up_at = self._clock.now() + OUTAGE_PATIENCE_MS
        while isinstance(error, Unavailable):
            what = what_is_away(error, self._consumer)
            self._outage.noticed(what)
            if not await self._outage.turn(what, until=give_up_at):
                break
            try:
                answers = list(await self._handler(messages))
            except Exception as again:  # noqa: BLE001 - as above
                error = again
            else:
                self._outage.over(what)
                return answers
        if len(messages) == 1 or isinstance(error, Unavailable):
            return await asyncio.gather(*(self._resend(message, error) for message in messages))
        # One of them spoils it: each alone, so that only the culprit is held back.
        alone = await asyncio.gather(*(self._handle([message]) for message in messages))
        return [settlement for (settlement,) in alone]

    async def _resend(self, message: Received, error: Exception) -> Settlement:
        _tell(
            "message.handler_failed",
            error,
            messageId=message.message.id,
            consumer=self._consumer,
        )
        again = resend(
            message,
            self._consumer,
            message_id=f"again-{self._dice.token(16).hex()}",
            now=self._clock.now(),
            lifetime=DAY,
            away=isinstance(error, Unavailable),
        )
        if again is None:
            return DeadLetter("handler-failed", f"{type(error).__name__}: {error}")
        return Complete() if await self._sent([again]) else Abandon()

    async def _sent(self, messages: Sequence[Message]) -> bool:
        try:
            await between(Point.RESEND_BEGINS, self._publish(messages), Point.RESEND_ENDS)
        except Exception as fault:
            log.warning("message.not_resent", exc_info=fault)
            return False
        return True


async def in_spans(handler: Handler, messages: Sequence[Received]) -> Sequence[Settlement]:
    """Have messages handled, each in its process span where there is telemetry."""
    if tracing.active is None:
        return await handler(messages)
    with processing(tracing.active, messages) as ended:
        settlements = await handler(messages)
        ended(settlements)
    return settlements


def _plain(received: Received) -> Received:
    """As any process gets it: what was known when it was published may be so no more."""
    return replace(received, ours=False, message=replace(received.message, decoded=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Appetite:
    """How much a worker takes on.

    Attributes:
        window: Messages in hand at once, drains not among them.
        batch: Messages handled together. Small ones overlap: while the outcomes of one are being
            written, the next is attempted.
        linger_ms: How long to gather messages before handling them together.
        drains: Drains in hand at once, beside the window. They cost a lock each, which a bus that
            is elsewhere has renewed every twenty seconds; those beyond come again later.
    """

    window: int
    batch: int = 32
    linger_ms: int = 0
    drains: int = 1_000


def _never(_: Received) -> bool:
    return False


class Worker:
    """Receives a subscription's messages and has them handled, many at a time.

    Drains are handled apart: however many lanes have something due, and however long they take,
    what else is on the bus is received and handled as if there were none.
    """

    def __init__(
        self,
        subscription: str,
        guard: Guard,
        bus: Bus,
        clock: Clock,
        appetite: Appetite,
        *,
        over: Callable[[Received], bool] = _never,
    ) -> None:
        """Wire it.

        Args:
            subscription: What it receives.
            guard: Handles the messages.
            bus: Where they are.
            clock: For what is to be done later.
            appetite: How much it takes on.
            over: Whether a message is settled already, with the commit that recorded what came
                of it: then nothing is left to be done, and nobody is asked.
        """
        self._subscription = subscription
        self._over = over
        self._guard = guard
        self._bus = bus
        self._clock = clock
        self._appetite = appetite
        self._in_hand: dict[int, Received] = {}
        self._drains = Draining(self._handle, appetite.drains)
        self._room = asyncio.Event()
        self._handling: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to receive."""
        name = self._subscription
        self._loops = [
            asyncio.create_task(self._receive(), name=f"worker-{name}"),
            asyncio.create_task(self._renew(), name=f"locks-{name}"),
        ]

    async def stop(self, within_s: float) -> None:
        """Receive no more; give what is in hand so long to end, then let go of it.

        Whoever is cancelled while it waits lets go of it at once, in good order.
        """
        for loop in self._loops:
            loop.cancel()
        try:
            try:
                await asyncio.gather(*self._loops, return_exceptions=True)
            finally:
                self._let_go()
            if self._handling:
                await asyncio.wait(self._handling, timeout=within_s)
        finally:
            for task in self._handling:
                task.cancel()
            if self._handling:
                await asyncio.wait(self._handling, timeout=_STOP_GRACE_S)

    async def _receive(self) -> None:
        while True:
            while (room := self._free()) <= 0:
                self._room.clear()
                await self._room.wait()
            try:
                limit = min(room, self._appetite.batch)
                messages = await between(
                    Point.RECEIVE_BEGINS,
                    self._bus.receive(self._subscription, limit=limit),
                    Point.RECEIVE_ENDS,
                )
            except Exception as error:  # noqa: BLE001 - it is told, and it goes on
                _tell("bus.receive_failed", error)
                await self._clock.sleep_until(self._clock.now() + _PROBE_MS)
                continue
            self._take(messages)
            if self._appetite.linger_ms:
                await self._clock.sleep_until(self._clock.now() + self._appetite.linger_ms)

    def _free(self) -> int:
        """How many messages it could take on now."""
        return self._appetite.window - (len(self._in_hand) - self._drains.in_hand)

    def _take(self, messages: Sequence[Received]) -> None:
        self._in_hand.update((message.sequence_number, message) for message in messages)
        drains: list[Received] = []
        events: list[Received] = []
        for message in messages:
            (drains if is_drain(message.message) else events).append(message)
        if events:
            self._go(self._handle(events))
        if not drains:
            return
        if beyond := self._drains.take(drains):
            self._go(self._put_off(beyond))
        while self._drains.wants_another():
            self._go(self._drains.work())

    def _let_go(self) -> None:
        """Give back the drains that wait: whoever has them next begins them."""
        drains = self._drains.let_go()
        self._go(self._end(drains, [Abandon() for _ in drains]))

    def _go(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)

    async def _put_off(self, drains: Sequence[Received]) -> None:
        until = self._clock.now() + _PUT_OFF_MS
        await self._end(drains, await self._guard.put_off(drains, until=until))

    async def _handle(self, messages: Sequence[Received]) -> None:
        settlements: Sequence[Settlement] = ()
        try:
            settlements = await self._guard(messages)
        finally:
            await self._end(messages, settlements)

    async def _end(self, messages: Sequence[Received], settlements: Sequence[Settlement]) -> None:
        """Settle what has a settlement; none of them is in hand any more."""
        try:
            # Together: over a wire each takes a round trip.
            ends = zip(messages, settlements, strict=False)
            left = [self._settle(message, end) for message, end in ends if not self._over(message)]
            if left:
                await asyncio.gather(*left)
        finally:
            for message in messages:
                self._in_hand.pop(message.sequence_number, None)
            self._room.set()

    async def _settle(self, message: Received, settlement: Settlement) -> None:
        try:
            await between(
                Point.SETTLE_BEGINS, self._bus.settle(message, settlement), Point.SETTLE_ENDS
            )
        except Exception as error:  # noqa: BLE001 - as above
            # Its lock runs out and it comes again; the ledger knows what was done.
            _tell("bus.settle_failed", error)

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + _RENEW_MS)
            await asyncio.gather(
                *(
                    between(Point.RENEW_BEGINS, self._bus.renew(each), Point.RENEW_ENDS)
                    for each in self._in_hand.values()
                )
            )


def _tell(name: str, error: Exception, **about: str) -> None:
    """What is away is a sentence; where it failed is of use for anything else."""
    if isinstance(error, Unavailable):
        log.warning(name, extra={**about, "detail": str(error)})
    else:
        log.error(name, exc_info=error, extra=about)
