"""Looking at a subscription or at its dead letters, and taking chosen dead letters out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager

from azure.servicebus import (
    ServiceBusMessageState,
    ServiceBusReceivedMessage,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

from notifications.bus.servicebus import wire
from notifications.bus.servicebus.connection import USUAL, Pace
from notifications.bus.servicebus.receiving import ANSWER_S, let_go
from notifications.bus.topology import Subscription
from notifications.errors import Unavailable
from notifications.messages import Received

AT_ONCE = 250
"""Messages that Service Bus shows at once."""

LOCKED_TOGETHER = 100
"""Dead letters that are locked at once."""

GAP_S = 1.0
"""When nothing came for so long, the dead letters are at their end."""


class Peeker:
    """Looks with one receiver of the SDK and takes with another, each for one at a time.

    The one that looks has never asked for messages: what came for it would be in nobody's hands.
    """

    def __init__(
        self,
        client: ServiceBusClient,
        subscription: Subscription,
        failed: Callable[[BaseException], Unavailable],
        *,
        dead: bool,
        pace: Pace = USUAL,
    ) -> None:
        self._client = client
        self._subscription = subscription
        self._failed = failed
        self._dead = dead
        self._read_s = pace.read_s
        self._looking = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._looker: ServiceBusReceiver | None = None
        self._taker: ServiceBusReceiver | None = None

    async def close(self) -> None:
        """Let go of the connections."""
        receivers = [each for each in (self._looker, self._taker) if each is not None]
        self._looker = self._taker = None
        await asyncio.gather(*(each.close() for each in receivers), return_exceptions=True)

    async def page(self, *, after: int, limit: int) -> Sequence[ServiceBusReceivedMessage]:
        """Up to `limit` messages with numbers above `after`, in order; few are not the last.

        Raises:
            Unavailable: The bus is away.
        """
        async with self._looking:
            if self._looker is None:
                self._looker = self._receiver()
            try:
                return await self._looker.peek_messages(
                    min(limit, AT_ONCE), sequence_number=after + 1, timeout=ANSWER_S
                )
            except Exception as error:
                raise self._failed(error) from error

    async def waiting(self, *, after: int, limit: int) -> Sequence[Received]:
        """See `dead_letters.Peek.peek`."""
        found: list[Received] = []
        while len(found) < limit:
            page = await self.page(after=after, limit=limit - len(found))
            if not page:
                break
            after = page[-1].sequence_number or after
            active = [one for one in page if one.state is ServiceBusMessageState.ACTIVE]
            found += [wire.received(one, self._subscription.name) for one in active]
        return found

    @asynccontextmanager
    async def taken(
        self, numbers: Collection[int], *, most: int
    ) -> AsyncIterator[Sequence[ServiceBusReceivedMessage]]:
        """Lock the dead letters with these numbers, past at most `most` others, for the block.

        Only from the front can dead letters be taken: what is not meant is given back at the end.
        Those that are not there any more, or that somebody else holds, are left out.

        Raises:
            Unavailable: The bus is away.
        """
        async with self._taking:
            if self._taker is None:
                self._taker = self._receiver()
            held: list[ServiceBusReceivedMessage] = []
            try:
                await self._lock(self._taker, numbers, most, held)
                yield [one for one in held if one.sequence_number in numbers]
            finally:
                await let_go(self._taker, [one for one in held if one.lock_token is not None])

    async def complete(self, letters: Sequence[ServiceBusReceivedMessage]) -> None:
        """Remove dead letters that are taken.

        Raises:
            Unavailable: The bus is away; some may be gone.
        """
        if self._taker is None:
            raise Unavailable("the bus is closed")
        try:
            await _in_lots(self._taker.complete_message, letters)
        except Exception as error:
            raise self._failed(error) from error

    async def _lock(
        self,
        receiver: ServiceBusReceiver,
        numbers: Collection[int],
        most: int,
        held: list[ServiceBusReceivedMessage],
    ) -> None:
        missing = set(numbers)
        try:
            await receiver.__aenter__()
            while missing and len(held) < most + len(numbers):
                # At first as many as are meant: mostly those that stand in front are.
                count = LOCKED_TOGETHER if held else min(LOCKED_TOGETHER, len(missing))
                page = await receiver.receive_messages(count, max_wait_time=GAP_S)
                if not page:
                    break
                held += page
                missing -= {one.sequence_number or 0 for one in page}
        except Exception as error:
            raise self._failed(error) from error

    def _receiver(self) -> ServiceBusReceiver:
        found = self._subscription
        queue = ServiceBusSubQueue.DEAD_LETTER if self._dead else None
        return self._client.get_subscription_receiver(
            found.topic, found.name, sub_queue=queue, socket_timeout=self._read_s
        )


async def _in_lots(
    end: Callable[[ServiceBusReceivedMessage], Awaitable[None]],
    letters: Sequence[ServiceBusReceivedMessage],
) -> None:
    for start in range(0, len(letters), LOCKED_TOGETHER):
        lot = letters[start : start + LOCKED_TOGETHER]
        await asyncio.gather(*(end(one) for one in lot))
