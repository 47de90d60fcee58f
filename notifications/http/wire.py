"""Reading what comes over the wire: strictly, within limits, and cheaply where it is right.

What is no JSON at all, or JSON that could not be kept as it was sent, is a 400: invalid UTF-8, NaN,
half a surrogate pair, and what `json_limits` refuses.
"""

import asyncio
import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from notifications import json_limits
from notifications.http.problems import Refused

MAX_REQUEST_BYTES = 8 * 1024 * 1024

MAX_BRACKETS = 200_000
"""Arrays and objects that a request may open: they, not its bytes, are what decoding costs. Twice
what the largest event can hold, and one for every 42 bytes of the largest request."""

BODY_WITHIN_S = 60.0
"""How long a body may take: what 1 Mbit/s brings in that time is nearly the largest request."""

_AND_HANG_UP = {"connection": "close"}
"""The rest of a body that is not wanted need not be sent."""

JSON = frozenset(("application/json",))
"""What most routes take."""

_CHARSETS = frozenset(("utf-8", "utf8", "us-ascii"))
_GAP = re.compile(r"[ \t\r\n,]*")
_decoder = json.JSONDecoder()


async def read_body(
    request: Request, types: Collection[str] = JSON, *, within_s: float = BODY_WITHIN_S
) -> bytes:
    """A request's body, whole.

    Args:
        request: Not read yet.
        types: The media types that are taken.
        within_s: How long it may take to come.

    Raises:
        Refused: 415 for another media type or a coded body, 413 for one over the limit, 408 for
            one that does not come; what is refused is not read to its end.
    """
    headers = request.scope["headers"]
    _check_type(headers, types)
    for name, value in headers:
        if name == b"content-length" and _is_over(value):
            raise _too_large()
    try:
        async with asyncio.timeout(within_s):
            return await _read(request)
    except TimeoutError:
        raise Refused(
            408, f"The body did not come whole within {within_s:g} s.", headers=_AND_HANG_UP
        ) from None


async def _read(request: Request) -> bytes:
    message = await request.receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        if len(body) > MAX_REQUEST_BYTES:
            raise _too_large()
        return body
    parts, size = [body], len(body)
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if size > MAX_REQUEST_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return b"".join(parts)
        message = await request.receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])


def decode(body: bytes) -> Any:
    """Decoded JSON.

    Raises:
        Refused: 400, or 413 where decoding it would hold up everybody; says what is wrong, and
            repeats nothing of the body.
    """
    # Each costs up to half a microsecond, on the loop that serves everybody. Those within strings
    # are counted, too: telling them apart costs as much as decoding.
    if len(body) > MAX_BRACKETS and body.count(b"[") + body.count(b"{") > MAX_BRACKETS:
        raise Refused(
            413, f"A request opens at most {MAX_BRACKETS:,} arrays and objects: send less."
        )
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _not_json(_complaint(body, error)) from None
    complaint = json_limits.complaint(body, document)
    if complaint is not None:
        raise _not_json(complaint)
    return document


def oversized(body: bytes, items: Sequence[object], limit: int) -> list[int]:
    """Which items of a JSON array, by index, take more than `limit` bytes.

    Args:
        body: The array as it was sent.
        items: What `decode` made of it.
        limit: What an item may take, as it was sent or as the hub would write it.
    """
    # Written again, an item is seldom longer than it was; what the body has more, in blanks and
    # escapes, may be anybody's. Only where that could decide are the items looked for in the body.
    written = [len(orjson.dumps(item)) for item in items]
    blank = len(body) - sum(written)
    if all(size > limit or size + blank <= limit for size in written):
        return [index for index, size in enumerate(written) if size > limit]
    sizes = zip(item_sizes(body), written, strict=True)
    return [index for index, pair in enumerate(sizes) if max(pair) > limit]


def item_sizes(body: bytes) -> list[int]:
    """How many bytes each item of a JSON array takes as it was sent; `decode` took it before."""
    text = body.decode()
    sizes = []
    place = _skip_gap(text, text.index("[") + 1)
    while text[place] != "]":
        _, end = _decoder.raw_decode(text, place)
        sizes.append(len(text[place:end].encode()))
        place = _skip_gap(text, end)
    return sizes


class JsonRequest(Request):
    """A request whose body has been read and decoded, for the framework to find."""

    def __init__(self, request: Request, body: bytes, document: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._raw = body
        self._document = document

    async def body(self) -> bytes:
        """The raw body."""
        return self._raw

    async def json(self) -> Any:
        """The decoded body."""
        return self._document


async def read_json(
    request: Request, *, required: bool = True, within_s: float = BODY_WITHIN_S
) -> JsonRequest:
    """Read and decode a request's body; where it is not required, there may be none.

    Raises:
        Refused: 400, 408, 413 or 415.
    """
    if not required and not _announces_body(request.scope["headers"]):
        return JsonRequest(request, b"", None)
    body = await read_body(request, within_s=within_s)
    return JsonRequest(request, body, decode(body))


def _check_type(headers: Iterable[tuple[bytes, bytes]], types: Collection[str]) -> None:
    media_type = ""
    for name, value in headers:
        if name == b"content-type":
            media_type = value.decode("latin-1")
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise Refused(415, "Send the body as it is, without Content-Encoding.")
    if media_type in types:
        return  # as most senders write it
    plain, _, parameters = media_type.partition(";")
    accept = {"accept": ", ".join(sorted(types))}
    if plain.strip().lower() not in types:
        taken = f"Send Content-Type: {' or '.join(sorted(types))}."
        raise Refused(415, taken, headers=accept)
    if any(_is_other_charset(each) for each in parameters.split(";")):
        raise Refused(415, "Send the body in UTF-8, and no other charset.", headers=accept)


def _is_other_charset(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip().lower() == "charset" and value.strip(' "').lower() not in _CHARSETS


def _announces_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")
        for name, value in headers
    )


def _is_over(value: bytes) -> bool:
    return value.isdigit() and (len(value) > 9 or int(value) > MAX_REQUEST_BYTES)


def _too_large() -> Refused:
    return Refused(
        413,
        f"A request has at most {MAX_REQUEST_BYTES} bytes.",
        headers=_AND_HANG_UP,
    )


def _not_json(detail: str) -> Refused:
    return Refused(400, f"The body cannot be taken: {detail}.")


def _complaint(body: bytes, error: orjson.JSONDecodeError) -> str:
    if not body.strip():
        return "it is empty"
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        return f"it is not UTF-8 at byte {wrong.start}"
    place = f"line {error.lineno}, column {error.colno}"
    # JSON by its grammar, and yet nothing that could be kept as it was sent.
    if "depth" in error.msg:
        return f"it is nested over {json_limits.MAX_DEPTH} deep at {place}"
    if "surrogate" in error.msg:
        return f"it holds half a surrogate pair at {place}, which no text can"
    if "infinity" in error.msg:
        return f"it holds a number at {place} that is too large; send it as a string"
    return f"it is not JSON at {place}: {error.msg}"


def _skip_gap(text: str, place: int) -> int:
    found = _GAP.match(text, place)
    assert found is not None, "the pattern fits an empty gap, too"
    return found.end()
