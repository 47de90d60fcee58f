"""The sweep: looks, in bounded pages, for what should have moved and did not, and moves it.

A bus message is only a wake-up; one that is lost, doubled or late costs time until the next sweep,
never a delivery.
"""

import asyncio
import logging

from notifications.errors import Unavailable
from notifications.ports import Clock, Upkeep
from notifications.retries import MINUTE

log = logging.getLogger("huntaze")

EVERY = MINUTE
PAGE = 500
"""Rows one step moves at once: what a commit can carry without being felt."""

PAGES = 200
"""Pages of one step in one sweep; the next sweep goes on."""


class Sweep:
    """Runs at start, then every minute, or when nudged."""

    def __init__(self, upkeep: Upkeep, clock: Clock) -> None:
        self._steps = {
            "unparked": upkeep.unpark,
            "ended": upkeep.end,
            "woken": upkeep.wake,
            "forgotten": upkeep.forget,
        }
        self._clock = clock
        self._nudged = asyncio.Event()
        self.last_at: int | None = None
        """When the last sweep ended, ms since the epoch; on `/readyz` and `/metrics`."""

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await self._once()
            await self._until_next()

    def nudge(self) -> None:
        """Sweep soon: something was made due that no wake-up tells of."""
        self._nudged.set()

    async def sweep(self) -> dict[str, int]:
        """Sweep once; how many rows each step moved."""
        moved = {}
        for name, step in self._steps.items():
            count = 0
            for _ in range(PAGES):
                page = await step(limit=PAGE)
                count += page
                if page < PAGE:
                    break
            moved[name] = count
        self.last_at = self._clock.now()
        if any(moved.values()):
            log.info("sweep.moved", extra=moved)
        return moved

    async def _once(self) -> None:
        try:
            await self.sweep()
        except Unavailable as error:
            log.warning("sweep.failed", extra={"detail": str(error)})

    async def _until_next(self) -> None:
        self._nudged.clear()
        waits = {
            asyncio.ensure_future(self._clock.sleep_until(self._clock.now() + EVERY)),
            asyncio.ensure_future(self._nudge()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _nudge(self) -> None:
        await self._nudged.wait()
