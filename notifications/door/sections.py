"""Messages as they are on the wire: their sections, and what the bus makes of them. Pure.

A client's message is header | annotations | bare message | footer. The bare message, from its
properties on, belongs to the sender and is kept as the bytes it is; what stands before it belongs
to whoever hands the message on, and is made afresh.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from notifications.broker import Item
from notifications.door import encoding as put
from notifications.door.decoding import Opaque, Timestamp, decode, elements, skip
from notifications.door.faults import ARGUMENT, RESOURCE_LIMIT, Fault, malformed
from notifications.messages import DeadLetter, Message, PropertyValue

BATCH_FORMAT = 0x80013700
"""The message format of a transfer that is a batch: each data section is a message."""

HEADER, DELIVERY_ANNOTATIONS, ANNOTATIONS = 0x70, 0x71, 0x72
PROPERTIES, APPLICATION, DATA, SEQUENCE, VALUE, FOOTER = range(0x73, 0x79)

MAX_ID = 128
_DUE = "x-opt-scheduled-enqueue-time"
_EARLIEST, _LATEST = -62_135_596_800_000, 253_402_300_799_999
"""Milliseconds since the epoch that are a date of the years 1 to 9999: what clients can read."""
_PARTITION = "x-opt-partition-key"

_SYSTEM = {2: "To", 4: "ReplyTo", 5: "CorrelationId", 10: "SessionId", 12: "ReplyToSessionId"}
"""Where in the properties they are, and how rules call them."""


Section = tuple[int, bytes]
"""A section of a message: which one, and its value as it is encoded."""

_HEADS = {code: bytes((0, 0x53, code)) for code in range(HEADER, FOOTER + 1)}


def split(data: bytes) -> Sequence[Section]:
    """The sections of a message.

    Raises:
        Fault: It is no message.
    """
    found: list[Section] = []
    code: Any
    at, last = 0, HEADER
    while at < len(data):
        if data[at]:
            raise malformed("a message's section has no descriptor")
        if data[at + 1 : at + 2] == b"\x53" and at + 2 < len(data):
            code, at = data[at + 2], at + 3
        else:
            code, at = decode(data, at + 1)
        if not isinstance(code, int) or not HEADER <= code <= FOOTER:
            raise malformed("a message has a section that there is not")
        if code < last or (code == last and found and code not in (DATA, SEQUENCE)):
            raise malformed("a message's sections are not in their order")
        begun, at = at, skip(data, at)
        found.append((code, data[begun:at]))
        last = code
    if not found:
        raise malformed("a message is empty")
    return found


def contents(data: bytes) -> bytes:
    """The bytes of a data section's value.

    Raises:
        Fault: It is no binary.
    """
    value, _ = decode(data)
    if not isinstance(value, bytes):
        raise malformed("a data section holds no binary")
    return value


def parts_of(data: bytes, *, most: int) -> Sequence[bytes]:
    """The messages of a batch.

    Raises:
        Fault: It is no batch, or has too many messages.
    """
    found = [contents(value) for code, value in split(data) if code == DATA]
    if len(found) > most:
        raise Fault(RESOURCE_LIMIT, f"A batch has at most {most} messages; this has {len(found)}.")
    return found


def read(data: bytes, *, new_id: str, own_bus: bool) -> Message:
    """A client's message as the bus knows it.

    Args:
        data: All of its sections.
        new_id: Its id where the client gave it none: clients settle by it.
        own_bus: Leave out application properties that begin with `hub`: those are the hub's word.

    Raises:
        Fault: It is no message, or has what no message may have.
    """
    sections = split(data)
    found = dict(sections)
    fields = _list(found.get(PROPERTIES))
    id_ = _text(_field(fields, 0))
    if id_ is None:
        id_ = new_id
        others = elements(found.get(PROPERTIES, put.EMPTY_LIST), 0)[0][1:]
        sections = _with(sections, PROPERTIES, put.sequence([put.string(id_), *others]))
    if len(id_) > MAX_ID:
        raise Fault(ARGUMENT, f"A message id has at most {MAX_ID} characters.")
    annotations = _map(found.get(ANNOTATIONS))
    due_at = annotations.get(_DUE)
    if isinstance(due_at, Timestamp) and not _EARLIEST <= due_at <= _LATEST:
        raise Fault(ARGUMENT, f"{_DUE} is {due_at}: that is no date of the years 1 to 9999.")
    return Message(
        id=id_,
        body=b"".join([contents(value) for code, value in sections if code == DATA]),
        properties=_application(_map(found.get(APPLICATION)), own_bus=own_bus),
        subject=_text(_field(fields, 3)),
        content_type=_text(_field(fields, 6)),
        due_at=int(due_at) if isinstance(due_at, Timestamp) else None,
        wire=_joined([section for section in sections if section[0] >= PROPERTIES]),
        system=_system(fields, annotations, found.get(HEADER)) or None,
    )


def write(item: Item) -> bytes:
    """A message as it is handed out: a header and annotations of ours, and the bare message."""
    return _header(item) + _annotations(item) + _bare(item)


def _with(sections: Sequence[Section], code: int, value: bytes) -> Sequence[Section]:
    """With a section in place of the one that there was, or put in where it belongs."""
    others = [section for section in sections if section[0] != code]
    return sorted([*others, (code, value)], key=lambda section: section[0])


def _joined(sections: Sequence[Section]) -> bytes:
    """With their names in front, in the short form that clients insist on."""
    return b"".join([_HEADS[code] + value for code, value in sections])


def _list(encoded: bytes | None) -> Sequence[Any]:
    if encoded is None:
        return ()
    value, _ = decode(encoded)
    if not isinstance(value, list | tuple):
        raise malformed("a message's header or properties are no list")
    return value


def _field(fields: Sequence[Any], index: int) -> Any:
    return fields[index] if index < len(fields) else None


def _text(value: Any) -> str | None:
    """An id or a text of the properties, as rules and people see it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, UUID) or type(value) is int:
        return str(value)
    raise malformed("a message's properties hold something of another type")


