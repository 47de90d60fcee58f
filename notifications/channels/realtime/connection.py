"""One websocket: straight writes, a bounded backlog behind them, an orderly end.

A write goes out at once while the client keeps up. When the server underneath asks us to wait
(its own buffer, 64 KiB in uvicorn, is full), the write is finished by a task and what comes after
it waits in the backlog. A backlog that is full ends the connection by the named policy.
What a source has (the messages of a reliable client) is taken as the client can take it, and
never waits here.

Dead peers are found by the server's own pings: uvicorn's `ws_ping_interval` and
`ws_ping_timeout`, both 20 s by default. They must stay on.
"""

import asyncio
import contextlib
import logging
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from notifications.channels.realtime.frames import CloseCode, Frame, disconnected

log = logging.getLogger("huntaze")

_FRAMES_PER_TURN = 64
"""A client that sends many frames at once lets others have their turn after so many."""

GONE = (WebSocketDisconnect, OSError, RuntimeError)
"""What servers raise for a write to a client that has left or is leaving."""


class SlowReader(StrEnum):
    """What becomes of a client that does not take what it is sent."""

    DISCONNECT = "disconnect"
    """Its backlog is dropped and it is closed with 1013: it connects again and asks the inbox
    for what is missing. Dropping single messages would leave it wrong without its knowing."""


class SlowAcknowledger(StrEnum):
    """What becomes of a client of the reliable protocol that leaves too much unacknowledged."""

    START_AFRESH = "start-afresh"
    """It is closed with 1008 and there is nothing to recover: it connects afresh and asks the
    inbox. Clients that are away are forgotten before those that are there, the longest away
    first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the socket service holds for its clients.

    Attributes:
        connections: In all; more are refused with 503.
        connections_per_user: More are refused with 429.
        backlog_messages: That wait for one connection.
        backlog_bytes: That wait for one connection.
        backlog_bytes_in_all: That wait for all connections together.
        slow_reader: What happens where one of the three would be exceeded.
        frame_bytes: The largest frame a client may send; more closes with 1009.
        groups_per_connection: That a client may be in; more are `Forbidden`.
        close_grace_s: How long a client that takes nothing may hold up its own end.
        unacknowledged_messages: Kept for one client of the reliable protocol.
        unacknowledged_bytes: Kept for one.
        unacknowledged_bytes_per_user: Kept for all clients of one user.
        unacknowledged_bytes_in_all: Kept for all.
        slow_acknowledger: What happens where one of the four would be exceeded.
        recovery_s: How long a client that lost its connection may take to come back.
        away_per_user: Clients of one user that may be away at once; the one that is longest away
            is forgotten where there are more.
        away: In all.
    """

    connections: int = 10_000
    connections_per_user: int = 32
    backlog_messages: int = 256
    backlog_bytes: int = 1024 * 1024
    backlog_bytes_in_all: int = 64 * 1024 * 1024
    slow_reader: SlowReader = SlowReader.DISCONNECT
    frame_bytes: int = 64 * 1024
    groups_per_connection: int = 64
    close_grace_s: float = 5.0
    unacknowledged_messages: int = 1000
    unacknowledged_bytes: int = 16 * 1024 * 1024
    unacknowledged_bytes_per_user: int = 32 * 1024 * 1024
    unacknowledged_bytes_in_all: int = 128 * 1024 * 1024
    slow_acknowledger: SlowAcknowledger = SlowAcknowledger.START_AFRESH
    recovery_s: float = 60.0
    away_per_user: int = 32
    away: int = 10_000


@dataclass(slots=True)
class Backlogs:
    """The bytes that wait for all connections together."""

    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a connection ended.

    Attributes:
        code: The close code; 1005 or 1006 where the client gave none.
        reason: In a few words.
        by_client: Whether the client left or was lost; else the hub closed.
    """

    code: int
    reason: str
    by_client: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a connection behaves with its kind of client.

    Attributes:
        farewell: The last frame before the hub closes, by its reason; None where there is none.
        takes_binary: Whether a binary message may be sent to us.
        more: The source: the next frame for the client, or None while there is none.
    """

    farewell: Callable[[str], Frame] | None = disconnected
    takes_binary: bool = False
    more: Callable[[], Frame | None] | None = None


