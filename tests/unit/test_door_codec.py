"""AMQP's types: what is written is read, and what is no value is said to be none."""

import struct
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifications.door import encoding as put
from notifications.door.decoding import (
    MAX_DEPTH,
    Described,
    Opaque,
    Symbol,
    Timestamp,
    decode,
    elements,
    skip,
)
from notifications.door.faults import Fault

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
S64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
NAMES = st.text(st.characters(max_codepoint=127), max_size=300)

Pair = tuple[Any, bytes]
"""A value, and how it is written."""


def pairs(values: st.SearchStrategy[Any], write: Any) -> st.SearchStrategy[Pair]:
    return values.map(lambda value: (value, write(value)))


SCALARS = st.one_of(
    st.just((None, put.NULL)),
    pairs(st.booleans(), put.boolean),
    pairs(st.integers(0, 255), put.ubyte),
    pairs(st.integers(0, 65535), put.ushort),
    pairs(U32, put.uint),
    pairs(U64, put.ulong),
    pairs(st.integers(-(2**31), 2**31 - 1), put.int32),
    pairs(S64, put.long),
    pairs(st.floats(allow_nan=False), put.double),
    pairs(S64.map(Timestamp), put.timestamp),
    pairs(st.uuids(), put.uuid),
    pairs(st.binary(max_size=300), put.binary),
    pairs(TEXT, put.string),
    pairs(NAMES.map(Symbol), put.symbol),
)


def listed(parts: list[Pair]) -> Pair:
    values = [value for value, _ in parts]
    return (values or (), put.sequence([encoded for _, encoded in parts]))


def mapped(parts: dict[str, Pair]) -> Pair:
    encoded = put.strings({name: written for name, (_, written) in parts.items()})
    return ({name: value for name, (value, _) in parts.items()}, encoded)


def described(part: tuple[int, Pair]) -> Pair:
    descriptor, (value, encoded) = part
    return (Described(descriptor, value), put.described(descriptor, encoded))


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(listed),
        st.dictionaries(TEXT, inner, max_size=4).map(mapped),
        st.tuples(U64, inner).map(described),
        st.lists(pairs(S64, put.long), min_size=1, max_size=5).map(
            lambda parts: ([value for value, _ in parts], put.array(0x81, [e for _, e in parts]))
        ),
    ),
    max_leaves=12,
)


@given(VALUES, st.binary(max_size=8))
@example(([1] * 300, put.sequence([put.uint(1)] * 300)), b"")
def test_what_is_written_is_read(pair: Pair, after: bytes) -> None:
    """A value comes back as it was, with its type, and what follows it is not looked at."""
    value, encoded = pair
    found, end = decode(encoded + after)
    assert found == value
    assert type(found) is type(value)
    assert end == len(encoded) == skip(encoded + after, 0)


@given(VALUES, st.data())
def test_a_part_is_no_value(pair: Pair, data: st.DataObject) -> None:
    """Every value that ends early is refused, by reading and by skipping."""
    encoded = pair[1]
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(Fault, match="amqp:decode-error"):
        decode(encoded[:cut])
    with pytest.raises(Fault, match="amqp:decode-error"):
        skip(encoded[:cut], 0)


@given(VALUES, st.data())
def test_a_bit_s_difference(pair: Pair, data: st.DataObject) -> None:
    """A value with a wrong bit is another value or none; nothing else happens."""
    encoded = bytearray(pair[1])
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        _, end = decode(bytes(encoded))
    except Fault:
        return
    assert end <= len(encoded)


@given(st.binary(max_size=200))
def test_anything(data: bytes) -> None:
    """Any bytes are a value that ends among them, or none."""
    for read in (decode, elements):
        try:
            _, end = read(data, 0)
        except Fault:
            continue
        assert end <= len(data)


