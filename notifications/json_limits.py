"""What is JSON and yet not taken, wherever it comes in: it could not be kept as it was sent.

Cheap where all is right: both limits are first looked for in the bytes.
"""

import re
from collections.abc import Iterable
from typing import Any

MAX_DEPTH = 32
"""How deep arrays and objects may be nested."""

# One byte for every digit: to look for 19 in a row is then a search for a constant, the cheapest.
_DIGITS = bytes(1 if chr(byte).isdecimal() else 0 for byte in range(256))
_LONG_INTEGER = b"\x01" * 19
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|(-?[0-9]+)(\.[0-9]+)?([eE][+-]?[0-9]+)?')
_LARGEST = (1 << 64) - 1
_SMALLEST = -(1 << 63)
_SHOWN = 64
_CONTAINERS = frozenset((dict, list))  # by type alone, as they come out of decoding: half the time


def complaint(body: bytes, document: Any) -> str | None:
    """What is wrong with it: nesting over `MAX_DEPTH`, or an integer beyond 64 bits; or None.

    Args:
        body: What came in.
        document: What it was decoded to.
    """
    # Not deeper than there are brackets: most bodies need no walk.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(document) > MAX_DEPTH:
        return f"it is nested over {MAX_DEPTH} deep at {_deepest(document)}"
    if _LONG_INTEGER in body.translate(_DIGITS) and (place := _huge_integer(body)) is not None:
        line = body.count(b"\n", 0, place) + 1
        column = len(body[body.rfind(b"\n", 0, place) + 1 : place].decode()) + 1
        where = f"line {line}, column {column}"
        return f"it holds an integer beyond 64 bits at {where}; send it as a string"
    return None


def _depth(document: Any) -> int:
    """How deep it is nested; counts no further than one beyond the limit."""
    depth = 0
    level = [document] if type(document) in _CONTAINERS else []
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) in _CONTAINERS
        ]
    return depth


def _deepest(document: Any) -> str:
    """Where the nesting that goes too far begins: a JSON pointer, two names long at most."""
    for name, child in _named(document):
        if _depth(child) >= MAX_DEPTH:
            for inner, grandchild in _named(child):
                if _depth(grandchild) >= MAX_DEPTH - 1:
                    return f"/{name}/{inner}"
    return "/"


def _named(container: Any) -> Iterable[tuple[object, Any]]:
    if isinstance(container, dict):
        return [(str(name)[:_SHOWN], child) for name, child in container.items()]
    return enumerate(container) if isinstance(container, list) else ()


def _huge_integer(body: bytes) -> int | None:
    """Where there is one that would have become another number on the way in."""
    for found in _TOKENS.finditer(body):
        whole, fraction, exponent = found.groups()
        if whole is None or fraction or exponent:
            continue
        # A run of digits that is longer than any 64-bit number is not worth turning into one.
        if len(whole) > 20 or not _SMALLEST <= int(whole) <= _LARGEST:
            return found.start()
    return None
