"""From a bus message to what is to be done, and back. Pure.

What the hub itself puts on the topic: event messages, for everybody; and addressed messages, for
one consumer alone (`hubConsumer`), which say with `hubKind` what they are.
"""

from collections.abc import Sequence
from functools import cache

import orjson

from notifications.deliveries import Delivery, State
from notifications.directory import Endpoint
from notifications.errors import RejectedMessage
from notifications.events import Channel, Event, Known, decode_stored
from notifications.messages import Message, PropertyValue, Received
from notifications.records import Route
from notifications.retries import MINUTE, SECOND, RetryTable

NOBODY = "-"
"""The target of the row that says why a channel had nobody to tell."""

TEST_EVENT = "webhook.test"
DISABLED_EVENT = "endpoint.disabled"

_NOTE = "hubEvent"
_OF_ITS_FIRST_LIFE = frozenset((_NOTE, "hubTries", "hubNotAfter"))

RESEND_FIRST = 30 * SECOND
RESEND_LAST = 10 * MINUTE
RESEND_TRIES = 10
_LONGEST_FROM = 6
"""The try from which on the pause is RESEND_LAST."""


def event_message(event: Event, *, decoded: Known | None = None) -> Message:
    """The event as every consumer gets it.

    With what the ledger knows of it, the message says so too (`hubEvent`): a consumer that gets it
    for the first time need not ask the ledger.
    """
    properties = event_properties(event)
    if decoded is not None:
        properties[_NOTE] = f"{decoded.key}:{','.join(decoded.channels)}"
    return Message(
        id=event.message_id,
        body=event.body,
        properties=properties,
        subject=event.type,
        content_type="application/cloudevents+json",
        decoded=decoded,
    )


def noted(message: Message) -> Known | None:
    """What the hub wrote on its own event message about the event; None where it wrote nothing."""
    note = message.properties.get(_NOTE)
    if not isinstance(note, str):
        return None
    key, _, channels = note.partition(":")
    try:
        event = decode_stored(message.body)
        return Known(key=int(key), event=event, channels=_channels(channels))
    except (ValueError, KeyError, TypeError):
        return None  # the hub never wrote that


@cache
def _channels(names: str) -> frozenset[Channel]:
    return frozenset(Channel(name) for name in names.split(",") if name)


