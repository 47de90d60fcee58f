"""What the door holds for one client: what goes out, what came in, and what it may do."""

import asyncio

from notifications.door import performatives as kind
from notifications.door.faults import RESOURCE_LIMIT, Fault
from notifications.door.sas import Grant
from notifications.door.world import World

_SHARE_OF_UNREAD = 8
"""Handing out messages stops when this share of what may wait for a client waits."""


class Client:
    """A client's transport and its account.

    It is read from only while what it sent and what it did not read are within their limits; so
    a client that floods or never reads costs its limits and no more.

    Attributes:
        world: What it came to.
        max_frame: The largest frame that it takes.
        paused: It does not keep up with reading: hand nothing out.
        spoke: When it was sent something, ms.
        links: How many it has.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.max_frame = kind.MIN_FRAME_BYTES
        self.paused = False
        self.spoke = world.clock.now()
        self.links = 0
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._flushing = self._is_closed = False
        self._stuck_since = self._unread = 0
        self._share = world.limits.unread_bytes // _SHARE_OF_UNREAD
        self._holds: set[str] = set()
        self._waiting = self._partial = 0
        self._grants: dict[str, float] = {}

    # ----------------------------------------------------------------- the transport

    def came(self, transport: asyncio.Transport) -> None:
        """It is there."""
        self._transport = transport
        transport.set_write_buffer_limits(self._share)

    def left(self) -> None:
        """It is gone."""
        self._transport = None
        self._is_closed = True
        self._out.clear()

    @property
    def is_there(self) -> bool:
        """Whether there is somebody."""
        return self._transport is not None

    @property
    def is_full(self) -> bool:
        """Whether as much is on its way to it as is to be: hand out no more in this turn."""
        return self.paused or self._out_bytes > self._share

    @property
    def is_held(self) -> bool:
        """Whether it is not read from at present."""
        return bool(self._holds)

    def pause(self) -> None:
        """It does not keep up with reading."""
        self.paused = True
        self._stuck_since = self.world.clock.now()
        self._unread = 0

    def resume(self) -> None:
        """It does again."""
        self.paused = False
        self.release("unread")

    def stuck_for(self, now: int) -> int:
        """How long it has read nothing though something waits, ms."""
        if not self.paused or self._transport is None:
            return 0
        unread = self._transport.get_write_buffer_size()
        if unread < self._unread:
            self._stuck_since = now
        self._unread = unread
        return now - self._stuck_since

    def close(self) -> None:
        """Close when it has taken what was sent; what is sent afterwards goes nowhere."""
        self.flush()
        if self._transport is not None:
            self._transport.close()
        self._is_closed = True

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # ----------------------------------------------------------------- going out

    def send(self, data: bytes) -> None:
        """Send it with what else is sent in this turn of the loop."""
        if self._is_closed:
            return
        self._out.append(data)
        self._out_bytes += len(data)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send what waits for the end of the turn."""
        self._flushing = False
        self._out_bytes = 0
        transport, out = self._transport, self._out
        if transport is None or not out:
            return
        self.spoke = self.world.clock.now()
        transport.write(b"".join(out) if len(out) > 1 else out[0])
        out.clear()
        if transport.get_write_buffer_size() > self.world.limits.unread_bytes:
            self.hold("unread")

    # ----------------------------------------------------------------- coming in

    def hold(self, why: str) -> None:
        """Do not read from it until what is named is released."""
        if not self._holds and self._transport is not None:
            self._transport.pause_reading()
        self._holds.add(why)

    def release(self, why: str) -> None:
        """Read on, unless something else holds."""
        if why in self._holds:
            self._holds.discard(why)
            transport = self._transport
            if not self._holds and transport is not None and not transport.is_closing():
                transport.resume_reading()

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

    # ----------------------------------------------------------------- what it may do

    def grant(self, path: str, grant: Grant) -> None:
        """It showed a token for a path.

        Raises:
            Fault: It showed too many.
        """
        if len(self._grants) >= self.world.limits.grants and path not in self._grants:
            raise Fault(RESOURCE_LIMIT, f"At most {self.world.limits.grants} tokens are kept.")
        self._grants[path] = grant.expires_at

    def allows(self, path: str) -> bool:
        """Whether it showed a token for a path, case-folded, or for one above it."""
        now = self.world.clock.wall().timestamp()
        while True:
            if self._grants.get(path, 0) > now:
                return True
            if not path:
                return False
            path = path.rpartition("/")[0]

    def forget_expired(self) -> bool:
        """Forget the tokens that have expired; whether there were any."""
        if not self._grants:
            return False
        now = self.world.clock.wall().timestamp()
        before = len(self._grants)
        if min(self._grants.values()) <= now:
            self._grants = {path: until for path, until in self._grants.items() if until > now}
        return len(self._grants) < before
