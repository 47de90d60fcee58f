"""The dead letters that Service Bus shows, each with what it died of.

What its function gave back too often says no more than that. Where the reason was written down,
that is what the letter died of: everybody who looks, chooses or counts goes by it.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass

from azure.servicebus import ServiceBusReceivedMessage

from notifications.bus.servicebus import wire
from notifications.bus.servicebus.bus import ServiceBus
from notifications.bus.servicebus.peeking import AT_ONCE, Peeker
from notifications.dead_letters import Chosen, DeadMessage, Rejections
from notifications.errors import Unavailable

log = logging.getLogger("huntaze")

SCAN = 2_000
"""Dead letters that one call looks at: what was chosen may be few of many."""

WORN_OUT = "MaxDeliveryCountExceeded"
"""What the broker says of every message that was given back too often."""

_EVERYTHING = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter.

    Attributes:
        found: It, as the SDK has it.
        reason: What it died of.
        description: What exactly was wrong.
        noted: Whether that was written down beside the bus, and is not what the bus says.
    """

    found: ServiceBusReceivedMessage
    reason: str
    description: str
    noted: bool

    @property
    def number(self) -> int:
        """The bus's number for it."""
        return self.found.sequence_number or 0

    def is_meant(self, chosen: Chosen) -> bool:
        """Whether all that is said of those that were chosen applies, but for where they stand."""
        if chosen.reason not in (None, self.reason):
            return False
        if chosen.numbers is not None and self.number not in chosen.numbers:
            return False
        died = wire.milliseconds(self.found.enqueued_time_utc)
        return chosen.before is None or died < chosen.before

    def dead(self, subscription: str) -> DeadMessage:
        """It, as the hub has it."""
        visible = wire.milliseconds(self.found.enqueued_time_utc)
        return DeadMessage(
            message=wire.incoming(self.found),
            subscription=subscription,
            sequence_number=self.number,
            reason=self.reason,
            description=self.description,
            dead_at=visible,
            enqueued_at=visible,
            delivery_count=self.found.delivery_count or 0,
        )


class Letters:
    """Shows a subscription's dead letters, in order; takes none."""

    def __init__(self, bus: ServiceBus, rejections: Rejections) -> None:
        """Put it together.

        Args:
            bus: Holds the letters.
            rejections: Why messages were given back for good.
        """
        self._bus = bus
        self._rejections = rejections

    def peeker(self, subscription: str) -> Peeker:
        """Looks at them, and takes them."""
        return self._bus.peeker(subscription, dead=True)

    async def page(self, subscription: str, after: int) -> Sequence[Letter]:
        """The next ones with numbers above `after`, as many as the bus shows at once.

        Raises:
            Unavailable: The bus is away, or what keeps the reasons.
        """
        found = await self.peeker(subscription).page(after=after, limit=AT_ONCE)
        return await self.explained(subscription, found)

    async def onward(self, subscription: str, page: Sequence[Letter]) -> AsyncIterator[Letter]:
        """Those of a page, and those behind it, to the last; raises as `page`."""
        while page:
            for letter in page:
                yield letter
            page = await self.page(subscription, page[-1].number or _EVERYTHING)

    async def bare(
        self, subscription: str, after: int = 0
    ) -> AsyncIterator[ServiceBusReceivedMessage]:
        """All above a number, for whom it does not matter what they died of.

        Raises:
            Unavailable: The bus is away.
        """
        peeker = self.peeker(subscription)
        while page := await peeker.page(after=after, limit=AT_ONCE):
            for found in page:
                yield found
            after = page[-1].sequence_number or _EVERYTHING

    async def explained(
        self, subscription: str, found: Sequence[ServiceBusReceivedMessage]
    ) -> Sequence[Letter]:
        """What each died of.

        Raises:
            Unavailable: What keeps the reasons is away: which of them are meant cannot be said.
        """
        said = [(each, *wire.why_dead(each)) for each in found]
        asked = {wire.id_of(each) for each, reason, _ in said if reason == WORN_OUT}
        noted = await self._rejections.of(subscription, asked) if asked else {}
        letters = []
        for each, reason, description in said:
            why = noted.get(wire.id_of(each)) if reason == WORN_OUT else None
            letters.append(
                Letter(
                    found=each,
                    reason=why.reason if why else reason,
                    description=why.description if why else description,
                    noted=why is not None,
                )
            )
        return letters

    async def forget(self, subscription: str, gone: Collection[Letter]) -> None:
        """Keep the reasons of letters that are gone no longer, where no other has their id.

        What cannot be forgotten now is when it is old: the letters are dealt with in any case.
        """
        ids = {wire.id_of(each.found) for each in gone if each.noted}
        if not ids:
            return
        looked = 0
        try:
            async for left in self.bare(subscription):
                looked += 1
                if looked > SCAN:
                    return  # behind them one may stand that needs it
                ids.discard(wire.id_of(left))
            await self._rejections.forget(subscription, ids)
        except Unavailable as error:
            log.warning("dead_letters.reasons_left", extra={"detail": str(error)})


def reasons(letters: Collection[Letter]) -> Mapping[str, int]:
    """How many there are of each reason."""
    return dict(Counter(letter.reason for letter in letters))
