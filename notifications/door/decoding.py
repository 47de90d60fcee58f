"""AMQP 1.0 values out of bytes, within bounds. Pure.

Every function takes the whole buffer and a position and looks at nothing outside. Counts and sizes
are believed only as far as there are bytes for them: nothing that is read costs more memory than a
small multiple of what was sent.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from notifications.door.faults import Fault, malformed

MAX_DEPTH = 32
"""How deeply lists, maps, arrays and descriptions may be nested in what the door itself reads."""


class Symbol(str):
    """A name out of AMQP's or an application's vocabulary."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since the epoch."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A value with what it is said to be: a number or a symbol."""

    descriptor: Any
    value: Any


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value of a type that nobody here calculates with: decimals and characters."""

    encoded: bytes


def decode(data: bytes, at: int = 0) -> tuple[Any, int]:
    """The value that begins at a position, and where it ends.

    Symbols, strings, binaries, UUIDs, numbers, booleans and null are their Python counterparts;
    lists and arrays are lists, maps are dicts.

    Raises:
        Fault: The bytes are not a value.
    """
    try:
        return _READERS[data[at]](data, at + 1, 0)
    except (IndexError, struct.error):
        raise malformed("a value ends before its end") from None
    except KeyError:
        raise malformed("a value has a constructor that there is not") from None
    except UnicodeDecodeError:
        raise malformed("a string is no UTF-8, or a symbol no ASCII") from None


def skip(data: bytes, at: int) -> int:
    """Where the value that begins at a position ends, by its outermost constructor alone.

    Raises:
        Fault: There are not that many bytes.
    """
    try:
        constructor = data[at]
        while constructor == 0:
            if not data[at + 1]:
                raise _described_description()
            at = skip(data, at + 1)
            constructor = data[at]
        fixed = _WIDTHS.get(constructor >> 4)
        if fixed is not None:
            end = at + 1 + fixed
        elif constructor >> 4 in _SHORT:
            end = at + 2 + data[at + 1]
        elif constructor >> 4 in _LONG:
            end = at + 5 + _UINT.unpack_from(data, at + 1)[0]
        else:
            raise malformed(f"0x{constructor:02x} is no constructor of a value")
    except (IndexError, struct.error):
        raise malformed("a value ends before its end") from None
    if end > len(data):
        raise malformed("a value ends before its end")
    return end


def elements(data: bytes, at: int) -> tuple[list[bytes], int]:
    """The elements of a list or a map, each as it is encoded, and where it ends.

    Raises:
        Fault: There is no list and no map here.
    """
    try:
        constructor = data[at]
        if constructor == 0x45:
            return [], at + 1
        if constructor in (0xC0, 0xC1):
            count, end, at = data[at + 2], at + 2 + data[at + 1], at + 3
        elif constructor in (0xD0, 0xD1):
            size, count = _TWO_UINTS.unpack_from(data, at + 1)
            end, at = at + 5 + size, at + 9
        else:
            raise malformed("a list or a map was expected")
    except (IndexError, struct.error):
        raise malformed("a value ends before its end") from None
    if end > len(data) or count > end - at:
        raise malformed("a list is larger than what it is in")
    found = []
    for _ in range(count):
        begun, at = at, skip(data, at)
        found.append(data[begun:at])
    if at != end:
        raise malformed("a list is not as long as it says")
    return found, end


_UINT = struct.Struct(">I")
_TWO_UINTS = struct.Struct(">II")
_WIDTHS = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_SHORT = frozenset({0xA, 0xC, 0xE})
_LONG = frozenset({0xB, 0xD, 0xF})

_Reader = Callable[[bytes, int, int], tuple[Any, int]]


def _described_description() -> Fault:
    return malformed("a description is described itself")


def _constant(value: Any) -> _Reader:
    return lambda _data, at, _depth: (value, at)


def _fixed(layout: str) -> _Reader:
    packed = struct.Struct(layout)
    unpack, width = packed.unpack_from, packed.size
    return lambda data, at, _depth: (unpack(data, at)[0], at + width)


def _byte(data: bytes, at: int, _depth: int) -> tuple[Any, int]:
    return data[at], at + 1


def _boolean(data: bytes, at: int, _depth: int) -> tuple[Any, int]:
    if data[at] > 1:
        raise malformed("a boolean is neither true nor false")
    return data[at] == 1, at + 1


def _timestamp(data: bytes, at: int, _depth: int) -> tuple[Any, int]:
    return Timestamp.from_bytes(_exactly(data, at, at + 8), signed=True), at + 8


def _uuid(data: bytes, at: int, _depth: int) -> tuple[Any, int]:
    return UUID(bytes=_exactly(data, at, at + 16)), at + 16


def _opaque(width: int) -> _Reader:
    return lambda data, at, _depth: (Opaque(_exactly(data, at - 1, at + width)), at + width)


