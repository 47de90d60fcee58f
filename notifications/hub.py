"""Publishing: what an event goes through before the ledger has it."""

from collections.abc import Sequence
from dataclasses import dataclass

from notifications.errors import Conflict, HuntazeError, NotFound
from notifications.events import Event, read_event
from notifications.intake import EventTypes
from notifications.own_ids import check_not_ours
from notifications.ports import Clock, Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An event that the ledger has.

    Attributes:
        id: Its id.
        duplicate: It was there already, with the same content.
    """

    id: str
    duplicate: bool


class Hub:
    """Takes events from producers."""

    def __init__(self, ledger: Ledger, types: EventTypes, clock: Clock) -> None:
        self._ledger = ledger
        self._types = types
        self._clock = clock

    async def publish(
        self, documents: Sequence[object], *, tenant_id: str | None
    ) -> list[Published | HuntazeError]:
        """Accept events; one answer each, in order. Durable when it returns.

        Args:
            documents: Decoded JSON, one CloudEvent each.
            tenant_id: The tenant whose key it is; None for the admin, whose events name theirs.

        Raises:
            Unavailable: The ledger is away; nothing was accepted.
        """
        answers: dict[int, Published | HuntazeError] = {}
        offered: dict[int, Event] = {}
        for index, document in enumerate(documents):
            try:
                offered[index] = self._read(document, tenant_id)
            except HuntazeError as error:
                answers[index] = error
        if offered:
            answers.update(await self._accept(offered))
        return [answers[index] for index in range(len(documents))]

    def _read(self, document: object, tenant_id: str | None) -> Event:
        event = read_event(document, tenant_id=tenant_id, now=self._clock.wall())
        if tenant_id is not None and event.tenant_id != tenant_id:
            raise NotFound(f"tenant {event.tenant_id!r} is not this key's")
        check_not_ours(event)
        self._types.check(event)
        return event

    async def _accept(self, offered: dict[int, Event]) -> dict[int, Published | HuntazeError]:
        events = list(offered.values())
        channels = [self._types.channels(event.type) for event in events]
        accepted = await self._ledger.accept(events, channels)
        return {
            index: Conflict(f"event {event.id!r} is already there with another content")
            if answer.conflict
            else Published(id=event.id, duplicate=answer.duplicate)
            for (index, event), answer in zip(offered.items(), accepted, strict=True)
        }
