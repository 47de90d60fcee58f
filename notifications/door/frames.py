"""What the door says: frames with AMQP's and SASL's performatives. Pure.

Lists of fields are written whole, nulls and all: older clients index into them.
"""

import struct
from collections.abc import Iterator

from notifications.door import encoding as put
from notifications.door import performatives as kind
from notifications.door.faults import FRAMING, Fault

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
HEARTBEAT = b"\x00\x00\x00\x08\x02\x00\x00\x00"

SASL_OK, SASL_AUTH, SASL_SYSTEM = 0, 1, 2

_HEAD = struct.Struct(">IBBH")

_DISPOSITION = bytes((0, 0x53, kind.DISPOSITION))

ACCEPTED = put.described(kind.ACCEPTED, put.EMPTY_LIST)
RELEASED = put.described(kind.RELEASED, put.EMPTY_LIST)


class Frames:
    """Puts frames together out of what arrives.

    Args:
        largest: The largest frame that is taken, in bytes; may be changed.
    """

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self._data = b""
        self._at = 0

    def add(self, data: bytes) -> None:
        """Something arrived."""
        left = self._data[self._at :]
        self._data, self._at = (left + data if left else data), 0

    def take(self, size: int) -> bytes | None:
        """Exactly that many bytes, or None while there are fewer."""
        if len(self._data) - self._at < size:
            return None
        self._at += size
        return self._data[self._at - size : self._at]

    def next(self) -> tuple[int, int, bytes] | None:
        """The next frame's type, channel and body; None while it is not complete.

        Raises:
            Fault: What arrives are no frames, or it is too large.
        """
        data, at = self._data, self._at
        if len(data) - at < 8:
            self._data, self._at = data[at:], 0  # holds on to nothing that has been dealt with
            return None
        size, offset, type_, channel = _HEAD.unpack_from(data, at)
        if not 8 <= size <= self.largest:
            raise Fault(FRAMING, f"a frame says it has {size} bytes: 8 to {self.largest} are taken")
        if not 8 <= offset * 4 <= size:
            raise Fault(FRAMING, "a frame's body begins outside of it")
        if len(data) - at < size:
            return None
        self._at = at + size
        return type_, channel, data[at + offset * 4 : at + size]


def frame(channel: int, body: bytes, *, sasl: bool = False) -> bytes:
    """A frame."""
    return _HEAD.pack(len(body) + 8, 2, 1 if sasl else 0, channel) + body


def mechanisms() -> bytes:
    """What a client may log in with: nothing, since its tokens come later."""
    names = put.array(0xA3, [put.symbol("ANONYMOUS")])
    return frame(0, put.described(kind.SASL_MECHANISMS, put.sequence([names])), sasl=True)


def outcome(code: int) -> bytes:
    """How logging in went."""
    body = put.sequence([put.ubyte(code), put.NULL])
    return frame(0, put.described(kind.SASL_OUTCOME, body), sasl=True)


def opened(*, container: str, max_frame: int, channel_max: int, idle_ms: int) -> bytes:
    """Our side of a connection."""
    parts = [
        put.string(container),
        put.NULL,
        put.uint(max_frame),
        put.ushort(channel_max),
        put.uint(idle_ms),
        *[put.NULL] * 5,
    ]
    return frame(0, put.described(kind.OPEN, put.sequence(parts)))


def begun(channel: int, *, incoming: int, outgoing: int, handle_max: int) -> bytes:
    """Our side of a session, on the client's own channel number."""
    parts = [
        put.ushort(channel),
        put.uint(0),
        put.uint(incoming),
        put.uint(outgoing),
        put.uint(handle_max),
        *[put.NULL] * 3,
    ]
    return frame(channel, put.described(kind.BEGIN, put.sequence(parts)))


