"""Which state of a job follows which, and what tells of it. Pure.

The job's row is the truth. A decision is made of a job as it stands; it says what the job is to
be, which events tell of it and when a worker is to be woken, and the store writes all of it at
once. Times are milliseconds since the epoch by the ledger's clock.
"""

from collections.abc import Sequence
from dataclasses import replace

from ai_workers.jobs import (
    HEARTBEAT_MS,
    INTERRUPTED,
    LOST_MS,
    UNDELIVERABLE,
    Cancelled,
    Change,
    End,
    Expired,
    Failed,
    Failure,
    Job,
    Order,
    Released,
    State,
    Succeeded,
)
from ai_workers.ports import Usage
from ai_workers.telling import MOST_MS, bounded, event_of, told_at_the_end
from notifications.retries import RetryTable

_MOST_RETURNED = 20
"""Runs of a job that workers may give back: who stops more often than that is no worker."""


def accepted(order: Order, *, number: int, now: int, table: RetryTable) -> Change:
    """A new job, which waits for a worker."""
    job = Job(
        order=order,
        number=number,
        created_at=now,
        deadline=now + table.lifetime,
        due_at=now,
        wake_at=now + LOST_MS,
    )
    return Change(job=job, events=[event_of(job, "queued", now)], wake_at=now)


def refused(begun: Change, failure: Failure, *, now: int) -> Change:
    """The same job where it cannot be done at all: failed from the start."""
    ended = end(begun.job, Failed(failure=failure, retryable=False), now=now)
    return Change(job=ended.job, events=[*begun.events, *ended.events])


def claim(job: Job, *, now: int, table: RetryTable) -> Change | None:
    """Begin a run, or end what must not run any more; None where nothing is to be done now."""
    if job.ended or job.held(now) or (job.state is State.RETRYING and job.due_at > now):
        return None
    if (settled := _overdue(job, now)) is not None:
        return settled
    if job.attempts >= table.attempts:
        return end(job, Failed(failure=INTERRUPTED, retryable=False), now=now)
    queue_ms = now - job.created_at if job.queue_ms is None else job.queue_ms
    begun = replace(
        job,
        state=State.RUNNING,
        run=job.run + 1,
        progress=0,
        claimed_until=now + HEARTBEAT_MS,
        wake_at=now + HEARTBEAT_MS,
        started_at=job.started_at or now,
        run_at=now,
        queue_ms=queue_ms,
    )
    told = {"run": begun.run, "queueMs": bounded(queue_ms, MOST_MS)}
    return Change(job=begun, events=[event_of(begun, f"started.{begun.run}", now, **told)])


def renewed(job: Job, *, now: int, progress: int | None = None) -> Job:
    """The same run, held for longer, and how far it is."""
    return replace(
        job,
        claimed_until=now + HEARTBEAT_MS,
        wake_at=now + HEARTBEAT_MS,
        progress=job.progress if progress is None else progress,
    )


def worked(job: Job, since: int) -> Job:
    """The same run, whose worker had its place from `since` on: before, it waited.

    The job's waiting ends with its first run.
    """
    waited = max(since - (job.run_at or since), 0)
    if not waited:
        return job
    queue_ms = (job.queue_ms or 0) + waited if job.run == 1 else job.queue_ms
    return replace(job, run_at=since, queue_ms=queue_ms)


def paid(job: Job, run: int, usage: Sequence[Usage]) -> tuple[Job, Sequence[Usage]]:
    """The job with all that one of its runs has spent so far, in order, and what of it is new.

    What is in it already is known by its number, so that nothing is counted twice.
    """
    new = usage[job.booked.get(run, 0) :]
    if not new:
        return job, new
    return replace(job, spent=job.spent.and_(new), booked={**job.booked, run: len(usage)}), new


