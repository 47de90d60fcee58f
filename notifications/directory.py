"""Who there is to tell: users and endpoints. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Locale(StrEnum):
    """The languages that a user of Huntaze reads."""

    FR = "fr"
    EN = "en"


class Role(StrEnum):
    """What a user is in the tenant. An event without a user goes to the owners."""

    OWNER = "owner"
    MEMBER = "member"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person in a tenant.

    Attributes:
        tenant_id: Whose.
        id: Unique in the tenant.
        email: Where mails go, or None: then there are none.
        name: How mails address the person, or None.
        locale: The language of toasts and mails.
        timezone: IANA name, e.g. `Europe/Paris`, in which times are written.
        role: See `Role`.
    """

    tenant_id: str
    id: str
    email: str | None = None
    name: str | None = None
    locale: Locale = Locale.FR
    timezone: str = "Europe/Paris"
    role: Role = Role.MEMBER


class EndpointState(StrEnum):
    """Whether an endpoint takes deliveries; while it does not, they park."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSecret:
    """One generation of an endpoint's signing keys.

    Attributes:
        key: The HMAC key of `v1`, 32 random bytes.
        private_key: The ed25519 seed of `v1a`, 32 random bytes.
        expires_at: When it stops signing, ms since the epoch; None for the newest.
    """

    key: bytes = field(repr=False)
    private_key: bytes = field(repr=False)
    expires_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A customer's webhook URL.

    Attributes:
        tenant_id: Whose.
        id: `ep_…`, unique in the tenant.
        url: Where to POST.
        event_types: Patterns: `*`, an exact type, or `job.*` for every type that begins `job.`.
        description: The customer's own words.
        headers: Sent with every attempt; cannot override the hub's own.
        signatures: `v1`, or `v1` and `v1a`.
        secrets: Newest first; all that have not run out sign.
        state: See `EndpointState`.
        state_reason: Why it is paused or disabled.
        created_at: ms since the epoch.
        rate_per_second: The most attempts that are begun within a second, or None.
        active_since: When it was last resumed, ms since the epoch: what an attempt from before
            then met says nothing about it now.
    """

    tenant_id: str
    id: str
    url: str
    event_types: tuple[str, ...] = ("*",)
    description: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    signatures: tuple[str, ...] = ("v1",)
    secrets: tuple[SigningSecret, ...] = field(default=(), repr=False)
    state: EndpointState = EndpointState.ACTIVE
    state_reason: str | None = None
    created_at: int = 0
    rate_per_second: int | None = None
    active_since: int = 0

    def wants(self, event_type: str) -> bool:
        """Whether one of its patterns takes this type."""
        return any(matches(pattern, event_type) for pattern in self.event_types)


def matches(pattern: str, event_type: str) -> bool:
    """Whether a pattern takes a type: `*`, an exact type, or `job.*`."""
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return event_type.startswith(pattern[:-1])
    return pattern == event_type
