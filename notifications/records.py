"""What goes into the ledger and the inbox and comes out of them. Pure values.

Times are milliseconds since the epoch by the ledger's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from notifications.deliveries import Attempt, Delivery, Outcome
from notifications.events import Event
from notifications.lanes import Health
from notifications.messages import Received
from notifications.values import quick


@quick
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


@quick
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


@quick
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
class Written:
    """What became of a result that was to be written.

    Attributes:
        ok: False where the delivery meanwhile moved on, or a claim found that its target has a
            row already; then nothing of the result was written.
        placed: What became of its inbox entry; None where it has none.
    """

    ok: bool = True
    placed: Placed | None = None


@quick
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


@quick
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


@quick
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
        tenant_id: Whose mail it is.
        round: Which round of its delivery: a new one is another mail to services that know it by
            its id.
    """

    operation_id: str
    to: str
    to_name: str | None
    subject: str
    text: str
    html: str
    locale: str
    created_at: int
    tenant_id: str = ""
    round: int = 1
