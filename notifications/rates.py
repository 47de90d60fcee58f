"""How much of something each tenant may do: a token bucket each. Pure: time is handed in."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from notifications.retries import SECOND

BURST_S = 10
"""A bucket holds what comes in so many seconds: who was quiet may send that much at once."""

MOST_BUCKETS = 10_000
"""Buckets that are kept; of more tenants, those that were quiet longest start full again."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: int


class Rates:
    """The buckets of this process, one for each tenant that was heard of lately."""

    def __init__(self, per_second: int, *, most_buckets: int = MOST_BUCKETS) -> None:
        """Configure.

        Args:
            per_second: What a tenant may spend each second, in the long run.
            most_buckets: How many tenants are remembered.
        """
        self.per_second = per_second
        self.burst = per_second * BURST_S
        self._most = most_buckets
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        """How many tenants are remembered."""
        return len(self._buckets)

    def take(self, costs: Mapping[str, int], now: int) -> float | None:
        """Take from the tenants' buckets: all of it, or nothing where one of them lacks some.

        Args:
            costs: What each tenant is to pay, at most `burst`.
            now: ms, growing.

        Returns:
            None where it was taken; else after how many seconds it could be.
        """
        buckets = {tenant: self._filled(tenant, now) for tenant in costs}
        missing = max((cost - buckets[tenant].left for tenant, cost in costs.items()), default=0.0)
        if missing > 0:
            return missing / self.per_second
        for tenant, cost in costs.items():
            buckets[tenant].left -= cost
        return None

    def _filled(self, tenant: str, now: int) -> _Bucket:
        bucket = self._buckets.setdefault(tenant, _Bucket(self.burst, now))
        self._buckets.move_to_end(tenant)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        came = (now - bucket.at) * self.per_second / SECOND
        bucket.left, bucket.at = min(self.burst, bucket.left + came), now
        return bucket
