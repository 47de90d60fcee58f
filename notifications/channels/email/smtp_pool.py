"""Connections to the mail server that are kept for the next mail."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from notifications.channels.email.smtp_session import Session
from notifications.errors import Unavailable
from notifications.ports import Clock
from notifications.timing import Alarm

IDLE_MS = 30_000
"""How long a connection that nobody uses is kept: less than servers and firewalls keep it."""

MAILS_PER_SESSION = 100
"""Servers end connections that go on for ever."""


class Place:
    """The right to use one connection.

    Attributes:
        session: The connection in use, if any.
    """

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self.session: Session | None = None

    def reuse(self) -> Session | None:
        """A kept connection, as far as this side knows alive; None where there is none."""
        while (kept := self._pool.take()) is not None:
            self.session = kept
            if self.session.alive:
                return self.session
            self.drop()
        return None

    async def open(self) -> Session:
        """A new connection, signed in.

        Raises:
            SessionError: The server is away, or will not have us.
            Unavailable: We have no socket left, or the pool is closed.
        """
        self.drop()
        self.session = self._pool.make()
        await self.session.open()
        self._pool.check_open()
        return self.session

    def drop(self) -> None:
        """Close the connection in use at once."""
        if self.session is not None:
            self.session.abort()
            self.session = None


class Pool:
    """A bounded number of connections, the one last used first."""

    def __init__(self, make: Callable[[], Session], clock: Clock, *, size: int) -> None:
        """Nothing is opened before it is used.

        Args:
            make: A connection that is not open yet.
            clock: Tells how long one was idle.
            size: Connections at once, idle ones included.
        """
        self.make = make
        self._clock = clock
        self._free = asyncio.Semaphore(size)
        self._kept: list[tuple[int, Session]] = []  # with the time since when, oldest first
        self._in_use: set[Place] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._alarm = Alarm(clock)
        self._sweeping: asyncio.Task[None] | None = None
        self.closed = False

    @property
    def open_connections(self) -> int:
        """How many there are, in use or idle."""
        return len(self._kept) + sum(place.session is not None for place in self._in_use)

    def take(self) -> Session | None:
        """The connection that was used last, out of the pool."""
        return self._kept.pop()[1] if self._kept else None

    def check_open(self) -> None:
        """Raises `Unavailable` where the pool is closed."""
        if self.closed:
            raise Unavailable("the mailer is closed")

    def start(self) -> None:
        """Close what is idle for long from now on."""
        self._sweeping = asyncio.create_task(self._sweep(), name="smtp-idle")

    async def close(self) -> None:
        """Say goodbye on idle connections, and break off those in use."""
        self.closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        for place in self._in_use:
            if place.session is not None:
                place.session.abort()
        self._let_go(len(self._kept))
        await asyncio.gather(*self._leaving)

    @asynccontextmanager
    async def place(self, within_s: float) -> AsyncIterator[Place]:
        """A place among the connections; what is left in it in good order is kept.

        Args:
            within_s: How long to wait for one.

        Raises:
            Unavailable: There was none in time, or the pool is closed.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable("every connection to the mail server is in use") from None
        place = Place(self)
        self._in_use.add(place)
        try:
            self.check_open()
            yield place
            self._keep(place)
        finally:
            place.drop()  # left in there: whatever was not kept
            self._in_use.discard(place)
            self._free.release()

    def _keep(self, place: Place) -> None:
        session, place.session = place.session, None
        if session is None:
            return
        now = self._clock.now()
        self._kept.append((now, session))
        if self.closed or session.mails >= MAILS_PER_SESSION:
            self._kept.pop()
            self._say_goodbye(session)
        else:
            self._alarm.set(now + IDLE_MS)

    async def _sweep(self) -> None:
        while True:
            await self._alarm.ring()
            until = self._clock.now() - IDLE_MS
            self._let_go(sum(since <= until for since, _ in self._kept))
            if self._kept:
                self._alarm.set(self._kept[0][0] + IDLE_MS)

    def _let_go(self, count: int) -> None:
        """Say goodbye on those that were idle longest."""
        for _, session in self._kept[:count]:
            self._say_goodbye(session)
        del self._kept[:count]

    def _say_goodbye(self, session: Session) -> None:
        task = asyncio.create_task(session.leave(), name="smtp-goodbye")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
