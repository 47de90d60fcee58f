"""The ports: what the application asks of the world. Each docstring is the contract.

Adapters live in `bus/`, `stores/` and `channels/`; one contract suite per port runs over all of
its adapters. Times are milliseconds since the epoch by the ledger's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from notifications.deliveries import Attempt, Delivery, Outcome
from notifications.directory import Endpoint, User
from notifications.events import Channel, Event
from notifications.lanes import Health

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

PropertyValue = str | int | float | bool
"""What an application property may hold. Integers are sent as int32: that is what the SDK takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is put on a topic.

    Attributes:
        id: At most 128 characters.
        body: At most 256 KB with the properties.
        properties: What rules look at.
        subject: `sys.Label`, or None.
        content_type: Or None.
        due_at: When it becomes visible; None is at once.
        decoded: What the publisher in this process already knows of the event in `body`.
    """

    id: str
    body: bytes
    properties: Mapping[str, PropertyValue]
    subject: str | None = None
    content_type: str | None = "application/json"
    due_at: int | None = None
    decoded: "Known | None" = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message in hand, under a lock where the bus holds one.

    Attributes:
        message: What was sent.
        subscription: Where it was received.
        sequence_number: The bus's number for it.
        delivery_count: From 1.
        enqueued_at: When it became visible.
        token: Names the lock; None on Functions, where returning completes.
        ours: The bus is the hub's own: what the properties that begin with `hub` say is true.
    """

    message: Message
    subscription: str
    sequence_number: int
    delivery_count: int
    enqueued_at: int
    token: int | None = None
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Complete:
    """The message has been dealt with."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Give it back at once; counts as a delivery."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Nobody can ever deal with it."""

    reason: str
    description: str


Settlement = Complete | Abandon | DeadLetter
"""What happens to a bus message."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What became of an event that was offered.

    Attributes:
        key: The event's number in the ledger.
        duplicate: The ledger has it already, with the same content.
        conflict: The ledger has the id with another content; nothing was stored.
    """

    key: int
    duplicate: bool = False
    conflict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An event as the ledger knows it.

    Attributes:
        key: The event's number in the ledger.
        event: The event.
        channels: The channels that carry it, fixed at acceptance.
        routed: Targets that have a row already, of the channel that was asked about.
    """

    key: int
    event: Event
    channels: frozenset[Channel]
    routed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxEntry:
    """A notification as its user sees it, before it has a place in the inbox.

    Attributes:
        tenant_id: Whose.
        user_id: Who sees it.
        item_id: One row per item: entries of one job share it.
        rank: Of two entries of one item the higher stays.
        event_id: The event it tells of.
        type: That event's type.
        title: One line, in the user's language.
        body: One or two sentences, or empty.
        url: Where a click leads, or None.
        progress: 0-100 for a job under way, else None.
        created_at: ms since the epoch.
    """

    tenant_id: str
    user_id: str
    item_id: str
    rank: int
    event_id: str
    type: str
    title: str
    body: str
    url: str | None
    progress: int | None
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxItem:
    """A row of a user's inbox.

    Attributes:
        entry: What it shows.
        seq: Grows with every change in this user's inbox.
        state: `unread`, `read` or `archived`.
        updated_at: ms since the epoch.
    """

    entry: InboxEntry
    seq: int
    state: str
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What became of an inbox entry.

    Attributes:
        item: The row, or None where a higher rank was there already.
        unread: The user's unread count after it.
    """

    item: InboxItem | None
    unread: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One delivery's next form, and what came with it.

    Attributes:
        before: The delivery as it was; None where it has no row yet.
        after: As it is to be.
        attempt: The attempt that led here, or None where none was made.
        entry: The inbox entry that is the delivery, for the realtime channel.
    """

    before: Delivery | None
    after: Delivery
    attempt: Attempt | None = None
    entry: InboxEntry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is written in one commit.

    Attributes:
        results: Deliveries' next forms.
        completes: The bus messages that are dealt with by it, where the bus shares the commit.
        wakes: Lanes and when they are to be drained; an earlier drain that is scheduled stays.
            For the lane that is `drained`: not before then.
        health: Lanes whose health changed.
        drained: A lane whose drain is over, and the `until` it was claimed with.
    """

    results: Sequence[Result] = ()
    completes: Sequence[Received] = ()
    wakes: Mapping[str, int] = field(default_factory=dict)
    health: Sequence[Health] = ()
    drained: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a drain may work off.

    Attributes:
        deliveries: Claimed, with their events.
        health: The lane's health as the ledger knows it.
        next_due: When the earliest delivery that was not claimed is due, or None.
    """

    deliveries: Sequence[tuple[Delivery, Event]]
    health: Health
    next_due: int | None


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

    async def record(self, record: "Record") -> Sequence[Placed | None]:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where an event goes on one channel.

    Attributes:
        targets: User or endpoint ids, each once.
        reason: Why there is none, where there is none: `no-endpoint`, `no-user`, `no-address`.
    """

    targets: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """What an attempt returned, with the inbox entry that is to be written with it, if any."""

    outcome: Outcome
    entry: InboxEntry | None = None


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

    async def disable(self, tenant_id: str, endpoint_id: str, reason: str) -> None:
        """Switch an endpoint off; deliveries park from now on."""
        ...


