"""Reading bodies: strictly, within limits."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from notifications import json_limits
from notifications.http import wire
from notifications.http.problems import Refused

JSON_TYPE = ((b"content-type", b"application/json"),)


class Sent:
    """A request whose body comes in pieces; knows how many were asked for."""

    def __init__(
        self,
        *pieces: bytes,
        headers: Sequence[tuple[bytes, bytes]] = JSON_TYPE,
        breaks_off: bool = False,
    ) -> None:
        self._pieces = list(pieces)
        self._breaks_off = breaks_off
        self.received = 0
        scope = {"type": "http", "method": "POST", "headers": list(headers)}
        self.request = Request(scope, self._receive)

    async def _receive(self) -> dict[str, Any]:
        self.received += 1
        if not self._pieces and self._breaks_off:
            return {"type": "http.disconnect"}
        piece = self._pieces.pop(0)
        more = bool(self._pieces) or self._breaks_off
        return {"type": "http.request", "body": piece, "more_body": more}


def refusal(body: bytes) -> str:
    """What `decode` says of a body that it refuses with 400."""
    with pytest.raises(Refused) as refused:
        wire.decode(body)
    assert refused.value.status == 400
    return str(refused.value)


# --------------------------------------------------------------------------- decode


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":01}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\ud800\\u0041"}',
        b'{"a":"\\udc00"}',
        b'{"a":"\x01"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1} {"a":2}',
        b"// a comment\n{}",
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    """Whatever strict JSON does not allow is a 400."""
    assert refusal(body).startswith("The body cannot be taken: ")


def test_a_refusal_repeats_nothing_of_the_body() -> None:
    """A body may hold a secret, so the complaint gives the place alone."""
    detail = refusal(b'{"password": "hunter2", "a": NaN}')

    assert "hunter2" not in detail
    assert "line 1, column 30" in detail


def test_bytes_that_are_no_utf8_are_named_by_place() -> None:
    """The complaint says at which byte the text ends to be UTF-8."""
    assert "UTF-8 at byte 6" in refusal(b'{"a":"\xff"}')


def nested(depth: int, *, opening: str = '{"a":', closing: str = "}") -> bytes:
    """Containers in containers, `depth` of them."""
    return (opening * depth + "1" + closing * depth).encode()


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]"), ('[{"a":', "}]")])
def test_nesting_is_taken_up_to_the_limit(opening: str, closing: str) -> None:
    """32 deep is taken, one more is not, whatever it is made of."""
    levels = opening.count("{") + opening.count("[")
    right = nested(json_limits.MAX_DEPTH // levels, opening=opening, closing=closing)
    too_deep = nested(json_limits.MAX_DEPTH // levels + 1, opening=opening, closing=closing)

    assert wire.decode(right) == json.loads(right)
    assert "nested over 32" in refusal(too_deep)


def test_nesting_beyond_any_stack_is_refused() -> None:
    """A body of nothing but brackets is a 400, not a crash."""
    assert refusal(b"[" * 100_000)


def test_brackets_in_strings_are_no_nesting() -> None:
    """A text full of brackets is as deep as any text."""
    body = json.dumps({"a": "[{" * 100}).encode()

    assert wire.decode(body) == {"a": "[{" * 100}


def test_wide_is_not_deep() -> None:
    """Many containers side by side are taken."""
    body = json.dumps([{"a": [1]}] * 1_000).encode()

    assert len(wire.decode(body)) == 1_000


@pytest.mark.parametrize("number", [(1 << 64) - 1, -(1 << 63), 10**18, -(10**18)])
def test_integers_of_64_bits_are_kept_exactly(number: int) -> None:
    """What fits signed or unsigned 64 bits comes out as it went in."""
    assert wire.decode(b'{"a":%d}' % number) == {"a": number}


@pytest.mark.parametrize(
    "digits",
    [
        b"18446744073709551616",
        b"-9223372036854775809",
        b"90000000000000000000",
        b"1" * 300,
    ],
)
def test_integers_beyond_64_bits_are_refused(digits: bytes) -> None:
    """What would silently become another number is a 400, wherever it stands."""
    assert "beyond 64 bits" in refusal(b'{"a":[1,' + digits + b"]}")


def test_a_number_of_five_thousand_digits_is_refused() -> None:
    """A number past every limit is a 400, not an error of ours."""
    assert refusal(b'{"a":' + b"1" * 5_000 + b"}")


def test_long_digits_that_are_no_integer_are_taken() -> None:
    """Digits in texts, names, fractions and exponents lose nothing by being long."""
    body = (
        b'{"%(n)s":"%(n)s","b":"\\"%(n)s","c":0.%(n)s,"d":%(n)s.5,"e":%(n)se3}'
        % {b"n": b"1" * 30}
    )  # fmt: skip

    assert wire.decode(body)["1" * 30] == "1" * 30


_scalars = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(1 << 63), max_value=(1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
_documents = st.recursive(
    _scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(_documents, st.booleans())
def test_right_json_comes_out_as_any_reader_reads_it(document: Any, ascii_only: bool) -> None:
    """Every JSON text within the limits is decoded to what the standard library reads."""
    body = json.dumps(document, ensure_ascii=ascii_only).encode()

    assert wire.decode(body) == json.loads(body)


# --------------------------------------------------------------------------- item sizes


@given(
    st.lists(_documents, max_size=6),
    st.booleans(),
    st.sampled_from(["", " ", "\n\t "]),
)
def test_items_are_measured_as_they_were_sent(
    documents: list[Any], ascii_only: bool, gap: str
) -> None:
    """Each item's size is that of its own bytes, escapes included and gaps around it not."""
    texts = [json.dumps(each, ensure_ascii=ascii_only) for each in documents]
    body = f"{gap}[{gap}{f'{gap},{gap}'.join(texts)}{gap}]{gap}".encode()

    assert wire.item_sizes(body) == [len(text.encode()) for text in texts]


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=5),
    st.sampled_from(["", " ", "\n" * 30]),
    st.sampled_from(["x", "é", "\\u00e9"]),
)
def test_what_is_too_large_is_found_however_it_is_written(
    lengths: list[int], gap: str, letter: str
) -> None:
    """An item is over the limit by what was sent, whatever blanks and escapes surround it."""
    texts = [f'[{gap}"{letter * length}"{gap}]' for length in lengths]
    body = f"[{','.join(texts)}]".encode()
    sizes = [len(text.encode()) for text in texts]

    found = wire.oversized(body, wire.decode(body), 40)

    assert found == [index for index, size in enumerate(sizes) if size > 40]


