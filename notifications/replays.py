"""Replays: a range of events to one endpoint once more. Pure values.

Times are milliseconds since the epoch by the ledger's clock.
"""

from dataclasses import dataclass
from enum import StrEnum

from notifications.deliveries import State


class Kind(StrEnum):
    """What a replay may be asked to take up."""

    EXHAUSTED = State.EXHAUSTED.value
    PARKED = State.PARKED.value
    ABSENT = "absent"
    """Events that the endpoint asks for and never got: it was made, or asked for them, later."""

    DELIVERED = State.DELIVERED.value
    SKIPPED = State.SKIPPED.value


USUAL = (Kind.EXHAUSTED, Kind.PARKED, Kind.ABSENT)
"""What did not arrive."""


class ReplayState(StrEnum):
    """Where a replay stands."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is to be replayed.

    Attributes:
        since: Events accepted from then on.
        until: And before then.
        event_types: Patterns, as an endpoint has them.
        kinds: See `Kind`.
    """

    since: int
    until: int
    event_types: tuple[str, ...] = ("*",)
    kinds: tuple[Kind, ...] = USUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A replay, and how far it is.

    Attributes:
        tenant_id: Whose.
        id: The ledger's number; `rpl_…` outside.
        endpoint_id: To which endpoint.
        asked_by: The key that asked for it, or `admin`.
        selection: What is replayed.
        position: The number of the last event that was looked at: events are taken in the order
            of their numbers, and of nothing else.
        total: How many there were when it began.
        begun: Deliveries that began a new round.
        made: Deliveries that there had not been.
        state: See `ReplayState`.
        reason: Why it was cancelled, or what it waits for; else None.
        created_at: When it was asked for.
        updated_at: When it last went on.
    """

    tenant_id: str
    id: int
    endpoint_id: str
    asked_by: str
    selection: Selection
    position: int
    total: int
    begun: int = 0
    made: int = 0
    state: ReplayState = ReplayState.RUNNING
    reason: str | None = None
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A replay that is not over, by its names."""

    tenant_id: str
    endpoint_id: str
    id: int
