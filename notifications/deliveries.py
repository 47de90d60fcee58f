"""Deliveries, attempts and what becomes of them. Pure: no I/O, no clock.

    pending ──attempt──► delivered | exhausted | pending (due again)
    pending ──its endpoint is paused or disabled──► parked ──resumed: a new round──► pending
    pending | parked ──its endpoint is deleted──► skipped

Every function here takes a delivery and gives the next one; writing it down is the ledger's.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from notifications.events import Channel
from notifications.retries import MINUTE, SECOND, RetryTable
from notifications.values import quick

TOO_MANY = 1 * MINUTE
"""How long whoever answers 429 without `Retry-After` is left alone at least."""

POSTPONED_FOR = 5 * SECOND
"""When it is tried again after a fault of ours that does not say how long it lasts."""


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    PARKED = "parked"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The target took it.

    Attributes:
        status: What the receiver answered, e.g. 200, where there is such a number.
        detail: The start of its answer, or what was done.
    """

    status: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The target did not take it.

    Attributes:
        reason: Short and constant: `http-500`, `timeout`, `dns`, `address-not-allowed`, `gone`.
        retryable: Whether another attempt could end otherwise.
        retry_after: Milliseconds the receiver asked us to wait.
        status: What the receiver answered, where it did.
        detail: The start of its answer, or what went wrong, for a person to read.
    """

    reason: str
    retryable: bool = True
    retry_after: int | None = None
    status: int | None = None
    detail: str | None = None

    @property
    def timed_out(self) -> bool:
        """Whether it held its place in the lane for the whole time limit."""
        return self.reason == "timeout"

    @property
    def throttled(self) -> bool:
        """Whether it was told that it comes too often."""
        return self.status == 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """There is nothing to do: not wanted, superseded, or nobody to tell."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """The target takes none for now (its endpoint is paused or disabled): no attempt was made."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """A fault of ours kept it from being tried, e.g. no file descriptor: no attempt was made.

    Attributes:
        reason: What kept it.
        again_in: Milliseconds after which trying again is sensible, where that is known.
    """

    reason: str
    again_in: int | None = None


Outcome = Delivered | Failed | Skipped | Parked | Postponed
"""What an attempt returned."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at a delivery.

    Attributes:
        round: 1, or more after a replay, a retry by hand, or parking.
        number: From 1 within its round.
        at: When it began, ms since the epoch.
        duration_ms: How long it took.
        outcome: What it returned.
    """

    round: int
    number: int
    at: int
    duration_ms: int
    outcome: Outcome


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event to one target.

    Attributes:
        tenant_id: Whose.
        id: The ledger's number; `dlv_…` outside.
        event_key: The event's number in the ledger.
        channel: The way it goes.
        target: A user id or an endpoint id; `-` where the event found nobody on this channel.
        state: Where it stands.
        reason: Why it is skipped, parked or exhausted; else None.
        routed: How many deliveries were routed together (event x channel).
        round: See `Attempt.round`.
        attempt: Attempts made in this round.
        due_at: When the next attempt is due, where pending; ms since the epoch.
        deadline: When the round ends.
        created_at: When it was routed.
        claimed: Whether an attempt is under way; then `due_at` is when the claim runs out.
    """

    tenant_id: str
    id: int
    event_key: int
    channel: Channel
    target: str
    state: State = State.PENDING
    reason: str | None = None
    routed: int = 1
    round: int = 1
    attempt: int = 0
    due_at: int | None = None
    deadline: int
    created_at: int
    claimed: bool = False

    @property
    def lane(self) -> str:
        """The lane it waits in. Carries the tenant, so that no tenant's backlog is another's.

        `webhook/<tenant>/<endpoint>`, `email/<tenant>`, `realtime/<tenant>`.
        """
        if self.channel is Channel.WEBHOOK:
            return webhook_lane(self.tenant_id, self.target)
        return f"{self.channel}/{self.tenant_id}"

    @property
    def late(self) -> bool:
        """Whether it failed before: a toast that comes late does not pop up."""
        return self.attempt > 0 or self.round > 1


