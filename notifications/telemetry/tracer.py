"""The hub's spans as OpenTelemetry's, and what is measured of each."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from notifications.tracing import Attributes, Kind, Span

_KINDS = {
    Kind.SEND: SpanKind.PRODUCER,
    Kind.PROCESS: SpanKind.CONSUMER,
    Kind.CALL: SpanKind.CLIENT,
    Kind.INTERNAL: SpanKind.INTERNAL,
}
_ERROR = "error.type"
_MEASURED = (
    "messaging.system",
    "messaging.operation.name",
    "messaging.destination.name",
    "messaging.destination.subscription.name",
    "http.request.method",
    "http.response.status_code",
    "gen_ai.operation.name",
    "gen_ai.response.model",
    "huntaze.channel",
    "huntaze.job.type",
    "huntaze.outcome",
    _ERROR,
)
"""The attributes that durations are told apart by: few values each, and nobody's own."""

_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0)
_MESSAGE_SENT = "messaging.client.operation.duration"
_MESSAGE_PROCESSED = "messaging.process.duration"
_HTTP_CALL = "http.client.request.duration"
_MODEL_CALL = "gen_ai.client.operation.duration"
_OTHER_CALL = "huntaze.attempt.duration"
_STEP = "huntaze.step.duration"

_current: "ContextVar[OtelSpan | None]" = ContextVar("span", default=None)


class OtelTracer:
    """Implements `tracing.Tracer`."""

    def __init__(self, tracer: trace.Tracer, meter: Meter, topics: Mapping[str, str]) -> None:
        self._tracer = tracer
        self._topics = topics
        self._durations = {
            name: meter.create_histogram(name, "s", explicit_bucket_boundaries_advisory=_BOUNDS_S)
            for name in (
                _MESSAGE_SENT,
                _MESSAGE_PROCESSED,
                _HTTP_CALL,
                _MODEL_CALL,
                _OTHER_CALL,
                _STEP,
            )
        }

    def begin(
        self, name: str, kind: Kind, attributes: Attributes, *, parent: str | None = None
    ) -> Span:
        """See `Tracer.begin`."""
        above = None if parent is None else _remote(parent)
        context = None if above is None else trace.set_span_in_context(above)
        inner = self._tracer.start_span(
            name, context=context, kind=_KINDS[kind], attributes=attributes
        )
        return OtelSpan(inner, kind, attributes, self._durations)

    def current(self) -> Span | None:
        """See `Tracer.current`."""
        ours, inner = _current.get(), trace.get_current_span()
        if ours is not None and ours.inner is inner:
            return ours
        if not inner.get_span_context().is_valid:
            return None
        return OtelSpan(inner, Kind.INTERNAL, {}, {})  # a host's: it ends it, and measures it

    @contextmanager
    def within(self, span: Span) -> Iterator[None]:
        """See `Tracer.within`."""
        assert isinstance(span, OtelSpan), "spans are begun by the tracer that is active"
        token = _current.set(span)
        try:
            with trace.use_span(span.inner, record_exception=False, set_status_on_exception=False):
                yield
        finally:
            _current.reset(token)

    def topic(self, subscription: str) -> str:
        """See `Tracer.topic`."""
        return self._topics.get(subscription, subscription)


class OtelSpan:
    """Implements `tracing.Span`: a span of OpenTelemetry's, and how long it took.

    Durations count whether or not its trace is among those that are kept.

    Attributes:
        inner: OpenTelemetry's.
    """

    def __init__(
        self,
        inner: trace.Span,
        kind: Kind,
        attributes: Attributes,
        durations: Mapping[str, Histogram],
    ) -> None:
        self.inner = inner
        self._kind = kind
        self._said = dict(attributes)
        self._durations = durations
        self._began = time.perf_counter()
        self._ended = False

    @property
    def traceparent(self) -> str:
        """See `Span.traceparent`."""
        known = self.inner.get_span_context()
        return f"00-{known.trace_id:032x}-{known.span_id:016x}-{known.trace_flags & 0xFF:02x}"

    def note(self, attributes: Attributes) -> None:
        """See `Span.note`."""
        self._said.update(attributes)
        self.inner.set_attributes(attributes)

    def end(self, error: str | None = None) -> None:
        """See `Span.end`."""
        if self._ended:
            return
        self._ended = True
        if error is not None:
            self.note({_ERROR: error})
            self.inner.set_status(Status(StatusCode.ERROR))
        self.inner.end()
        measured = {name: self._said[name] for name in _MEASURED if name in self._said}
        durations = self._durations.get(_measure(self._kind, self._said))
        if durations is not None:
            durations.record(time.perf_counter() - self._began, measured)


def _measure(kind: Kind, said: Attributes) -> str:
    """The metric that a span's duration counts in."""
    match kind:
        case Kind.SEND:
            return _MESSAGE_SENT
        case Kind.PROCESS:
            return _MESSAGE_PROCESSED
        case Kind.INTERNAL:
            return _STEP
        case Kind.CALL if "http.request.method" in said:
            return _HTTP_CALL
        case Kind.CALL if "gen_ai.operation.name" in said:
            return _MODEL_CALL
        case Kind.CALL:
            return _OTHER_CALL


def _remote(traceparent: str) -> trace.Span | None:
    """A span that is somebody else's, or over; None where the context names none."""
    _, trace_id, span_id, flags = traceparent.split("-")
    known = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )
    return NonRecordingSpan(known) if known.is_valid else None