@given(st.lists(SCALARS, max_size=300))
def test_elements(parts: list[Pair]) -> None:
    """The elements of a list are found as they are written."""
    encoded = [written for _, written in parts]
    whole = put.sequence(encoded)
    assert elements(whole, 0) == (encoded, len(whole))


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("40", None),
        ("41", True),
        ("5600", False),
        ("43", 0),
        ("44", 0),
        ("45", ()),
        ("50ff", 255),
        ("51ff", -1),
        ("52ff", 255),
        ("53ff", 255),
        ("5480", -128),
        ("55ff", -1),
        ("60ffff", 65535),
        ("61fffe", -2),
        ("70ffffffff", 2**32 - 1),
        ("7180000000", -(2**31)),
        ("723fc00000", 1.5),
        ("7300000041", Opaque(bytes.fromhex("7300000041"))),
        ("7400000001", Opaque(bytes.fromhex("7400000001"))),
        ("80" + "ff" * 8, 2**64 - 1),
        ("81" + "ff" * 8, -1),
        ("823ff8000000000000", 1.5),
        ("83" + "ff" * 8, Timestamp(-1)),
        ("84" + "01" * 8, Opaque(bytes.fromhex("84" + "01" * 8))),
        ("94" + "01" * 16, Opaque(bytes.fromhex("94" + "01" * 16))),
        ("98" + "01" * 16, UUID(bytes=b"\x01" * 16)),
        ("a00161", b"a"),
        ("a102c3a9", "é"),
        ("a30161", Symbol("a")),
        ("b00000000161", b"a"),
        ("b10000000161", "a"),
        ("b30000000161", Symbol("a")),
        ("c0030241" + "42", [True, False]),
        ("d000000006" + "00000002" + "4142", [True, False]),
        ("c10502" + "a1016b41", {"k": True}),
        ("d10000000800000002" + "a1016b41", {"k": True}),
        ("e0040250" + "0102", [1, 2]),
        ("f00000000700000002" + "500102", [1, 2]),
        ("e0070200530150" + "0708", [Described(1, 7), Described(1, 8)]),
        ("005324" + "45", Described(0x24, ())),
    ],
)
def test_every_constructor(encoded: str, value: Any) -> None:
    """Each of AMQP's constructors is read as its specification has it."""
    data = bytes.fromhex(encoded)
    assert decode(data) == (value, len(data))
    assert skip(data, 0) == len(data)


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "3f",
        "5602",  # a boolean of two
        "a1ff61",  # longer than what there is
        "a101ff",  # no UTF-8
        "a301e9",  # a symbol that is no ASCII
        "b1ffffffff",
        "c00141",  # no room for its count
        "c0020341",  # more elements than bytes
        "c0030141" + "41",  # bytes left over
        "c1030141",  # a key without a value
        "c10602" + "c0020140" + "41",  # a list as a key
        "d0ffffffff00000001",
        "f000000005ffffffff40",  # thousands of millions of nulls in ten bytes
        "e002ff40",
        "000040",  # a description that is described
        "00" * 60,
        "00535300" * 3,
    ],
)
def test_what_is_no_value(encoded: str) -> None:
    """Sizes, counts and texts that are not true are refused."""
    with pytest.raises(Fault, match="amqp:decode-error"):
        decode(bytes.fromhex(encoded))


@pytest.mark.parametrize("wrap", [lambda v: put.sequence([v]), lambda v: put.described(1, v)])
def test_depth(wrap: Any) -> None:
    """Values may be nested to a depth, and not one deeper."""
    encoded = put.uint(1)
    for _ in range(MAX_DEPTH):
        encoded = wrap(encoded)
    decode(encoded)
    with pytest.raises(Fault, match="nested"):
        decode(wrap(encoded))


def test_skipping_what_is_deep() -> None:
    """A description of descriptions without end is skipped without going deep."""
    encoded = b"\x00\x53\x01" * 20_000 + b"\x40"
    assert skip(encoded, 0) == len(encoded)


def test_the_short_form_of_descriptors() -> None:
    """Descriptors below 256 take one byte: one of the SDKs looks nowhere else."""
    assert put.described(0x24, put.EMPTY_LIST) == b"\x00\x53\x24\x45"
    assert put.described(0x1370000006, put.NULL)[1:10] == struct.pack(">BQ", 0x80, 0x1370000006)
