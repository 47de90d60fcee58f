"""The ports through which jobs are kept. Each docstring is the contract.

Every write is one transaction: the job's new state, what it spent, the event that tells of it and
the message that wakes a worker. Times are milliseconds since the epoch by the ledger's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ai_workers.jobs import End, Failure, Job, Order, State
from ai_workers.ports import Usage
from notifications.messages import Received


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a run's worker learns from its heartbeat.

    Attributes:
        held: The run is still its own; where it is not, nothing was written.
        cancelling: Somebody cancelled the job.
    """

    held: bool
    cancelling: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        number: Counts a run's events of progress, from 1.
        percent: 0-100.
        step: What it does now.
    """

    number: int
    percent: int
    step: str


class Runs(Protocol):
    """Jobs as those who do them see them.

    `usage` is always all that a run has spent so far, in order. What of it is written already is
    not written again: whoever does not know whether a write arrived makes it again.

    Raises:
        StoreUnavailable: From any method; nothing was done, or it was and nobody could say so.
    """

    async def take(self, order: Order, failure: Failure | None = None) -> Job | None:
        """Begin a run of a job that a message tells of; None where nothing is to be done now.

        A job that is not known is taken in first; with `failure` as one that failed, and likewise
        where its tenant's budget is spent and takes no new ones, or its idempotency key is that of
        a job with another content. One whose key is that of a job with the same content is that
        job, and not taken in. What must not run any more is ended.

        Raises:
            Conflict: Its id is that of a job with another content.
        """
        ...

    async def beat(
        self, job: Job, usage: Sequence[Usage], progress: Progress | None = None
    ) -> Beat:
        """Hold a run for longer, write down what it spent, and tell how far it is."""
        ...

    async def finish(
        self, job: Job, how: End, usage: Sequence[Usage], woken_by: Received | None = None
    ) -> bool:
        """Write down how a run ended, what it spent, and what becomes of the job.

        `job` is as it was claimed, its `run_at` when its worker had its place. The message that
        woke it is completed with that, where the bus shares the commit; whoever received it settles
        it all the same.

        False where the run is not its worker's any more: then only what it spent is written.
        """
        ...


class Desk(Protocol):
    """Jobs as those who ask for them see them.

    Raises:
        StoreUnavailable: From any method; nothing was done.
    """

    async def submit(self, order: Order) -> tuple[Job, bool]:
        """Accept a job; with whether it was there already, with the same content.

        Raises:
            Conflict: Its idempotency key belongs to another content.
            OverLimit: It would be a new one, and its tenant's budget is spent and takes none.
        """
        ...

    async def get(self, tenant_id: str, job_id: str) -> Job | None:
        """One job."""
        ...

    async def page(
        self,
        tenant_id: str,
        *,
        state: State | None = None,
        job_type: str | None = None,
        user_id: str | None = None,
        idempotency_key: str | None = None,
        below: int | None = None,
        limit: int,
    ) -> Sequence[Job]:
        """A tenant's jobs, the newest first, below a number."""
        ...

    async def cancel(self, tenant_id: str, job_id: str) -> Job | None:
        """Cancel a job, and say how it stands; None where there is none.

        One that has ended is left as it is. One whose run is under way is cancelled once its
        worker learns of it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Milliseconds that half, 95 and 99 of a hundred do not exceed; None where there are none."""

    p50: int | None
    p95: int | None
    p99: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What the jobs of a tenant, a day, a type and a model took.

    Attributes:
        tenant_id: Whose.
        day: They ended on, UTC, e.g. `2026-03-01`.
        job_type: e.g. `chat.suggest`.
        model: Who answered last; None where nobody was asked.
        count: How many ended.
        failures: How many of these failed or expired.
        input_tokens: Sent.
        output_tokens: Answered.
        cost_nano_usd: Billionths of a US dollar.
        queue: From acceptance to the first run.
        run: Spent running.
        deliver: From the end to the first toast or webhook that told of it.
    """

    tenant_id: str
    day: str
    job_type: str
    model: str | None
    count: int
    failures: int
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int
    queue: Percentiles
    run: Percentiles
    deliver: Percentiles


class Figures(Protocol):
    """What jobs took, added up."""

    async def by_day(
        self, tenant_id: str | None, *, since: str, until: str, job_type: str | None, limit: int
    ) -> Sequence[Figure]:
        """A tenant's figures, or everybody's, of these days, both included; the newest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event that told of a job.

    Attributes:
        id: The event's, by which the hub shows it.
        type: e.g. `job.progress`.
        run: The run that it tells of; 0 before the first.
        at: When.
        data: The event's.
    """

    id: str
    type: str
    run: int
    at: int
    data: Mapping[str, Any]


class Past(Protocol):
    """What was told of a job."""

    async def told(self, tenant_id: str, job_id: str, *, limit: int) -> Sequence[Told]:
        """The last events that told of it, oldest first; none where there is no such job.

        Raises:
            StoreUnavailable: Nothing is known.
        """
        ...


class Upkeep(Protocol):
    """What the sweep does for jobs, in bounded pages; each says how many it moved."""

    async def expire(self, *, limit: int) -> int:
        """End jobs whose time is up."""
        ...

    async def wake(self, *, limit: int) -> int:
        """Send another wake-up for jobs that nothing happens to."""
        ...

    async def bury(self, orders: Sequence[tuple[Order, bool]]) -> int:
        """End the jobs of dead messages; with each whether its message expired."""
        ...

    async def forget(self, *, limit: int) -> int:
        """Delete what is past the retention."""
        ...
