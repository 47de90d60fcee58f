"""What clients send to a topic."""

import asyncio
from collections.abc import Sequence

from notifications.broker import Inlet
from notifications.door import sections
from notifications.door.assembling import Sent
from notifications.door.faults import NOT_IMPLEMENTED, Fault, of
from notifications.door.world import World
from notifications.errors import InvalidInput
from notifications.messages import Message

_READ_AT_ONCE = 100
"""Messages that are read before others have their turn."""


class Publisher:
    """Puts what is sent on a link onto its topic, in order."""

    def __init__(self, world: World, inlet: Inlet) -> None:
        self._world = world
        self._inlet = inlet

    async def deal(self, some: Sequence[Sent]) -> Sequence[Fault | None]:
        """Put messages and batches on the topic; for each what was wrong, or None.

        All go together. Where the broker will not carry one of them, they go one by one, so that
        it alone is refused.
        """
        faults: list[Fault | None] = [None] * len(some)
        groups: dict[int, Sequence[Message]] = {}
        for index, sent in enumerate(some):
            try:
                groups[index] = await self._read(sent)
            except Fault as fault:
                faults[index] = fault
        together = [message for group in groups.values() for message in group]
        try:
            if together:
                await self._inlet.send(together)
        except InvalidInput:
            for index, group in groups.items():
                faults[index] = await self._alone(group)
        except Exception as error:  # noqa: BLE001 - `of` logs what nobody foresaw
            for index in groups:
                faults[index] = of(error)
        return faults

    async def _alone(self, group: Sequence[Message]) -> Fault | None:
        try:
            await self._inlet.send(group)
        except Exception as error:  # noqa: BLE001 - `of` logs what nobody foresaw
            return of(error)
        return None

    async def _read(self, sent: Sent) -> Sequence[Message]:
        if sent.format == 0:
            return [self._message(sent.payload)]
        if sent.format != sections.BATCH_FORMAT:
            raise Fault(NOT_IMPLEMENTED, f"Message format 0x{sent.format:x} is not supported.")
        found = []
        parts = sections.parts_of(sent.payload, most=self._world.limits.batch_messages)
        for number, part in enumerate(parts, start=1):
            found.append(self._message(part))
            if number % _READ_AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    def _message(self, data: bytes) -> Message:
        return read_message(self._world, data)


def read_message(world: World, data: bytes) -> Message:
    """A client's message, with an id where it has none.

    Raises:
        Fault: It is none.
    """
    return sections.read(data, new_id=world.dice.token(16).hex(), own_bus=world.own_bus)
