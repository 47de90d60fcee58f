"""Between the hub's messages and the SDK's. Pure."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
from azure.servicebus.amqp import AmqpMessageBodyType

from notifications.errors import FieldError, InvalidInput
from notifications.messages import Message, PropertyValue, Received
from notifications.spans import DIAGNOSTIC_ID, TRACEPARENT

DEAD_REASON = "DeadLetterReason"
DEAD_DESCRIPTION = "DeadLetterErrorDescription"
_OF_THE_BROKER = frozenset((DEAD_REASON, DEAD_DESCRIPTION))

LONGEST_ID = 128
LONGEST_REASON = 4_096
"""What Service Bus takes, in characters."""

_INT32 = range(-(2**31), 2**31)


def outgoing(message: Message) -> ServiceBusMessage:
    """A message as the SDK sends it.

    Raises:
        InvalidInput: Service Bus cannot carry it.
    """
    if len(message.id) > LONGEST_ID:
        raise InvalidInput([FieldError("/id", f"at most {LONGEST_ID} characters")])
    for name, value in message.properties.items():
        _check(name, value)
    due_at = message.due_at
    return ServiceBusMessage(
        message.body,
        message_id=message.id,
        subject=message.subject,
        content_type=message.content_type,
        application_properties=_properties(message.properties),
        scheduled_enqueue_time_utc=None if due_at is None else moment(due_at),
    )


def _properties(properties: Mapping[str, PropertyValue]) -> dict[str | bytes, Any]:
    """As they go out. What names the trace goes by the name of Microsoft's SDKs, too: the Functions
    host goes by it."""
    going: dict[str | bytes, Any] = {str(name): each for name, each in properties.items()}
    if TRACEPARENT in going:
        going[DIAGNOSTIC_ID] = going[TRACEPARENT]
    return going


def _check(name: str, value: PropertyValue) -> None:
    if isinstance(value, bool | str):
        return
    if isinstance(value, int) and value not in _INT32:
        raise InvalidInput([FieldError(f"/properties/{name}", "an integer has 32 bits here")])
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput([FieldError(f"/properties/{name}", "a number that is none")])


def incoming(found: ServiceBusReceivedMessage) -> Message:
    """A message that came, whoever sent it: what it lacks is empty."""
    properties = found.application_properties or {}
    return Message(
        id=id_of(found),
        body=_body(found),
        properties={
            name: value
            for key, each in properties.items()
            if (name := _text(key) or "") not in _OF_THE_BROKER
            and (value := _value(each)) is not None
        },
        subject=_text(found.subject),
        content_type=_text(found.content_type),
    )


def id_of(found: ServiceBusReceivedMessage) -> str:
    """What a message is called."""
    return _text(found.message_id) or ""


def received(
    found: ServiceBusReceivedMessage, subscription: str, *, token: int | None = None
) -> Received:
    """A message in hand, or one that is only looked at where there is no token.

    It is never `ours`: whoever may send to the topic could have written what it says of itself.
    """
    return Received(
        message=incoming(found),
        subscription=subscription,
        sequence_number=found.sequence_number or 0,
        # The wire counts what came to nothing; the hub counts this delivery too.
        delivery_count=(found.delivery_count or 0) + (token is not None),
        enqueued_at=milliseconds(found.enqueued_time_utc),
        token=token,
    )


def why_dead(found: ServiceBusReceivedMessage) -> tuple[str, str]:
    """The reason and the description of a dead letter."""
    properties: Mapping[Any, Any] = found.application_properties or {}
    said = {_text(key): _text(value) for key, value in properties.items()}
    return said.get(DEAD_REASON) or "", said.get(DEAD_DESCRIPTION) or ""


def milliseconds(at: datetime | None) -> int:
    """A time as the hub has it."""
    return 0 if at is None else round(at.timestamp() * 1000)


def moment(ms: int) -> datetime:
    """A time as the SDK has it."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def _body(found: ServiceBusReceivedMessage) -> bytes:
    body = found.body
    if found.body_type is AmqpMessageBodyType.VALUE:
        return _value_body(body)
    if isinstance(body, bytes):
        return body
    sections: Iterable[object] = body if body is not None else ()
    return b"".join(each for each in sections if isinstance(each, bytes))


def _value_body(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    try:
        return orjson.dumps(_plain(value), default=_text)
    except orjson.JSONEncodeError:
        return b""  # whoever reads it finds that it is no JSON


def _plain(value: object) -> object:
    """A value as JSON has it, with its keys and texts, which the SDK hands out as bytes."""
    if isinstance(value, Mapping):
        return {_text(key) or "": _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return _text(value) if isinstance(value, bytes) else value


def _text(value: object) -> str | None:
    """Text, which the SDK hands out as bytes here and there."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)


def _value(value: object) -> PropertyValue | None:
    if isinstance(value, bool | int | float | str):
        return value
    return _text(value)