class Registry(Protocol):
    """Changes to users and endpoints; they show in `Directory` at once."""

    async def save_user(self, user: User) -> None:
        """Create or replace a user."""
        ...

    async def delete_user(self, tenant_id: str, user_id: str) -> bool:
        """Remove a user with the inbox and what mails were kept; whether there was one."""
        ...

    async def save_endpoint(self, endpoint: Endpoint) -> None:
        """Create or replace an endpoint; secrets are sealed before they are written."""
        ...

    async def delete_endpoint(self, tenant_id: str, endpoint_id: str) -> bool:
        """Remove an endpoint; its open deliveries end as `skipped (endpoint-deleted)`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key of one tenant. The key itself is shown once and kept only as a hash.

    Attributes:
        tenant_id: Whose.
        id: `key_…`.
        name: What the tenant calls it.
        created_at: ms since the epoch.
    """

    tenant_id: str
    id: str
    name: str
    created_at: int


class Keys(Protocol):
    """API keys."""

    async def add(self, key: ApiKey, digest: bytes) -> None:
        """Keep a key under the SHA-256 of its text."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """A delivery with what was tried.

    Attributes:
        delivery: As it is now.
        event_id: Its event.
        attempts: All rounds, oldest first: (attempt number etc., outcome word, status, detail).
    """

    delivery: Delivery
    event_id: str
    attempts: Sequence["AttemptView"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """An attempt as it was written down.

    Attributes:
        round: See `deliveries.Attempt`.
        number: See `deliveries.Attempt`.
        at: ms since the epoch.
        duration_ms: How long it took.
        outcome: `delivered`, or the reason of the failure.
        status: What the receiver answered, where it did.
        detail: The start of its answer, or what went wrong.
    """

    round: int
    number: int
    at: int
    duration_ms: int
    outcome: str
    status: int | None
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """An event with what became of it.

    Attributes:
        key: The event's number in the ledger: the cursor of lists.
        event: The event.
        accepted_at: ms since the epoch.
        routed: Whether every channel that carries it has its deliveries.
        deliveries: All of them; empty in lists.
    """

    key: int
    event: Event
    accepted_at: int
    routed: bool
    deliveries: Sequence[DeliveryView] = ()


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
        """A tenant's events, or everybody's."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A rendered mail.

    Attributes:
        operation_id: Unique to the delivery: what makes sending it twice harmless.
        to: The recipient's address.
        to_name: The recipient's name, or None.
        subject: One line.
        text: The plain form, complete by itself.
        html: The HTML form.
        locale: Its language.
        created_at: ms since the epoch: its date.
    """

    operation_id: str
    to: str
    to_name: str | None
    subject: str
    text: str
    html: str
    locale: str
    created_at: int


class Mailer(Protocol):
    """Hands mails to whatever carries them."""

    async def send(self, mail: Mail) -> Outcome:
        """`Delivered` = the mailer took it. The same operation id again is harmless."""
        ...
