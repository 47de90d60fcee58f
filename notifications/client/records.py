"""What a hub is told and what it answers, as values."""

import secrets
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def _new_id() -> str:
    """32 hexadecimal digits that grow with time, as databases like their keys."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to publish. Published again, the same value is a duplicate and has no effect.

    Attributes:
        type: One that the hub has a schema for, e.g. `payment.received`.
        data: What the type's schema asks for.
        source: Where it comes from: a path or URL of yours.
        id: Unique in the tenant. Give the id that the thing has with you, such as an order's: then
            a repetition is a duplicate even if your program was restarted in between.
        user_id: Whom it concerns; None is the tenant's owners.
        tenant_id: Whose it is, where the key is the admin's.
        subject: What it is about.
        occurred_at: When it happened; None is when the hub accepts it.
    """

    type: str
    data: Mapping[str, Any]
    source: str
    id: str = field(default_factory=_new_id)
    user_id: str | None = None
    tenant_id: str | None = None
    subject: str | None = None
    occurred_at: datetime | None = None

    def document(self) -> dict[str, Any]:
        """As CloudEvents 1.0.

        Raises:
            ValueError: `occurred_at` has no time zone.
        """
        if self.occurred_at is not None and self.occurred_at.tzinfo is None:
            raise ValueError("occurred_at has no time zone: datetime.now(UTC) gives one that has")
        at = self.occurred_at
        document = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": None if at is None else at.astimezone(UTC).isoformat(),
            "tenantid": self.tenant_id,
            "userid": self.user_id,
            "data": dict(self.data),
        }
        return {name: value for name, value in document.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An event that the hub has, on disk.

    Attributes:
        id: The event's.
        duplicate: The hub had it already; this time nothing was done.
    """

    id: str
    duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at a delivery.

    Attributes:
        number: From 1, within its round.
        round: From 1; a replay or a retry by hand begins a new one.
        at: When it began.
        duration_ms: How long it took.
        outcome: `delivered`, or why not.
        status: The HTTP status of a webhook's receiver.
        detail: What it answered, or what went wrong.
    """

    number: int
    round: int
    at: datetime
    duration_ms: int
    outcome: str
    status: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event to one target.

    Attributes:
        id: The delivery's.
        event_id: Of which event.
        channel: `realtime`, `email` or `webhook`.
        target: A user or an endpoint; None where nobody was to be told.
        state: `pending`, `delivered`, `skipped`, `parked` or `exhausted`.
        reason: Why it is in that state.
        round: See `Attempt`.
        next_attempt_at: When it is tried next.
        created_at: When it was routed.
        attempts: Oldest first; empty in lists.
    """

    id: str
    event_id: str
    channel: str
    target: str | None = None
    state: str
    reason: str | None = None
    round: int
    next_attempt_at: datetime | None = None
    created_at: datetime
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event as the hub has it.

    Attributes:
        event: The CloudEvent as it is stored and sent.
        state: `accepted`; `routed` once every channel that carries it has its deliveries.
        accepted_at: When the hub took it.
        trace_id: The OpenTelemetry trace that it is in; None where it is in none.
        deliveries: What became of it; empty in lists.
    """

    event: Mapping[str, Any]
    state: str
    accepted_at: datetime
    trace_id: str | None = None
    deliveries: tuple[Delivery, ...] = ()

    @property
    def id(self) -> str:
        """The event's id."""
        return str(self.event["id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How an endpoint has been doing, over its last deliveries."""

    last_attempt_at: datetime | None = None
    last_success_at: datetime | None = None
    recent_failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A customer's webhook URL.

    Attributes:
        id: The endpoint's.
        url: Where webhooks go.
        event_types: `*`, a type, or `job.*` for all that begin with `job.`.
        description: Your words.
        headers: Sent with every attempt; credentials are hidden as `***`.
        signatures: `v1`, or `v1` and `v1a`.
        rate_per_second: How many webhooks it gets at most; None is no limit.
        state: `active`, `paused` or `disabled`.
        state_reason: Why it is paused or disabled.
        public_key: Verifies `v1a`: `whpk_…`.
        secret: Verifies `v1`: `whsec_…`. Only when it was just made or rotated.
        health: See `Health`.
        created_at: When it was made.
    """

    id: str
    url: str
    event_types: tuple[str, ...]
    description: str
    headers: Mapping[str, str] = field(repr=False)
    signatures: tuple[str, ...]
    rate_per_second: int | None = None
    state: str
    state_reason: str | None = None
    public_key: str
    secret: str | None = field(default=None, repr=False)
    health: Health
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxItem:
    """A notification in a user's inbox.

    Attributes:
        id: The item's.
        seq: Grows with each change in this inbox; what changed since is `after` it.
        event_id: Of which event.
        type: The event's type.
        title: In the user's language.
        body: In the user's language.
        url: Where a click leads.
        state: `unread`, `read` or `archived`.
        progress: 0-100 for a job under way.
        created_at: When it came.
        updated_at: When it changed last.
    """

    id: str
    seq: int
    event_id: str
    type: str
    title: str
    body: str
    url: str | None = None
    state: str
    progress: int | None = None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Unread:
    """How many items are unread."""

    unread: int


# --------------------------------------------------------------------------- reading answers


def read(kind: type[T], document: object) -> T:
    """A value from JSON. What this release does not know is passed over.

    Raises:
        ValueError: Something is missing or of another form; names it.
    """
    if not isinstance(document, dict):
        raise ValueError(f"{kind.__name__} is no JSON object")  # noqa: TRY004 - data, not a slip
    values = {}
    for name, camel, hint in _fields(cast("Hashable", kind)):
        if camel in document:
            try:
                values[name] = _value(hint, document[camel])
            except (TypeError, ValueError) as error:
                raise ValueError(f"{camel} of {kind.__name__}: {error}") from None
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from None


@lru_cache(maxsize=64)
def _fields(kind: Any) -> list[tuple[str, str, Any]]:
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    return [(each.name, _camel(each.name), hints[each.name]) for each in fields(kind)]


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _value(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        (inner,) = (each for each in arguments if each is not NoneType)
        return None if value is None else _value(inner, value)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(arguments[0], each) for each in value)
    if hint is datetime:
        return datetime.fromisoformat(value)
    if is_dataclass(hint) and isinstance(hint, type):
        return read(hint, value)
    wanted = hint if origin is None else dict
    if not isinstance(value, wanted):
        raise TypeError(f"{type(value).__name__} where {getattr(hint, '__name__', hint)} was due")
    return value
