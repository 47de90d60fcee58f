"""AMQP by hand, for what no SDK would say. It speaks with the door's codec, which has own tests."""

import asyncio
import base64
import hmac
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from notifications.door import encoding as put
from notifications.door import frames as say
from notifications.door import performatives as kind
from notifications.door.decoding import Described, decode
from notifications.door.frames import Frames
from notifications.door.sas import EMULATOR_KEY, EMULATOR_POLICY

PATIENCE_S = 10.0
LARGEST = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A frame that came; no kind is a heartbeat."""

    channel: int
    kind: int | None
    fields: Sequence[Any] = ()
    payload: bytes = b""

    @property
    def condition(self) -> str | None:
        """The error's, of a detach, end or close."""
        index = 2 if self.kind == kind.DETACH else 0
        error = self.fields[index] if len(self.fields) > index else None
        return error.value[0] if isinstance(error, Described) else None


def token(
    path: str,
    *,
    key: str = EMULATOR_KEY,
    policy: str = EMULATOR_POLICY,
    lasts_s: float = 3600,
) -> str:
    """A shared access signature."""
    resource = quote(f"sb://localhost/{path}", safe="")
    expiry = str(int(time.time() + lasts_s))
    digest = hmac.digest(key.encode(), f"{resource}\n{expiry}".encode(), "sha256")
    signature = quote(base64.b64encode(digest), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={policy}"


def performative(channel: int, code: int, *fields: bytes, payload: bytes = b"") -> bytes:
    """A frame."""
    return say.frame(channel, put.described(code, put.sequence(fields)) + payload)


def opening(*, idle_ms: int = 0, max_frame: int = LARGEST) -> bytes:
    """An open."""
    idle = put.uint(idle_ms) if idle_ms else put.NULL
    fields = (put.string("raw"), put.NULL, put.uint(max_frame), put.ushort(1000), idle)
    return performative(0, kind.OPEN, *fields)


def begin(channel: int, *, window: int = 1000) -> bytes:
    """A begin."""
    numbers = (put.uint(0), put.uint(window), put.uint(1000))
    return performative(channel, kind.BEGIN, put.NULL, *numbers)


def attach(
    channel: int,
    handle: int,
    address: str,
    *,
    receiver: bool,
    name: str | None = None,
    settled: bool = False,
    target: bytes | None = None,
) -> bytes:
    """An attach."""
    ours = put.sequence([put.string(address if receiver else "me")])
    theirs = put.sequence([put.string("me" if receiver else address)])
    return performative(
        channel,
        kind.ATTACH,
        put.string(name or f"link-{channel}-{handle}"),
        put.uint(handle),
        put.boolean(receiver),
        put.ubyte(1 if settled else 0),
        put.ubyte(0),
        put.described(kind.SOURCE, ours),
        put.described(kind.TARGET, theirs) if target is None else target,
        put.NULL,
        put.NULL,
        put.NULL if receiver else put.uint(0),
    )


def flow(
    channel: int,
    handle: int | None,
    credit: int,
    *,
    seen: int = 0,
    window: int = 1000,
    drain: bool = False,
) -> bytes:
    """A flow; `seen` deliveries, and as many transfers, have come."""
    of_link = [put.NULL, put.NULL, put.NULL, put.NULL]
    if handle is not None:
        of_link = [put.uint(handle), put.uint(seen), put.uint(credit), put.NULL]
    windows = (put.uint(seen), put.uint(window), put.uint(0), put.uint(1000))
    return performative(channel, kind.FLOW, *windows, *of_link, put.boolean(drain))


def transfer(
    channel: int,
    handle: int,
    number: int | None,
    payload: bytes,
    *,
    more: bool = False,
    format_: int = 0,
) -> bytes:
    """A transfer."""
    fields = (
        put.uint(handle),
        put.NULL if number is None else put.uint(number),
        put.binary(b"tag"),
        put.uint(format_),
        put.FALSE,
        put.boolean(more),
    )
    return performative(channel, kind.TRANSFER, *fields, payload=payload)


def disposition(channel: int, first: int, last: int, state: bytes) -> bytes:
    """A receiver's, not settled yet."""
    fields = (put.TRUE, put.uint(first), put.uint(last), put.FALSE, state)
    return performative(channel, kind.DISPOSITION, *fields)


def message(body: bytes = b"x", *, id_: str = "m") -> bytes:
    """A message of two sections."""
    properties = put.described(0x73, put.sequence([put.string(id_)]))
    return properties + put.described(0x75, put.binary(body))


def put_token(path: str, text: str) -> bytes:
    """The request that shows a token."""
    properties = {"operation": "put-token", "type": "jwt", "name": f"sb://localhost/{path}"}
    return (
        put.described(0x73, put.sequence([put.string("put")]))
        + put.described(0x74, put.strings({k: put.string(v) for k, v in properties.items()}))
        + put.described(0x77, put.string(text))
    )


def peek(begin_: int, count: int) -> bytes:
    """The request that looks at messages."""
    operation = {"operation": put.string("com.microsoft:peek-message")}
    body = {"from-sequence-number": put.long(begin_), "message-count": put.int32(count)}
    return (
        put.described(0x73, put.sequence([put.string("peek")]))
        + put.described(0x74, put.strings(operation))
        + put.described(0x77, put.strings(body))
    )


class Raw:
    """A client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = Frames(LARGEST)

    def send(self, *parts: bytes) -> None:
        """Say it, whatever it is."""
        self._writer.write(b"".join(parts))

    async def exactly(self, size: int) -> bytes:
        """So many bytes as they come."""
        return await asyncio.wait_for(self._reader.readexactly(size), PATIENCE_S)

    async def heard(self) -> Heard | None:
        """The next frame that is no heartbeat; None at the end."""
        while (found := await self.anything()) is not None and found.kind is None:
            pass
        return found

    async def anything(self) -> Heard | None:
        """The next frame; None at the end."""
        while (found := self._frames.next()) is None:
            data = await asyncio.wait_for(self._reader.read(65536), PATIENCE_S)
            if not data:
                return None
            self._frames.add(data)
        _, channel, body = found
        if not body:
            return Heard(channel=channel, kind=None)
        described, at = decode(body)
        return Heard(
            channel=channel,
            kind=described.descriptor,
            fields=described.value,
            payload=body[at:],
        )

    async def until(self, *kinds: int) -> Heard:
        """The next frame of one of these kinds."""
        while True:
            found = await self.heard()
            assert found is not None, "the connection was closed"
            if found.kind in kinds:
                return found

    async def end(self) -> Heard | None:
        """The last frame before the connection was closed."""
        last = None
        try:
            while (found := await self.heard()) is not None:
                last = found
        except ConnectionError:
            pass
        return last

    async def rest(self) -> bytes:
        """All that comes until the connection is closed."""
        return await asyncio.wait_for(self._reader.read(), PATIENCE_S)

    def stop_reading(self) -> None:
        """Read nothing any more, not even into a buffer."""
        cast("asyncio.Transport", self._writer.transport).pause_reading()

    async def log_in(self) -> None:
        """Get to where an open is expected."""
        self.send(say.SASL_HEADER)
        assert await self.exactly(8) == say.SASL_HEADER
        assert (await self.until(kind.SASL_MECHANISMS)).fields == [["ANONYMOUS"]]
        init = put.described(kind.SASL_INIT, put.sequence([put.symbol("ANONYMOUS")]))
        self.send(say.frame(0, init, sasl=True))
        assert (await self.until(kind.SASL_OUTCOME)).fields[0] == 0
        self.send(say.AMQP_HEADER)
        assert await self._header() == say.AMQP_HEADER

    async def _header(self) -> bytes:
        while (found := self._frames.take(8)) is None:
            self._frames.add(await self.exactly(1))
        return found

    async def open(self, path: str | None = None, **options: Any) -> None:
        """Open, begin a session on channel 1, and show a token for a path where one is given."""
        await self.log_in()
        self.send(opening(**options), begin(1))
        await self.until(kind.BEGIN)
        if path is not None:
            assert await self.show(path, token(path)) == 202

    async def show(self, path: str, text: str) -> int:
        """Show a token; the status."""
        self.send(begin(9))
        self.send(attach(9, 0, "$cbs", receiver=False), attach(9, 1, "$cbs", receiver=True))
        self.send(flow(9, 1, 1), transfer(9, 0, 0, put_token(path, text)))
        answer = await self.until(kind.TRANSFER)
        at, found = 0, []
        while at < len(answer.payload):
            section, at = decode(answer.payload, at)
            found.append(section)
        self.send(performative(9, kind.END))
        await self.until(kind.END)
        return int(next(s.value["status-code"] for s in found if s.descriptor == 0x74))

    async def close(self) -> None:
        """Leave."""
        self._writer.close()


@asynccontextmanager
async def raw(port: int, path: str | None = None, **options: Any) -> AsyncIterator[Raw]:
    """A client that is open, with a token for a path where one is given."""
    async with nobody(port) as client:
        await client.open(path, **options)
        yield client


@asynccontextmanager
async def nobody(port: int) -> AsyncIterator[Raw]:
    """A client that has said nothing yet."""
    client = Raw(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield client
    finally:
        await client.close()
