"""What hangs on a job's row: its events, its figures, its wake-up, its money.

Within a transaction it is left for the end: units that share it write theirs with one statement.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from ai_workers.announcing import Announcing
from ai_workers.jobs import Change, Job
from ai_workers.orders import message_of
from ai_workers.ports import Usage
from ai_workers.rows import metrics_of
from ai_workers.spending import SqlSpending
from ai_workers.tables import job_events, job_metrics
from ai_workers.tally import JobTally
from ai_workers.telling import is_progress
from notifications import statements
from notifications.bus.topology import JOBS_TOPIC
from notifications.database import Transaction
from notifications.events import Event
from notifications.extensions import OutboxWithin
from notifications.messages import Message, Received
from notifications.stores import codes


class Consequences:
    """Writes what follows from a change."""

    def __init__(
        self,
        announcing: Announcing,
        spending: SqlSpending,
        tally: JobTally,
        *,
        outbox: OutboxWithin,
    ) -> None:
        self._announcing = announcing
        self._spending = spending
        self._tally = tally
        self._outbox = outbox

    def spent(self, tx: Transaction, job: Job, usage: Sequence[Usage]) -> None:
        """A run spent something that is written down with this; before the change is told of."""
        cost = sum(each.cost_nano_usd for each in usage)
        if cost:
            tenant_id, job_type = job.order.tenant_id, job.order.job_type
            self._spending.note(tx, tenant_id, cost)
            tx.after_commit(lambda: self._tally.spent(job_type, cost))

    def handled(self, tx: Transaction, received: Received) -> None:
        """The message that woke a run needs no other, where the bus shares the commit."""
        self._outbox.complete(tx, [received])

    def of(self, tx: Transaction, change: Change) -> None:
        """A job was written as a change has it."""
        job = change.job
        if change.events:
            tx.collect(_write_events, *(_event_row(each, job, tx.now) for each in change.events))
            tx.collect(self._accept, *change.events)
            if not all(map(is_progress, change.events)):
                tx.after_commit(lambda: self._tally.moved(job))
        if job.ended:
            tx.collect(_write_metrics, metrics_of(job))
        if change.wake_at is not None:
            tx.collect(self._send, message_of(job, change.wake_at, tx.now))

    def _accept(self, tx: Transaction, events: list[Event]) -> None:
        self._announcing.put(tx, events)

    def _send(self, tx: Transaction, messages: list[Message]) -> None:
        self._outbox.put(tx, messages, topic=JOBS_TOPIC)


def _write_events(tx: Transaction, rows: list[dict[str, Any]]) -> None:
    statements.run(tx.connection, _NEW_EVENT, rows)


def _write_metrics(tx: Transaction, rows: list[dict[str, Any]]) -> None:
    statements.run(tx.connection, _metrics(tx.connection.dialect.name), rows)


@cache
def _metrics(dialect: str) -> Any:
    """What a job took; a run that spent more after its end is counted in it.

    What the sweep found out since is left, and the job's day is added up once more.
    """
    statement = codes.upsert_in(dialect, job_metrics)
    key = ("tenant_id", "job_id")
    left = (*key, "deliver_ms", "look_at")
    names = [column.name for column in job_metrics.columns if column.name not in left]
    values = {name: statement.excluded[name] for name in names}
    return statement.on_conflict_do_update(index_elements=key, set_=values)


def _event_row(event: Event, job: Job, at: int) -> dict[str, Any]:
    return {
        "tenant_id": event.tenant_id,
        "job_id": job.order.id,
        "id": event.id,
        "type": event.type,
        "run": job.run,
        "at": at,
        "data": event.data,
    }


_NEW_EVENT = sa.insert(job_events)
