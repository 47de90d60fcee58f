"""Links through which a client receives: from a subscription, or the answers to its requests."""

import asyncio
from collections import deque
from collections.abc import Sequence

from notifications.broker import Item, Outlet, Release
from notifications.door import performatives as kind
from notifications.door import sections
from notifications.door.channel import NUMBERS, Channel, Lent
from notifications.door.faults import RESOURCE_LIMIT, Fault, of
from notifications.door.links import Link


class Outgoing(Link):
    """A client receives: messages are handed out as its credit allows, oldest first.

    While there is credit one task waits at the broker; it is cancelled when the credit falls below
    what it asked for, or the client does not keep up, since cancelling takes nothing. What comes
    while the client has no room is given back, and fewer are asked for next time.
    """

    def __init__(
        self, channel: Channel, asked: kind.Attach, needs: str, outlet: Outlet, *, lock: bool
    ) -> None:
        super().__init__(channel, asked, needs)
        self._outlet = outlet
        self._lock = lock
        self._count = 0
        self._credit = 0
        self._task: asyncio.Task[None] | None = None
        self._asked_for = 0
        self._at_once = channel.world.limits.hand_out
        self._is_draining = False

    def flowed(self, flow: kind.Flow) -> None:
        """The client told its credit, or wants what there is and then none."""
        if flow.credit is not None:
            sent = (self._count - (flow.delivery_count or 0)) % NUMBERS
            self._credit = max(flow.credit - sent, 0) if sent < NUMBERS // 2 else flow.credit
        if flow.drain:
            self._stop()
            self._is_draining = True
            self._task = self._channel.world.spawn(self._drain())
            return
        if self._is_draining or self._credit < self._asked_for:
            self._stop()
        if flow.echo:
            self._channel.flow(self.handle, count=self._count, credit=self._credit)
        self.kick()

    def kick(self) -> None:
        """Wait at the broker, where that makes sense and nobody does."""
        if self._task is None and self._may:
            self._task = self._channel.world.spawn(self._hand_out())

    def pause(self) -> None:
        """Wait at the broker no more: what came then would only be held here."""
        if not self._is_draining:
            self._stop()

    def close(self) -> None:
        """It is over."""
        super().close()
        self._stop()

    @property
    def _may(self) -> bool:
        return self._credit > 0 and not self.is_over and not self._channel.blocked

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._asked_for = 0
        self._is_draining = False

    async def _hand_out(self) -> None:
        me = asyncio.current_task()
        try:
            while self._may:
                await self._some(wait=True)
        except Exception as error:  # noqa: BLE001 - `of` logs what nobody foresaw
            self.detach(of(error))
        finally:
            if self._task is me:
                self._task = None
                self._asked_for = 0

    async def _drain(self) -> None:
        """Hand out what there is, then say that the rest of the credit is used up."""
        try:
            while self._may and await self._some(wait=False):
                pass
        except Exception as error:  # noqa: BLE001 - `of` logs what nobody foresaw
            self.detach(of(error))
            return
        self._count = (self._count + self._credit) % NUMBERS
        self._credit = 0
        self._task = None
        self._is_draining = False
        self._channel.flow(self.handle, count=self._count, credit=0, drain=True)

    async def _some(self, *, wait: bool) -> bool:
        limit = self._asked_for = min(self._credit, self._at_once)
        items = await self._outlet.receive(limit=limit, wait=wait, lock=self._lock)
        self._asked_for = 0
        fitting = self._fitting(items)
        if fitting < len(items):
            await self._release(items[fitting:])
        # What was sent leaves at the end of this turn; only then is it known what it does not take.
        await asyncio.sleep(0)
        return bool(items)

    def _fitting(self, items: Sequence[Item]) -> int:
        """Send messages until as much is on its way as is to be; how many that were.

        Where they are handed out for good there is no way back: they are sent all.
        """
        for number, item in enumerate(items):
            if self._lock and self._channel.is_full:
                self._at_once = max(number, 1)
                return number
            self._count = (self._count + 1) % NUMBERS
            self._credit -= 1
            self._send(item)
        self._at_once = min(self._at_once * 2, self._channel.world.limits.hand_out)
        return len(items)

    async def _release(self, items: Sequence[Item]) -> None:
        """Give back what the client has no room for, for others to take."""
        tokens = [item.token for item in items if item.token is not None]
        await self._outlet.settle([(token, Release()) for token in tokens])

    def _send(self, item: Item) -> None:
        if item.token is None:
            tag, lent = item.sequence_number.to_bytes(16), None
        else:
            tag = item.token.bytes_le
            lent = Lent(
                handle=self.handle,
                outlet=self._outlet,
                token=item.token,
                until=item.locked_until or 0,
            )
        self._channel.hand_out(self.handle, tag, sections.write(item), lent)


class Replies(Link):
    """A client receives the answers to its requests to a node.

    Attributes:
        node: The node's address, case-folded.
        name: The client's name for the link.
        address: Where the client has its answers sent: its end of the link; or None.
    """

    def __init__(
        self, channel: Channel, asked: kind.Attach, needs: str | None, *, node: str
    ) -> None:
        super().__init__(channel, asked, needs)
        self.node = node
        self.name = asked.name
        self.address = asked.target.address if asked.target else None
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._count = 0
        self._credit = 0

    def answer(self, payload: bytes) -> None:
        """Send an answer, as soon as there is credit for it."""
        self._waiting.append(payload)
        self._size += len(payload)
        self.kick()
        limits = self._channel.world.limits
        if len(self._waiting) > limits.answers or self._size > limits.answer_bytes:
            self.detach(Fault(RESOURCE_LIMIT, "Too many answers wait for credit."))

    def flowed(self, flow: kind.Flow) -> None:
        """The client told its credit."""
        if flow.credit is not None:
            sent = (self._count - (flow.delivery_count or 0)) % NUMBERS
            self._credit = max(flow.credit - sent, 0)
        self.kick()
        if flow.drain:
            self._count, self._credit = (self._count + self._credit) % NUMBERS, 0
        if flow.echo or flow.drain:
            self._channel.flow(
                self.handle, count=self._count, credit=self._credit, drain=flow.drain
            )

    def kick(self) -> None:
        """Send what waits."""
        while self._waiting and self._credit > 0 and not self.is_over and not self._channel.blocked:
            self._count = (self._count + 1) % NUMBERS
            self._credit -= 1
            answer = self._waiting.popleft()
            self._size -= len(answer)
            self._channel.hand_out(self.handle, self._count.to_bytes(4), answer)

    def close(self) -> None:
        """It is over."""
        super().close()
        self._waiting.clear()
