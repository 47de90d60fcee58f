"""When to try again. Pure: the clock and the dice are arguments.

The notification table, with the time since the first attempt (jitter aside):

    attempt   2     3     4      5       6       7        8        9        10       11
    delay     5 s   30 s  2 min  10 min  30 min  1 h      2 h      4 h      6 h      8 h
    since     5 s   35 s  2 m 35 12 m 35 42 m 35 1 h 42   3 h 42   7 h 42   13 h 42  21 h 42

All times are milliseconds since the epoch by the ledger's clock; durations are milliseconds.
"""

from dataclasses import dataclass

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

JITTER = 0.1
"""Delays are spread by this share to either side, so that a crowd does not come back as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryTable:
    """How often and how long a piece of work is tried.

    Attributes:
        delays: Milliseconds before each retry; attempts in all = 1 + len(delays).
        lifetime: Milliseconds from routing to the deadline.
    """

    delays: tuple[int, ...]
    lifetime: int

    @property
    def attempts(self) -> int:
        """How many attempts a round has."""
        return 1 + len(self.delays)

    def next_due(
        self, *, attempt: int, now: int, deadline: int, dice: float, retry_after: int | None = None
    ) -> int | None:
        """When the next attempt is due, or None when this one was the last.

        Args:
            attempt: The attempt that just failed, from 1.
            now: When it failed.
            deadline: When the round ends. A retry that would fall later is made then, once.
            dice: Uniform in [0, 1).
            retry_after: Milliseconds the receiver asked us to wait, honoured between the
                scheduled delay and the deadline.
        """
        if attempt >= self.attempts or now >= deadline:
            return None
        delay = self.delays[attempt - 1] * (1 - JITTER + 2 * JITTER * dice)
        return min(now + max(int(delay), retry_after or 0), deadline)


NOTIFICATIONS = RetryTable(
    delays=(
        5 * SECOND,
        30 * SECOND,
        2 * MINUTE,
        10 * MINUTE,
        30 * MINUTE,
        1 * HOUR,
        2 * HOUR,
        4 * HOUR,
        6 * HOUR,
        8 * HOUR,
    ),
    lifetime=DAY,
)
"""Ten retries within a day, for toasts, mails and webhooks."""

VIDEO = RetryTable(delays=(15 * SECOND, 45 * SECOND, 2 * MINUTE), lifetime=30 * MINUTE)
"""Three retries within half an hour of acceptance, for the analysis of videos."""

LIGHT = RetryTable(
    delays=(3 * SECOND, 10 * SECOND, 30 * SECOND, 2 * MINUTE, 2 * MINUTE), lifetime=10 * MINUTE
)
"""Five retries within ten minutes of acceptance, for all other jobs."""
