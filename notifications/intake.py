"""Reading events from the bus: what the hub accepted itself, and what others put there."""

from collections.abc import Sequence
from typing import Protocol

from notifications.errors import InvalidEvent, RejectedMessage
from notifications.events import Channel, Event, decode_message
from notifications.ports import Clock, DeadLetter, Known, Ledger, Received


class EventTypes(Protocol):
    """What intake needs of the catalogue."""

    def check(self, event: Event) -> None:
        """Raise `InvalidEvent` where the data is not what the type's schema says."""
        ...

    def channels(self, event_type: str) -> frozenset[Channel]:
        """The channels that carry a type."""
        ...


class Intake:
    """Turns bus messages into events that the ledger knows."""

    def __init__(self, ledger: Ledger, types: EventTypes, clock: Clock) -> None:
        self._ledger = ledger
        self._types = types
        self._clock = clock

    async def read(
        self, messages: Sequence[Received], channel: Channel
    ) -> list[Known | DeadLetter]:
        """One answer per message, in order: the event, or why nobody can ever handle it."""
        answers: dict[int, Known | DeadLetter] = {}
        asked: dict[int, Event] = {}
        for index, received in enumerate(messages):
            decoded = received.message.decoded
            if decoded is not None and received.delivery_count == 1:
                # Accepted in this process and never handed out before: no row can be there yet.
                answers[index] = decoded
                continue
            try:
                asked[index] = decode_message(received.message.body, now=self._clock.wall())
            except RejectedMessage as error:
                answers[index] = DeadLetter(error.reason, error.description)
        if asked:
            answers.update(await self._find(asked, channel))
        return [answers[index] for index in range(len(messages))]

    async def _find(
        self, asked: dict[int, Event], channel: Channel
    ) -> dict[int, Known | DeadLetter]:
        names = [(event.tenant_id, event.id) for event in asked.values()]
        found = await self._ledger.look(names, channel)
        answers: dict[int, Known | DeadLetter] = {}
        for index, event in asked.items():
            known = found.get((event.tenant_id, event.id))
            if known is not None and known.event.fingerprint() == event.fingerprint():
                answers[index] = known
            else:
                answers[index] = await self._admit(event)
        return answers

    async def _admit(self, event: Event) -> Known | DeadLetter:
        """Take in, on first sight, an event that another producer put on the topic."""
        try:
            self._types.check(event)
        except InvalidEvent as error:
            return DeadLetter("schema", str(error))
        channels = self._types.channels(event.type)
        (accepted,) = await self._ledger.accept([event], [channels], send=False)
        if accepted.conflict:
            return DeadLetter(
                "conflict", f"event {event.id!r} is already there with another content"
            )
        return Known(key=accepted.key, event=event, channels=channels)
