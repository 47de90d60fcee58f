"""What a tenant's AI jobs may cost in a month: when it is told of, when no more is taken. Pure.

A month is a calendar month in UTC, and what is spent belongs to the month in which it is written
down. Money is whole billionths of a US dollar; times are milliseconds since the epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ai_workers.jobs import Failure
from notifications.events import Event, read_event
from notifications.retries import HOUR, SECOND
from notifications.stores.codes import day_of
from notifications.tenants import NANO

SOURCE = "/huntaze/budgets"

SHARES = (50, 80, 100)
"""In percent of the budget: what is told of, each once a month."""

LOOK_AGAIN_S = HOUR / SECOND
"""Whoever is refused may ask again so much later at the latest: a budget can be raised."""

_MOST_USD = 100_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a tenant with a budget stands in a month.

    Attributes:
        tenant_id: Whose.
        month: e.g. `2026-03`.
        spent: So far.
        told: The highest of `SHARES` that was told of; 0 is none.
        budget: What may be spent.
        refuses: Whether no new jobs are taken once it is spent.
    """

    tenant_id: str
    month: str
    spent: int
    told: int
    budget: int
    refuses: bool

    @property
    def refusing(self) -> bool:
        """Whether no new jobs are taken."""
        return self.refuses and self.spent >= self.budget


def month_of(ms: int) -> str:
    """The UTC month of a time: `YYYY-MM`."""
    return day_of(ms)[:7]


def crossed(standing: Standing) -> Sequence[int]:
    """The shares that are reached and were not told of.

    Whoever raises the budget and then spends more is not told of the same share twice.
    """
    reached = 100 * standing.spent // standing.budget
    return [share for share in SHARES if standing.told < share <= reached]


def told_of(standing: Standing, share: int, now: int) -> Event:
    """The event that tells of a share, to the tenant's owners; its id lets it be there once."""
    document = {
        "specversion": "1.0",
        "id": f"budget.{standing.month}.{share}",
        "source": SOURCE,
        "type": "budget.threshold",
        "subject": standing.month,
        "tenantid": standing.tenant_id,
        "data": {
            "thresholdPercent": share,
            "spentUsd": min(standing.spent / NANO, _MOST_USD),
            "budgetUsd": standing.budget / NANO,
            "month": standing.month,
            "refusing": standing.refusing,
        },
    }
    return read_event(document, tenant_id=None, now=datetime.fromtimestamp(now / 1000, UTC))


def refusal(standing: Standing) -> Failure:
    """Why a new job is not taken."""
    budget = f"{standing.budget / NANO:.6f}".rstrip("0").rstrip(".")
    return Failure(
        code="over-budget",
        message=f"The budget for AI jobs of {standing.month}, {budget} US dollars, is spent: no new"
        " jobs are taken before it is raised or the month is over (UTC).",
    )


def patience_s(now: int) -> float:
    """After how many seconds asking again is sensible, for a tenant whose month is spent."""
    at = datetime.fromtimestamp(now / 1000, UTC)
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = first.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)
    return min((following - at).total_seconds(), LOOK_AGAIN_S)
