"""Fakes for tests of the hub and of what is built on it: real adapters that need no outside world.

ManualClock   stands still until it is moved
SeededDice    falls the same way in every run
"""

import asyncio
import heapq
import itertools
import random
from datetime import UTC, datetime

START_MS = 1_772_366_400_000
"""2026-03-01 12:00 UTC: when a `ManualClock` begins."""

_TURNS = 12
"""Turns of the event loop that one who was woken gets before time goes on."""


class ManualClock:
    """Implements `ports.Clock`. Time passes only in `advance`, never by itself.

    Attributes:
        ms: The time, ms since the epoch.
    """

    def __init__(self, at: int = START_MS) -> None:
        self.ms = at
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> int:
        """The time, ms since the epoch."""
        return self.ms

    def wall(self) -> datetime:
        """The same time, as a date in UTC."""
        return datetime.fromtimestamp(self.ms / 1000, UTC)

    async def sleep_until(self, at: int) -> None:
        """Return when the time has been moved to `at` or beyond."""
        if at <= self.ms:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (at, next(self._order), woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many are asleep."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def advance(self, ms: int) -> None:
        """Let so much time pass: wake who sleeps, the earliest first, each at its own time.

        Who is woken runs before the time goes on, as far as it does not wait for anything
        outside the event loop; for that, wait on what you expect of it.
        """
        end = self.ms + ms
        await self._turns()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            if woken.done():  # its sleeper was cancelled
                continue
            self.ms = max(self.ms, at)
            woken.set_result(None)
            await self._turns()
        self.ms = max(self.ms, end)
        await self._turns()

    async def _turns(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)


class SeededDice:
    """Implements `ports.Dice`: the same seed, the same fall. Guards nothing.

    Args:
        seed: What the run depends on.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - that is what it is for

    def roll(self) -> float:
        """Uniform in [0, 1)."""
        return self._random.random()

    def token(self, size: int) -> bytes:
        """`size` bytes that anybody can guess who knows the seed."""
        return self._random.randbytes(size)
