"""Lanes: where deliveries wait. Pure, but for `Lanes`, which counts what is in flight.

A lane is one endpoint, or one tenant's mails or toasts. It has a bound of attempts in flight and a
health: after a run of timeouts it is *sick*, and is then tried with one delivery at a time, after
5 s, doubling to 10 min. Only timeouts make a lane sick: what answers, even with an error, holds no
place for long.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from notifications.deliveries import Failed, Outcome
from notifications.events import Channel
from notifications.retries import MINUTE, SECOND

SICK_AFTER = 5
"""Timeouts in a row."""

FIRST_PROBE = 5 * SECOND
LAST_PROBE = 10 * MINUTE

BOUNDS: Mapping[Channel, int] = {Channel.REALTIME: 512, Channel.EMAIL: 32, Channel.WEBHOOK: 128}
"""Attempts in flight at once, per lane and process."""

IN_FLIGHT_LIMIT = 4_096
"""Attempts in flight at once, of all lanes of a process: what memory and sockets can bear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a lane is.

    Attributes:
        lane: Its name.
        timeouts: In a row.
        probe_at: While sick: when it is tried again; ms since the epoch.
        probe_delay: While sick: how long it was left alone, ms.
    """

    lane: str
    timeouts: int = 0
    probe_at: int | None = None
    probe_delay: int | None = None

    @property
    def sick(self) -> bool:
        """Whether it only takes probes."""
        return self.probe_at is not None


def after(health: Health, outcome: Outcome, *, now: int) -> Health:
    """A lane's health after an attempt; the same object where nothing changed."""
    if not (isinstance(outcome, Failed) and outcome.timed_out):
        return health if health.timeouts == 0 else Health(lane=health.lane)
    timeouts = health.timeouts + 1
    if timeouts < SICK_AFTER:
        return replace(health, timeouts=timeouts)
    if health.probe_at is not None and now < health.probe_at:
        return health  # it began before the lane was known to be sick, and tells nothing new
    delay = min((health.probe_delay or FIRST_PROBE // 2) * 2, LAST_PROBE)
    return replace(health, timeouts=timeouts, probe_at=now + delay, probe_delay=delay)


class Lanes:
    """What this process knows of its lanes: attempts in flight, and health."""

    def __init__(self) -> None:
        self._in_flight: Counter[str] = Counter()
        self._total = 0
        self._health: dict[str, Health] = {}

    def enter(self, lane: str, channel: Channel, *, now: int, probe: bool = False) -> bool:
        """Take a place in the lane; False when it is at its bound, or sick and this is no probe."""
        health = self._health.get(lane)
        if health is not None and health.sick and not probe:
            return False
        if probe and health is not None and (health.probe_at or 0) > now:
            return False
        if self._in_flight[lane] >= BOUNDS[channel] or self._total >= IN_FLIGHT_LIMIT:
            return False
        self._in_flight[lane] += 1
        self._total += 1
        return True

    def leave(self, lane: str, outcome: Outcome, *, now: int) -> Health | None:
        """Give the place back; the lane's health where the outcome changed it."""
        self._total -= 1
        self._in_flight[lane] -= 1
        if self._in_flight[lane] <= 0:
            del self._in_flight[lane]
        before = self.health(lane)
        health = after(before, outcome, now=now)
        if health is before:
            return None
        self.learn(health)
        return health

    def health(self, lane: str) -> Health:
        """The lane's health as far as this process knows."""
        return self._health.get(lane) or Health(lane=lane)

    def learn(self, health: Health) -> None:
        """Take over what the ledger knows."""
        if health.timeouts:
            self._health[health.lane] = health
        else:
            self._health.pop(health.lane, None)

    def room(self, lane: str, channel: Channel, *, now: int) -> int:
        """How many deliveries may be tried now: one while sick, and none before the probe."""
        health = self.health(lane)
        free = min(BOUNDS[channel] - self._in_flight[lane], IN_FLIGHT_LIMIT - self._total)
        if not health.sick:
            return max(free, 0)
        return 1 if free > 0 and (health.probe_at or 0) <= now else 0
