"""Whose turn it is to begin attempts, among the drains of a channel.

After an outage of receivers thousands of deliveries are due in the same second. Begun all at once
they would open a connection each, keep the process from everything else for as long as it takes to
send them, and come back so late that each is written down by itself. So drains begin a few at a
time, in turn, and go on as fast as those come back: at the process's own speed where receivers are
quick, and without waiting for them where they are not. What is published meanwhile waits for
nobody's turn.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

TOGETHER = 32
"""Attempts begun before a drain looks how the process does: a few milliseconds of its time."""

PATIENCE_S = 0.01
"""How long attempts may take to come back before the next are begun all the same."""


CLAIMING = 4
"""Drains that claim their page, or have one and have not begun all of it."""


class DrainTurns:
    """Hands out turns, first come first served: `async with turns:` begin, then `begun`.

    Attributes:
        claiming: Whoever claims a page holds it until all of the page is begun, so that no more is
            claimed, and no more of the database's time taken, than is about to begin.
    """

    def __init__(self) -> None:
        self.claiming = asyncio.Semaphore(CLAIMING)
        self._turn = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> None:
        """Wait for the turn."""
        await self._turn.acquire()

    async def __aexit__(self, *_: object) -> None:
        """The next one's turn."""
        self._turn.release()

    async def begun(self, attempts: Iterable[asyncio.Task[Any]]) -> None:
        """Within the turn: these were begun; where they make many with those of others, wait."""
        self._under_way.update(attempts)
        if len(self._under_way) >= TOGETHER:
            await asyncio.wait(self._under_way, timeout=PATIENCE_S)
            self._under_way.clear()
