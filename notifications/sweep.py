"""The sweep: looks, in bounded pages, for what should have moved and did not, and moves it.

A bus message is only a wake-up; one that is lost, doubled or late costs time until the next sweep,
never a delivery.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Protocol

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


class LostEvents(Protocol):
    """Events that the ledger has and no wake-up tells of."""

    async def resend(self, *, limit: int) -> int:
        """Send up to `limit` of them again, to the consumers that lack them; how many it was."""
        ...


class Relay(Protocol):
    """The outbox of a database that the bus does not share."""

    async def relay(self, *, limit: int) -> int:
        """Send up to `limit` messages that were left behind; how many those were."""
        ...


class Sweep:
    """Runs at start, then every minute, or when nudged."""

    def __init__(
        self,
        upkeep: Upkeep,
        clock: Clock,
        lost: LostEvents | None = None,
        outbox: Relay | None = None,
    ) -> None:
        """Put it together.

        Args:
            upkeep: Moves deliveries.
            clock: Says when a minute is over.
            lost: Finds lost events.
            outbox: Where messages may be left behind; None where the bus shares the commit.
        """
        self._steps: dict[str, Step] = {
            "unparked": upkeep.unpark,
            "ended": upkeep.end,
            "woken": upkeep.wake,
            "forgotten": upkeep.forget,
        }
        if lost is not None:
            self._steps["resent"] = lost.resend
        if outbox is not None:
            self._steps = {"relayed": outbox.relay, **self._steps}
        self._clock = clock
        self._nudged = asyncio.Event()
        self.last_at: int | None = None
        """When the last sweep ended, ms since the epoch; on `/readyz` and `/metrics`."""
        self.began_at = clock.now()
        """Since when one is waited for."""

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await self.sweep()
            await self._until_next()

    def nudge(self) -> None:
        """Sweep soon: something was made due that no wake-up tells of."""
        self._nudged.set()

    async def sweep(self) -> dict[str, int]:
        """Sweep once; how many rows each step moved. A step that fails is left out.

        While one fails, `last_at` stays: whoever watches its age learns of it.
        """
        self._nudged.clear()
        moved = {}
        for name, step in self._steps.items():
            try:
                moved[name] = await _in_pages(step)
            except Exception as error:
                log.warning("sweep.failed", exc_info=error, extra={"step": name})
        if len(moved) == len(self._steps):
            self.last_at = self._clock.now()
        if any(moved.values()):
            log.info("sweep.moved", extra=moved)
        return moved

    async def _until_next(self) -> None:
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


async def _in_pages(step: Step) -> int:
    moved = 0
    for _ in range(PAGES):
        page = await step(limit=PAGE)
        moved += page
        if page < PAGE:
            break
    return moved
