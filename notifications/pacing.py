"""How fast a lane may go: attempts begun within any second. Pure, but for what `Pace` counts.

A customer may ask for a rate. One that answers 429 without having asked is slowed down to what it
can bear: the rate is halved with each refusal of what went out at the last one, and grows again by
an eighth a second while things are taken.
"""

from collections import deque

from notifications.retries import SECOND

WINDOW = SECOND

FIRST_GUESS = 32
"""Attempts a second after a lane's first 429."""

FORGOTTEN_AT = 1_000
"""A rate that was learned and has grown to this bounds nothing any more."""

UNBOUNDED = 1 << 30


class Pace:
    """One lane's.

    Attributes:
        asked: Attempts a second that the customer asks for; None is no limit.
        learned: What it was slowed down to; None is no limit.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self.learned: int | None = None
        self._begun: deque[int] = deque()
        self._cut_at = 0
        self._grown_at = 0

    @property
    def limit(self) -> int:
        """Attempts a second."""
        return min(self.asked or UNBOUNDED, self.learned or UNBOUNDED)

    @property
    def idle(self) -> bool:
        """Whether it bounds nothing and can be forgotten."""
        return self.asked is None and self.learned is None

    def room(self, now: int) -> int:
        """How many may be begun now."""
        while self._begun and self._begun[0] <= now - WINDOW:
            self._begun.popleft()
        return max(self.limit - len(self._begun), 0)

    def open_at(self, now: int) -> int:
        """When the next may be begun."""
        if self.room(now):
            return now
        return self._begun[len(self._begun) - self.limit] + WINDOW

    def begin(self, now: int) -> None:
        """One is begun."""
        self._begun.append(now)

    def undo(self) -> None:
        """One that was begun asked nobody."""
        if self._begun:
            self._begun.pop()

    def refused(self, *, began: int, now: int) -> None:
        """One was answered with 429."""
        if self.learned is None:
            self.learned = FIRST_GUESS
        elif began > self._cut_at:  # else it went out before the last cut and tells nothing new
            self.learned = max(self.learned // 2, 1)
        else:
            return
        self._cut_at = self._grown_at = now

    def taken(self, *, now: int) -> None:
        """One was delivered."""
        if self.learned is None or now - self._grown_at < WINDOW:
            return
        self._grown_at = now
        self.learned += max(self.learned // 8, 1)
        if self.learned >= FORGOTTEN_AT:
            self.learned = None
