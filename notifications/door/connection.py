"""One client's connection: logging in, frames in turns, heartbeats, and an orderly end."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from notifications.door import frames as say
from notifications.door import performatives as kind
from notifications.door.faults import (
    FORCED,
    FRAMING,
    INTERNAL_ERROR,
    NOT_ALLOWED,
    RESOURCE_LIMIT,
    UNAUTHORIZED,
    Fault,
    malformed,
)
from notifications.door.frames import Frames
from notifications.door.sas import Grant
from notifications.door.session import Session
from notifications.door.world import World

log = logging.getLogger("huntaze")

_PARTING_MS = 5_000
"""How long a client that takes nothing may hold up its own end."""

_SHARE_OF_UNREAD = 8
"""Handing out messages stops when this share of what may wait for a client waits."""


class Connection(asyncio.Protocol):
    """A client.

    It is read from only while what it sent and what it did not read are within their limits; so
    a client that floods or never reads costs its limits and no more.
    """

    def __init__(self, world: World, left: Callable[["Connection"], None]) -> None:
        self.world = world
        self.max_frame = kind.MIN_FRAME_BYTES
        self.paused = False
        self._left = left
        self._transport: asyncio.Transport | None = None
        self._frames = Frames(world.limits.first_frame_bytes)
        self._step: Callable[[], bool] = self._sasl_header
        self._sessions: dict[int, Session] = {}
        self._grants: dict[str, float] = {}
        self._out: list[bytes] = []
        self._flushing = self._turning = False
        self._holds: set[str] = set()
        self._waiting = self._partial = self.links = 0
        self._is_open = False
        self._began = self._heard = self._spoke = world.clock.now()
        self._stuck_since: int | None = None
        self._closing_since: int | None = None
        self._remote_idle: int | None = None

    # ----------------------------------------------------------------- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(self.world.limits.unread_bytes // _SHARE_OF_UNREAD)

    def connection_lost(self, _exc: Exception | None) -> None:
        """It is gone, whoever ended it."""
        self._transport = None
        self._step = self._deaf
        self._out.clear()
        for session in list(self._sessions.values()):
            session.close()
        self._sessions.clear()
        self._left(self)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self._heard = self.world.clock.now()
        self._frames.add(data)
        if not self._turning:
            self._turn()

    def pause_writing(self) -> None:
        """The client does not keep up with reading."""
        self.paused = True
        self._stuck_since = self.world.clock.now()

    def resume_writing(self) -> None:
        """It does again."""
        self.paused = False
        self._stuck_since = None
        self.release("unread")
        for session in list(self._sessions.values()):
            session.kick()

    # ----------------------------------------------------------------- for sessions and links

    def send(self, data: bytes) -> None:
        """Send it with what else is sent in this turn of the loop."""
        self._out.append(data)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def hold(self, why: str) -> None:
        """Do not read from the client until what is named is released."""
        if not self._holds and self._transport:
            self._transport.pause_reading()
        self._holds.add(why)

    def release(self, why: str) -> None:
        """Read on, unless something else holds."""
        if why in self._holds:
            self._holds.discard(why)
            if not self._holds and self._transport and not self._transport.is_closing():
                self._transport.resume_reading()

    def took(self, size: int) -> None:
        """So many bytes wait to be dealt with; negative where they were."""
        self._waiting += size
        if self._waiting > self.world.limits.waiting_bytes:
            self.hold("waiting")
        elif self._waiting * 2 <= self.world.limits.waiting_bytes:
            self.release("waiting")

    def gathered(self, size: int) -> None:
        """So many bytes more of unfinished messages; negative where they were finished.

        Raises:
            Fault: They are too many.
        """
        self._partial += size
        if size > 0 and self._partial > self.world.limits.partial_bytes:
            raise Fault(RESOURCE_LIMIT, "Too many messages were begun and not finished.")

    def grant(self, path: str, grant: Grant) -> None:
        """The client showed a token for a path.

        Raises:
            Fault: It showed too many.
        """
        if len(self._grants) >= self.world.limits.grants and path not in self._grants:
            raise Fault(RESOURCE_LIMIT, f"At most {self.world.limits.grants} tokens are kept.")
        self._grants[path] = grant.expires_at

    def allows(self, path: str) -> bool:
        """Whether the client showed a token for a path, case-folded, or one above it."""
        now = self.world.clock.wall().timestamp()
        while True:
            if self._grants.get(path, 0) > now:
                return True
            if not path:
                return False
            path = path.rpartition("/")[0]

    # ----------------------------------------------------------------- the listener's

    def tick(self, now: int) -> None:
        """Time passed: keep the connection alive, or end it."""
        limits = self.world.limits
        if self._transport is None:
            return
        if self._closing_since is not None:
            if now - self._closing_since >= _PARTING_MS:
                self._transport.abort()
        elif not self._is_open and now - self._began >= limits.opening_ms:
            self.fail(Fault(FORCED, "The connection was not opened in time."))
        elif self._stuck_since is not None and now - self._stuck_since >= limits.stuck_ms:
            log.info("the door closes a client that does not read")
            self._transport.abort()
        elif not self._holds and now - self._heard >= 2 * limits.idle_ms:
            self.fail(Fault(RESOURCE_LIMIT, "The connection was inactive for too long."))
        elif self._is_open:
            self._keep_up(now)

    def fail(self, fault: Fault) -> None:
        """Tell the client what is wrong, and close."""
        if self._closing_since is not None or self._transport is None:
            return
        log.info("the door closes a connection: %s", fault)
        if self._step in (self._sasl_header, self._sasl_init):
            self.send(say.SASL_HEADER)
        else:
            if not self._is_open:
                self._introduce()
            self.send(say.closed(fault))
        self._part()

    # ----------------------------------------------------------------- what is received

    def _turn(self) -> None:
        """Deal with so many frames, then let others have theirs."""
        self._turning = False
        for _ in range(self.world.limits.frames_per_turn):
            try:
                if not self._step():
                    return self.release("turn")
            except Fault as fault:
                return self.fail(fault)
            except Exception:
                log.exception("the door failed at a frame")
                return self.fail(Fault(INTERNAL_ERROR, "The door failed at this frame."))
        self._turning = True
        self.hold("turn")
        asyncio.get_running_loop().call_soon(self._turn)
        return None

    def _sasl_header(self) -> bool:
        header = self._frames.take(8)
        if header is None:
            return False
        self.send(say.SASL_HEADER)
        if header != say.SASL_HEADER:
            self._part()
            return False
        self.send(say.mechanisms())
        self._step = self._sasl_init
        return True

    def _sasl_init(self) -> bool:
        found = self._frames.next()
        if found is None:
            return False
        type_, _, body = found
        descriptor, at = kind.descriptor_of(body)
        fields, _ = kind.read_fields(body, at)
        if type_ != 1 or descriptor != kind.SASL_INIT or not fields:
            raise malformed("SASL's init was expected")
        if fields[0] != "ANONYMOUS":
            self.send(say.outcome(say.SASL_AUTH))
            self._part()
            return False
        self.send(say.outcome(say.SASL_OK))
        self._step = self._amqp_header
        return True

    def _amqp_header(self) -> bool:
        header = self._frames.take(8)
        if header is None:
            return False
        self.send(say.AMQP_HEADER)
        if header != say.AMQP_HEADER:
            self._part()
            return False
        self._step = self._opening
        return True

    def _opening(self) -> bool:
        found = self._frames.next()
        if found is None:
            return False
        _, _, body = found
        descriptor, at = kind.descriptor_of(body)
        if descriptor != kind.OPEN:
            raise Fault(NOT_ALLOWED, "A connection begins with open.")
        opened = kind.read_open(kind.read_fields(body, at)[0])
        if opened.max_frame_size < kind.MIN_FRAME_BYTES:
            raise Fault(NOT_ALLOWED, f"A frame has to be allowed {kind.MIN_FRAME_BYTES} bytes.")
        self.max_frame = min(opened.max_frame_size, 1024 * 1024)
        self._remote_idle = opened.idle_ms or None
        self._introduce()
        self._frames.largest = self.world.limits.frame_bytes
        self._step = self._running
        return True

    def _introduce(self) -> None:
        limits = self.world.limits
        self._is_open = True
        self.send(
            say.opened(
                container="huntaze-door",
                max_frame=limits.frame_bytes,
                channel_max=limits.sessions - 1,
                idle_ms=limits.idle_ms,
            )
        )

    def _running(self) -> bool:
        found = self._frames.next()
        if found is None:
            return False
        type_, channel, body = found
        if type_ != 0:
            raise Fault(FRAMING, "A frame is of another type than AMQP's.")
        if body:
            descriptor, at = kind.descriptor_of(body)
            if descriptor == kind.CLOSE:
                self.send(say.closed())
                self._part()
                return False
            fields, end = ((), 0) if descriptor == kind.ATTACH else kind.read_fields(body, at)
            self._dispatch(channel, descriptor, fields, body, at if not fields else end)
        return True

    def _dispatch(
        self, channel: int, descriptor: int, fields: Sequence[Any], body: bytes, end: int
    ) -> None:
        session = self._sessions.get(channel)
        if descriptor == kind.BEGIN:
            if session is not None or channel >= self.world.limits.sessions:
                raise Fault(NOT_ALLOWED, f"Channel {channel} is taken, or beyond the last one.")
            self._sessions[channel] = Session(self, channel, kind.read_begin(fields))
        elif not kind.ATTACH <= descriptor <= kind.END:
            raise Fault(NOT_ALLOWED, f"0x{descriptor:02x} is not for this place.")
        elif session is None:
            return  # clients speak on into sessions that they ended
        elif descriptor == kind.END:
            del self._sessions[channel]
            session.close()
            self.send(say.ended(channel))
        else:
            session.take(descriptor, fields, body, end)

    def _deaf(self) -> bool:
        return False

    # ----------------------------------------------------------------- what is sent

    def _keep_up(self, now: int) -> None:
        silent = self.world.limits.heartbeat_ms
        if self._remote_idle is not None:
            silent = min(silent, self._remote_idle // 2)
        if now - self._spoke >= silent:
            self.send(say.HEARTBEAT)
        if self._grants and min(self._grants.values()) <= self.world.clock.wall().timestamp():
            self._expire()

    def _expire(self) -> None:
        now = self.world.clock.wall().timestamp()
        self._grants = {path: until for path, until in self._grants.items() if until > now}
        for session in list(self._sessions.values()):
            session.recheck(Fault(UNAUTHORIZED, "The token has expired."))

    def _flush(self) -> None:
        self._flushing = False
        transport, out = self._transport, self._out
        if transport is None or not out:
            return
        self._spoke = self.world.clock.now()
        transport.write(b"".join(out) if len(out) > 1 else out[0])
        out.clear()
        if transport.get_write_buffer_size() > self.world.limits.unread_bytes:
            self.hold("unread")

    def _part(self) -> None:
        """Close when the client has taken what was said."""
        self._closing_since = self.world.clock.now()
        self._step = self._deaf
        self._flush()
        for session in list(self._sessions.values()):
            session.close()
        self._sessions.clear()
        if self._transport:
            self._transport.close()
