"""The bus as the door sees it: addresses, and what can be done at each. Pure.

Where `ports.Bus` is what the hub's own workers need, this is what a Service Bus client can ask of
an entity: its locks are named by the GUIDs that travel as delivery tags, dead letters are received
like other messages, messages are deferred, scheduled, cancelled and peeked at.

Paths are compared without case: `huntaze-events`, `huntaze-events/Subscriptions/metrics`,
`huntaze-events/subscriptions/metrics/$DeadLetterQueue`. Times are milliseconds since the epoch by
the broker's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol
from uuid import UUID

from notifications.messages import Abandon, Complete, DeadLetter, Message, PropertyValue


class State(Enum):
    """Where a message is, by the numbers of `x-opt-message-state`."""

    ACTIVE = 0
    DEFERRED = 1
    SCHEDULED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A message as it is handed out, or shown.

    Attributes:
        message: What was sent; `message.wire` is it as its client wrote it.
        sequence_number: The broker's number for it.
        enqueued_at: When it became visible.
        delivery_count: How often it came to nothing before: 0 the first time.
        state: Active, deferred or scheduled.
        token: Names its lock; None where it is only shown, or was handed out for good.
        locked_until: When that lock runs out; None likewise.
        dead: Why it is a dead letter; None where it is none.
        source: The subscription's path that it died in; None where it did not.
    """

    message: Message
    sequence_number: int
    enqueued_at: int
    delivery_count: int
    state: State = State.ACTIVE
    token: UUID | None = None
    locked_until: int | None = None
    dead: DeadLetter | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Defer:
    """Keep it until somebody asks for it by its number."""


@dataclass(frozen=True, slots=True)
class Release:
    """It was never looked at: give it back, and do not count it as a delivery."""


End = Complete | Abandon | DeadLetter | Defer | Release
"""What a client makes of a message that it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRule:
    """A subscription's rule, as its text: a SQL expression, or what has to be equal.

    Attributes:
        name: At most 50 characters.
        sql: At most 1,024 characters; `1=1` takes every message, `1=0` none. None where the rule
            is a correlation.
        correlation: By name of the system property, e.g. `Label`, `CorrelationId`.
        properties: By name of the application property; both have to hold.
    """

    name: str
    sql: str | None = None
    correlation: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)


class Inlet(Protocol):
    """A topic.

    Raises:
        NotFound: From any method: it was deleted meanwhile.
        Unavailable: From any method: the file cannot be written; nothing was done.
    """

    async def send(self, messages: Sequence[Message]) -> Sequence[int]:
        """Put messages on it, all or none, durable when it returns; their sequence numbers.

        Those with a `due_at` become visible then, and can be cancelled by their number until then.

        Raises:
            InvalidInput: A message cannot be carried.
        """
        ...

    async def cancel(self, numbers: Sequence[int]) -> None:
        """Cancel scheduled messages; all or none.

        Raises:
            NotFound: One of them is not waiting (any more).
        """
        ...

    async def peek(self, *, after: int, limit: int) -> Sequence[Item]:
        """The scheduled messages beyond the number `after`."""
        ...


class Outlet(Protocol):
    """A subscription, or its dead letters; equal to itself alone. Raises what `Inlet` raises."""

    async def receive(self, *, limit: int, wait: bool, lock: bool) -> Sequence[Item]:
        """Hand out up to `limit` messages, oldest first: locked, or for good where not `lock`.

        With `wait` there is at least one when it returns. Cancelling it takes nothing.
        """
        ...

    async def settle(self, ends: Sequence[tuple[UUID, End]]) -> Sequence[bool]:
        """End locks, each its way, durable when it returns: for each whether there was one.

        Raises:
            InvalidInput: One of these ways is none here; nothing was done.
        """
        ...

    async def renew(self, token: UUID) -> int | None:
        """Hold the lock for another lock duration: until when; None where there is none."""
        ...

    async def deferred(self, numbers: Sequence[int], *, lock: bool) -> Sequence[Item]:
        """Hand out deferred messages by their numbers, all or none.

        Raises:
            InvalidInput: They are more than one answer holds.
            NotFound: One of them is not among the deferred.
        """
        ...


class Peekable(Protocol):
    """Looking at a subscription or its dead letters: an `Outlet` is one too."""

    async def peek(self, *, after: int, limit: int) -> Sequence[Item]:
        """What is there beyond the number `after`: active, held by others, or deferred."""
        ...


class Rules(Protocol):
    """A subscription's rules. Raises what `Inlet` raises."""

    async def add(self, rule: NamedRule) -> None:
        """Add a rule.

        Raises:
            Conflict: There is one of that name.
            InvalidInput: Its expression is none.
        """
        ...

    async def remove(self, name: str) -> None:
        """Remove a rule.

        Raises:
            NotFound: There is none of that name.
        """
        ...

    async def all(self) -> Sequence[NamedRule]:
        """Every rule, by name."""
        ...


class Broker(Protocol):
    """What the door opens on."""

    def inlet(self, path: str) -> Inlet:
        """The topic at a path.

        Raises:
            NotFound: There is none.
        """
        ...

    def outlet(self, path: str) -> Outlet:
        """The subscription at a path, or its dead letters.

        Raises:
            NotFound: There is none.
        """
        ...

    def peekable(self, path: str) -> Peekable:
        """What can be looked at, at a path: also a topic, whose scheduled messages it shows.

        Raises:
            NotFound: There is nothing.
        """
        ...

    def rules(self, path: str) -> Rules:
        """The rules of the subscription at a path.

        Raises:
            NotFound: There is none.
        """
        ...
