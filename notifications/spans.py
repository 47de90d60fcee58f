"""The hub's spans: which there are, and what they say. Pure.

Names and attributes are those of OpenTelemetry's conventions for messaging and for HTTP clients;
what these do not know begins with `huntaze.`. No name, address or URL of a customer is in any.

What goes on behind a message follows from its own process span, not from the current step: a
handler has many messages in hand at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import urlsplit

from notifications.deliveries import (
    Delivered,
    Delivery,
    Failed,
    Outcome,
    Parked,
    Postponed,
    Skipped,
)
from notifications.events import Channel, Event, is_traceparent
from notifications.ids import public_number
from notifications.messages import (
    EVENTS_TOPIC,
    Abandon,
    Complete,
    DeadLetter,
    Message,
    Received,
    Settlement,
)
from notifications.ports import ChannelAdapter
from notifications.records import Attempted
from notifications.routing import event_carried, is_drain
from notifications.tracing import Attributes, Kind, Span, Tracer, Value, step, trace_id

TRACEPARENT = "traceparent"
DIAGNOSTIC_ID = "Diagnostic-Id"
"""The properties of a message that name its trace: W3C's, and the one of Microsoft's SDKs."""

_SYSTEM: Attributes = {"messaging.system": "servicebus"}
"""The hub's own bus, too, has its semantics."""

_WORDS: Mapping[type[Outcome], str] = {
    Delivered: "delivered",
    Failed: "failed",
    Skipped: "skipped",
    Parked: "parked",
    Postponed: "postponed",
}
_in_hand: ContextVar[Mapping[str, str]] = ContextVar("in_hand")
"""By what a message carries: the trace context of its process span."""


# --------------------------------------------------------------------------- sending


def sending(
    tracer: Tracer, topic: str, message_id: str, attributes: Attributes, parent: str | None
) -> Span:
    """Putting one message on a topic, from when it is offered until it is durable."""
    return tracer.begin(
        f"send {topic}",
        Kind.SEND,
        {
            **_SYSTEM,
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
            "messaging.message.id": message_id,
            **attributes,
        },
        parent=_nearest(tracer, parent),
    )


def asked_under(headers: Mapping[str, str]) -> str | None:
    """The trace context that a request's headers name; None where they name none."""
    named = headers.get(TRACEPARENT)
    return named if is_traceparent(named) else None


def sending_event(tracer: Tracer, event: Event, parent: str | None) -> Span:
    """Publishing an event; it follows from what it says itself, else from `parent`."""
    above = event.traceparent or parent
    return sending(tracer, EVENTS_TOPIC, event.message_id, _of_event(event), above)


# --------------------------------------------------------------------------- processing


def carried_by(message: Message) -> str | None:
    """The trace context that a message names; None where it names none that can be followed."""
    for name in (TRACEPARENT, DIAGNOSTIC_ID):
        value = message.properties.get(name)
        if isinstance(value, str) and is_traceparent(value):
            return value
    return None


def under_way(key: str) -> str | None:
    """The trace context of the process span that this task is in.

    Args:
        key: `Event.message_id`, or the id of a message that carries no event.
    """
    return _in_hand.get({}).get(key)


def key_of(message: Message) -> str:
    """What `under_way` knows a message by."""
    return event_carried(message) or message.id


@contextmanager
def processing(
    tracer: Tracer, messages: Sequence[Received]
) -> Iterator[Callable[[Sequence[Settlement]], None]]:
    """Have messages in hand, each in a span of its own; call what is given with how they ended.

    A drain is in no span: it wakes a lane, and what it finds there are other traces.
    """
    spans: list[Span | None] = [
        None if is_drain(each.message) else _process(tracer, each) for each in messages
    ]
    pairs = zip(messages, spans, strict=True)
    known = {key_of(each.message): span.traceparent for each, span in pairs if span is not None}

    def ended(settlements: Sequence[Settlement]) -> None:
        for span, settlement in zip(spans, settlements, strict=True):
            if span is not None:
                span.end(_why(settlement))

    token = _in_hand.set(known)
    try:
        yield ended
    except BaseException as error:
        for span in spans:
            if span is not None:
                span.end(type(error).__name__)
        raise
    finally:
        _in_hand.reset(token)


def _process(tracer: Tracer, received: Received) -> Span:
    message = received.message
    topic = tracer.topic(received.subscription)
    attributes: dict[str, Value] = {
        **_SYSTEM,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic,
        "messaging.destination.subscription.name": received.subscription,
        "messaging.message.id": message.id,
        "messaging.servicebus.message.delivery_count": received.delivery_count,
    }
    parent = _nearest(tracer, carried_by(message))
    return tracer.begin(f"process {topic}", Kind.PROCESS, attributes, parent=parent)


def _why(settlement: Settlement) -> str | None:
    match settlement:
        case Complete():
            return None
        case Abandon():
            return "abandoned"
        case DeadLetter():
            return settlement.reason


def _nearest(tracer: Tracer, parent: str | None) -> str | None:
    """The current step where that is of the same trace: a host's, which has the message, too."""
    current = tracer.current()
    if current is None:
        return parent
    here = current.traceparent
    return here if parent is None or trace_id(here) == trace_id(parent) else parent


# --------------------------------------------------------------------------- attempting


async def attempt(
    tracer: Tracer, adapter: ChannelAdapter, delivery: Delivery, event: Event
) -> Attempted:
    """One attempt, in its span: `ChannelAdapter.attempt` otherwise.

    It follows from the process span of the event's message while that is in hand, and later from
    what the event says: a retry is in the same trace.
    """
    processed = under_way(event.message_id)
    same = processed is not None and event.trace_id in (None, trace_id(processed))
    name = "POST" if delivery.channel is Channel.WEBHOOK else f"attempt {delivery.channel}"
    span = tracer.begin(
        name,
        Kind.CALL,
        {
            **_of_event(event),
            "huntaze.channel": delivery.channel.value,
            "huntaze.delivery.id": public_number(delivery.id),
            "huntaze.round": delivery.round,
            "huntaze.attempt": delivery.attempt + 1,
        },
        parent=processed if same else event.traceparent,
    )
    with step(tracer, span):
        attempted = await adapter.attempt(delivery, event)
        outcome = attempted.outcome
        span.note({"huntaze.outcome": _WORDS[type(outcome)]})
        if isinstance(outcome, Delivered | Failed) and outcome.status is not None:
            web = delivery.channel is Channel.WEBHOOK
            name = "http.response.status_code" if web else "huntaze.status"
            span.note({name: outcome.status})
        if isinstance(outcome, Failed):
            span.end(outcome.reason)
    return attempted


def posting(tracer: Tracer, url: str) -> str | None:
    """The current step is a POST to `url`: note where it goes; the trace context to send along.

    Only its host: what else is in a customer's URL may be a secret.
    """
    span = tracer.current()
    if span is None:
        return None
    span.note({"http.request.method": "POST", **_server(url)})
    return span.traceparent


def _server(url: str) -> Attributes:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return {}  # the attempt finds out what is wrong with it
    return {
        "url.scheme": parts.scheme,
        "server.address": parts.hostname or "",
        "server.port": port,
    }


def _of_event(event: Event) -> Attributes:
    return {
        "huntaze.tenant.id": event.tenant_id,
        "huntaze.event.id": event.id,
        "huntaze.event.type": event.type,
    }
