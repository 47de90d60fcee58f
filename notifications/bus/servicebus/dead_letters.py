"""Dead letters on Service Bus: looking at them, sending them again, deleting them.

Service Bus has no commit over two entities and hands dead letters out from the front alone. So a
letter is sent again first and removed after: whatever dies in between leaves a double, which the
ledger makes harmless. Which letters are meant is found by looking; then those are taken, and the
others that stood before them given back.

It does not say when a message died: the time it became visible stands for that. What it does not
say of why, `letters` adds.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from azure.servicebus import ServiceBusReceivedMessage

from notifications.bus.dead_letters import GivenUp
from notifications.bus.servicebus import wire
from notifications.bus.servicebus.bus import ServiceBus
from notifications.bus.servicebus.letters import SCAN, Letter, Letters, reasons
from notifications.bus.servicebus.look import carried_by
from notifications.bus.servicebus.peeking import AT_ONCE
from notifications.database import Database
from notifications.dead_letters import Chosen, DeadMessage, Moved, Rejections
from notifications.errors import InvalidInput, NotFound
from notifications.messages import Message
from notifications.ports import Clock, Dice
from notifications.routing import event_carried, replayed

log = logging.getLogger("huntaze")

_ID_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What the ledger has to do with it.

    Attributes:
        ledger: Where `given_up` writes.
        given_up: Is told of events whose last message is purged.
        rejections: Why messages were given back for good, where the bus was not told.
        consumers: The subscription of each consumer, by the name that addressed messages bear.
    """

    ledger: Database
    given_up: GivenUp
    rejections: Rejections
    consumers: Mapping[str, str]


