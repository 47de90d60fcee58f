"""What the process that reads a video says to the one that asked for it.

A message is a JSON object and bytes: the length of each in four bytes, then both. One is `facts`,
`frame` (with a JPEG), `sound` (with a WAV), `note`, and the last is `end` or `failed`. The reader
has looked at a stranger's file, so nothing it says is believed: all of it is bounded and checked.
"""

import asyncio
import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

MOST_TEXT = 16 * 1024
MOST_BYTES = 32 * 1024 * 1024

_HEAD = struct.Struct(">II")


class WireError(Exception):
    """The reader said something that no reader says."""


def write(out: BinaryIO, message: Mapping[str, Any], attached: bytes = b"") -> None:
    """Say something, at once."""
    text = json.dumps(message).encode()
    out.write(_HEAD.pack(len(text), len(attached)) + text + attached)
    out.flush()


async def read(stream: asyncio.StreamReader) -> tuple[dict[str, Any], bytes] | None:
    """The next message; None where the reader ended, in the middle of one or not.

    Raises:
        WireError: It is none.
    """
    try:
        text_size, size = _HEAD.unpack(await stream.readexactly(_HEAD.size))
        if text_size > MOST_TEXT or size > MOST_BYTES:
            raise WireError("a message is too large")
        text = await stream.readexactly(text_size)
        attached = await stream.readexactly(size)
    except asyncio.IncompleteReadError:
        return None
    try:
        message = json.loads(text)
    except ValueError as error:
        raise WireError("a message is not JSON") from error
    if not isinstance(message, dict):
        raise WireError("a message is not an object")
    return message, attached
