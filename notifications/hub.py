"""Publishing: what an event goes through before the ledger has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from notifications import tracing
from notifications.crashpoints import Point, between
from notifications.errors import Conflict, HuntazeError, NotFound
from notifications.events import Event, read_event, traced
from notifications.intake import EventTypes
from notifications.own_ids import check_not_ours
from notifications.ports import Clock, Ledger
from notifications.spans import sending_event
from notifications.tracing import Tracer


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
        self,
        documents: Sequence[object],
        *,
        tenant_id: str | None,
        traceparent: str | None = None,
    ) -> list[Published | HuntazeError]:
        """Accept events; one answer each, in order. Durable when it returns.

        Args:
            documents: Decoded JSON, one CloudEvent each.
            tenant_id: The tenant whose key it is; None for the admin, whose events name theirs.
            traceparent: The trace context that they came with; an event's own counts more.

        Raises:
            Unavailable: The ledger is away; nothing was accepted.
        """
        answers: dict[int, Published | HuntazeError] = {}
        offered: dict[int, Event] = {}
        now = self._clock.wall()
        for index, document in enumerate(documents):
            try:
                offered[index] = self._read(document, tenant_id, now)
            except HuntazeError as error:
                answers[index] = error
        if offered:
            tracer = tracing.active
            accepting = (
                self._accept(offered)
                if tracer is None
                else self._accept_traced(tracer, offered, traceparent)
            )
            answers.update(await accepting)
        return [answers[index] for index in range(len(documents))]

    def _read(self, document: object, tenant_id: str | None, now: datetime) -> Event:
        event = read_event(document, tenant_id=tenant_id, now=now)
        if tenant_id is not None and event.tenant_id != tenant_id:
            raise NotFound(f"tenant {event.tenant_id!r} is not this key's")
        check_not_ours(event)
        self._types.check(event)
        return event

    async def _accept_traced(
        self, tracer: Tracer, offered: dict[int, Event], traceparent: str | None
    ) -> dict[int, Published | HuntazeError]:
        """The same, each event in a span from which all that becomes of it follows."""
        spans = {
            index: sending_event(tracer, event, traceparent) for index, event in offered.items()
        }
        begun = {index: traced(event, spans[index].traceparent) for index, event in offered.items()}
        try:
            answers = await self._accept(begun)
        except BaseException as error:
            for span in spans.values():
                span.end(type(error).__name__)
            raise
        for index, answer in answers.items():
            if isinstance(answer, HuntazeError):
                spans[index].end("conflict")
            else:
                spans[index].note({"huntaze.duplicate": answer.duplicate})
                spans[index].end()
        return answers

    async def _accept(self, offered: dict[int, Event]) -> dict[int, Published | HuntazeError]:
        events = list(offered.values())
        channels = [self._types.channels(event.type) for event in events]
        accepted = await between(
            Point.ACCEPT_BEGINS, self._ledger.accept(events, channels), Point.ACCEPT_ENDS
        )
        return {
            index: Conflict(f"event {event.id!r} is already there with another content")
            if answer.conflict
            else Published(id=event.id, duplicate=answer.duplicate)
            for (index, event), answer in zip(offered.items(), accepted, strict=True)
        }
