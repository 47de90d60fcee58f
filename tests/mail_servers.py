"""Mail servers on loopback: a real one, and one that is scripted down to the byte."""

import asyncio
import contextlib
import ssl
import struct
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from notifications.records import Mail

SENDER = "Huntaze <notify@huntaze.example>"


def mail(operation_id: str = "dlv_0000000015lk7", **changes: Any) -> Mail:
    """A mail."""
    fields: dict[str, Any] = {
        "to": "sam.sample@example.com",
        "to_name": "Sam Sample",
        "subject": "Your video analysis is ready",
        "text": "Hello\n",
        "html": "<p>Hello</p>\n",
        "locale": "en",
        "created_at": 1_769_857_200_000,
    }
    return Mail(operation_id=operation_id, **fields | changes)


async def eventually(condition: Callable[[], object], *, within_s: float = 10.0) -> None:
    """Return when a condition is true; fail when it is not within the limit."""
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, f"not within {within_s} s"
        await asyncio.sleep(0.005)


# --------------------------------------------------------------------------- a real server


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A mail that a server took.

    Attributes:
        sender: Of the envelope.
        recipients: Of the envelope.
        options: What MAIL asked for.
        content: The message.
        user: Who was signed in, if anybody.
        encrypted: Whether the connection was.
        connection: The number of the connection it came on, from 1.
    """

    sender: str
    recipients: Sequence[str]
    options: Sequence[str]
    content: bytes
    user: str | None
    encrypted: bool
    connection: int


@dataclass(slots=True)
class MailServer:
    """aiosmtpd, in this process, on a free port.

    Attributes:
        answers: By command (`MAIL`, `RCPT`, `DATA`): what to answer to the 1st, 2nd, ... one
            instead of taking it; an empty text takes it.
        mails: What arrived.
        accounts: User names and their passwords; where there are any, nobody else is let in.
        attempts: Passwords that were shown, with the mechanism.
        accepted: How many connections were made.
        connections: Their protocols.
    """

    answers: dict[str, list[str]] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    mails: list[Arrived] = field(default_factory=list)
    attempts: list[tuple[str, str]] = field(default_factory=list)
    accepted: int = 0
    port: int = 0
    connections: list["_Counted"] = field(default_factory=list)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        tls = self.tls if self.implicit else None
        self._server = await loop.create_server(self._connected, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        tasks = [each._handler_coroutine for each in self.connections if each._handler_coroutine]
        await asyncio.gather(*tasks, return_exceptions=True)

    def hang_up(self) -> None:
        """End every connection."""
        for each in self.connections:
            if each.transport is not None:
                each.transport.abort()

    def _connected(self) -> SMTP:
        self.accepted += 1
        with warnings.catch_warnings():
            # Signing in without TLS is what some of these tests are about.
            warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS")
            made = _Counted(
                self,
                hostname="mail.test",
                tls_context=None if self.implicit else self.tls,
                authenticator=self._authenticate,
                auth_required=bool(self.accounts),
                auth_require_tls=self.tls is not None and not self.implicit,
                loop=asyncio.get_running_loop(),
                **{"enable_SMTPUTF8": True, **self.options},
            )
        made.number = self.accepted
        self.connections.append(made)
        return made

    def _authenticate(
        self, _server: SMTP, session: Session, _envelope: Envelope, mechanism: str, shown: Any
    ) -> AuthResult:
        assert isinstance(shown, LoginPassword)
        name, password = shown.login.decode(), shown.password.decode()
        self.attempts.append((mechanism, password))
        session.user = name  # type: ignore[attr-defined]
        return AuthResult(success=self.accounts.get(name) == password, handled=False)

    def _instead(self, command: str) -> str:
        planned = self.answers.get(command)
        return planned.pop(0) if planned else ""

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's names
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if instead := self._instead("MAIL"):
            return instead
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if instead := self._instead("RCPT"):
            return instead
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: "_Counted", session: Session, envelope: Envelope
    ) -> str:
        if instead := self._instead("DATA"):
            return instead
        assert isinstance(envelope.original_content, bytes)
        assert envelope.mail_from is not None
        self.mails.append(
            Arrived(
                sender=envelope.mail_from,
                recipients=tuple(envelope.rcpt_tos),
                options=tuple(envelope.mail_options),
                content=envelope.original_content,
                user=getattr(session, "user", None),
                encrypted=bool(session.ssl) or self.implicit,
                connection=server.number,
            )
        )
        return f"250 taken as {len(self.mails)}"


class _Counted(SMTP):
    number = 0


@contextlib.asynccontextmanager
async def mail_server(**settings: Any) -> AsyncIterator[MailServer]:
    """A real server that is up while the block runs."""
    async with MailServer(**settings) as server:
        yield server


# --------------------------------------------------------------------------- a scripted one


Line = bytes
"""What a client said, without its line end; a mail's content is one, up to its dot."""

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class ScriptedServer:
    """Answers each line by a script: the first that fits what the line begins with.

    Attributes:
        script: By connection, the last one again and again: what to do with a line that begins
            with a word. `""` is the greeting, `"."` a mail's content; bytes are sent as they are.
            What is not in it is answered as a willing server does.
        heard: What was said, with the number of the connection.
        accepted: How many connections were made.
        contents: Mails whose content came whole.
    """

    script: list[dict[str, bytes | Act]]
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    heard: list[tuple[int, Line]] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    accepted: int = 0
    port: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _readers: list[asyncio.StreamReader] = field(default_factory=list)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, ssl=self.tls if self.implicit else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open_connections(self) -> int:
        """Connections that the client has not closed."""
        return sum(not each.at_eof() for each in self._readers)

    def said(self, connection: int = 1) -> list[str]:
        """The words that a connection's lines began with."""
        return [line.split(b" ")[0].decode() for number, line in self.heard if number == connection]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._readers.append(reader)
        number = self.accepted
        script = self.script[min(number, len(self.script)) - 1]
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(number, script, reader, writer)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self.ended.set()
            writer.transport.abort()

    async def _converse(
        self,
        number: int,
        script: dict[str, bytes | Act],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        await self._do(script.get("", b"220 mail.test ready\r\n"), reader, writer)
        while True:
            line = (await reader.readuntil(b"\r\n")).removesuffix(b"\r\n")
            self.heard.append((number, line))
            word = line.split(b" ")[0].decode("latin-1").upper()
            await self._do(script.get(word, _WILLING.get(word, b"250 OK\r\n")), reader, writer)
            if word == "DATA" and script.get("DATA", _WILLING["DATA"]) == _WILLING["DATA"]:
                self.contents.append(await reader.readuntil(b"\r\n.\r\n"))
                await self._do(script.get(".", b"250 taken\r\n"), reader, writer)
            if word == "STARTTLS" and self.tls is not None:
                await writer.start_tls(self.tls)
                script = {**script, "EHLO": b"250-mail.test\r\n250 SIZE 1000000\r\n"}

    async def _do(
        self, act: bytes | Act, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if isinstance(act, bytes):
            writer.write(act)
            await writer.drain()
        else:
            await act(reader, writer)


_WILLING: dict[str, bytes] = {
    "EHLO": b"250-mail.test\r\n250 SIZE 1000000\r\n",
    "DATA": b"354 go on\r\n",
    "QUIT": b"221 bye\r\n",
}


@contextlib.asynccontextmanager
async def scripted(
    *script: dict[str, bytes | Act], **settings: Any
) -> AsyncIterator[ScriptedServer]:
    """A scripted server that is up while the block runs."""
    async with ScriptedServer(list(script) or [{}], **settings) as server:
        yield server


async def never(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """No answer, until the server is closed."""
    await asyncio.Event().wait()


async def hear(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Wait until something is said."""
    await reader.readexactly(1)


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The end of the connection."""
    writer.close()
    await writer.wait_closed()


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A reset."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def flood(piece: bytes) -> Act:
    """The same again and again, without end, as fast as it is taken."""

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(piece)
            await writer.drain()

    return act


def drip(piece: bytes, *, every: float = 0.01) -> Act:
    """A little at a time, without end."""

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(every)

    return act


def then(*acts: bytes | Act) -> Act:
    """One after the other."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for each in acts:
            if isinstance(each, bytes):
                writer.write(each)
                await writer.drain()
            else:
                await each(reader, writer)

    return act
