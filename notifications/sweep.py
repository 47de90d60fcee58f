"""The sweep: looks, in bounded pages, for what should have moved and did not, and moves it.

A bus message is only a wake-up; one that is lost, doubled or late costs time until the next sweep,
never a delivery.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Protocol

from notifications.crashpoints import Point, between, passing
from notifications.ports import Clock, Upkeep
from notifications.retries import MINUTE

log = logging.getLogger("huntaze")

EVERY = MINUTE
PAGE = 500
"""Rows one step moves at once: what a commit can carry without being felt."""

PAGES = 200
"""Pages of one step in one sweep; the next sweep goes on."""


class Step(Protocol):
    """One thing that the sweep looks for."""

    def __call__(self, *, limit: int) -> Awaitable[int]:
        """Move up to `limit` rows; how many it was."""
        ...


class Standing(Protocol):
    """Where the ledger says what time it is, for who reads it without its process."""

    async def keep(self, swept_at: int) -> None:
        """Write down what time it is, and when the last sweep began."""
        ...


def upkeep_steps(upkeep: Upkeep) -> dict[str, Step]:
    """What moves deliveries."""
    return {
        "unparked": upkeep.unpark,
        "ended": upkeep.end,
        "woken": upkeep.wake,
    }


class Sweep:
    """Runs at start, then every minute, or when nudged."""

    def __init__(
        self,
        steps: Mapping[str, Step],
        clock: Clock,
        standing: Standing | None = None,
        *,
        first_pause: int = EVERY,
        tidying: Mapping[str, Step] | None = None,
    ) -> None:
        """Put it together.

        Args:
            steps: What is looked for, in this order, by what was done to it.
            clock: Says when a minute is over.
            standing: Where each sweep is noted; None where nobody reads it.
            first_pause: How long after the first sweep the second one comes, ms, where that is less
                than a minute: when what the run before had claimed is free again.
            tidying: What is removed, in the same way, after all that is moved.
        """
        self._moving = dict(steps)
        self._tidying = dict(tidying or {})
        self._clock = clock
        self._standing = standing
        self._first_pause = first_pause
        self._swept_at: int | None = None
        self._nudged = asyncio.Event()
        self.last_at: int | None = None
        """When the last sweep ended, ms since the epoch; on `/readyz` and `/metrics`."""
        self.began_at = clock.now()
        """Since when one is waited for."""

    async def run(self) -> None:
        """Sweep until cancelled."""
        pause = min(self._first_pause, EVERY)
        while True:
            await self.sweep()
            await self._until_next(pause)
            pause = EVERY

    def nudge(self) -> None:
        """Sweep soon: something was made due that no wake-up tells of."""
        self._nudged.set()

    async def sweep(self) -> dict[str, int]:
        """Sweep once; how many rows each step moved. A step that fails is left out.

        While one fails, `last_at` stays: whoever watches its age learns of it.
        """
        return await self._sweep({**self._moving, **self._tidying})

    async def move(self) -> dict[str, int]:
        """Sweep, but remove nothing: for who has `tidy` called at other times."""
        return await self._sweep(self._moving)

    async def tidy(self) -> dict[str, int]:
        """Remove what is kept no longer; how many rows each step removed."""
        return await _taken(self._tidying)

    async def _sweep(self, steps: Mapping[str, Step]) -> dict[str, int]:
        self._nudged.clear()
        passing(Point.SWEEP_BEGINS)
        began = self._clock.now()
        moved = await _taken(steps)
        self._swept_at = began
        await self._keep(began)
        if len(moved) == len(steps):
            self.last_at = self._clock.now()
        return moved

    async def close(self) -> None:
        """At an orderly end: note when it was; not where nothing has been looked after yet."""
        if self._swept_at is not None:
            await self._keep(self._swept_at)

    async def _keep(self, swept_at: int) -> None:
        if self._standing is None:
            return
        try:
            await between(Point.SWEEP_NOTES, self._standing.keep(swept_at), Point.SWEEP_NOTED)
        except Exception as error:
            log.warning("sweep.not_noted", exc_info=error)

    async def _until_next(self, pause: int) -> None:
        waits = {
            asyncio.ensure_future(self._clock.sleep_until(self._clock.now() + pause)),
            asyncio.ensure_future(self._nudge()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _nudge(self) -> None:
        await self._nudged.wait()


async def _taken(steps: Mapping[str, Step]) -> dict[str, int]:
    """Take each step; what it did, without those that failed."""
    moved = {}
    for name, step in steps.items():
        try:
            moved[name] = await _in_pages(step)
            passing(Point.SWEEP_STEP_ENDS)
        except Exception as error:
            log.warning("sweep.failed", exc_info=error, extra={"step": name})
    if any(moved.values()):
        log.info("sweep.moved", extra=moved)
    return moved


async def _in_pages(step: Step) -> int:
    moved = 0
    for _ in range(PAGES):
        page = await step(limit=PAGE)
        moved += page
        if page < PAGE:
            break
    return moved
