"""Jobs in SQL. One adapter for SQLite and PostgreSQL; implements `keeping.Runs` and `keeping.Desk`.

A unit of work locks the job's row, decides, and writes everything that the decision came to.
Where others write at the same time, every unit takes its locks in one order: the job, what hangs
on it, the ledger's events, the outbox.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import sqlalchemy as sa

from ai_workers import deciding
from ai_workers.budgets import patience_s
from ai_workers.consequences import Consequences
from ai_workers.job_types import JobTypes
from ai_workers.jobs import Change, End, Failure, Job, Order, State
from ai_workers.keeping import Beat, Progress
from ai_workers.ports import Usage
from ai_workers.rows import changing, job_of, row_of
from ai_workers.spending import SqlSpending
from ai_workers.tables import jobs
from ai_workers.telling import progress_event
from notifications import statements
from notifications.crashpoints import Point, passing
from notifications.database import Database, Transaction
from notifications.errors import Conflict, HuntazeError, OverLimit
from notifications.events import Event
from notifications.messages import Received
from notifications.ports import Dice
from notifications.stores import codes
from notifications.timing import Numbers

log = logging.getLogger("huntaze")

_TAKEN = "this id or idempotency key belongs to a job with another content"
_KEY_TAKEN = Failure(
    code="key-taken", message="Its idempotency key belongs to a job with another content."
)


class SqlJobs:
    """The truth about jobs."""

    def __init__(
        self,
        database: Database,
        types: JobTypes,
        consequences: Consequences,
        spending: SqlSpending,
        *,
        numbers: Numbers,
        dice: Dice,
    ) -> None:
        self._database = database
        self._types = types
        self._consequences = consequences
        self._spending = spending
        self._numbers = numbers
        self._dice = dice

    async def release(self) -> None:
        """At the start of a process that alone owns the database: no run is under way."""

        def release(tx: Transaction) -> None:
            tx.connection.execute(_RELEASE, {"b_now": tx.now})

        await self._database.write(release)

    # ---------------------------------------------------------------- keeping.Desk

    async def submit(self, order: Order) -> tuple[Job, bool]:
        """See `keeping.Desk.submit`."""

        def submit(tx: Transaction) -> tuple[Job, bool] | HuntazeError:
            refusal = self._spending.refusal(tx, order.tenant_id)
            if refusal is None:
                change = self._accepted(tx, order)
                if self._insert(tx, change.job):
                    self._consequences.of(tx, change)
                    return change.job, False
            there = self._there(tx, order)
            if there is None and refusal is not None:
                return OverLimit(refusal.message, retry_after=patience_s(tx.now))
            same = there is not None and there.order.fingerprint() == order.fingerprint()
            return (there, True) if there is not None and same else Conflict(_TAKEN)

        # Raised out here: what raises in a transaction makes the writer try its neighbours again.
        found = await self._database.write(submit)
        if isinstance(found, HuntazeError):
            raise found
        return found

    async def get(self, tenant_id: str, job_id: str) -> Job | None:
        """See `keeping.Desk.get`."""
        query = {"tenant": tenant_id, "id": job_id}
        row = await self._database.look(lambda seen: seen.execute(_JOB, query).one_or_none())
        return None if row is None else job_of(row)

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
        """See `keeping.Desk.page`."""
        query = sa.select(jobs).where(_j.tenant_id == tenant_id)
        for column, wanted in (
            (_j.state, None if state is None else state.value),
            (_j.job_type, job_type),
            (_j.user_id, user_id),
            (_j.idempotency_key, idempotency_key),
        ):
            if wanted is not None:
                query = query.where(column == wanted)
        if below is not None:
            query = query.where(_j.number < below)
        query = query.order_by(_j.number.desc()).limit(limit)
        return [job_of(row) for row in await self._database.read(lambda c: c.execute(query).all())]

    async def cancel(self, tenant_id: str, job_id: str) -> Job | None:
        """See `keeping.Desk.cancel`."""

        def cancel(tx: Transaction) -> Job | None:
            job = self.lock(tx, tenant_id, job_id)
            change = None if job is None else deciding.cancelled(job, now=tx.now)
            if change is None:
                return job
            self.apply(tx, change)
            return change.job

        return await self._database.write(cancel)

    # ---------------------------------------------------------------- keeping.Runs

    async def take(self, order: Order, failure: Failure | None = None) -> Job | None:
        """See `keeping.Runs.take`."""

        def take(tx: Transaction) -> Job | Conflict | None:
            job = self.lock(tx, order.tenant_id, order.id)
            if job is None:
                return self._take_in(tx, order, failure)
            return self._take_known(tx, job, order)

        taken = await self._database.write(take)
        if isinstance(taken, Conflict):
            raise taken
        return taken

    def _take_in(
        self, tx: Transaction, order: Order, failure: Failure | None
    ) -> Job | Conflict | None:
        """A job that another producer put on the topic, on first sight."""
        failure = failure or self._spending.refusal(tx, order.tenant_id)
        job = self.admit(tx, order, failure)
        if job is None:
            there = self._there(tx, order)
            if there is not None and there.order.fingerprint() == order.fingerprint():
                # That one has a message of its own.
                log.info("job.duplicate", extra={**there.log_context(), "askedAs": order.id})
                return None
            # Under its own name its producer finds out why.
            nameless = replace(order, idempotency_key=None)
            job = self.admit(tx, nameless, failure or _KEY_TAKEN)
            if job is None:  # somebody else took it in meanwhile
                job = self.lock(tx, order.tenant_id, order.id)
                return None if job is None else self._take_known(tx, job, order)
        return self._claim(tx, job)

    def _take_known(self, tx: Transaction, job: Job, order: Order) -> Job | Conflict | None:
        if job.order.fingerprint() != order.fingerprint():
            return Conflict(_TAKEN)
        return self._claim(tx, job)

    def _claim(self, tx: Transaction, job: Job) -> Job | None:
        table = self._types.get(job.order.job_type).table
        change = deciding.claim(job, now=tx.now, table=table)
        if change is None:
            return None
        self.apply(tx, change)
        passing(Point.JOB_CLAIMED)
        return change.job if change.job.state is State.RUNNING else None

    async def beat(
        self, job: Job, usage: Sequence[Usage], progress: Progress | None = None
    ) -> Beat:
        """See `keeping.Runs.beat`."""

        def beat(tx: Transaction) -> Beat:
            there = self.lock(tx, *job.name)
            if there is None or not _is_own(there, job):
                return Beat(held=False)
            paid, new = deciding.paid(there, job.run, usage)
            self._consequences.spent(tx, paid, new)
            percent = None if progress is None else progress.percent
            held = deciding.renewed(paid, now=tx.now, progress=percent)
            events: list[Event] = []
            if progress is not None:
                event = progress_event(held, progress.number, progress.step, now=tx.now)
                events.append(event)
            self.apply(tx, Change(job=held, events=events))
            return Beat(held=True, cancelling=held.cancelling)

        return await self._database.write(beat)

    async def finish(
        self, job: Job, how: End, usage: Sequence[Usage], woken_by: Received | None = None
    ) -> bool:
        """See `keeping.Runs.finish`."""
        table = self._types.get(job.order.job_type).table
        dice = self._dice.roll()

        def finish(tx: Transaction) -> bool:
            there = self.lock(tx, *job.name)
            if woken_by is not None:
                self._consequences.handled(tx, woken_by)
            if there is None:
                return False
            paid, new = deciding.paid(there, job.run, usage)
            self._consequences.spent(tx, paid, new)
            if _is_own(there, job):
                ended = deciding.worked(paid, job.run_at or tx.now)
                self.apply(tx, deciding.finish(ended, how, now=tx.now, table=table, dice=dice))
                passing(Point.JOB_TOLD)
                return True
            if new:  # its worker's no more, but the money is gone all the same
                self.apply(tx, Change(job=paid))
            return False

        return await self._database.write(finish)

    # ---------------------------------------------------------------- within a transaction

    def lock(
        self, tx: Transaction, tenant_id: str, job_id: str, *, wait: bool = True
    ) -> Job | None:
        """A job whose row is this transaction's; None where there is none.

        Without `wait` also where another transaction has it.
        """
        query = {"tenant": tenant_id, "id": job_id}
        row = statements.first(tx.connection, _LOCK if wait else _LOCK_FREE, query)
        return None if row is None else job_of(row)

    def apply(self, tx: Transaction, change: Change) -> None:
        """Write a job that is there, and everything that tells of it."""
        tenant_id, job_id = change.job.name
        row = changing(change.job) | {"b_tenant": tenant_id, "b_id": job_id}
        statements.run(tx.connection, _CHANGE, row)
        passing(Point.JOB_WRITTEN)
        self._consequences.of(tx, change)

    def admit(self, tx: Transaction, order: Order, failure: Failure | None = None) -> Job | None:
        """Take in a job whose message is on the bus, or was; None where its key or id is taken.

        With `failure` it is one that failed before it began.
        """
        change = self._accepted(tx, order)
        if failure is not None:
            change = deciding.refused(change, failure, now=tx.now)
        if not self._insert(tx, change.job):
            return None
        self._consequences.of(tx, replace(change, wake_at=None))
        return change.job

    def _accepted(self, tx: Transaction, order: Order) -> Change:
        table = self._types.get(order.job_type).table
        return deciding.accepted(order, number=self._numbers.next(), now=tx.now, table=table)

    def _insert(self, tx: Transaction, job: Job) -> bool:
        """Whether it is new."""
        statement = _new_job(tx.connection.dialect.name)
        return statements.is_new(tx.connection, statement, row_of(job))

    def _there(self, tx: Transaction, order: Order) -> Job | None:
        """The job that has an order's idempotency key, else the one that has its id."""
        if order.idempotency_key is not None:
            query = {"tenant": order.tenant_id, "key": order.idempotency_key}
            row = tx.connection.execute(_BY_KEY, query).one_or_none()
            if row is not None:
                return job_of(row)
        return self.lock(tx, order.tenant_id, order.id)


def _is_own(there: Job, job: Job) -> bool:
    """Whether the run that began with `job` goes on, as the job stands."""
    return there.state is State.RUNNING and there.run == job.run and there.run_at is not None


@cache
def _new_job(dialect: str) -> Any:
    return codes.upsert_in(dialect, jobs).on_conflict_do_nothing()


_j = jobs.c
_b = sa.bindparam
_JOB = sa.select(jobs).where(_j.tenant_id == _b("tenant"), _j.id == _b("id"))
_LOCK = _JOB.with_for_update()
_LOCK_FREE = _JOB.with_for_update(skip_locked=True)
_BY_KEY = (
    sa.select(jobs)
    .where(_j.tenant_id == _b("tenant"), _j.idempotency_key == _b("key"))
    .with_for_update()
)
_CHANGE = sa.update(jobs).where(_j.tenant_id == _b("b_tenant"), _j.id == _b("b_id"))
_RELEASE = (
    sa.update(jobs)
    .where(_j.state == State.RUNNING.value, _j.claimed_until > _b("b_now"))
    .values(claimed_until=_b("b_now"))
)
