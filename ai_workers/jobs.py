"""Jobs: what they are, and how their runs end. Pure values.

Times are milliseconds since the epoch by the ledger's clock.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from ai_workers.ports import Usage
from notifications.events import Event
from notifications.retries import MINUTE, SECOND
from notifications.text import one_line, shorten

HEARTBEAT_MS = 60 * SECOND
"""How long a claim lasts that nobody renews."""

LOST_MS = 5 * MINUTE
"""After how long a job that nothing happened to gets another wake-up."""

INTERNAL = "internal"

_CODE = re.compile(r"[a-z][a-z0-9]*([._-][a-z0-9]+)*")
_LONGEST_CODE = 64
_LONGEST_MESSAGE = 1_000


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


ENDS = frozenset((State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED))
WAITING = frozenset((State.QUEUED, State.RETRYING))


def is_code(text: str) -> bool:
    """Whether it is short and constant enough to decide by: lower-case words, joined."""
    return len(text) <= _LONGEST_CODE and _CODE.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run or a job came to nothing.

    Attributes:
        code: Short and constant.
        message: For the user, in English.
    """

    code: str
    message: str

    def document(self) -> dict[str, str]:
        """As events and the API show it, whatever a worker wrote."""
        said = shorten(one_line(self.message), _LONGEST_MESSAGE)
        return {
            "code": self.code if is_code(self.code) else INTERNAL,
            "message": said or "No reason was given.",
        }


INTERRUPTED = Failure(
    code="interrupted", message="The worker was interrupted in every run that the job may have."
)
UNDELIVERABLE = Failure(
    code="interrupted", message="No worker could finish the job: each was interrupted by it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What asking models took, over all runs.

    Attributes:
        model: Who answered last; None where nobody was asked.
        input_tokens: Sent.
        output_tokens: Answered.
        cost_nano_usd: Billionths of a US dollar.
    """

    model: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0

    def and_(self, usage: Sequence[Usage]) -> "Spent":
        """This, and what else was spent."""
        return Spent(
            model=usage[-1].model if usage else self.model,
            input_tokens=self.input_tokens + sum(each.input_tokens for each in usage),
            output_tokens=self.output_tokens + sum(each.output_tokens for each in usage),
            cost_nano_usd=self.cost_nano_usd + sum(each.cost_nano_usd for each in usage),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job as it is asked for.

    Attributes:
        tenant_id: Whose.
        id: Unique in the tenant; `[A-Za-z0-9_-]{1,64}`.
        job_type: e.g. `chat.suggest`.
        user_id: Who gets the result; None is the tenant's owners.
        input: As the job type's schema says.
        idempotency_key: Two orders of a tenant with one key are one job; None is no key.
        traceparent: The W3C trace context that it was asked for in; None where nobody traces.
    """

    tenant_id: str
    id: str
    job_type: str
    user_id: str | None
    input: Mapping[str, Any] = field(repr=False)
    idempotency_key: str | None = None
    traceparent: str | None = None

    def fingerprint(self) -> bytes:
        """SHA-256 over what makes two orders the same."""
        content = {"type": self.job_type, "user": self.user_id, "input": self.input}
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands.

    Attributes:
        order: What was asked for.
        number: Grows with time: the cursor of lists.
        created_at: When it was accepted.
        deadline: When it ends, whatever is left.
        due_at: When its next run may begin.
        wake_at: When the sweep sends another wake-up.
        state: See `State`.
        run: The run under way, or the last one; 0 before the first.
        returned: How many of the runs were given back by workers that stopped in good order: they
            do not count among those that the job may have.
        progress: 0-100.
        cancelling: It was cancelled while it ran, and its worker does not know yet.
        claimed_until: How long the run under way is its worker's alone; None where there is none.
        started_at: When the first run began.
        run_at: When the run under way began.
        finished_at: When it ended.
        queue_ms: From acceptance to the first run.
        run_ms: Spent running, over all runs.
        spent: What models took.
        booked: How many usages of each run are in `spent`, by the run's number.
        result: As the result schema says, where it succeeded.
        error: Why its last run failed.
    """

    order: Order
    number: int
    created_at: int
    deadline: int
    due_at: int
    wake_at: int
    state: State = State.QUEUED
    run: int = 0
    returned: int = 0
    progress: int = 0
    cancelling: bool = False
    claimed_until: int | None = None
    started_at: int | None = None
    run_at: int | None = None
    finished_at: int | None = None
    queue_ms: int | None = None
    run_ms: int = 0
    spent: Spent = field(default_factory=Spent)
    booked: Mapping[int, int] = field(default_factory=dict)
    result: Mapping[str, Any] | None = field(default=None, repr=False)
    error: Failure | None = None

    @property
    def name(self) -> tuple[str, str]:
        """Tenant and job id."""
        return self.order.tenant_id, self.order.id

    @property
    def attempts(self) -> int:
        """How many of the runs that it may have are used up."""
        return self.run - self.returned

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in ENDS

    def held(self, now: int) -> bool:
        """Whether a run is under way whose worker has been heard of."""
        running = self.state is State.RUNNING and self.claimed_until is not None
        return running and (self.claimed_until or 0) > now

    def log_context(self) -> dict[str, Any]:
        """The fields that name this job in a log line."""
        tenant_id, job_id = self.name
        return {
            "tenantId": tenant_id,
            "jobId": job_id,
            "jobType": self.order.job_type,
            "run": self.run,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a decision comes to.

    Attributes:
        job: As it is to be.
        events: What tells of it.
        wake_at: When a message is to wake a worker for it; None where none is needed.
    """

    job: Job
    events: Sequence[Event] = ()
    wake_at: int | None = None


# --------------------------------------------------------------------------- how a run ended


@dataclass(frozen=True, slots=True)
class Succeeded:
    """With a result, valid by its schema."""

    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """With nothing; `retry_after` is the patience, ms, that was asked for."""

    failure: Failure
    retryable: bool
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody cancelled it."""


@dataclass(frozen=True, slots=True)
class Expired:
    """Its time was up."""


@dataclass(frozen=True, slots=True)
class Released:
    """Its worker stops in good order; the next run may begin at once, in the place of this one."""


End = Succeeded | Failed | Cancelled | Expired | Released
