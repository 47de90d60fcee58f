"""One client's connection: logging in, frames in turns, heartbeats, and an orderly end."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from notifications.door import frames as say
from notifications.door import performatives as kind
from notifications.door.client import Client
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
from notifications.door.session import Session
from notifications.door.world import World

log = logging.getLogger("huntaze")

_PARTING_MS = 5_000
"""How long a client that takes nothing may hold up its own end."""


class Connection(asyncio.Protocol):
    """A client, from its first byte to its last."""

    def __init__(self, world: World, left: Callable[["Connection"], None]) -> None:
        self._limits = world.limits
        self._clock = world.clock
        self._client = Client(world)
        self._left = left
        self._frames = Frames(world.limits.first_frame_bytes)
        self._step: Callable[[], bool] = self._sasl_header
        self._sessions: dict[int, Session] = {}
        self._turning = False
        self._is_open = False
        self._began = self._heard = self._clock.now()
        self._closing_since: int | None = None
        self._remote_idle: int | None = None

    # ----------------------------------------------------------------- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        # uvloop's transports are such, but do not say so.
        self._client.came(cast("asyncio.Transport", transport))

    def connection_lost(self, _exc: Exception | None) -> None:
        """It is gone, whoever ended it."""
        self._client.left()
        self._step = self._deaf
        for session in list(self._sessions.values()):
            session.close()
        self._sessions.clear()
        self._left(self)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        self._heard = self._clock.now()
        self._frames.add(data)
        if not self._turning:
            self._turn()

    def pause_writing(self) -> None:
        """The client does not keep up with reading."""
        self._client.pause()
        for session in list(self._sessions.values()):
            session.pause()

    def resume_writing(self) -> None:
        """It does again."""
        self._client.resume()
        for session in list(self._sessions.values()):
            session.kick()

    # ----------------------------------------------------------------- the listener's

    def tick(self, now: int) -> None:
        """Time passed: keep the connection alive, or end it."""
        client, limits = self._client, self._limits
        if not client.is_there:
            return
        if client.is_held:
            self._heard = now  # silent because nobody listens
        if self._closing_since is not None:
            if now - self._closing_since >= _PARTING_MS:
                client.abort()
        elif not self._is_open and now - self._began >= limits.opening_ms:
            self.fail(Fault(FORCED, "The connection was not opened in time."))
        elif client.stuck_for(now) >= limits.stuck_ms:
            log.info("door.client_stuck")
            client.abort()
        elif now - self._heard >= 2 * limits.idle_ms:
            self.fail(Fault(RESOURCE_LIMIT, "The connection was inactive for too long."))
        elif self._is_open:
            self._keep_up(now)

    def fail(self, fault: Fault) -> None:
        """Tell the client what is wrong, and close."""
        if self._closing_since is not None or not self._client.is_there:
            return
        log.info("door.closed", extra={"detail": str(fault)})
        if self._step == self._sasl_header:
            self._client.send(say.SASL_HEADER)
        elif self._step == self._sasl_init:
            self._client.send(say.outcome(say.SASL_SYSTEM))
        else:
            if self._step == self._amqp_header:
                self._client.send(say.AMQP_HEADER)
            if not self._is_open:
                self._introduce()
            self._client.send(say.closed(fault))
        self._part()

    def abort(self) -> None:
        """Close at once, whatever waits."""
        self._client.abort()

    # ----------------------------------------------------------------- what is received

    def _turn(self) -> None:
        """Deal with so many frames, then let others have theirs."""
        self._turning = False
        for _ in range(self._limits.frames_per_turn):
            try:
                if not self._step():
                    return self._client.release("turn")
            except Fault as fault:
                return self.fail(fault)
            except Exception:
                log.exception("door.frame_failed")
                return self.fail(Fault(INTERNAL_ERROR, "The door failed at this frame."))
        self._turning = True
        self._client.hold("turn")
        asyncio.get_running_loop().call_soon(self._turn)
        return None

    def _sasl_header(self) -> bool:
        header = self._frames.take(8)
        if header is None:
            return False
        self._client.send(say.SASL_HEADER)
        if header != say.SASL_HEADER:
            self._part()
            return False
        self._client.send(say.mechanisms())
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
            self._client.send(say.outcome(say.SASL_AUTH))
            self._part()
            return False
        self._client.send(say.outcome(say.SASL_OK))
        self._step = self._amqp_header
        return True

    def _amqp_header(self) -> bool:
        header = self._frames.take(8)
        if header is None:
            return False
        self._client.send(say.AMQP_HEADER)
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
        self._client.max_frame = min(opened.max_frame_size, 1024 * 1024)
        self._remote_idle = opened.idle_ms or None
        self._introduce()
        self._frames.largest = self._limits.frame_bytes
        self._step = self._running
        return True

    def _introduce(self) -> None:
        limits = self._limits
        self._is_open = True
        self._client.send(
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
                self._client.send(say.closed())
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
            if session is not None or channel >= self._limits.sessions:
                raise Fault(NOT_ALLOWED, f"Channel {channel} is taken, or beyond the last one.")
            self._sessions[channel] = Session(self._client, channel, kind.read_begin(fields))
        elif not kind.ATTACH <= descriptor <= kind.END:
            raise Fault(NOT_ALLOWED, f"0x{descriptor:02x} is not for this place.")
        elif session is None:
            return  # clients speak on into sessions that they ended
        elif descriptor == kind.END:
            del self._sessions[channel]
            if not session.is_over:
                session.close()
                self._client.send(say.ended(channel))
        else:
            session.take(descriptor, fields, body, end)

    def _deaf(self) -> bool:
        return False

    # ----------------------------------------------------------------- time, and the end

    def _keep_up(self, now: int) -> None:
        silent = self._limits.heartbeat_ms
        if self._remote_idle is not None:
            silent = min(silent, self._remote_idle // 2)
        if now - self._client.spoke >= silent:
            self._client.send(say.HEARTBEAT)
        if self._client.forget_expired():
            for session in list(self._sessions.values()):
                session.recheck(Fault(UNAUTHORIZED, "The token has expired."))

    def _part(self) -> None:
        """Close when the client has taken what was said."""
        self._closing_since = self._clock.now()
        self._step = self._deaf
        for session in list(self._sessions.values()):
            session.close()
        self._sessions.clear()
        self._client.close()