def attached(
    channel: int,
    attach: kind.Attach,
    *,
    source: bytes,
    target: bytes,
    max_message: int,
) -> bytes:
    """Our side of a link, on the client's own handle; null ends refuse it."""
    parts = [
        put.string(attach.name),
        put.uint(attach.handle),
        put.boolean(not attach.receiver),
        put.ubyte(attach.sender_settles),
        put.ubyte(attach.receiver_settles),
        source,
        target,
        put.NULL,
        put.NULL,
        put.uint(0) if attach.receiver else put.NULL,
        put.ulong(max_message) if max_message else put.NULL,
        *[put.NULL] * 2,
        put.mapping(()),
    ]
    return frame(channel, put.described(kind.ATTACH, put.sequence(parts)))


def flow(
    channel: int,
    *,
    next_incoming: int,
    incoming: int,
    next_outgoing: int,
    outgoing: int,
    handle: int | None = None,
    delivery_count: int = 0,
    credit: int = 0,
    drain: bool = False,
) -> bytes:
    """The windows of a session, and a link's credit."""
    none = handle is None
    parts = [
        put.uint(next_incoming),
        put.uint(incoming),
        put.uint(next_outgoing),
        put.uint(outgoing),
        put.NULL if handle is None else put.uint(handle),
        put.NULL if none else put.uint(delivery_count),
        put.NULL if none else put.uint(credit),
        put.NULL,
        put.boolean(drain),
        put.FALSE,
        put.NULL,
    ]
    return frame(channel, put.described(kind.FLOW, put.sequence(parts)))


def transfers(
    channel: int,
    handle: int,
    delivery_id: int,
    tag: bytes,
    payload: bytes,
    *,
    settled: bool,
    max_frame: int,
) -> Iterator[bytes]:
    """A message, in as many frames as the client's largest one makes necessary."""
    head = (
        put.uint(handle) + put.uint(delivery_id) + put.binary(tag) + b"\x43" + put.boolean(settled)
    )
    tail = b"\x40\x40\x40\x40\x40"
    room = max_frame - 8 - 3 - 3 - len(head) - 1 - len(tail)
    at = 0
    while True:
        more = len(payload) - at > room
        fields = head + put.boolean(more) + tail
        performative = bytes((0, 0x53, kind.TRANSFER, 0xC0, len(fields) + 1, 11)) + fields
        part = payload[at : at + room] if more or at else payload
        yield frame(channel, performative + part)
        if not more:
            return
        at += room


def disposition(
    channel: int, *, receiver: bool, first: int, last: int, state: bytes = ACCEPTED
) -> bytes:
    """Deliveries are settled."""
    numbers = put.uint(first), put.uint(last)
    parts = (put.boolean(receiver), *numbers, put.TRUE, state, put.FALSE)
    return frame(channel, _DISPOSITION + put.sequence(parts))


def detached(channel: int, handle: int, fault: Fault | None = None) -> bytes:
    """The end of a link."""
    parts = [put.uint(handle), put.TRUE, error(fault)]
    return frame(channel, put.described(kind.DETACH, put.sequence(parts)))


def ended(channel: int, fault: Fault | None = None) -> bytes:
    """The end of a session."""
    return frame(channel, put.described(kind.END, put.sequence([error(fault)])))


def closed(fault: Fault | None = None) -> bytes:
    """The end of a connection."""
    return frame(0, put.described(kind.CLOSE, put.sequence([error(fault)])))


def error(fault: Fault | None) -> bytes:
    """An error, or null."""
    if fault is None:
        return put.NULL
    parts = [put.symbol(fault.condition), put.string(fault.description), put.NULL]
    return put.described(0x1D, put.sequence(parts))


def rejected(fault: Fault | None) -> bytes:
    """The outcome `rejected`; without an error where it says that a client's own was done."""
    return put.described(kind.REJECTED, put.sequence([error(fault)]))


def modified(*, failed: bool, undeliverable: bool) -> bytes:
    """The outcome `modified`."""
    parts = [put.boolean(failed), put.boolean(undeliverable), put.NULL]
    return put.described(kind.MODIFIED, put.sequence(parts))