def webhook_lane(tenant_id: str, endpoint_id: str) -> str:
    """The lane of an endpoint."""
    return f"webhook/{tenant_id}/{endpoint_id}"


def attempted(
    delivery: Delivery, outcome: Outcome, *, now: int, table: RetryTable, dice: float
) -> Delivery:
    """What becomes of a delivery after an attempt.

    Args:
        delivery: As it was when the attempt began.
        outcome: What the attempt returned.
        now: When it returned.
        table: The retries to follow.
        dice: Uniform in [0, 1), for the jitter.
    """
    made = delivery.attempt + 1
    if isinstance(outcome, Delivered):
        return _end(delivery, State.DELIVERED, None, made)
    if isinstance(outcome, Skipped):
        return skipped(delivery, outcome.reason)
    if isinstance(outcome, Parked):
        return parked(delivery, outcome.reason)
    if isinstance(outcome, Postponed):
        again_at = now + (outcome.again_in or POSTPONED_FOR)
        in_time = now < delivery.deadline
        return waiting(delivery, due_at=min(again_at, delivery.deadline) if in_time else again_at)
    if not outcome.retryable:
        return _end(delivery, State.EXHAUSTED, outcome.reason, made)
    retry_after = outcome.retry_after
    if outcome.throttled and retry_after is None:
        retry_after = TOO_MANY
    due_at = table.next_due(
        attempt=made,
        now=now,
        deadline=delivery.deadline,
        dice=dice,
        retry_after=retry_after,
    )
    if due_at is None:
        reason = "attempts-used" if made >= table.attempts else "deadline"
        return _end(delivery, State.EXHAUSTED, reason, made)
    return replace(delivery, attempt=made, due_at=due_at, claimed=False)


def waiting(delivery: Delivery, *, due_at: int) -> Delivery:
    """A delivery that waits for its lane: costs no attempt."""
    return replace(delivery, state=State.PENDING, due_at=due_at, claimed=False)


def claimed(delivery: Delivery, *, until: int) -> Delivery:
    """A delivery whose attempt is under way; the claim runs out at `until`."""
    return replace(delivery, due_at=until, claimed=True)


def parked(delivery: Delivery, reason: str) -> Delivery:
    """A delivery whose endpoint takes none for now."""
    return replace(delivery, state=State.PARKED, reason=reason, due_at=None, claimed=False)


def skipped(delivery: Delivery, reason: str) -> Delivery:
    """A delivery there is no longer anybody for."""
    return _end(delivery, State.SKIPPED, reason, delivery.attempt)


def exhausted(delivery: Delivery, reason: str) -> Delivery:
    """A delivery given up without another attempt: past its deadline, or parked too long."""
    return _end(delivery, State.EXHAUSTED, reason, delivery.attempt)


def new_round(delivery: Delivery, *, now: int, table: RetryTable) -> Delivery:
    """Begin again: attempts from 1, a new deadline, same row, same ids."""
    return replace(
        delivery,
        state=State.PENDING,
        reason=None,
        round=delivery.round + 1,
        attempt=0,
        due_at=now,
        deadline=now + table.lifetime,
        claimed=False,
    )


def _end(delivery: Delivery, state: State, reason: str | None, made: int) -> Delivery:
    # As `replace` would, for a third of its time: this is the end of nearly every delivery.
    return Delivery(
        tenant_id=delivery.tenant_id,
        id=delivery.id,
        event_key=delivery.event_key,
        channel=delivery.channel,
        target=delivery.target,
        state=state,
        reason=reason,
        routed=delivery.routed,
        round=delivery.round,
        attempt=made,
        due_at=None,
        deadline=delivery.deadline,
        created_at=delivery.created_at,
        claimed=False,
    )
