"""Looking around: what the console reads beside the API's lists. Values, and their ports. Pure.

Times are milliseconds since the epoch by the ledger's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from notifications.directory import User
from notifications.events import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """An event without what it carries.

    Attributes:
        key: The event's number in the ledger.
        tenant_id: Whose.
        id: Unique in the tenant.
        type: Its type.
        user_id: Whom it concerns, or None for the tenant's owners.
        accepted_at: When it was accepted.
    """

    key: int
    tenant_id: str
    id: str
    type: str
    user_id: str | None
    accepted_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A delivery of an event, in short.

    Attributes:
        channel: The way it goes.
        state: Where it stands.
        attempt: Attempts made in its round.
        first_at: When the very first attempt began; None where none was made.
        first_ms: How long that took.
        first_ok: Whether the target took it at once.
    """

    channel: Channel
    state: str
    attempt: int
    first_at: int | None
    first_ms: int | None
    first_ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """How many deliveries are not over or were given up, counted up to a bound.

    Attributes:
        pending: Those that wait or are retried.
        parked: Those whose endpoint takes none for now.
        exhausted: Those that were given up.
    """

    pending: int
    parked: int
    exhausted: int


class Tenancy(Protocol):
    """Who is there."""

    async def tenants(self, *, after: str, limit: int) -> Sequence[str]:
        """Tenants behind `after` (empty for the first), in a fixed order.

        A tenant is there from its first key, user, endpoint or event. Costs as much as there are
        tenants on the page, however much each of them has.
        """
        ...

    async def users(self, tenant_id: str, *, after: str, limit: int) -> Sequence[User]:
        """A tenant's users behind the id `after`, in a fixed order."""
        ...

    async def held(self, tenant_ids: Sequence[str], *, most: int) -> Mapping[str, Held]:
        """By tenant: how many are held in each state; no count goes beyond `most`."""
        ...

    async def needing(self, *, limit: int) -> Sequence[str]:
        """Up to `limit` tenants that have deliveries given up or parked, in a fixed order.

        Costs as much as there are tenants with something held, however many others there are; of
        very many whose deliveries are all on their way, those behind them may be left out.
        """
        ...


class Pulse(Protocol):
    """What happens now."""

    async def recent(self, tenant_id: str | None, *, limit: int) -> Sequence[Recent]:
        """A tenant's newest events, or everybody's, newest first."""
        ...

    async def legs(self, keys: Sequence[int]) -> Mapping[int, Sequence[Leg]]:
        """By event: its deliveries; every key that was asked about is there."""
        ...