def test_no_item_hides_behind_the_blanks_of_another() -> None:
    """Where blanks could be anybody's, it is looked who has them."""
    body = b'[["aaaa"],' + b"[" + b" " * 50 + b'"b"]]'

    assert wire.oversized(body, wire.decode(body), 40) == [1]


def test_more_brackets_than_events_have_are_refused_before_they_are_decoded() -> None:
    """One too many is a 413, though it is no JSON; as many as may be are decoded."""
    right = b"[" + b"[]," * (wire.MAX_BRACKETS - 2) + b"[]]"
    assert len(wire.decode(right)) == wire.MAX_BRACKETS - 1

    with pytest.raises(Refused) as refused:
        wire.decode(b"[" * (wire.MAX_BRACKETS + 1))

    assert refused.value.status == 413


# --------------------------------------------------------------------------- read_body


async def test_a_body_in_pieces_is_put_together() -> None:
    """However it arrives, the body is whole."""
    assert await wire.read_body(Sent(b'{"a"', b":", b"1}").request) == b'{"a":1}'


async def test_a_body_of_the_limit_is_taken() -> None:
    """8 MiB is taken, in one piece or in two."""
    half = b" " * (wire.MAX_REQUEST_BYTES // 2)

    assert len(await wire.read_body(Sent(half + half).request)) == wire.MAX_REQUEST_BYTES
    assert len(await wire.read_body(Sent(half, half).request)) == wire.MAX_REQUEST_BYTES


@pytest.mark.fault("send a body of a gigabyte without announcing it", "attackers")
async def test_a_body_over_the_limit_is_not_read_to_its_end() -> None:
    """Reading ends with the piece that goes over, however much would follow."""
    sent = Sent(*([b" " * (wire.MAX_REQUEST_BYTES // 2 + 1)] * 10))

    with pytest.raises(Refused) as refused:
        await wire.read_body(sent.request)

    assert refused.value.status == 413
    assert sent.received == 2


@pytest.mark.parametrize("length", [str(wire.MAX_REQUEST_BYTES + 1), "9" * 30])
async def test_a_body_that_is_announced_too_large_is_not_read_at_all(length: str) -> None:
    """Content-Length alone is enough to refuse."""
    sent = Sent(b"{}", headers=(*JSON_TYPE, (b"content-length", length.encode())))

    with pytest.raises(Refused) as refused:
        await wire.read_body(sent.request)

    assert refused.value.status == 413
    assert sent.received == 0


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """After its time a body is a 408, and the connection is not used again."""

    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    scope = {"type": "http", "method": "POST", "headers": list(JSON_TYPE)}

    with pytest.raises(Refused) as refused:
        await wire.read_body(Request(scope, never), within_s=0.01)

    assert refused.value.status == 408
    assert refused.value.headers == {"connection": "close"}


@pytest.mark.parametrize(
    ("charset", "taken"),
    [
        ("utf-8", True),
        ('"UTF-8"', True),
        ("us-ascii", True),
        ("utf-16", False),
        ("iso-8859-1", False),
        ("", False),
    ],
)
async def test_a_body_is_utf8_or_said_not_to_be(charset: str, taken: bool) -> None:
    """A charset that is named must be UTF-8, or a part of it."""
    media_type = f"application/json; q=1; Charset={charset}".encode()
    sent = Sent(b"{}", headers=((b"content-type", media_type),))
    if taken:
        assert await wire.read_body(sent.request) == b"{}"
        return
    with pytest.raises(Refused) as refused:
        await wire.read_body(sent.request)
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ((), False),
        (((b"content-length", b"0"),), False),
        (((b"content-length", b"2"), *JSON_TYPE), True),
        (((b"transfer-encoding", b"chunked"), *JSON_TYPE), True),
    ],
)
async def test_a_body_that_is_not_required_is_read_where_there_is_one(
    headers: Sequence[tuple[bytes, bytes]], asked: bool
) -> None:
    """Without a body no media type is asked for, and nothing is waited for."""
    sent = Sent(b"{}", headers=headers)

    request = await wire.read_json(sent.request, required=False)

    assert await request.json() == ({} if asked else None)
    assert sent.received == int(asked)


async def test_a_caller_who_leaves_is_told_nothing() -> None:
    """A body that breaks off raises what the middleware takes for silence."""
    with pytest.raises(ClientDisconnect):
        await wire.read_body(Sent(b'{"a"', breaks_off=True).request)


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON ;charset=UTF-8"],
)
async def test_json_is_taken_however_it_is_written(media_type: str) -> None:
    """Parameters and case of the media type do not matter."""
    sent = Sent(b"{}", headers=((b"content-type", media_type.encode()),))

    assert await wire.read_body(sent.request) == b"{}"


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"content-type", b""),),
        ((b"content-type", b"text/plain"),),
        ((b"content-type", b"application/x-www-form-urlencoded"),),
        ((b"content-type", b"application/jsonx"),),
        ((b"content-type", b"application/json, text/plain"),),
        (*JSON_TYPE, (b"content-encoding", b"gzip")),
    ],
)
async def test_another_media_type_is_refused(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """What is not said to be JSON, or is compressed, is a 415 that is not read."""
    sent = Sent(b"{}", headers=headers)

    with pytest.raises(Refused) as refused:
        await wire.read_body(sent.request)

    assert refused.value.status == 415
    assert sent.received == 0