def _map(encoded: bytes | None) -> Mapping[Any, Any]:
    if encoded is None:
        return {}
    value, _ = decode(encoded)
    if not isinstance(value, dict):
        raise malformed("a message's properties or annotations are no map")
    return value


def _application(found: Mapping[Any, Any], *, own_bus: bool) -> Mapping[str, PropertyValue]:
    """What rules can look at; times, UUIDs, binaries and the like stay with the message alone."""
    kept: dict[str, PropertyValue] = {}
    for name, value in found.items():
        if not isinstance(name, str):
            raise malformed("an application property's name is no string")
        if isinstance(value, Timestamp | Opaque) or (own_bus and name[:3].lower() == "hub"):
            continue
        if isinstance(value, str):
            kept[str(name)] = str(value)
        elif isinstance(value, bool | int | float):
            kept[str(name)] = value
    return kept


def _system(
    fields: Sequence[Any], annotations: Mapping[Any, Any], header: bytes | None
) -> dict[str, PropertyValue]:
    found: dict[str, PropertyValue] = {}
    for index, name in _SYSTEM.items():
        if index < len(fields) and (text := _text(fields[index])) is not None:
            found[name] = text
    if isinstance(partition := annotations.get(_PARTITION), str):
        found["PartitionKey"] = str(partition)
    ttl = _field(_list(header), 2)
    if type(ttl) is int:
        found["TimeToLive"] = ttl
    return found


# --------------------------------------------------------------------------- on the way out


def _header(item: Item) -> bytes:
    ttl = (item.message.system or {}).get("TimeToLive")
    parts = [
        put.NULL,
        put.NULL,
        put.uint(ttl) if type(ttl) is int and 0 <= ttl < 2**32 else put.NULL,
        put.NULL,
        put.uint(item.delivery_count),
    ]
    return put.described(HEADER, put.sequence(parts))


_SEQUENCE_NUMBER = put.symbol("x-opt-sequence-number")
_ENQUEUED_SEQUENCE = put.symbol("x-opt-enqueue-sequence-number")
_ENQUEUED_TIME = put.symbol("x-opt-enqueued-time")
_STATE = put.symbol("x-opt-message-state")
_LOCKED_UNTIL = put.symbol("x-opt-locked-until")
_SOURCE = put.symbol("x-opt-deadletter-source")
_DUE_AT = put.symbol(_DUE)
_PARTITION_KEY = put.symbol(_PARTITION)


def _annotations(item: Item) -> bytes:
    number = put.long(item.sequence_number)
    parts = [
        *(_SEQUENCE_NUMBER, number),
        *(_ENQUEUED_SEQUENCE, number),
        *(_ENQUEUED_TIME, put.timestamp(item.enqueued_at)),
        *(_STATE, put.int32(item.state.value)),
    ]
    if item.locked_until is not None:
        parts += (_LOCKED_UNTIL, put.timestamp(item.locked_until))
    if item.message.due_at is not None:
        parts += (_DUE_AT, put.timestamp(item.message.due_at))
    if item.source is not None:
        parts += (_SOURCE, put.string(item.source))
    partition = (item.message.system or {}).get("PartitionKey")
    if isinstance(partition, str):
        parts += (_PARTITION_KEY, put.string(partition))
    return put.described(ANNOTATIONS, put.flat_map(parts))


def _bare(item: Item) -> bytes:
    message = item.message
    wire = message.wire if message.wire is not None else _made(message)
    return wire if item.dead is None else _told_why(wire, item.dead)


def _made(message: Message) -> bytes:
    """The bare message of one that no client of the door sent."""
    properties = [
        put.string(message.id),
        put.NULL,
        put.NULL,
        put.NULL if message.subject is None else put.string(message.subject),
        *[put.NULL] * 2,
        _content_type(message.content_type),
    ]
    values = {name: put.value(value) for name, value in message.properties.items()}
    return (
        put.described(PROPERTIES, put.sequence(properties))
        + (put.described(APPLICATION, put.strings(values)) if values else b"")
        + put.described(DATA, put.binary(message.body))
    )


def _content_type(text: str | None) -> bytes:
    return put.symbol(text) if text is not None and text.isascii() else put.NULL


def _told_why(wire: bytes, dead: DeadLetter) -> bytes:
    """With why it is a dead letter among its application properties."""
    sections = split(wire)
    reasons = {"DeadLetterReason": dead.reason, "DeadLetterErrorDescription": dead.description}
    old = dict(sections).get(APPLICATION)
    flat = elements(old, 0)[0] if old is not None else []
    pairs = [
        pair
        for pair in zip(flat[::2], flat[1::2], strict=False)
        if decode(pair[0])[0] not in reasons
    ]
    pairs += [(put.string(name), put.string(text)) for name, text in reasons.items()]
    return _joined(_with(sections, APPLICATION, put.mapping(pairs)))
