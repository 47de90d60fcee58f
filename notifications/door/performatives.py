"""What clients say: AMQP's performatives and SASL's, read and checked field by field. Pure.

Fields that the door has no use for are not looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from notifications.door.decoding import Described, decode, elements
from notifications.door.faults import INVALID_FIELD, Fault, malformed

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_MECHANISMS, SASL_INIT, SASL_CHALLENGE, SASL_RESPONSE, SASL_OUTCOME = range(0x40, 0x45)
SOURCE, TARGET, COORDINATOR = 0x28, 0x29, 0x30
ACCEPTED, REJECTED, RELEASED, MODIFIED = range(0x24, 0x28)

DEFAULT_FRAME_BYTES = 2**32 - 1
MIN_FRAME_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """The client's side of the connection."""

    max_frame_size: int
    idle_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The client's side of a session."""

    next_outgoing_id: int
    incoming_window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminus:
    """One end of a link.

    Attributes:
        encoded: As the client wrote it: it gets it back like that.
        address: Or None.
        dynamic: The client asks for an address to be made up.
        filters: By name.
        coordinator: It is a transaction's.
    """

    encoded: bytes
    address: str | None = None
    dynamic: bool = False
    filters: Mapping[str, Any] = field(default_factory=dict)
    coordinator: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attach:
    """The client's side of a link.

    Attributes:
        receiver: The client receives.
        source: Or None.
        target: Or None.
    """

    name: str
    handle: int
    receiver: bool
    sender_settles: int
    receiver_settles: int
    source: Terminus | None
    target: Terminus | None
    initial_delivery_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Windows, and a link's credit where `handle` names one."""

    next_incoming_id: int | None
    incoming_window: int
    next_outgoing_id: int
    handle: int | None
    delivery_count: int | None
    credit: int | None
    drain: bool
    echo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A message, or a part of one; what follows the performative is its bytes."""

    handle: int
    delivery_id: int | None
    message_format: int | None
    settled: bool
    more: bool
    state: Any
    aborted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposition:
    """What became of the deliveries `first` to `last`."""

    receiver: bool
    first: int
    last: int
    settled: bool
    state: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Detach:
    """The end of a link."""

    handle: int
    closed: bool


Performative = Open | Begin | Attach | Flow | Transfer | Disposition | Detach
"""End and close need no reading."""


def descriptor_of(body: bytes) -> tuple[int, int]:
    """What a frame's body begins with: its number, and where the list of its fields begins.

    Raises:
        Fault: It is no described value.
    """
    if len(body) < 3 or body[0]:
        raise malformed("a frame does not begin with a performative")
    if body[1] == 0x53:
        return body[2], 3
    descriptor, at = decode(body, 1)
    if not isinstance(descriptor, int):
        raise malformed("performatives are named by their numbers here")
    return descriptor, at


def read_fields(body: bytes, at: int) -> tuple[Sequence[Any], int]:
    """The fields of a performative, and where they end."""
    found, end = decode(body, at)
    if not isinstance(found, list | tuple):
        raise malformed("a performative has no list of fields")
    return found, end


def read_open(fields: Sequence[Any]) -> Open:
    """An open."""
    return Open(
        max_frame_size=_number(fields, 2, "max-frame-size", DEFAULT_FRAME_BYTES),
        idle_ms=_number(fields, 4, "idle-time-out", None),
    )


def read_begin(fields: Sequence[Any]) -> Begin:
    """A begin."""
    return Begin(
        next_outgoing_id=_needed(fields, 1, "next-outgoing-id"),
        incoming_window=_needed(fields, 2, "incoming-window"),
    )


def read_attach(body: bytes, at: int) -> Attach:
    """An attach. Its ends are kept as they are encoded, too."""
    encoded, _ = elements(body, at)
    fields = [decode(part)[0] for part in encoded[:7]]
    ends = [decode(part)[0] for part in encoded[9:10]]
    name = fields[0] if fields else None
    if not isinstance(name, str):
        raise _wrong("name")
    return Attach(
        name=name,
        handle=_needed(fields, 1, "handle"),
        receiver=_flag(fields, 2, "role"),
        sender_settles=_number(fields, 3, "snd-settle-mode", 2),
        receiver_settles=_number(fields, 4, "rcv-settle-mode", 0),
        source=_terminus(encoded[5], fields[5]) if len(fields) > 5 else None,
        target=_terminus(encoded[6], fields[6]) if len(fields) > 6 else None,
        initial_delivery_count=_number(ends, 0, "initial-delivery-count", 0),
    )


def read_flow(fields: Sequence[Any]) -> Flow:
    """A flow."""
    return Flow(
        next_incoming_id=_number(fields, 0, "next-incoming-id", None),
        incoming_window=_needed(fields, 1, "incoming-window"),
        next_outgoing_id=_needed(fields, 2, "next-outgoing-id"),
        handle=_number(fields, 4, "handle", None),
        delivery_count=_number(fields, 5, "delivery-count", None),
        credit=_number(fields, 6, "link-credit", None),
        drain=_flag(fields, 8, "drain"),
        echo=_flag(fields, 9, "echo"),
    )


def read_transfer(fields: Sequence[Any]) -> Transfer:
    """A transfer."""
    return Transfer(
        handle=_needed(fields, 0, "handle"),
        delivery_id=_number(fields, 1, "delivery-id", None),
        message_format=_number(fields, 3, "message-format", None),
        settled=_flag(fields, 4, "settled"),
        more=_flag(fields, 5, "more"),
        state=fields[7] if len(fields) > 7 else None,
        aborted=_flag(fields, 9, "aborted"),
    )


def read_disposition(fields: Sequence[Any]) -> Disposition:
    """A disposition."""
    first: int = _needed(fields, 1, "first")
    return Disposition(
        receiver=_flag(fields, 0, "role"),
        first=first,
        last=_number(fields, 2, "last", first),
        settled=_flag(fields, 3, "settled"),
        state=fields[4] if len(fields) > 4 else None,
    )


def read_detach(fields: Sequence[Any]) -> Detach:
    """A detach."""
    return Detach(handle=_needed(fields, 0, "handle"), closed=_flag(fields, 1, "closed"))


def _terminus(encoded: bytes, value: Any) -> Terminus | None:
    if value is None:
        return None
    if not isinstance(value, Described):
        raise malformed("a link's source or target is none")
    if value.descriptor == COORDINATOR:
        return Terminus(encoded=encoded, coordinator=True)
    is_source = value.descriptor == SOURCE
    if not (is_source or value.descriptor == TARGET) or not isinstance(value.value, list | tuple):
        raise malformed("a link's source or target is none")
    fields = value.value
    address = fields[0] if fields else None
    if isinstance(address, bytes):
        address = address.decode("utf-8", "replace")
    filters = fields[7] if is_source and len(fields) > 7 else None
    if not (address is None or isinstance(address, str)):
        raise _wrong("address")
    if not (filters is None or isinstance(filters, dict)):
        raise _wrong("filter")
    return Terminus(
        encoded=encoded,
        address=address,
        dynamic=_flag(fields, 4, "dynamic"),
        filters=filters or {},
    )


def _number(fields: Sequence[Any], index: int, name: str, default: Any) -> Any:
    value = fields[index] if index < len(fields) else None
    if value is None:
        return default
    if type(value) is not int or not 0 <= value < 2**32:
        raise _wrong(name)
    return value


def _needed(fields: Sequence[Any], index: int, name: str) -> int:
    value = _number(fields, index, name, None)
    if value is None:
        raise _wrong(name)
    assert isinstance(value, int)
    return value


def _flag(fields: Sequence[Any], index: int, name: str) -> bool:
    value = fields[index] if index < len(fields) else None
    if value is None:
        return False
    if value is True or value is False:
        return bool(value)
    raise _wrong(name)


def _wrong(name: str) -> Fault:
    return Fault(INVALID_FIELD, f"the field {name} is missing or not of its type")
