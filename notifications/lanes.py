"""Lanes: where deliveries wait. Pure, but for `Lanes`, which counts what is in flight.

A lane is one endpoint, or one tenant's mails or toasts. It has a bound of attempts in flight and a
health: after a run of timeouts it is *sick*, and is then tried with one delivery at a time, after
5 s, doubling to 10 min. Only timeouts make a lane sick: what answers, even with an error, holds no
place for long. One that answers 429 or 503 with a `Retry-After` is *held* until then, for 10 min at
most, and then tried likewise. How fast it may go is `pacing`'s.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from notifications.deliveries import Delivered, Failed, Outcome, Parked, Postponed, Skipped
from notifications.events import Channel
from notifications.pacing import UNBOUNDED, Pace
from notifications.retries import MINUTE, SECOND

SICK_AFTER = 5
"""Timeouts in a row."""

FIRST_PROBE = 5 * SECOND
LAST_PROBE = 10 * MINUTE

BOUNDS: Mapping[Channel, int] = {Channel.REALTIME: 512, Channel.EMAIL: 32, Channel.WEBHOOK: 128}
"""Attempts in flight at once, per lane and process."""

IN_FLIGHT_LIMIT = 4_096
"""Attempts in flight at once, of all lanes of a channel in a process: what sockets can bear."""

TENANT_LIMIT = IN_FLIGHT_LIMIT // 4
"""The most of them that one tenant's lanes may hold, so that its slow endpoints leave room."""

BUSY_RETRY = 500
"""When a lane that was at its bound is looked at again at the latest, ms."""

WORTH_A_DRAIN = 4
"""The part of its bound that must be free again for a drain before that."""

PROBE_PATIENCE = 1 * MINUTE
"""When a lane whose probe is under way is looked at again, ms: the probe's end comes before."""


