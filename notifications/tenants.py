"""Tenants: whose everything is, and what they set up for all of it. Values, and their port. Pure.

Money is whole billionths of a US dollar, so that sums are exact.
"""

from dataclasses import dataclass
from typing import Protocol

from notifications.directory import Locale


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A Huntaze account.

    Attributes:
        id: `[A-Za-z0-9_-]{1,36}`.
        name: What people call it, or None.
        locale: Its language, for what is written for nobody in particular.
        budget_nano_usd: What its AI jobs may cost in a calendar month (UTC), a multiple of
            `BUDGET_STEP`; None is no budget.
        refuse_over_budget: Whether no new jobs are taken once that is spent.
    """

    id: str
    name: str | None = None
    locale: Locale = Locale.FR
    budget_nano_usd: int | None = None
    refuse_over_budget: bool = False


NANO = 1_000_000_000
"""Billionths in a US dollar."""

BUDGET_STEP = 1_000
"""Budgets are whole millionths of a dollar: shares of them, in percent, are then exact."""


class Tenants(Protocol):
    """The tenants there are."""

    async def find(self, tenant_id: str) -> Tenant | None:
        """A tenant as it was last saved, or with nothing set up; None where there is none.

        A tenant is there from its first key, user, endpoint or event.
        """
        ...

    async def save(self, tenant: Tenant) -> bool:
        """Replace what a tenant has set up; False, and nothing done, where there is none."""
        ...