class Connection:
    """An accepted websocket."""

    def __init__(
        self,
        websocket: WebSocket,
        *,
        connection_id: str,
        limits: Limits,
        backlogs: Backlogs,
        manners: Manners | None = None,
    ) -> None:
        self.id = connection_id
        self._websocket = websocket
        self._manners = manners or Manners()
        self._limits = limits
        self._backlogs = backlogs
        self._waiting: deque[Frame] = deque()
        self._waiting_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    @property
    def behind(self) -> bool:
        """Whether a write of ours still waits for the client."""
        return self._writer is not None

    def write(self, frame: Frame) -> None:
        """Send `frame` after those before it. Never waits and never raises."""
        if self._ending.done():
            return
        if self._writer is not None:
            self._keep(frame)
            return
        try:
            rest = _begin(self._websocket.send(_message(frame)))
        except GONE:
            self._left()
            return
        if rest is not None:
            self._writer = asyncio.create_task(self._catch_up(rest))

    def pump(self) -> None:
        """Send what the source has, as far as the client takes it now; the rest follows."""
        more = self._manners.more
        while (
            more is not None
            and self._writer is None
            and not self._ending.done()
            and (frame := more()) is not None
        ):
            self.write(frame)

    def end(self, code: CloseCode, reason: str) -> None:
        """Have the connection closed with this code. Returns at once; the first reason stays."""
        self._end(Ending(code=code, reason=reason, by_client=False))

    async def serve(self, take: Callable[[str], None]) -> Ending:
        """Hand each text message to `take` until the client leaves or `end` is called; close.

        Binary messages end it, or count as empty ones where manners say that they may come.
        """
        reader = asyncio.create_task(self._read(take))
        try:
            ending = await self._ending
        finally:
            tasks = [task for task in (reader, self._writer) if task is not None]
            for task in tasks:
                task.cancel()
            self._drop_backlog()
        await asyncio.wait(tasks)
        if not ending.by_client:
            await self._close(ending)
        return ending

    def _keep(self, frame: Frame) -> None:
        limits = self._limits
        if (
            len(self._waiting) >= limits.backlog_messages
            or self._waiting_bytes + frame.size > limits.backlog_bytes
            or self._backlogs.size + frame.size > limits.backlog_bytes_in_all
        ):
            self.end(CloseCode.TRY_AGAIN_LATER, "too slow: connect again and read the inbox")
            return
        self._waiting.append(frame)
        self._waiting_bytes += frame.size
        self._backlogs.size += frame.size

    async def _catch_up(self, rest: Awaitable[None]) -> None:
        """Finish the write that was begun, then what came in after it."""
        try:
            await rest
            while (frame := self._next()) is not None:
                await self._websocket.send(_message(frame))
        except GONE:
            self._left()
        finally:
            self._writer = None

    def _next(self) -> Frame | None:
        """What goes out next, now that the client has taken what was before it."""
        if not self._waiting:
            more = self._manners.more
            return None if more is None or self._ending.done() else more()
        frame = self._waiting.popleft()
        self._waiting_bytes -= frame.size
        self._backlogs.size -= frame.size
        return frame

    async def _read(self, take: Callable[[str], None]) -> None:
        taken = 0
        try:
            while (text := await self._next_text()) is not None:
                take(text)
                taken += 1
                if taken % _FRAMES_PER_TURN == 0:
                    await asyncio.sleep(0)
        except Exception:
            log.exception("socket.broken", extra={"connectionId": self.id})
            self.end(CloseCode.INTERNAL, "internal error")

    async def _next_text(self) -> str | None:
        """The next text message, or None where the connection is at its end."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            self._left(message.get("code") or 1005, message.get("reason") or "")
            return None
        text: str | None = message.get("text")
        if text is None and not self._manners.takes_binary:
            self.end(CloseCode.UNSUPPORTED, "this protocol has text messages only")
            return None
        if _is_longer(message.get("bytes") if text is None else text, self._limits.frame_bytes):
            self.end(CloseCode.TOO_BIG, f"over {self._limits.frame_bytes} bytes")
            return None
        return None if self._ending.done() else text or ""

    def _left(self, code: int = 1006, reason: str = "") -> None:
        self._end(Ending(code=code, reason=reason, by_client=True))

    def _end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)
            self._drop_backlog()

    async def _close(self, ending: Ending) -> None:
        """Say why and close; a client that takes nothing is left to the server after a while."""
        farewell = self._manners.farewell
        with contextlib.suppress(TimeoutError, *GONE):
            async with asyncio.timeout(self._limits.close_grace_s):
                if farewell is not None:
                    await self._websocket.send(_message(farewell(ending.reason)))
                await self._websocket.close(ending.code, ending.reason)

    def _drop_backlog(self) -> None:
        self._backlogs.size -= self._waiting_bytes
        self._waiting_bytes = 0
        self._waiting.clear()


def _message(frame: Frame) -> dict[str, Any]:
    content = frame.content
    return {"type": "websocket.send", "text" if isinstance(content, str) else "bytes": content}


def _is_longer(content: str | bytes | None, limit: int) -> bool:
    if content is None or isinstance(content, bytes):
        return content is not None and len(content) > limit
    # Asking for the bytes costs a copy, which plain ASCII is spared.
    return len(content) > limit or (not content.isascii() and len(content.encode()) > limit)


def _begin(write: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Run a write up to where it would wait; what is left of it, or None if it is done.

    A server writes without waiting as long as its buffer has room. Stepping into the write by
    hand finds out without a task, whichever server it is; ASGI has no other way to ask.
    """
    try:
        waits_for = write.send(None)
    except StopIteration:
        return None
    return _rest(write, waits_for)


@types.coroutine
def _rest(write: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """What `write` waits for is waited for by the task that runs this, then `write` goes on."""
    yield waits_for
    yield from write.__await__()