def finish(job: Job, how: End, *, now: int, table: RetryTable, dice: float) -> Change:
    """What becomes of a job when its run ends; `dice` is uniform in [0, 1)."""
    if isinstance(how, Released):
        released = replace(
            job,
            returned=min(job.returned + 1, _MOST_RETURNED),
            run_ms=_ran(job, now),
            run_at=None,
            claimed_until=now,
            wake_at=now + LOST_MS,
        )
        return Change(job=released, wake_at=now)
    if job.cancelling and not isinstance(how, Succeeded):
        return end(job, Cancelled(), now=now)
    if isinstance(how, Failed) and how.retryable:
        due_at = table.next_due(
            attempt=job.attempts,
            now=now,
            deadline=job.deadline,
            dice=dice,
            retry_after=how.retry_after,
        )
        # One at the deadline would have no time left: its user is told now, and told why.
        if due_at is not None and due_at < job.deadline:
            return _retrying(job, how.failure, due_at, now=now, table=table)
    return end(job, how, now=now)


def cancelled(job: Job, *, now: int) -> Change | None:
    """What becomes of a job that somebody cancels; None where it has ended already.

    A run under way learns of it from its heartbeat, or from its own process at once.
    """
    if job.ended:
        return None
    if job.held(now):
        return Change(job=replace(job, cancelling=True))
    return end(job, Cancelled(), now=now)


def overdue(job: Job, *, now: int) -> Change | None:
    """The end of a job whose time is up; None where it goes on, or a worker has it in hand."""
    return None if job.ended or job.held(now) else _overdue(job, now)


def lost(job: Job, *, now: int) -> Change | None:
    """Another wake-up for a job that nothing happens to; None where something does."""
    if job.ended or job.held(now) or job.wake_at > now:
        return None
    return Change(job=replace(job, wake_at=now + LOST_MS), wake_at=max(job.due_at, now))


def buried(job: Job, *, expired: bool, now: int) -> Change | None:
    """What becomes of a job whose message is among the dead letters; None where nothing does.

    A message that expired says something of a job only while no worker saw it; and of a job that
    waits for its next run nothing at all, since that run has a message of its own, also where the
    one before it was given back.
    """
    given_back = job.state is State.RUNNING and job.run_at is None
    if job.ended or job.held(now) or job.state is State.RETRYING or given_back:
        return None
    if expired:
        return end(job, Expired(), now=now) if job.state is State.QUEUED else None
    return end(job, Failed(failure=UNDELIVERABLE, retryable=False), now=now)


def end(job: Job, how: Succeeded | Failed | Cancelled | Expired, *, now: int) -> Change:
    """The end of a job, and the one event that tells of it."""
    ended = replace(
        job,
        state=_STATES[type(how)],
        finished_at=now,
        claimed_until=None,
        run_ms=_ran(job, now),
        progress=100 if isinstance(how, Succeeded) else job.progress,
        result=how.result if isinstance(how, Succeeded) else None,
        error=_error(how),
    )
    return Change(job=ended, events=[event_of(ended, "end", now, **told_at_the_end(ended))])


_STATES = {
    Succeeded: State.SUCCEEDED,
    Failed: State.FAILED,
    Cancelled: State.CANCELLED,
    Expired: State.EXPIRED,
}


def _error(how: End) -> Failure | None:
    if isinstance(how, Failed):
        return how.failure
    if isinstance(how, Expired):
        return Failure(code="expired", message="The time that such a job may take has run out.")
    return None


def _overdue(job: Job, now: int) -> Change | None:
    if job.cancelling:
        return end(job, Cancelled(), now=now)
    return end(job, Expired(), now=now) if now >= job.deadline else None


def _ran(job: Job, now: int) -> int:
    """How long it ran in all, ms, with the run that ends now."""
    if job.run_at is None or job.state is not State.RUNNING:
        return job.run_ms
    return job.run_ms + max(now - job.run_at, 0)


def _retrying(job: Job, failure: Failure, due_at: int, *, now: int, table: RetryTable) -> Change:
    waits = replace(
        job,
        state=State.RETRYING,
        claimed_until=None,
        run_ms=_ran(job, now),
        due_at=due_at,
        wake_at=due_at + LOST_MS,
        error=failure,
    )
    told = {
        "run": job.run,
        "runs": table.attempts + job.returned,
        "delayMs": due_at - now,
        "error": failure.document(),
    }
    event = event_of(waits, f"retrying.{job.run}", now, **told)
    return Change(job=waits, events=[event], wake_at=due_at)
