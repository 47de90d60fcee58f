"""The least that a client needs: POSTs over kept connections, and a socket's frames.

A client library costs as much processor time per request as the hub does; the generators are to be
faster than what they measure.
"""

import asyncio
import base64
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httptools

_LONG = 126
_TEXT = 1


class Publisher:
    """Publishes over as many connections as it takes: no request waits for another's answer."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._head = (
            f"POST /v1/events HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._idle: list[_Connection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self.refused: list[str] = []

    async def open(self, connections: int) -> None:
        """Open that many beforehand."""
        await asyncio.gather(*(self._open(b"") for _ in range(connections)))

    def send(self, body: bytes) -> None:
        """Publish; does not wait for the answer."""
        self._under_way += 1
        self._empty.clear()
        request = self._head + b"%d\r\n\r\n%b" % (len(body), body)
        if self._idle:
            self._idle.pop().send(request)
            return
        task = asyncio.create_task(self._open(request))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def drain(self, within_s: float) -> None:
        """Wait for all answers.

        Raises:
            RuntimeError: One was not 202, or they did not come.
        """
        try:
            await asyncio.wait_for(self._empty.wait(), within_s)
        except TimeoutError:
            self.refused.append(f"{self._under_way} were not answered")
        if self.refused:
            raise RuntimeError(f"{len(self.refused)} refused, e.g. {self.refused[0]}")

    async def _open(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self._answered, self._closed), self._host, self._port
        )
        if request:
            connection.send(request)
        else:
            self._idle.append(connection)

    def _answered(self, connection: "_Connection", status: int, body: bytes) -> None:
        self._finished(status, body)
        self._idle.append(connection)

    def _closed(self, connection: "_Connection") -> None:
        """A server closes what was idle for a while; an answer that it cut off will not come."""
        if connection in self._idle:
            self._idle.remove(connection)
        else:
            self._finished(0, b"closed without an answer")

    def _finished(self, status: int, body: bytes) -> None:
        self._under_way -= 1
        if status != 202:
            self.refused.append(f"{status} {body[:300].decode(errors='replace')}")
        if not self._under_way:
            self._empty.set()


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(
        self,
        answered: Callable[["_Connection", int, bytes], None],
        closed: Callable[["_Connection"], None],
    ) -> None:
        self._answered = answered
        self._closed = closed
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send(self, request: bytes) -> None:
        self._body = b""
        self._transport.write(request)

    def connection_lost(self, _: Exception | None) -> None:
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status, body = self._parser.get_status_code(), self._body
        self._parser = httptools.HttpResponseParser(self)
        self._answered(self, status, body)


class Socket(asyncio.Protocol):
    """A client of the plain protocol: hands on the text of each frame."""

    def __init__(self, url: str, heard: Callable[[bytes], None]) -> None:
        parts = urlsplit(url)
        nonce = base64.b64encode(os.urandom(16)).decode()
        self._request = (
            f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Protocol: json.webpubsub.azure.v1\r\n\r\n"
        ).encode()
        self._heard = heard
        self._buffer = b""
        self._open = False
        self.greeted = asyncio.Event()
        """Set once the hub has said that it is connected."""

    async def connect(self, url: str) -> None:
        """Connect, and wait for the hub's greeting."""
        parts = urlsplit(url)
        await asyncio.get_running_loop().create_connection(lambda: self, parts.hostname, parts.port)
        await asyncio.wait_for(self.greeted.wait(), 30)

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                raise RuntimeError(head.decode(errors="replace"))
            self._open, self._buffer = True, rest
        while (frame := self._frame()) is not None:
            kind, content = frame
            if kind != _TEXT:
                continue
            if self.greeted.is_set():
                self._heard(content)
            else:
                self.greeted.set()

    def _frame(self) -> tuple[int, bytes] | None:
        """The next whole frame, which a server sends unmasked."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & 0x7F, 2
        if size >= _LONG:
            start = 4 if size == _LONG else 10
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return None
        self._buffer = buffer[start + size :]
        return buffer[0] & 0x0F, buffer[start : start + size]
