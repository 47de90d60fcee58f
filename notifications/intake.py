"""Reading events from the bus: what the hub accepted itself, and what others put there."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from notifications import tracing
from notifications.errors import InvalidEvent, RejectedMessage
from notifications.events import Channel, Event, Known, decode_message, traced
from notifications.messages import DeadLetter, Received
from notifications.own_ids import check_not_ours
from notifications.ports import Clock, Ledger
from notifications.routing import named_in, noted
from notifications.spans import under_way

_Name = tuple[str, str]
_NAMELESS: _Name = ("", "")

_MET = 10_000
"""Events remembered as met: more than can lie in memory behind one that was."""


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
        self._met: OrderedDict[tuple[Channel, int], None] = OrderedDict()

    async def read(
        self, messages: Sequence[Received], channel: Channel
    ) -> list[Known | DeadLetter]:
        """One answer per message, in order: the event, or why nobody can ever handle it."""
        answers: dict[int, Known | DeadLetter] = {}
        others: dict[int, bytes] = {}
        for index, received in enumerate(messages):
            known = self._unmet(received, channel)
            if known is not None:
                answers[index] = known
            else:
                others[index] = received.message.body
        if others:
            found = await self._find(list(others.values()), channel)
            answers |= zip(others, found, strict=True)
        return [answers[index] for index in range(len(messages))]

    def _unmet(self, received: Received, channel: Channel) -> Known | None:
        """The event, where this is the first that is heard of it: then no row can be there yet."""
        if received.delivery_count > 1 or not received.ours:
            return None
        known = received.message.decoded or noted(received.message)
        return known if known is not None and (channel, known.key) not in self._met else None

    async def _find(self, bodies: Sequence[bytes], channel: Channel) -> list[Known | DeadLetter]:
        """What the ledger knows of them; what is not in it is taken in."""
        names = [named_in(body) for body in bodies]
        asked = [name for name in set(names) if name is not None]
        known = await self._ledger.look(asked, channel)
        strangers = [
            index
            for index, body in enumerate(bodies)
            if (found := known.get(names[index] or _NAMELESS)) is None or found.event.body != body
        ]
        rejected: dict[int, DeadLetter | None] = {}
        if strangers:
            judged = await asyncio.gather(
                *(self._judge(bodies[i], known.get(names[i] or _NAMELESS)) for i in strangers)
            )
            rejected = dict(zip(strangers, judged, strict=True))
            # Some came in just now, and meanwhile others may have been routed: look once more.
            known = await self._ledger.look(asked, channel)
        answers = [
            rejected.get(index) or known[name or _NAMELESS] for index, name in enumerate(names)
        ]
        for answer in answers:
            if isinstance(answer, Known):
                self._meet(channel, answer.key)
        return answers

    def _meet(self, channel: Channel, key: int) -> None:
        self._met[(channel, key)] = None
        if len(self._met) > _MET:
            self._met.popitem(last=False)

    async def _judge(self, body: bytes, found: Known | None) -> DeadLetter | None:
        """Why nobody can ever handle it; None where the ledger has it, or has it now."""
        try:
            event = decode_message(body, now=self._clock.wall())
        except RejectedMessage as error:
            return DeadLetter(error.reason, error.description)
        if found is not None and found.event.fingerprint() == event.fingerprint():
            return None
        return await self._admit(event)

    async def _admit(self, event: Event) -> DeadLetter | None:
        """Take in, on first sight, an event that another producer put on the topic."""
        try:
            check_not_ours(event)
        except InvalidEvent as error:
            return DeadLetter("reserved-id", str(error))
        try:
            channels = self._types.channels(event.type)
        except InvalidEvent as error:
            return DeadLetter("unknown-type", str(error))
        try:
            self._types.check(event)
        except InvalidEvent as error:
            return DeadLetter("schema", str(error))
        if tracing.active is not None and (step := under_way(event.message_id)) is not None:
            event = traced(event, step)
        (accepted,) = await self._ledger.accept([event], [channels], send=False)
        if accepted.conflict:
            return DeadLetter(
                "conflict", f"event {event.id!r} is already there with another content"
            )
        return None
