"""What surrounds the webhook channel in tests: time, chance, a directory, sample values."""

import datetime as dt
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from notifications.addresses import Network
from notifications.deliveries import Delivery
from notifications.directory import Endpoint, SigningSecret, User
from notifications.events import Channel, Event, read_event

LOOPBACK: tuple[Network, ...] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)
NOON = dt.datetime(2026, 1, 31, 12, 0, 0, tzinfo=dt.UTC)


@dataclass(slots=True)
class SetClock:
    """A clock that stands where it is put."""

    at: dt.datetime = NOON

    def now(self) -> int:
        return int(self.at.timestamp() * 1000)

    def wall(self) -> dt.datetime:
        return self.at


@dataclass(slots=True)
class CountingDice:
    """Chance that never repeats itself and is the same in every run."""

    rolls: int = 0

    def roll(self) -> float:
        return 0.5

    def token(self, size: int) -> bytes:
        self.rolls += 1
        return hashlib.shake_256(b"%d" % self.rolls).digest(size)


@dataclass(slots=True)
class MemoryDirectory:
    """A directory in memory. Implements `ports.Directory`."""

    known: list[Endpoint] = field(default_factory=list)

    async def user(self, tenant_id: str, user_id: str) -> User | None:
        return None

    async def owners(self, tenant_id: str) -> Sequence[User]:
        return ()

    async def endpoints(self, tenant_id: str) -> Sequence[Endpoint]:
        return [each for each in self.known if each.tenant_id == tenant_id]


SECRET = SigningSecret(key=bytes(range(32)), private_key=bytes(range(32, 64)))


def endpoint(**changes: object) -> Endpoint:
    """A sample endpoint."""
    sample = Endpoint(tenant_id="acme", id="ep_1", url="https://example.com/", secrets=(SECRET,))
    return replace(sample, **changes)  # type: ignore[arg-type]


def event(**changes: object) -> Event:
    """A sample event."""
    document = {
        "specversion": "1.0",
        "id": "payment-1",
        "source": "/payments",
        "type": "payment.received",
        "tenantid": "acme",
        "data": {"amount": "12.50", "from": "Zoé"},
        **changes,
    }
    return read_event(document, tenant_id=None, now=NOON)


def delivery(**changes: object) -> Delivery:
    """A sample delivery of the sample event to the sample endpoint."""
    sample = Delivery(
        tenant_id="acme",
        id=1,
        event_key=1,
        channel=Channel.WEBHOOK,
        target="ep_1",
        deadline=0,
        created_at=0,
    )
    return replace(sample, **changes)  # type: ignore[arg-type]
