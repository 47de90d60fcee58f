"""The drains that a worker has in hand: handled apart from what else it receives, and in turn."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from notifications.messages import Received

AT_ONCE = 64
"""Drains handled at the same time."""


class Draining:
    """Drains that are being handled, and those that wait for it, first come first served."""

    def __init__(self, handle: Callable[[Sequence[Received]], Awaitable[None]], most: int) -> None:
        """Have at most so many in hand, each handled by itself."""
        self._handle = handle
        self._most = most
        self._waiting: deque[Received] = deque()
        self._tasks = 0
        self.in_hand = 0
        """How many are handled or wait."""

    def take(self, drains: Sequence[Received]) -> Sequence[Received]:
        """Take drains into hand; those that there is no room for."""
        room = max(self._most - self.in_hand, 0)
        self._waiting.extend(drains[:room])
        self.in_hand += len(drains[:room])
        return drains[room:]

    def wants_another(self) -> bool:
        """Whether another `work` would have something to do; it is to be begun then."""
        if self._tasks >= min(AT_ONCE, self.in_hand):
            return False
        self._tasks += 1
        return True

    async def work(self) -> None:
        """Handle one drain after the other until none waits."""
        try:
            while self._waiting:
                drain = self._waiting.popleft()
                try:
                    await self._handle([drain])
                finally:
                    self.in_hand -= 1
        finally:
            self._tasks -= 1

    def let_go(self) -> Sequence[Received]:
        """Those that wait, which are not in hand any more."""
        waiting = list(self._waiting)
        self._waiting.clear()
        self.in_hand -= len(waiting)
        return waiting
