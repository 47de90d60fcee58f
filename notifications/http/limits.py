"""What tenants may spend: asked before anything is stored."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from notifications.errors import OverLimit
from notifications.events import is_tenant_id
from notifications.http.problems import Refused
from notifications.ports import Clock
from notifications.rates import Rates


class Publishes:
    """The tenants' rates of publishing, for every route that publishes."""

    def __init__(self, rates: Rates, clock: Clock) -> None:
        self._rates = rates
        self._clock = clock

    def spend(self, costs: Mapping[str, int]) -> None:
        """Count events, by tenant.

        Raises:
            OverLimit: 429: one of them has to wait; nothing was counted.
            Refused: 413: so many at once are more than a tenant may ever send.
        """
        if costs and max(costs.values()) > self._rates.burst:
            raise Refused(
                413,
                f"At most {self._rates.burst:,} events of a tenant at once:"
                f" it may publish {self._rates.per_second:,} a second.",
            )
        wait = self._rates.take(costs, self._clock.now())
        if wait is not None:
            raise OverLimit(
                f"A tenant may publish {self._rates.per_second:,} events a second."
                " Nothing was accepted; send it again after Retry-After.",
                retry_after=wait,
            )

    def spend_on(self, documents: Sequence[Any], tenant_id: str | None) -> None:
        """The same, for events as they were sent; `tenant_id` is None for the admin's."""
        if tenant_id is not None:
            self.spend({tenant_id: len(documents)} if documents else {})
            return
        named = (each.get("tenantid") for each in documents if isinstance(each, dict))
        self.spend(Counter(str(each) for each in named if is_tenant_id(each)))
