"""Reading events from the bus: what the hub accepted itself, and what others put there."""

from collections.abc import Sequence
from typing import Protocol

import orjson

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
        asked: dict[int, tuple[str, str]] = {}
        for index, received in enumerate(messages):
            decoded = received.message.decoded
            if decoded is not None and received.delivery_count == 1:
                # Accepted in this process and never handed out before: no row can be there yet.
                answers[index] = decoded
            else:
                name = _name(received.message.body)
                if name is not None:
                    asked[index] = name
        known = await self._ledger.look(list(set(asked.values())), channel) if asked else {}
        for index, received in enumerate(messages):
            if index not in answers:
                found = known.get(asked[index]) if index in asked else None
                answers[index] = await self._judge(received.message.body, found)
        return [answers[index] for index in range(len(messages))]

    async def _judge(self, body: bytes, found: Known | None) -> Known | DeadLetter:
        if found is not None and found.event.body == body:
            return found
        try:
            event = decode_message(body, now=self._clock.wall())
        except RejectedMessage as error:
            return DeadLetter(error.reason, error.description)
        if found is not None and found.event.fingerprint() == event.fingerprint():
            return found
        return await self._admit(event)

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


def _name(body: bytes) -> tuple[str, str] | None:
    """The tenant and id that a body claims; None where it has none to claim."""
    try:
        document = orjson.loads(body)
        name = (document["tenantid"], document["id"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return name if isinstance(name[0], str) and isinstance(name[1], str) else None
