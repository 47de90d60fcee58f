"""Outages of what is ours, as one process knows them.

Whoever needs what is away waits; one of them asks each second whether it is back, for all.
"""

from notifications.errors import StoreUnavailable, Unavailable
from notifications.ports import Clock
from notifications.retries import SECOND

EVERY_MS = 1 * SECOND

DATABASE = "database"


class Outage:
    """Shared by everybody in a process who may wait for something of ours."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: dict[str, int] = {}  # what is away, and when it was last asked

    def noticed(self, what: str) -> None:
        """It could not answer just now."""
        self._asked[what] = self._clock.now()

    def over(self, what: str) -> None:
        """It answered: who waits for it may go on."""
        self._asked.pop(what, None)

    async def turn(self, what: str, *, until: int) -> bool:
        """Wait until it is the caller's turn to ask; False when `until` comes first."""
        while self._clock.now() < until:
            await self._clock.sleep_until(self._clock.now() + EVERY_MS)
            now = self._clock.now()
            asked = self._asked.get(what)
            if asked is None or now - asked >= EVERY_MS:
                if asked is not None:
                    self._asked[what] = now
                return True
        return False


def what_is_away(error: Unavailable, consumer: str) -> str:
    """What an error says is away: the database is everybody's, all else the consumer's own."""
    return DATABASE if isinstance(error, StoreUnavailable) else consumer