class ServiceBusDeadLetters:
    """Implements `dead_letters.DeadLetters`; `tidy` is a step of the sweep.

    `of_event` looks at the first `SCAN` letters of each consumer. A purge looks at everything that
    waits for its subscription, where events are among what it takes; scheduled messages cannot be
    seen.
    """

    def __init__(
        self, bus: ServiceBus, keeping: Keeping, dice: Dice, clock: Clock, *, keep: int
    ) -> None:
        """Put it together; letters older than `keep`, ms, are removed by `tidy`."""
        self._bus = bus
        self._letters = Letters(bus, keeping.rejections)
        self._keeping = keeping
        self._consumers = {name: consumer for consumer, name in keeping.consumers.items()}
        self._dice = dice
        self._clock = clock
        self._keep = keep

    # ---------------------------------------------------------------- dead_letters.DeadLetters

    async def page(
        self, subscription: str | None, *, reason: str | None, after: tuple[str, int], limit: int
    ) -> tuple[Sequence[DeadMessage], tuple[str, int] | None]:
        """See `dead_letters.DeadLetters.page`.

        Raises:
            Unavailable: The bus is away, or the ledger.
        """
        self._check(subscription)
        names = [subscription] if subscription else sorted(self._bus.subscriptions)
        names = [name for name in names if subscription or name >= after[0]]
        starts = {name: after[1] if name in (subscription, after[0]) else 0 for name in names}
        # Side by side: each is a connection of its own.
        show = self._letters.page
        firsts = await asyncio.gather(*(show(name, starts[name]) for name in names))
        found: list[DeadMessage] = []
        looked, end = 0, after
        for name, first in zip(names, firsts, strict=True):
            async for letter in self._letters.onward(name, first):
                meant = reason in (None, letter.reason)
                if looked == SCAN or (meant and len(found) == limit):
                    return found, end
                looked, end = looked + 1, (name, letter.number)
                if meant:
                    found.append(letter.dead(name))
        return found, None

    async def replay(self, chosen: Chosen, *, limit: int, dry_run: bool = False) -> Moved:
        """See `dead_letters.DeadLetters.replay`; sent first, and removed after.

        Raises:
            Unavailable: The bus is away, or the ledger.
        """
        letters, moved = await self._choose(chosen, limit, dry_run)
        if dry_run or not letters:
            return moved
        found = self._bus.subscriptions[chosen.subscription]
        peeker = self._letters.peeker(found.name)
        async with peeker.taken(letters.keys(), most=SCAN) as taken:
            again = [(letter, self._again(letter, found.name)) for letter in taken]
            sendable = [(letter, message) for letter, message in again if _can_be_sent(message)]
            await self._bus.publish(found.topic, [message for _, message in sendable])
            await peeker.complete([letter for letter, _ in sendable])
        gone = [letters[_number(letter)] for letter, _ in sendable]
        await self._letters.forget(found.name, gone)
        moved = replace(moved, reasons=reasons(gone))
        log.info("dead_letters.replayed", extra=_told(chosen, moved))
        return moved

    async def purge(self, chosen: Chosen, *, limit: int, dry_run: bool = False) -> Moved:
        """See `dead_letters.DeadLetters.purge`; the ledger is told first.

        Raises:
            Unavailable: The bus is away, or the ledger.
        """
        letters, moved = await self._choose(chosen, limit, dry_run)
        if dry_run or not letters:
            return moved
        peeker = self._letters.peeker(chosen.subscription)
        left = await self._left(chosen.subscription, [each.found for each in letters.values()])
        async with peeker.taken(letters.keys(), most=SCAN) as taken:
            await self._give_up(chosen.subscription, taken, left)
            await peeker.complete(taken)
        gone = [letters[_number(letter)] for letter in taken]
        await self._letters.forget(chosen.subscription, gone)
        moved = replace(moved, reasons=reasons(gone))
        log.info("dead_letters.purged", extra=_told(chosen, moved))
        return moved

    async def of_event(self, event: str) -> Mapping[str, DeadMessage]:
        """See `dead_letters.DeadLetters.of_event`.

        Raises:
            Unavailable: The bus is away, or the ledger.
        """
        if not event:
            return {}
        consumers = self._keeping.consumers
        newest = await asyncio.gather(*(self._newest(name, event) for name in consumers.values()))
        return {
            consumer: letter.dead(name)
            for (consumer, name), letter in zip(consumers.items(), newest, strict=True)
            if letter is not None
        }

    # ---------------------------------------------------------------- sweep

    async def tidy(self, *, limit: int) -> int:
        """Remove up to `limit` letters of each subscription that are older than is kept."""
        oldest = self._clock.now() - self._keep
        removed = 0
        for name in self._bus.subscriptions:
            peeker = self._letters.peeker(name)
            first = await peeker.page(after=0, limit=AT_ONCE)
            old = [one for one in first if wire.milliseconds(one.enqueued_time_utc) < oldest]
            if not old:
                continue
            numbers = frozenset(_number(letter) for letter in old[:limit])
            async with peeker.taken(numbers, most=SCAN) as taken:
                await peeker.complete(taken)
            removed += len(taken)
        return removed

    # ---------------------------------------------------------------- looking

    def _check(self, subscription: str | None) -> None:
        if subscription is not None and subscription not in self._bus.subscriptions:
            there = ", ".join(self._bus.subscriptions)
            raise NotFound(f"no subscription {subscription!r}; there are {there}")

    async def _choose(
        self, chosen: Chosen, limit: int, dry_run: bool
    ) -> tuple[Mapping[int, Letter], Moved]:
        """The next of those that were chosen, by number, and what is to be said of them."""
        self._check(chosen.subscription)
        upto = await self._last(chosen) if chosen.upto is None else chosen.upto
        found: dict[int, Letter] = {}
        rest: Chosen | None = None
        looked, after = 0, chosen.after
        first = await self._letters.page(chosen.subscription, chosen.after)
        async for letter in self._letters.onward(chosen.subscription, first):
            if letter.number > upto:
                break
            meant = letter.is_meant(chosen)
            if not dry_run and (looked == SCAN or (meant and len(found) == limit)):
                rest = replace(chosen, after=after, upto=upto)
                break
            looked, after = looked + 1, letter.number
            if meant:
                found[letter.number] = letter
        return found, Moved(reasons=reasons(found.values()), upto=upto, rest=rest)

    async def _last(self, chosen: Chosen) -> int:
        """The highest number there is: looked for once, in pages."""
        if chosen.numbers is not None:
            return max(chosen.numbers, default=0)
        last = 0
        async for letter in self._letters.bare(chosen.subscription, chosen.after):
            last = _number(letter)
        return last

    async def _newest(self, subscription: str, event: str) -> Letter | None:
        newest = None
        looked = 0
        async for letter in self._letters.bare(subscription):
            looked += 1
            if looked > SCAN:
                break
            if event_carried(wire.incoming(letter)) == event:
                newest = letter
        if newest is None:
            return None
        (explained,) = await self._letters.explained(subscription, [newest])
        return explained

    # ---------------------------------------------------------------- moving

    def _again(self, letter: ServiceBusReceivedMessage, subscription: str) -> Message:
        return replayed(
            wire.incoming(letter),
            self._consumers.get(subscription),
            message_id=f"replay-{self._dice.token(_ID_BYTES).hex()}",
        )

    async def _give_up(
        self,
        subscription: str,
        letters: Sequence[ServiceBusReceivedMessage],
        left: Collection[str],
    ) -> None:
        """Have the ledger say that nobody deals with their events, before they are gone."""
        consumer = self._consumers.get(subscription)
        names = _names(letters) - frozenset(left)
        if consumer is not None and names:
            keeping = self._keeping
            await keeping.ledger.write(lambda tx: keeping.given_up.give_up(tx, consumer, names))

    async def _left(
        self, subscription: str, letters: Sequence[ServiceBusReceivedMessage]
    ) -> set[str]:
        """Of the events of letters, those that the consumer has other messages of."""
        names = _names(letters)
        if subscription not in self._consumers or not names:
            return set()
        beside = Counter(event_carried(wire.incoming(letter)) for letter in letters)
        waiting = await carried_by(self._bus.peeker(subscription))
        dead = await carried_by(self._letters.peeker(subscription))
        return {name for name in names if name in waiting or dead.get(name, 0) > beside[name]}


def _names(letters: Sequence[ServiceBusReceivedMessage]) -> frozenset[str]:
    return frozenset(event_carried(wire.incoming(letter)) for letter in letters) - {""}


def _can_be_sent(message: Message) -> bool:
    try:
        wire.outgoing(message)
    except InvalidInput as error:
        # Others sent it with what our SDK does not send: it stays where people can see it.
        log.warning("dead_letters.not_sent", extra={"detail": str(error)})
        return False
    return True


def _number(letter: ServiceBusReceivedMessage) -> int:
    return letter.sequence_number or 0


def _told(chosen: Chosen, moved: Moved) -> Mapping[str, object]:
    return {"subscription": chosen.subscription, "messages": moved.count}
