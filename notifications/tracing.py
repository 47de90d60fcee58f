"""Traces, as the hub sees them: spans that begin, are given what is known of them, and end.

`active` is the process's tracer, and None where nobody takes traces: whoever would begin a span
asks that first, so that a hub without telemetry pays one comparison. It is the one thing that is
not handed in: every layer needs it, and where it leads is nobody's decision but the operator's.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from typing import Protocol

from notifications.events import is_traceparent

Value = str | int | float | bool
Attributes = Mapping[str, Value]


class Kind(Enum):
    """What a span is to those on its other side."""

    SEND = "producer"
    PROCESS = "consumer"
    CALL = "client"
    INTERNAL = "internal"


class Span(Protocol):
    """A step of a trace, under way."""

    @property
    def traceparent(self) -> str:
        """Its W3C trace context, version 00: what a step that follows from it is a child of."""
        ...

    def note(self, attributes: Attributes) -> None:
        """Say more of it."""
        ...

    def end(self, error: str | None = None) -> None:
        """It is over; with why it failed, short and constant, where it did. Twice is once."""
        ...


class Tracer(Protocol):
    """Begins spans. No method raises, waits, or does more where what takes them is away."""

    def begin(
        self, name: str, kind: Kind, attributes: Attributes, *, parent: str | None = None
    ) -> Span:
        """A step that follows from `parent`; without one, from the current step, else from none."""
        ...

    def current(self) -> Span | None:
        """The step that this task is in, whoever began it."""
        ...

    def within(self, span: Span) -> AbstractContextManager[None]:
        """Make it this task's current step for as long as the block lasts; it is not ended."""
        ...

    def topic(self, subscription: str) -> str:
        """The topic that a subscription is of."""
        ...


active: Tracer | None = None


def set_active(tracer: Tracer | None) -> None:
    """Let the process's spans begin with this tracer, or with none."""
    global active
    active = tracer


def trace_id(traceparent: str | None) -> str | None:
    """The trace that a W3C trace context is of: 32 hex digits; None where it is of none."""
    return traceparent[3:35] if traceparent is not None and is_traceparent(traceparent) else None


@contextmanager
def step(tracer: Tracer, span: Span) -> Iterator[Span]:
    """Be in a step until the block ends, and end it with that; what is raised is its error."""
    try:
        with tracer.within(span):
            yield span
    except BaseException as error:
        span.end(type(error).__name__)
        raise
    span.end()
