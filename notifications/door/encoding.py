"""AMQP 1.0 values into bytes. Pure.

One function per type, because AMQP has more of them than Python: what is put together from their
results has exactly the types that were written down.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from notifications.messages import PropertyValue

NULL = b"\x40"
TRUE = b"\x41"
FALSE = b"\x42"
EMPTY_LIST = b"\x45"

_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)

_UINT = struct.Struct(">BI").pack
_INT = struct.Struct(">Bi").pack
_ULONG = struct.Struct(">BQ").pack
_LONG = struct.Struct(">Bq").pack
_DOUBLE = struct.Struct(">Bd").pack
_SIZE_COUNT = struct.Struct(">BII").pack


def boolean(value: bool) -> bytes:
    """True or false."""
    return TRUE if value else FALSE


def ubyte(value: int) -> bytes:
    """0 to 255."""
    return bytes((0x50, value))


def ushort(value: int) -> bytes:
    """0 to 65,535."""
    return struct.pack(">BH", 0x60, value)


def uint(value: int) -> bytes:
    """0 to 2**32 - 1."""
    if value < 256:
        return bytes((0x52, value)) if value else b"\x43"
    return _UINT(0x70, value)


def ulong(value: int) -> bytes:
    """0 to 2**64 - 1."""
    if value < 256:
        return bytes((0x53, value)) if value else b"\x44"
    return _ULONG(0x80, value)


def int32(value: int) -> bytes:
    """A signed number of 32 bits."""
    return _INT(0x71, value)


def long(value: int) -> bytes:
    """A signed number of 64 bits."""
    return _LONG(0x81, value)


def double(value: float) -> bytes:
    """A floating point number of 64 bits."""
    return _DOUBLE(0x82, value)


def timestamp(ms: int) -> bytes:
    """Milliseconds since the epoch."""
    return _LONG(0x83, ms)


def uuid(value: UUID) -> bytes:
    """A UUID."""
    return b"\x98" + value.bytes


def binary(value: bytes) -> bytes:
    """Any bytes."""
    return _variable(0xA0, value)


def string(value: str) -> bytes:
    """Text."""
    return _variable(0xA1, value.encode())


def symbol(value: str) -> bytes:
    """ASCII text out of a vocabulary."""
    return _variable(0xA3, value.encode("ascii"))


def number(value: int) -> bytes:
    """An integer as clients take it: of 32 bits where it fits, else of 64."""
    if value in _INT32:
        return int32(value)
    return long(value) if value in _INT64 else double(float(value))


def value(found: PropertyValue) -> bytes:
    """An application property."""
    if isinstance(found, str):
        return string(found)
    if isinstance(found, bool):
        return boolean(found)
    return number(found) if isinstance(found, int) else double(found)


def sequence(parts: Sequence[bytes]) -> bytes:
    """A list of encoded values."""
    return _compound(0xC0, parts, len(parts)) if parts else EMPTY_LIST


def fields(*parts: bytes) -> bytes:
    """A list whose nulls at the end are left out."""
    count = len(parts)
    while count and parts[count - 1] == NULL:
        count -= 1
    return sequence(parts[:count])


def mapping(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A map of encoded values."""
    return flat_map([part for pair in pairs for part in pair])


def flat_map(parts: Sequence[bytes]) -> bytes:
    """A map of encoded keys and values, in turn."""
    return _compound(0xC1, parts, len(parts))


def strings(values: Mapping[str, bytes]) -> bytes:
    """A map whose keys are strings."""
    return mapping((string(name), value) for name, value in values.items())


def array(constructor: int, parts: Sequence[bytes]) -> bytes:
    """An array of values of one type, each encoded with that constructor in front."""
    body = b"".join(part[1:] for part in parts)
    return _SIZE_COUNT(0xF0, len(body) + 5, len(parts)) + bytes((constructor,)) + body


def described(descriptor: int, value: bytes) -> bytes:
    """A value with the number of what it is: below 256 in the short form that clients insist on."""
    return b"\x00" + ulong(descriptor) + value


def _variable(constructor: int, value: bytes) -> bytes:
    if len(value) < 256:
        return bytes((constructor, len(value))) + value
    return _UINT(constructor + 0x10, len(value)) + value


def _compound(constructor: int, parts: Sequence[bytes], count: int) -> bytes:
    body = b"".join(parts)
    if len(body) < 255 and count < 256:
        return bytes((constructor, len(body) + 1, count)) + body
    return _SIZE_COUNT(constructor + 0x10, len(body) + 4, count) + body
