"""One websocket: straight writes, a bounded backlog behind them, an orderly end.

A write goes out at once while the client keeps up. When the server underneath asks us to wait
(its own buffer, 64 KiB in uvicorn, is full), the write is finished by a task and what comes after
it waits in the backlog. A backlog that is full ends the connection by the named policy.

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
        by_client: Whether the client left; else the hub closed.
    """

    code: int
    reason: str
    by_client: bool


class Connection:
    """An accepted websocket."""

    def __init__(
        self, websocket: WebSocket, *, connection_id: str, limits: Limits, backlogs: Backlogs
    ) -> None:
        self.id = connection_id
        self._websocket = websocket
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

    def end(self, code: CloseCode, reason: str) -> None:
        """Have the connection closed with this code. Returns at once; the first reason stays."""
        self._end(Ending(code=code, reason=reason, by_client=False))

    async def serve(self, take: Callable[[str], None]) -> Ending:
        """Hand each text message to `take` until the client leaves or `end` is called; close."""
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
            while self._waiting:
                frame = self._waiting.popleft()
                self._waiting_bytes -= frame.size
                self._backlogs.size -= frame.size
                await self._websocket.send(_message(frame))
        except GONE:
            self._left()
        finally:
            self._writer = None

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
        if text is None:
            self.end(CloseCode.UNSUPPORTED, "this protocol has text messages only")
            return None
        if _is_longer(text, self._limits.frame_bytes):
            self.end(CloseCode.TOO_BIG, f"over {self._limits.frame_bytes} bytes")
            return None
        return None if self._ending.done() else text

    def _left(self, code: int = 1006, reason: str = "") -> None:
        self._end(Ending(code=code, reason=reason, by_client=True))

    def _end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)
            self._drop_backlog()

    async def _close(self, ending: Ending) -> None:
        """Say why and close; a client that takes nothing is left to the server after a while."""
        farewell = disconnected(ending.reason)
        with contextlib.suppress(TimeoutError, *GONE):
            async with asyncio.timeout(self._limits.close_grace_s):
                await self._websocket.send(_message(farewell))
                await self._websocket.close(ending.code, ending.reason)

    def _drop_backlog(self) -> None:
        self._backlogs.size -= self._waiting_bytes
        self._waiting_bytes = 0
        self._waiting.clear()


def _message(frame: Frame) -> dict[str, Any]:
    return {"type": "websocket.send", "text": frame.text}


def _is_longer(text: str, limit: int) -> bool:
    # Asking for the bytes costs a copy, which plain ASCII is spared.
    return len(text) > limit or (not text.isascii() and len(text.encode()) > limit)


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
