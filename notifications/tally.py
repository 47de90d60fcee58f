"""Counting what goes through the ledger, for `/metrics`: a ledger around the ledger."""

from collections import Counter
from collections.abc import Mapping, Sequence

from notifications.events import Channel, Event, Known
from notifications.ports import Ledger
from notifications.records import Accepted, Claim, Record, Written


class Tally:
    """A `ports.Ledger` that hands everything on and counts what was written.

    Attributes:
        events: Events of this process by what became of them: `accepted`, `duplicate`, `conflict`.
        deliveries: What was written down of deliveries, by channel and state. One that is retried
            counts each time.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.events: Counter[str] = Counter()
        self.deliveries: Counter[tuple[str, str]] = Counter()

    async def accept(
        self, events: Sequence[Event], channels: Sequence[frozenset[Channel]], *, send: bool = True
    ) -> Sequence[Accepted]:
        """See `ports.Ledger.accept`."""
        answers = await self._ledger.accept(events, channels, send=send)
        self.events.update(_became(answer) for answer in answers)
        return answers

    async def look(
        self, messages: Sequence[tuple[str, str]], channel: Channel
    ) -> Mapping[tuple[str, str], Known]:
        """See `ports.Ledger.look`."""
        return await self._ledger.look(messages, channel)

    async def record(self, record: Record) -> Sequence[Written]:
        """See `ports.Ledger.record`."""
        answers = await self._ledger.record(record)
        for result in record.results:
            self.deliveries[(result.after.channel.value, result.after.state.value)] += 1
        return answers

    async def claim(self, lane: str, *, limit: int, until: int) -> Claim:
        """See `ports.Ledger.claim`."""
        return await self._ledger.claim(lane, limit=limit, until=until)


def _became(answer: Accepted) -> str:
    if answer.conflict:
        return "conflict"
    return "duplicate" if answer.duplicate else "accepted"
