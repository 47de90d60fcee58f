"""The time that a hub which stops has left, whichever of its parts comes to its end."""

import asyncio


class StopTime:
    """One limit for all of them: what one part took of it, the next has no more."""

    def __init__(self, within_s: float) -> None:
        """Give that many seconds, from the first look at what is left on."""
        self.within_s = within_s
        self._until: float | None = None

    @property
    def begun(self) -> bool:
        """Whether it runs: the hub is about to end."""
        return self._until is not None

    def left_s(self) -> float:
        """Seconds until time is up; 0 from then on."""
        now = asyncio.get_running_loop().time()
        if self._until is None:
            self._until = now + self.within_s
        return max(self._until - now, 0.0)

    def cut(self) -> None:
        """Somebody else's patience is over: nothing is left."""
        self._until = asyncio.get_running_loop().time()
