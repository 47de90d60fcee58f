"""A customer's receiver on loopback, programmable down to the byte."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What arrived.

    Attributes:
        line: The request line.
        fields: Header names (lowered) and values, in order, repeated ones too.
        body: As many bytes as content-length says.
        connection: The number of the connection it came on, from 1.
    """

    line: str
    fields: list[tuple[str, str]]
    body: bytes
    connection: int

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.fields)


Behaviour = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Receiver:
    """Serves one behaviour per request, the last one again and again.

    Attributes:
        behaviours: What to do with the 1st, 2nd, ... request.
        requests: What arrived so far.
        accepted: How many connections were made.
        broken: Set once a connection is gone.
    """

    behaviours: list[Behaviour]
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    requests: list[Request] = field(default_factory=list)
    accepted: int = 0
    broken: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def url(self, path: str = "/hook", *, host: str = "127.0.0.1") -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{host}:{self.port}{path}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, self.host, 0, ssl=self.tls, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        number = self.accepted
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await self._read(reader, number)) is not None:
                place = min(len(self.requests), len(self.behaviours) - 1)
                self.requests.append(request)
                await self.behaviours[place](request, writer)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.broken.set()
            self._tasks.discard(task)
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Request | None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        fields = [
            (name.lower(), value.strip())
            for name, _, value in (each.partition(":") for each in lines)
        ]
        body = await reader.readexactly(int(dict(fields).get("content-length", "0")))
        return Request(line=line, fields=fields, body=body, connection=connection)


# --------------------------------------------------------------------------- behaviours


def answer(
    status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Behaviour:
    """A whole answer; the connection stays open."""
    given = {"content-length": str(len(body)), **(headers or {})}
    if status in (204, 304):
        given.pop("content-length")
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return raw(f"HTTP/1.1 {status} Any\r\n{head}\r\n".encode("latin-1") + body)


def raw(data: bytes) -> Behaviour:
    """These bytes, whatever they are."""

    async def behave(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return behave


def hang_up(first: bytes = b"") -> Behaviour:
    """Some bytes, then the end of the connection."""

    async def behave(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return behave


def reset(first: bytes = b"") -> Behaviour:
    """Some bytes, then a reset."""

    async def behave(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        connection = writer.get_extra_info("socket")
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    return behave


async def never(_: Request, __: asyncio.StreamWriter) -> None:
    """No answer, until the receiver is closed."""
    await asyncio.Event().wait()


def drip(head: bytes, *, piece: bytes = b"x", every: float = 0.02) -> Behaviour:
    """A start, and then a little at a time without end."""

    async def behave(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(every)

    return behave


class Flood:
    """A body of a gigabyte, as fast as it is taken, from a receiver that listens no more.

    Attributes:
        sent: Bytes that got rid of so far.
    """

    def __init__(self, status: int) -> None:
        self.status = status
        self.sent = 0

    async def __call__(self, _: Request, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # not even for the other side's goodbye
        writer.write(f"HTTP/1.1 {self.status} Any\r\ncontent-length: {1 << 30}\r\n\r\n".encode())
        block = b"x" * 65536
        while self.sent < 1 << 30:
            writer.write(block)
            await writer.drain()
            self.sent += len(block)


# --------------------------------------------------------------------------- certificates


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate on disk."""

    path: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        return context


def self_signed(
    folder: Path, *, name: str = "localhost", address: str = "127.0.0.1", expired: bool = False
) -> Certificate:
    """A certificate for a name and an address, with its key, in one PEM file; valid for a month, or
    since yesterday no more."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(address))]
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=31 if expired else 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Certificate(path)


@contextlib.asynccontextmanager
async def receiver(*behaviours: Behaviour, **settings: object) -> AsyncIterator[Receiver]:
    """A receiver that is up while the block runs."""
    async with Receiver(list(behaviours) or [answer()], **settings) as one:  # type: ignore[arg-type]
        yield one
