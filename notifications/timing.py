"""Time and chance as the hub uses them: the real clock, real dice, an alarm, and numbers."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from notifications.ports import Clock, Dice

_CATCH_UP = 0.5
"""How much faster or slower than real time the ledger's clock runs while it is off, as a share."""

_BITE_MS = 60_000
"""How long the clock sleeps before it looks at the time again: it may run faster meanwhile."""

_ROUNDING_S = 0.0005
"""Added to every sleep: what is left is rounded down to milliseconds."""


class SystemClock:
    """The machine's clock. `now` starts at the wall clock and never jumps.

    When the wall clock jumps or the machine slept, `now` runs between half and one and a half
    times real speed until the two agree again, so that nothing expires early by more than that.

    Args:
        monotonic: Seconds that only go forward, and stand still while the machine sleeps.
        wall: Seconds since the epoch, as the clock on the wall has them.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._ms = wall() * 1000
        self._measured = monotonic()

    def now(self) -> int:
        """The ledger's time, ms since the epoch."""
        measured = self._monotonic()
        elapsed = (measured - self._measured) * 1000
        self._measured = measured
        self._ms += elapsed
        off = self._wall() * 1000 - self._ms
        limit = elapsed * _CATCH_UP
        # Asked ten times for each event, so without calls: `off`, held between the limits.
        self._ms += limit if off > limit else max(off, -limit)
        return int(self._ms)

    def wall(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.fromtimestamp(self._wall(), UTC)

    async def sleep_until(self, at: int) -> None:
        """Return when `now()` has reached `at`."""
        while (left := at - self.now()) > 0:  # noqa: ASYNC110 - it is time that is waited for
            await asyncio.sleep(min(left, _BITE_MS) / 1000 + _ROUNDING_S)


class SystemDice:
    """The machine's randomness."""

    def roll(self) -> float:
        """Uniform in [0, 1); spreads retries, guards nothing."""
        return random.random()  # noqa: S311 - jitter needs no secrecy

    def token(self, size: int) -> bytes:
        """`size` unguessable bytes."""
        return secrets.token_bytes(size)


class Alarm:
    """Rings at the earliest of the times it was set to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at: int | None = None
        self._changed = asyncio.Event()

    def set(self, at: int) -> None:
        """Ring at `at`, unless it rings earlier anyway."""
        if self._at is None or at < self._at:
            self._at = at
            self._changed.set()

    async def ring(self) -> None:
        """Wait until the time it was set to; it is unset afterwards."""
        while True:
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            waits: set[asyncio.Future[Any]] = {changed}
            if self._at is not None:
                waits.add(asyncio.ensure_future(self._sleep(self._at)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            if self._at is not None and self._clock.now() >= self._at:
                self._at = None
                return

    async def _sleep(self, at: int) -> bool:
        await self._clock.sleep_until(at)
        return True


class Numbers:
    """Numbers that grow with time: 41 bits of milliseconds, 10 of the process, 6 counted, 6 free.

    Rows keyed by them append at the right edge of their index. Up to 64 a millisecond; what is
    more borrows from the next. Each comes with the `BLOCK` - 1 that follow it: they are its own,
    for what is made of it and must get the same numbers when it is made again.
    """

    BLOCK = 64

    EPOCH = 1_704_067_200_000  # 2024-01-01, ms

    def __init__(self, clock: Clock, dice: Dice, *, process: int | None = None) -> None:
        """Number for one process; by chance, where nobody says which (`process`, 0-1023)."""
        self._clock = clock
        self._process = int.from_bytes(dice.token(2)) & 0x3FF if process is None else process
        self._last = 0

    def next(self) -> int:
        """The next number: larger than any before from this process."""
        return self.several(1)[0]

    def several(self, count: int) -> list[int]:
        """The next numbers, each larger than those before; the clock is asked once."""
        base = ((self._clock.now() - self.EPOCH) << 12) & ~0xFFF
        first = max(self._last + self.BLOCK, base)
        self._last = first + (count - 1) * self.BLOCK
        process = self._process << 12
        return [
            ((place >> 12) << 22) | process | (place & 0xFFF)
            for place in range(first, self._last + 1, self.BLOCK)
        ]

    @classmethod
    def time_of(cls, number: int) -> int:
        """The millisecond a number comes from."""
        return (number >> 22) + cls.EPOCH

    @classmethod
    def at(cls, ms: int) -> int:
        """The smallest number of that millisecond: where a time begins in an index."""
        return max(ms - cls.EPOCH, 0) << 22
