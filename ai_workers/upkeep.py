"""What the sweep does for jobs: ends what is past its time, wakes what nothing happens to.

Implements `keeping.Upkeep`, and `DeadJobs`, which reads the jobs' dead letters.
"""

import logging
from collections.abc import Callable, Collection, Sequence

import sqlalchemy as sa

from ai_workers import deciding, keeping
from ai_workers.job_types import JobTypes
from ai_workers.jobs import Change, Job, Order
from ai_workers.orders import read_message
from ai_workers.store import SqlJobs
from ai_workers.tables import job_events, job_metrics, jobs
from notifications.database import Database, Transaction
from notifications.dead_letters import DeadLetters
from notifications.errors import InvalidInput, RejectedMessage
from notifications.retries import DAY

log = logging.getLogger("huntaze")

TOGETHER = 50
"""Jobs that one commit moves: each has an event, and they are not to hold up the others."""

METRICS_MS = 400 * DAY
"""How long what a job took is kept: a year can be compared with the one before."""

EXPIRED = "TTLExpiredException"
"""Why a message died that nobody received in time; Service Bus's own word."""

Name = tuple[str, str]


class SqlJobUpkeep:
    """Moves jobs in bounded pages."""

    def __init__(self, database: Database, store: SqlJobs, *, keep: int) -> None:
        """`keep` is how long jobs are kept once they ended, ms."""
        self._database = database
        self._store = store
        self._keep = keep

    async def expire(self, *, limit: int) -> int:
        """See `keeping.Upkeep.expire`."""
        return await self._move(_OVERDUE, limit, lambda job, now: deciding.overdue(job, now=now))

    async def wake(self, *, limit: int) -> int:
        """See `keeping.Upkeep.wake`."""
        return await self._move(_LOST, limit, lambda job, now: deciding.lost(job, now=now))

    async def bury(self, orders: Sequence[tuple[Order, bool]]) -> int:
        """See `keeping.Upkeep.bury`."""
        return sum([await self._bury(order, expired) for order, expired in orders])

    async def forget(self, *, limit: int) -> int:
        """See `keeping.Upkeep.forget`."""

        def forget(tx: Transaction) -> int:
            query = {"oldest": tx.now - self._keep, "limit": limit}
            names = [(row.tenant_id, row.id) for row in tx.connection.execute(_OLD, query)]
            for tenant_id, job_id in names:
                of = {"tenant": tenant_id, "id": job_id}
                tx.connection.execute(_FORGET_JOB, of)
                tx.connection.execute(_FORGET_EVENTS, of)
            query["oldest"] = tx.now - METRICS_MS
            old = [
                (row.tenant_id, row.job_id) for row in tx.connection.execute(_OLD_FIGURES, query)
            ]
            for tenant_id, job_id in old:
                tx.connection.execute(_FORGET_FIGURES, {"tenant": tenant_id, "id": job_id})
            return max(len(names), len(old))

        return await self._database.write(forget)

    async def _move(
        self, query: sa.Select[Name], limit: int, decide: Callable[[Job, int], Change | None]
    ) -> int:
        """Decide on up to `limit` jobs; how many were changed."""
        moved = 0
        while moved < limit:
            room = min(TOGETHER, limit - moved)

            def move(tx: Transaction, room: int = room) -> tuple[int, int]:
                found = tx.connection.execute(query, {"now": tx.now, "limit": room}).all()
                return len(found), sum(
                    self._decide(tx, row.tenant_id, row.id, decide) for row in sorted(found)
                )

            found, changed = await self._database.write(move)
            moved += changed
            if found < room or not changed:
                break
        return moved

    def _decide(
        self,
        tx: Transaction,
        tenant_id: str,
        job_id: str,
        decide: Callable[[Job, int], Change | None],
    ) -> int:
        job = self._store.lock(tx, tenant_id, job_id, wait=False)
        change = None if job is None else decide(job, tx.now)
        if change is None:
            return 0
        self._store.apply(tx, change)
        log.info("job.swept", extra={**change.job.log_context(), "state": change.job.state.value})
        return 1

    async def _bury(self, order: Order, expired: bool) -> int:
        def bury(tx: Transaction) -> int:
            there = self._store.lock(tx, order.tenant_id, order.id)
            if there is None:
                # Another producer's, which no worker ever saw.
                self._store.admit(tx, order)
            elif there.order.fingerprint() != order.fingerprint():
                return 0  # it asked for something else under this job's name
            return self._decide(
                tx,
                order.tenant_id,
                order.id,
                lambda job, now: deciding.buried(job, expired=expired, now=now),
            )

        return await self._database.write(bury)


class DeadJobs:
    """Ends the jobs whose messages are among the dead letters; a step of the sweep."""

    def __init__(
        self,
        dead_letters: DeadLetters,
        upkeep: keeping.Upkeep,
        types: JobTypes,
        subscriptions: Collection[str],
    ) -> None:
        self._dead_letters = dead_letters
        self._upkeep = upkeep
        self._types = types
        self._after = dict.fromkeys(sorted(subscriptions), 0)

    async def bury(self, *, limit: int) -> int:
        """Look at up to `limit` dead letters of each subscription; how many jobs were ended.

        They stay where they are, for people; each process looks at each once.
        """
        return sum([await self._bury(name, limit) for name in self._after])

    async def _bury(self, subscription: str, limit: int) -> int:
        ended = 0
        for _ in range(limit // TOGETHER):
            found, onward = await self._dead_letters.page(
                subscription, reason=None, after=(subscription, self._after[subscription]),
                limit=TOGETHER,
            )  # fmt: skip
            orders = []
            for dead in found:
                try:
                    order = read_message(dead.message)
                    self._types.get(order.job_type)
                except (RejectedMessage, InvalidInput):
                    continue  # nobody's
                orders.append((order, dead.reason == EXPIRED))
            ended += await self._upkeep.bury(orders)
            if found:
                self._after[subscription] = found[-1].sequence_number
            if onward is None:
                break
        return ended


_j, _e, _m = jobs.c, job_events.c, job_metrics.c
_b = sa.bindparam
_NAMES = sa.select(_j.tenant_id, _j.id)
# Written out: a parameter would hide the partial index from the planner.
_OPEN: sa.ColumnElement[bool] = sa.literal_column(
    "state IN ('queued', 'running', 'retrying')", sa.Boolean
)
_FREE = sa.or_(_j.claimed_until.is_(None), _j.claimed_until <= _b("now"))
_OVERDUE = (
    _NAMES.where(_OPEN, _j.deadline <= _b("now"), _FREE).order_by(_j.deadline).limit(_b("limit"))
)
_LOST = _NAMES.where(_OPEN, _j.wake_at <= _b("now"), _FREE).order_by(_j.wake_at).limit(_b("limit"))
_OLD = _NAMES.where(_j.finished_at < _b("oldest")).order_by(_j.finished_at).limit(_b("limit"))
_FORGET_JOB = sa.delete(jobs).where(_j.tenant_id == _b("tenant"), _j.id == _b("id"))
_FORGET_EVENTS = sa.delete(job_events).where(_e.tenant_id == _b("tenant"), _e.job_id == _b("id"))
_OLD_FIGURES = (
    sa.select(_m.tenant_id, _m.job_id)
    .where(_m.finished_at < _b("oldest"), _m.rolled == 1)  # the day has it
    .order_by(_m.finished_at)
    .limit(_b("limit"))
)
_FORGET_FIGURES = sa.delete(job_metrics).where(_m.tenant_id == _b("tenant"), _m.job_id == _b("id"))