def named_in(body: bytes) -> tuple[str, str] | None:
    """The tenant and event ids that a message's body claims; None where it claims none."""
    try:
        document = orjson.loads(body)
        tenant_id, event_id = document["tenantid"], document["id"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if not isinstance(tenant_id, str) or not isinstance(event_id, str):
        return None
    return tenant_id, event_id


def event_carried(message: Message) -> str:
    """The event that a message carries, `<tenant id>:<event id>`; empty where it carries none.

    Whatever the message's own id is: that of a copy, or a stranger's, says nothing of it.
    """
    if message.decoded is not None:
        return message.decoded.event.message_id
    return ":".join(named_in(message.body) or ())


def goes_to(event: Event, endpoint: Endpoint) -> bool:
    """Whether an endpoint gets an event, whatever the endpoint's state.

    It gets the types that it asks for. A test goes to the endpoint that is tested, and to that
    alone; that an endpoint was disabled is told to the tenant's other ones.
    """
    if event.type == TEST_EVENT:
        return event.data.get("endpointId") == endpoint.id
    if event.type == DISABLED_EVENT and event.data.get("endpointId") == endpoint.id:
        return False
    return endpoint.wants(event.type)


def event_properties(event: Event) -> dict[str, PropertyValue]:
    """What rules may look at; strings all."""
    properties: dict[str, PropertyValue] = {"type": event.type, "tenantId": event.tenant_id}
    if event.user_id is not None:
        properties["userId"] = event.user_id
    if event.job_type is not None:
        properties["jobType"] = event.job_type
    step = event.hop or event.traceparent
    if step is not None:
        properties["traceparent"] = step
    return properties


def drain_message(lane: str, *, message_id: str, due_at: int) -> Message:
    """Wakes the lane's channel at `due_at`."""
    return Message(
        id=message_id,
        body=orjson.dumps({"lane": lane}),
        properties={"hubConsumer": lane.partition("/")[0], "hubKind": "drain"},
        subject="drain",
        due_at=due_at,
    )


def is_drain(message: Message) -> bool:
    """Whether it wakes a lane; anything else is an event."""
    return message.properties.get("hubKind") == "drain"


def lane_of(message: Message, channel: Channel) -> str:
    """The lane of this channel that a drain message wakes.

    Raises:
        RejectedMessage: It names none.
    """
    try:
        lane = orjson.loads(message.body)["lane"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise RejectedMessage("drain-without-lane", "a drain message names its lane") from error
    if not isinstance(lane, str) or not lane.startswith(f"{channel}/"):
        raise RejectedMessage("drain-without-lane", f"a lane's name begins with {channel}/")
    return lane


def addressed(event: Event, consumer: str, *, message_id: str, due_at: int | None) -> Message:
    """The whole event again, for one consumer alone."""
    message = event_message(event)
    return Message(
        id=message_id,
        body=message.body,
        properties={**message.properties, "hubConsumer": consumer, "hubKind": "event"},
        subject=message.subject,
        content_type=message.content_type,
        due_at=due_at,
    )


def resend(
    received: Received,
    consumer: str,
    *,
    message_id: str,
    now: int,
    lifetime: int,
    away: bool = False,
) -> Message | None:
    """The same message again for its own consumer, later; None when it came back too often.

    For a fault of ours: abandoning would bring it back at once and burn its ten deliveries in a
    second. 30 s doubling to 10 min, within `lifetime` of its first coming. Where something of ours
    is `away`, that is all that ends it; a fault that nobody knows is also given up the eleventh
    time.
    """
    properties = {n: v for n, v in received.message.properties.items() if n != _NOTE}
    tries = max(_number(properties.get("hubTries"), 0), 0) + 1
    if away:
        tries = min(tries, _LONGEST_FROM)
    elif tries > RESEND_TRIES:
        return None
    not_after = _number(properties.get("hubNotAfter"), received.enqueued_at + lifetime)
    due_at = now + min(RESEND_FIRST * 2 ** (tries - 1), RESEND_LAST)
    if due_at > not_after:
        return None
    return Message(
        id=message_id,
        body=received.message.body,
        properties={
            **properties,
            "hubConsumer": consumer,
            "hubKind": properties.get("hubKind", "event"),
            "hubTries": tries,
            # A number of milliseconds does not fit the int32 that the SDK sends.
            "hubNotAfter": str(not_after),
        },
        subject=received.message.subject,
        content_type=received.message.content_type,
        due_at=due_at,
    )


def replayed(message: Message, consumer: str | None, *, message_id: str) -> Message:
    """A dead letter as it is sent again, to its own consumer alone.

    What the hub once noted on it is left out: it is a first delivery, and rows may be there.

    Args:
        message: The dead letter.
        consumer: Whose it is, or None where the topic knows no consumers.
        message_id: The new message's own.
    """
    properties = {n: v for n, v in message.properties.items() if n not in _OF_ITS_FIRST_LIFE}
    if consumer is not None:
        properties["hubConsumer"] = consumer
        properties.setdefault("hubKind", "event")
    return Message(
        id=message_id,
        body=message.body,
        properties=properties,
        subject=message.subject,
        content_type=message.content_type,
        wire=message.wire,
        system=message.system,
    )


def plan(
    known: Known, channel: Channel, route: Route, *, ids: Sequence[int], now: int, table: RetryTable
) -> list[Delivery]:
    """The deliveries an event becomes on one channel; at least one.

    Args:
        known: The event.
        channel: The channel.
        route: Whom it goes to.
        ids: As many numbers as there are targets, and at least one.
        now: When it is routed.
        table: Gives the deadline.
    """
    targets = route.targets or (NOBODY,)
    return [
        Delivery(
            tenant_id=known.event.tenant_id,
            id=number,
            event_key=known.key,
            channel=channel,
            target=target,
            state=State.PENDING if route.targets else State.SKIPPED,
            reason=None if route.targets else route.reason,
            routed=len(targets),
            due_at=now if route.targets else None,
            deadline=now + table.lifetime,
            created_at=now,
        )
        for number, target in zip(ids, targets, strict=False)
    ]


def _number(value: PropertyValue | None, default: int) -> int:
    try:
        return int(value) if value is not None else default
    except (ValueError, OverflowError):
        return default
