"""What links have in common, and the one through which a client sends."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from notifications.door import frames as say
from notifications.door import performatives as kind
from notifications.door.assembling import Assembly, Sent
from notifications.door.channel import NUMBERS, Channel
from notifications.door.faults import (
    MESSAGE_SIZE,
    NOT_ALLOWED,
    Fault,
    LinkFault,
)

_AT_ONCE = 256
"""Messages of one link that are dealt with together."""


class Link:
    """One way between a client and something behind the door.

    Attributes:
        handle: Names it in its session, both ways.
        needs: The path, case-folded, that a token has to allow; None where it needs none.
        is_over: It has ended, as far as we are concerned.
    """

    def __init__(self, channel: Channel, asked: kind.Attach, needs: str | None) -> None:
        self.handle = asked.handle
        self.needs = needs
        self.is_over = False
        self._channel = channel

    def begin(self) -> None:
        """The client has been told that it is there."""

    def kick(self) -> None:
        """The client may be able to take more."""

    def pause(self) -> None:
        """The client takes no more for now; `kick` says when it may again."""

    def flowed(self, flow: kind.Flow) -> None:
        """The client told its side's credit."""
        if flow.echo:
            self._channel.flow()

    def transferred(self, _transfer: kind.Transfer, _payload: bytes) -> None:
        """The client sent a message, or a part of one.

        Raises:
            LinkFault: It must not.
        """
        raise LinkFault(NOT_ALLOWED, "Nothing can be sent on a link that receives.")

    def close(self) -> None:
        """It is over; nothing more is sent on it."""
        self.is_over = True

    def detach(self, fault: Fault | None = None) -> None:
        """End it, and tell the client, unless that happened before."""
        if not self.is_over:
            self.close()
            self._channel.detached(self.handle, fault)


_OVERHEAD = 256
"""Bytes that a message that waits costs beside its own."""


def _cost(sent: Sent) -> int:
    return len(sent.payload) + _OVERHEAD


Deal = Callable[[Sequence[Sent]], Awaitable[Sequence[Fault | None]]]
"""Deals with messages, in order: for each what was wrong, or None."""


class Incoming(Link):
    """A client sends: messages are put together, dealt with in order, and acknowledged."""

    def __init__(self, channel: Channel, asked: kind.Attach, needs: str | None, deal: Deal) -> None:
        super().__init__(channel, asked, needs)
        self._deal = deal
        self._assembly = Assembly(channel.world.limits.message_bytes, channel.client.gathered)
        self._queue: deque[Sent] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._count = asked.initial_delivery_count
        self._granted = 0

    def begin(self) -> None:
        """Let the client send."""
        self._top_up()

    def flowed(self, flow: kind.Flow) -> None:
        """The client said where it stands; tell it its credit, where it wants to know."""
        if flow.echo:
            self._grant()

    def transferred(self, transfer: kind.Transfer, payload: bytes) -> None:
        """Take a message, or a part of one.

        Raises:
            LinkFault: It is none that could be taken.
        """
        sent = self._assembly.add(transfer, payload)
        if transfer.more and not transfer.aborted:
            return
        self._count += 1
        self._granted -= 1
        if sent is None:
            self._top_up()
            return
        self._channel.client.took(_cost(sent))
        self._queue.append(sent)
        if self._worker is None:
            self._worker = self._channel.world.spawn(self._work())

    def close(self) -> None:
        """It is over; what was sent is still dealt with."""
        super().close()
        self._assembly.drop()

    async def _work(self) -> None:
        try:
            while self._queue:
                some = [self._queue.popleft() for _ in range(min(_AT_ONCE, len(self._queue)))]
                try:
                    faults = await self._outcomes(some)
                finally:
                    self._channel.client.took(-sum(map(_cost, some)))
                if not self.is_over:
                    self._acknowledge(some, faults)
                    self._top_up()
        finally:
            self._worker = None

    async def _outcomes(self, some: Sequence[Sent]) -> Sequence[Fault | None]:
        fitting = [sent for sent in some if not sent.is_too_large]
        faults = iter(await self._deal(fitting) if fitting else ())
        most = self._channel.world.limits.message_bytes
        too_large = Fault(
            MESSAGE_SIZE,
            f"The message exceeds the limit ({most} bytes) currently allowed on the link.",
        )
        return [too_large if sent.is_too_large else next(faults) for sent in some]

    def _acknowledge(self, some: Sequence[Sent], faults: Sequence[Fault | None]) -> None:
        """One disposition for a run of messages that went well, one for each that did not."""
        begun: int | None = None
        last = 0
        for sent, fault in zip(some, faults, strict=True):
            fine = fault is None and not sent.settled
            if begun is not None and (not fine or sent.number != last + 1):
                self._channel.settle(begun, last, say.ACCEPTED)
                begun = None
            if fine:
                begun = sent.number if begun is None else begun
                last = sent.number
            elif fault is not None and not sent.settled:
                self._channel.settle(sent.number, sent.number, say.rejected(fault))
        if begun is not None:
            self._channel.settle(begun, last, say.ACCEPTED)

    def _top_up(self) -> None:
        if self._granted * 2 <= self._channel.world.limits.credit:
            self._grant()

    def _grant(self) -> None:
        self._granted = self._channel.world.limits.credit
        self._channel.flow(self.handle, count=self._count % NUMBERS, credit=self._granted)