_ASKING = (429, 503)
"""The answers whose `Retry-After` speaks for everything that is sent there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a lane is.

    Attributes:
        lane: Its name.
        timeouts: In a row.
        probe_at: While sick or held: when it is tried again; ms since the epoch.
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

    @property
    def held(self) -> bool:
        """Whether its receiver asked to be left alone, not whether it is silent."""
        return self.sick and self.timeouts < SICK_AFTER

    @property
    def well(self) -> bool:
        """Whether there is nothing to remember."""
        return not self.timeouts and not self.sick


def after(health: Health, outcome: Outcome, *, began: int, now: int) -> Health:
    """A lane's health after an attempt; the same object where nothing changed.

    Args:
        health: As it was.
        outcome: What the attempt returned.
        began: When the attempt began.
        now: When it returned.
    """
    if isinstance(outcome, Postponed):
        return health  # nobody was asked
    if isinstance(outcome, Failed) and outcome.status in _ASKING and outcome.retry_after:
        probe_at = now + min(outcome.retry_after, LAST_PROBE)
        return health if (health.probe_at or 0) >= probe_at else replace(health, probe_at=probe_at)
    if not (isinstance(outcome, Failed) and outcome.timed_out):
        if health.held and health.probe_at is not None and began < health.probe_at:
            return health  # it went out before the receiver asked to be left alone
        return health if health.well else Health(lane=health.lane)
    if health.probe_at is not None and began < health.probe_at:
        return health  # it began before the lane was known to be sick, and tells nothing new
    timeouts = health.timeouts + 1
    if timeouts < SICK_AFTER and not health.sick:
        return replace(health, timeouts=timeouts)
    delay = min((health.probe_delay or FIRST_PROBE // 2) * 2, LAST_PROBE)
    return Health(
        lane=health.lane,
        timeouts=max(timeouts, SICK_AFTER),
        probe_at=now + delay,
        probe_delay=delay,
    )


class Lanes:
    """What this process knows of its lanes: attempts in flight, and health."""

    def __init__(self) -> None:
        self._in_flight: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()  # by channel, and by channel and tenant
        self._health: dict[str, Health] = {}
        self._probing: set[str] = set()
        self._wanted: set[str] = set()
        self._paces: dict[str, Pace] = {}

    def pace(self, lane: str, rate: int | None) -> None:
        """What the customer asks for: so many attempts a second, or None."""
        known = self._paces.get(lane)
        if known is None:
            if rate is None:
                return
            known = self._paces[lane] = Pace()
        known.asked = rate
        if known.idle:
            del self._paces[lane]

    def enter(self, lane: str, channel: Channel, *, now: int, probe: bool = False) -> bool:
        """Take a place in the lane; False when it is at its bound, or sick and this is no probe."""
        sick = self._sick(lane)
        if (sick and not probe) or not self.room(lane, channel, now=now):
            self._wanted.add(lane)
            return False
        if sick:
            self._probing.add(lane)
        self._in_flight[lane] += 1
        for owner in _owners(lane):
            self._totals[owner] += 1
        if lane in self._paces:
            self._paces[lane].begin(now)
        return True

    def leave(self, lane: str, outcome: Outcome, *, began: int, now: int) -> Health | None:
        """Give the place back that was taken at `began`; the lane's health where that changed."""
        for owner in _owners(lane):
            self._totals[owner] -= 1
        self._in_flight[lane] -= 1
        if self._in_flight[lane] <= 0:
            del self._in_flight[lane]
        self._learn_pace(lane, outcome, began=began, now=now)
        if isinstance(outcome, Delivered) and lane not in self._health:
            self._probing.discard(lane)
            return None  # as nearly always
        before = self.health(lane)
        if before.probe_at is None or began >= before.probe_at:
            self._probing.discard(lane)
        health = after(before, outcome, began=began, now=now)
        if health is before:
            return None
        if not health.well:
            self._health[lane] = health
        else:
            self._health.pop(lane, None)
            self._probing.discard(lane)
        return health

    def want(self, lane: str) -> None:
        """More waits for this lane than it had room for."""
        self._wanted.add(lane)

    @property
    def wanted(self) -> bool:
        """Whether more waits for any lane than it had room for."""
        return bool(self._wanted)

    def opened(self, lane: str, channel: Channel, *, now: int) -> bool:
        """Whether a lane that was wanted has room again, worth a drain; says so once."""
        pace = self._paces.get(lane)
        bound = min(BOUNDS[channel], pace.limit) if pace else BOUNDS[channel]
        worth = max(bound // WORTH_A_DRAIN, 1)
        if lane not in self._wanted or self.room(lane, channel, now=now) < worth:
            return False
        self._wanted.discard(lane)
        return True

    def health(self, lane: str) -> Health:
        """The lane's health as far as this process knows."""
        return self._health.get(lane) or Health(lane=lane)

    def learn(self, health: Health) -> None:
        """Take over what the ledger knows, where that is news: outcomes get there later."""
        known = self._health.get(health.lane)
        newer = known is None or (known.probe_at or 0) < (health.probe_at or 0)
        if not health.well and newer:
            self._health[health.lane] = health

    def room(self, lane: str, channel: Channel, *, now: int) -> int:
        """How many deliveries may be tried now: one while sick, and none before the probe."""
        of_channel, of_tenant = _owners(lane)
        free = min(
            BOUNDS[channel] - self._in_flight[lane],
            IN_FLIGHT_LIMIT - self._totals[of_channel],
            TENANT_LIMIT - self._totals[of_tenant],
            self._paces[lane].room(now) if lane in self._paces else UNBOUNDED,
        )
        if free <= 0:
            return 0
        if not self._sick(lane):
            return free
        return 1 if (self.health(lane).probe_at or 0) <= now and lane not in self._probing else 0

    def _sick(self, lane: str) -> bool:
        return lane in self._health and self._health[lane].sick

    def open_at(self, lane: str, channel: Channel, *, now: int) -> int:
        """When it is worth looking for room; what heals or probes the lane says so sooner."""
        if lane in self._probing:
            return now + PROBE_PATIENCE
        probe_at = self.health(lane).probe_at or 0
        if probe_at > now:
            return probe_at
        if lane in self._paces and not self._paces[lane].room(now):
            return self._paces[lane].open_at(now)
        return now if self.room(lane, channel, now=now) else now + BUSY_RETRY

    def _learn_pace(self, lane: str, outcome: Outcome, *, began: int, now: int) -> None:
        throttled = isinstance(outcome, Failed) and outcome.throttled
        pace = self._paces.get(lane)
        if pace is None:
            if throttled:
                pace = self._paces[lane] = Pace()
                pace.refused(began=began, now=now)
        elif throttled:
            pace.refused(began=began, now=now)
        elif isinstance(outcome, Skipped | Parked | Postponed):
            pace.undo()
        elif isinstance(outcome, Delivered):
            pace.taken(now=now)
            if pace.idle:
                del self._paces[lane]


@lru_cache(maxsize=4096)
def _owners(lane: str) -> tuple[str, str]:
    """The channel of a lane, and the channel and tenant."""
    channel, tenant, *_ = lane.split("/", 2)
    return channel, f"{channel}/{tenant}"
