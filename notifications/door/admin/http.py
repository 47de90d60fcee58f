"""A small HTTP/1.1 server: strict, bounded, one request after the other on each connection.

Only what the management API needs: bodies with a length, no transfer codings, no upgrades. What
is not understood is answered once and the connection closed.
"""

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

from notifications.door.admin import writing

log = logging.getLogger("huntaze")

MAX_HEAD = 16 * 1024
MAX_BODY = 256 * 1024
MAX_CONNECTIONS = 128

_HEAD_S = 60.0
"""How long a connection may be idle, or take over the head of a request."""

_HANDSHAKE_S = 10.0
_BODY_S = 30.0
_WRITE_S = 30.0
_LEAVE_S = 5.0
_MORE, _MORE_S = 4 * 1024 * 1024, 2.0
"""Bytes that are still taken, and how long, from a client whose request was refused."""

_MAX_TARGET = 4096

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LENGTH = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks.

    Attributes:
        method: In capitals.
        path: Decoded, with the slash before it.
        query: By name in lower case; the last of each.
        headers: By name in lower case.
        body: At most `MAX_BODY` bytes.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What it is answered."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "application/xml; charset=utf-8"


Handler = Callable[[Request], Awaitable[Response]]


class HttpError(Exception):
    """A request that is not understood; the connection is closed after the answer."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        self.status = status
        super().__init__(detail)


class HttpServer:
    """Listens at addresses and hands what is asked to one handler."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; the port, which is a free one where 0 was asked for.

        Raises:
            OSError: The port is taken.
        """
        server = await asyncio.start_server(
            self._connected,
            host,
            port,
            limit=MAX_HEAD,
            backlog=MAX_CONNECTIONS,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else _HANDSHAKE_S,
        )
        self._servers.append(server)
        found: int = server.sockets[0].getsockname()[1]
        return found

    async def stop(self) -> None:
        """Close every connection, whatever is under way there."""
        for server in self._servers:
            server.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=_LEAVE_S)
        for server in self._servers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), _LEAVE_S)
        self._servers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if len(self._open) <= MAX_CONNECTIONS:
                await self._converse(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # it went, or fell silent
        except asyncio.CancelledError:
            pass  # the server stops; nobody awaits this task
        finally:
            self._open.discard(task)
            writer.close()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(writer.wait_closed(), _LEAVE_S)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                request = await _read(reader, writer)
            except HttpError as error:
                await _write(writer, _said(error.status, str(error)), keep=False)
                await _listen_on(reader, writer)
                return
            if request is None:
                return
            try:
                answer = await self._handler(request)
            except Exception:
                log.exception("door.admin_failed", extra={"method": request.method})
                answer = _said(HTTPStatus.INTERNAL_SERVER_ERROR, "the door failed at this")
            keep = request.headers.get("connection", "").lower() != "close"
            await _write(writer, answer, keep=keep, head_only=request.method == "HEAD")
            if not keep:
                return


def _said(status: HTTPStatus, detail: str) -> Response:
    return Response(status=status, body=writing.error_xml(status, detail).encode())


async def _listen_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let a client end what it is saying: closed at once, it might never read its answer."""
    if writer.can_write_eof():
        writer.write_eof()
    left = _MORE
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(_MORE_S):
            while left > 0 and (found := await reader.read(MAX_HEAD)):
                left -= len(found)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request; None where there is no other."""
    try:
        async with asyncio.timeout(_HEAD_S):
            head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise
    except asyncio.LimitOverrunError:
        raise HttpError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a head has at most {MAX_HEAD:,} bytes"
        ) from None
    method, target, headers = _head(head[:-4].decode("latin-1"))
    length = _length(headers)
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async with asyncio.timeout(_BODY_S):
        body = await reader.readexactly(length)
    try:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, max_num_fields=32))
    except ValueError:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the target is no path") from None
    return Request(
        method=method,
        path=unquote(parts.path),
        query={name.lower(): value for name, value in query.items()},
        headers=headers,
        body=body,
    )


def _head(text: str) -> tuple[str, str, dict[str, str]]:
    first, *lines = text.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]):
        raise HttpError(HTTPStatus.BAD_REQUEST, "no request line of HTTP/1.1")
    method, target, version = words
    if version != "HTTP/1.1":
        raise HttpError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this is HTTP/1.1")
    if not target.startswith("/") or len(target) > _MAX_TARGET or not target.isprintable():
        raise HttpError(HTTPStatus.BAD_REQUEST, "the target is no path")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or any(each in value for each in "\r\n\0"):
            raise HttpError(HTTPStatus.BAD_REQUEST, "a header is none")
        name = name.lower()
        if name in headers and name in ("content-length", "host", "authorization"):
            raise HttpError(HTTPStatus.BAD_REQUEST, f"{name} is there twice")
        headers[name] = value.strip(" \t")
    if "host" not in headers:
        raise HttpError(HTTPStatus.BAD_REQUEST, "there is no host")
    return method.upper(), target, headers


def _length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise HttpError(HTTPStatus.LENGTH_REQUIRED, "send the body with a Content-Length")
    text = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(text):
        raise HttpError(HTTPStatus.BAD_REQUEST, "the Content-Length is none")
    if int(text) > MAX_BODY:
        raise HttpError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {MAX_BODY:,} bytes"
        )
    return int(text)


async def _write(
    writer: asyncio.StreamWriter, answer: Response, *, keep: bool, head_only: bool = False
) -> None:
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Length: {len(answer.body)}",
        "Connection: " + ("keep-alive" if keep else "close"),
    ]
    if answer.body:
        lines.append(f"Content-Type: {answer.content_type}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    writer.write(head if head_only else head + answer.body)
    async with asyncio.timeout(_WRITE_S):
        await writer.drain()
