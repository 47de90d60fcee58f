"""The ports: what the application asks of the world. Each docstring is the contract.

Adapters live in `bus/`, `stores/` and `channels/`; one contract suite per port runs over all of
its adapters. Times are milliseconds since the epoch by the ledger's clock.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from notifications.deliveries import Delivery, Outcome
from notifications.directory import Endpoint, User
from notifications.events import Channel, Event, Known
from notifications.messages import (
    Message,
    Received,
    Settlement,
)
from notifications.records import (
    Accepted,
    ApiKey,
    Attempted,
    Claim,
    DeliveryView,
    EventView,
    InboxItem,
    Mail,
    Placed,
    Record,
    Route,
    Written,
)

# --------------------------------------------------------------------------- time and chance


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> int:
        """The ledger's time, ms since the epoch: never jumps, whatever the wall clock does."""
        ...

    def wall(self) -> datetime:
        """What the clock on the wall says, with a zone: for signatures, tokens and people."""
        ...

    async def sleep_until(self, at: int) -> None:
        """Return when `now()` has reached `at`."""
        ...


class Dice(Protocol):
    """Chance, injected."""

    def roll(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def token(self, size: int) -> bytes:
        """`size` unguessable bytes."""
        ...


# --------------------------------------------------------------------------- the bus


class Bus(Protocol):
    """Topics and subscriptions with Service Bus's semantics."""

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """Put messages on a topic, all or none; durable when it returns.

        Raises:
            Unavailable: The bus is away.
        """
        ...

    async def receive(self, subscription: str, *, limit: int) -> Sequence[Received]:
        """Wait for at least one message and lock up to `limit`, oldest first.

        Cancelling it locks nothing.
        """
        ...

    async def settle(self, received: Received, settlement: Settlement) -> None:
        """End the lock. Settling what is settled already, or whose lock ran out, does nothing.

        Raises:
            Unavailable: The bus is away; the lock stays as it was.
        """
        ...

    async def renew(self, received: Received) -> None:
        """Hold the lock for another lock duration."""
        ...


# --------------------------------------------------------------------------- the ledger


class Ledger(Protocol):
    """The truth about events and deliveries. Every write is durable when its call returns.

    Raises:
        StoreUnavailable: From any method; nothing was done.
    """

    async def accept(
        self, events: Sequence[Event], channels: Sequence[frozenset[Channel]], *, send: bool = True
    ) -> Sequence[Accepted]:
        """Store events, each with its bus message where `send`; one answer for each, in order.

        `send` is False for events that came from the bus.
        """
        ...

    async def look(
        self, messages: Sequence[tuple[str, str]], channel: Channel
    ) -> Mapping[tuple[str, str], Known]:
        """What is known of events, by (tenant id, event id); unknown ones are left out."""
        ...

    async def record(self, record: Record) -> Sequence[Written]:
        """Write it, all in one commit; one answer per result, in order.

        A result whose delivery meanwhile moved on is left out.
        """
        ...

    async def claim(self, lane: str, *, limit: int, until: int) -> "Claim":
        """Claim up to `limit` due deliveries of a lane, the longest due first.

        The lane counts as drained until `until`, or until a record says that it is done.
        """
        ...


class Counts(Protocol):
    """How many events there were."""

    async def count(self, keys: Sequence[int], completes: Sequence[Received]) -> int:
        """Count each event once, however often it comes; how many were new."""
        ...


class Upkeep(Protocol):
    """What the sweep does, in bounded pages; each method says how many rows it moved."""

    async def wake(self, *, limit: int) -> int:
        """Drain lanes with deliveries past due and no drain on its way."""
        ...

    async def end(self, *, limit: int) -> int:
        """End what is past its deadline or was parked too long."""
        ...

    async def unpark(self, *, limit: int) -> int:
        """Begin a new round for parked deliveries whose endpoint takes them again."""
        ...

    async def forget(self, *, limit: int) -> int:
        """Delete events and deliveries past the retention."""
        ...


# --------------------------------------------------------------------------- channels


class ChannelAdapter(Protocol):
    """One way to deliver."""

    async def route(self, event: Event) -> Route:
        """Who this event goes to."""
        ...

    async def attempt(self, delivery: Delivery, event: Event) -> Attempted:
        """Try once. Looks first whether the target still takes it (`Skipped`, `Parked`).

        Does not raise for anything the target does; bounded in time by the channel's limit.
        """
        ...

    async def rate(self, lane: str) -> int | None:
        """The most attempts that may be begun in this lane within a second; None is no limit."""
        ...

    async def recorded(self, delivery: Delivery, event: Event, placed: Placed) -> None:
        """An entry of this channel is in the inbox, committed: tell of it. Must not raise."""
        ...


class Directory(Protocol):
    """Users and endpoints as the channels need them. Answers may be 5 s old, never older.

    A change made through this process shows at once.
    """

    async def user(self, tenant_id: str, user_id: str) -> User | None:
        """That user, or None."""
        ...

    async def owners(self, tenant_id: str) -> Sequence[User]:
        """The tenant's owners."""
        ...

    async def endpoints(self, tenant_id: str) -> Sequence[Endpoint]:
        """The tenant's endpoints, whatever their state, secrets decrypted."""
        ...


class Registry(Protocol):
    """Changes to users; they show in `Directory` at once."""

    async def save_user(self, user: User) -> None:
        """Create or replace a user."""
        ...

    async def delete_user(self, tenant_id: str, user_id: str) -> bool:
        """Remove a user with the inbox and what mails were kept; whether there was one."""
        ...


class EndpointRegistry(Protocol):
    """Changes to endpoints; they show in `Directory` at once."""

    async def save_endpoint(self, endpoint: Endpoint, *, most: int | None = None) -> bool:
        """Create or replace an endpoint; secrets are sealed before they are written.

        With `most` it is only created where its tenant has fewer, however many are made at once;
        whether it was saved.
        """
        ...

    async def change_endpoint(
        self, tenant_id: str, endpoint_id: str, change: Callable[[Endpoint], Endpoint]
    ) -> Endpoint | None:
        """Read, change and write in one transaction, so that no other change is undone.

        `change` is pure and may run twice; what it raises is raised, and nothing is written.
        None where there is no such endpoint.
        """
        ...

    async def delete_endpoint(self, tenant_id: str, endpoint_id: str) -> bool:
        """Remove an endpoint; its open deliveries end as `skipped (endpoint-deleted)`."""
        ...


class Keys(Protocol):
    """API keys."""

    async def add(self, key: ApiKey, digest: bytes, *, most: int | None = None) -> bool:
        """Keep a key under the SHA-256 of its text.

        With `most` only where its tenant has fewer, however many are made at once; whether it was
        kept.
        """
        ...

    async def find(self, digest: bytes) -> ApiKey | None:
        """The key with that hash; revoking shows at once in this process, after 5 s elsewhere."""
        ...

    async def page(self, tenant_id: str | None) -> Sequence[ApiKey]:
        """A tenant's keys, or everybody's, oldest first."""
        ...

    async def revoke(self, key_id: str, tenant_id: str | None) -> bool:
        """Make a key invalid; whether there was one (of that tenant, where one is given)."""
        ...


class Inbox(Protocol):
    """Users' inboxes as their users see and change them."""

    async def page(
        self,
        tenant_id: str,
        user_id: str,
        *,
        state: str | None,
        after: int | None,
        limit: int,
        below: int | None = None,
    ) -> Sequence[InboxItem]:
        """Items with `seq` above `after`, lowest first; else the newest first, below `below`."""
        ...

    async def unread(self, tenant_id: str, user_id: str) -> int:
        """How many are unread."""
        ...

    async def mark(self, tenant_id: str, user_id: str, item_id: str, state: str) -> Placed | None:
        """Change one item's state (a new `seq` where it changed); None where there is none."""
        ...

    async def read_all(self, tenant_id: str, user_id: str) -> int:
        """Mark every unread item read; how many changed."""
        ...


class Queries(Protocol):
    """What the API and the console read. Lists are newest first and go on below a cursor."""

    async def events(
        self,
        tenant_id: str | None,
        *,
        event_type: str | None = None,
        user_id: str | None = None,
        below: int | None = None,
        limit: int,
    ) -> Sequence[EventView]:
        """A tenant's events, or everybody's.

        A tenant's are found by index by their type, or by their user; with both, the user's are
        walked through for those of the type.
        """
        ...

    async def event(self, tenant_id: str, event_id: str) -> EventView | None:
        """One event with its deliveries and their attempts."""
        ...

    async def deliveries(
        self,
        tenant_id: str,
        *,
        endpoint_id: str | None = None,
        state: str | None = None,
        event_id: str | None = None,
        channel: str | None = None,
        below: int | None = None,
        limit: int,
    ) -> Sequence[DeliveryView]:
        """A tenant's deliveries, without their attempts."""
        ...

    async def delivery(self, tenant_id: str, delivery_id: int) -> DeliveryView | None:
        """One delivery with its attempts."""
        ...


class Rounds(Protocol):
    """Beginning deliveries again."""

    async def retry(self, tenant_id: str, delivery_id: int) -> Delivery | None:
        """A new round for a delivery that is exhausted, parked or pending; None where absent.

        Raises:
            Conflict: It is delivered or skipped: there is nothing to retry.
        """
        ...


class PushGateway(Protocol):
    """Sends to the connected clients of a user."""

    async def push(self, tenant_id: str, user_id: str, data: bytes) -> Outcome:
        """Send JSON to all of a user's connections; `Delivered` too where there is none."""
        ...


class Mailer(Protocol):
    """Hands mails to whatever carries them."""

    async def send(self, mail: Mail) -> Outcome:
        """`Delivered` = the mailer took it. The same operation id again is harmless.

        A `Failed` that is not retryable is the mail's or the addressee's fault. What keeps every
        mail from going out, such as a password that is refused, is `Postponed`: it uses up
        nobody's attempts. Returns within its own time limit and never raises for what a mail, an
        addressee or a server does.
        """
        ...

    def trouble(self) -> str | None:
        """Why no mail goes out at present, where that is ours to mend: short and constant."""
        ...
