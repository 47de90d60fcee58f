"""Topics and subscriptions as those who manage them see them. Pure.

What a management client may read and change of the bus behind the door. Paths are compared
without case: `huntaze-jobs`, `huntaze-jobs/subscriptions/video-analysis`. Times are milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from notifications.broker import NamedRule, Rules
from notifications.errors import FieldError, InvalidInput
from notifications.retries import MINUTE, SECOND

NEVER = 2**53
"""A time to live that does not end; fits in whatever it is added to."""

MAX_NAME = 50
"""Characters of the name of a subscription or rule."""

MAX_TOPIC = 260

MAX_METADATA = 1_024

MAX_RULES = 1_000
"""Of a subscription, each looked at for every message."""

DEFAULT_LOCK_MS = MINUTE
DEFAULT_DELIVERIES = 10

CORRELATION = (
    "CorrelationId",
    "MessageId",
    "To",
    "ReplyTo",
    "Label",
    "SessionId",
    "ReplyToSessionId",
    "ContentType",
)
"""The system properties that a correlation may ask for."""

_LOCK_MS = (5 * SECOND, 5 * MINUTE)
_DELIVERIES = (1, 2_000)
_SHORTEST_TTL_MS = SECOND

_NAME_CHARACTERS = frozenset("-._~")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicEntity:
    """A topic.

    Attributes:
        name: At most 260 characters.
        ttl_ms: How long its messages wait at most; `NEVER` for ever.
        metadata: What its owner noted on it.
    """

    name: str
    ttl_ms: int = NEVER
    metadata: str = ""

    @property
    def path(self) -> str:
        """Where it is."""
        return self.name.casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionEntity:
    """A subscription.

    Attributes:
        topic: Its topic's name.
        name: At most 50 characters.
        lock_ms: How long a receiver holds a message, unless it renews the lock.
        ttl_ms: How long a message waits at most; `NEVER` for ever.
        max_delivery_count: Deliveries before a message goes to the dead letters.
        dead_letter_expired: Whether what nobody received in time goes there, too.
        metadata: What its owner noted on it.
    """

    topic: str
    name: str
    lock_ms: int = DEFAULT_LOCK_MS
    ttl_ms: int = NEVER
    max_delivery_count: int = DEFAULT_DELIVERIES
    dead_letter_expired: bool = False
    metadata: str = ""

    @property
    def path(self) -> str:
        """Where it is."""
        return f"{self.topic}/subscriptions/{self.name}".casefold()


Entity = TopicEntity | SubscriptionEntity

E = TypeVar("E", TopicEntity, SubscriptionEntity, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing(Generic[E]):
    """An entity, and since when it is as it is."""

    entity: E
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How many messages there are.

    Attributes:
        active: Those that wait or are held; 0 of a topic.
        dead: Dead letters; 0 of a topic.
        scheduled: Those that become visible later; 0 of a subscription.
        deferred: Those that wait to be asked for by their number.
        size: Bytes of their bodies.
    """

    active: int = 0
    dead: int = 0
    scheduled: int = 0
    deferred: int = 0
    size: int = 0


class Shown(Protocol):
    """Looking at topics and subscriptions.

    Raises:
        NotFound: There is no such entity.
    """

    def topics(self) -> Sequence[Standing[TopicEntity]]:
        """Every topic, by name."""
        ...

    def subscriptions(self, topic: str) -> Sequence[Standing[SubscriptionEntity]]:
        """A topic's subscriptions, by name."""
        ...

    def rules(self, path: str) -> Rules:
        """The rules of a subscription."""
        ...

    async def holding(self, path: str) -> Holding:
        """How many messages a topic or subscription has."""
        ...


class Changes(Protocol):
    """Changing topics and subscriptions; durable when it returns.

    Raises:
        NotAllowed: From any method: they are the hub's own, and part of its release.
        Unavailable: From any method: nothing was done.
    """

    async def create(self, entity: Entity, rules: Sequence[NamedRule] | None = None) -> None:
        """Add a topic or a subscription, which takes every message where no rules are given.

        Raises:
            Conflict: There is one at that path.
            NotFound: There is no such topic.
            InvalidInput: Something in it, or in a rule, is out of bounds.
            OverLimit: There are as many as there can be.
        """
        ...

    async def update(self, entity: Entity) -> None:
        """Give a topic or a subscription other properties.

        Raises:
            NotFound: There is none at that path.
            InvalidInput: Something in it is out of bounds.
        """
        ...

    async def delete(self, path: str) -> None:
        """Delete a topic with its subscriptions, or a subscription, with all their messages.

        Raises:
            NotFound: There is none.
        """
        ...

    async def replace(self, path: str, rule: NamedRule) -> None:
        """Give a rule of a subscription another condition.

        Raises:
            NotFound: There is no such subscription, or no such rule.
            InvalidInput: Its expression is none.
        """
        ...


def check(entity: Entity) -> None:
    """Whether a topic or subscription may be as it is described.

    Raises:
        InvalidInput: It may not: names each place.
    """
    errors: list[FieldError] = []
    if isinstance(entity, TopicEntity):
        _check_name(errors, "/name", entity.name, MAX_TOPIC)
    else:
        _check_name(errors, "/name", entity.name, MAX_NAME)
        _check_range(errors, "/lockDuration", entity.lock_ms, *_LOCK_MS, "milliseconds")
        _check_range(errors, "/maxDeliveryCount", entity.max_delivery_count, *_DELIVERIES, "times")
    if entity.ttl_ms < _SHORTEST_TTL_MS:
        errors.append(FieldError("/defaultMessageTimeToLive", "at least a second"))
    if len(entity.metadata) > MAX_METADATA:
        errors.append(FieldError("/userMetadata", f"at most {MAX_METADATA:,} characters"))
    if errors:
        raise InvalidInput(errors)


def check_rule_name(name: str) -> None:
    """Whether a rule may be called so.

    Raises:
        InvalidInput: It may not.
    """
    errors: list[FieldError] = []
    _check_name(errors, "/name", name.removeprefix("$"), MAX_NAME)
    if errors:
        raise InvalidInput(errors)


def _check_name(errors: list[FieldError], pointer: str, name: str, limit: int) -> None:
    # A topic's name may have slashes in Azure; here they part a path.
    fits = name and all(each.isalnum() or each in _NAME_CHARACTERS for each in name)
    if not fits or len(name) > limit or not name.isascii():
        detail = f"1 to {limit} letters, digits, or one of - . _ ~"
        errors.append(FieldError(pointer, detail))


def _check_range(
    errors: list[FieldError], pointer: str, value: int, least: int, most: int, unit: str
) -> None:
    if not least <= value <= most:
        errors.append(FieldError(pointer, f"from {least:,} to {most:,} {unit}, not {value:,}"))