def _exactly(data: bytes, at: int, end: int) -> bytes:
    if end > len(data):
        raise malformed("a value ends before its end")
    return data[at:end]


def _variable(make: Callable[[bytes], Any], *, long: bool) -> _Reader:
    def short_one(data: bytes, at: int, _depth: int) -> tuple[Any, int]:
        end = at + 1 + data[at]
        return make(_exactly(data, at + 1, end)), end

    def long_one(data: bytes, at: int, _depth: int) -> tuple[Any, int]:
        end = at + 4 + _UINT.unpack_from(data, at)[0]
        return make(_exactly(data, at + 4, end)), end

    return long_one if long else short_one


def _symbol(raw: bytes) -> Symbol:
    return Symbol(raw.decode("ascii"))


def _head(data: bytes, at: int, long: bool) -> tuple[int, int, int]:
    """Of something compound: how many elements, where they begin, where they end."""
    if long:
        size, count = _TWO_UINTS.unpack_from(data, at)
        begin, end = at + 8, at + 4 + size
    else:
        count, begin, end = data[at + 1], at + 2, at + 1 + data[at]
    # An element of a list takes a byte at least; arrays of elements without bytes are held to
    # that too, or a few bytes could stand for thousands of millions of nulls.
    if end > len(data) or count > end - begin:
        raise malformed("a list, map or array is larger than what it is in")
    return count, begin, end


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise malformed(f"values are nested more than {MAX_DEPTH} deep")
    return depth + 1


def _list(long: bool) -> _Reader:
    def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        count, at, end = _head(data, at, long)
        depth = _deeper(depth)
        found: list[Any] = []
        readers, constants = _READERS, _CONSTANTS
        for _ in range(count):
            constructor = data[at]
            # Most of what is in a performative has no bytes of its own, or a single one.
            if constructor in constants:
                found.append(constants[constructor])
                at += 1
            elif constructor in _SMALL:
                found.append(data[at + 1])
                at += 2
            else:
                value, at = readers[constructor](data, at + 1, depth)
                found.append(value)
        if at != end:
            raise malformed("a list is not as long as it says")
        return found, end

    return read


def _map(long: bool) -> _Reader:
    read_list = _list(long)

    def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        flat, end = read_list(data, at, depth)
        if len(flat) % 2:
            raise malformed("a map has a key without a value")
        try:
            return dict(zip(flat[::2], flat[1::2], strict=True)), end
        except TypeError:
            raise malformed("a map's key is a list or a map") from None

    return read


def _array(long: bool) -> _Reader:
    def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        count, at, end = _head(data, at, long)
        depth = _deeper(depth)
        descriptor = None
        if data[at] == 0:
            descriptor, at = _READERS[data[at + 1]](data, at + 2, depth)
        read_one, at = _READERS[data[at]], at + 1
        found = []
        for _ in range(count):
            value, at = read_one(data, at, depth)
            found.append(value if descriptor is None else Described(descriptor, value))
        if at != end:
            raise malformed("an array is not as long as it says")
        return found, end

    return read


def _described(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    depth = _deeper(depth)
    if not data[at]:
        raise _described_description()
    descriptor, at = _READERS[data[at]](data, at + 1, depth)
    value, at = _READERS[data[at]](data, at + 1, depth)
    return Described(descriptor, value), at


_CONSTANTS: dict[int, Any] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0, 0x45: ()}
_SMALL = frozenset({0x50, 0x52, 0x53})

_READERS: dict[int, _Reader] = {
    0x00: _described,
    **{constructor: _constant(value) for constructor, value in _CONSTANTS.items()},
    **dict.fromkeys(_SMALL, _byte),
    0x51: _fixed(">b"),
    0x54: _fixed(">b"),
    0x55: _fixed(">b"),
    0x56: _boolean,
    0x60: _fixed(">H"),
    0x61: _fixed(">h"),
    0x70: _fixed(">I"),
    0x71: _fixed(">i"),
    0x72: _fixed(">f"),
    0x73: _opaque(4),
    0x74: _opaque(4),
    0x80: _fixed(">Q"),
    0x81: _fixed(">q"),
    0x82: _fixed(">d"),
    0x83: _timestamp,
    0x84: _opaque(8),
    0x94: _opaque(16),
    0x98: _uuid,
    0xA0: _variable(bytes, long=False),
    0xA1: _variable(bytes.decode, long=False),
    0xA3: _variable(_symbol, long=False),
    0xB0: _variable(bytes, long=True),
    0xB1: _variable(bytes.decode, long=True),
    0xB3: _variable(_symbol, long=True),
    0xC0: _list(long=False),
    0xC1: _map(long=False),
    0xD0: _list(long=True),
    0xD1: _map(long=True),
    0xE0: _array(long=False),
    0xF0: _array(long=True),
}
