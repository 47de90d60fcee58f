"""The AI workers as what a host lets a hub run: put together here, and nowhere else."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from ai_workers import console, http, http_figures
from ai_workers.announcing import Announcing
from ai_workers.answering import OpenAsking, open_asking
from ai_workers.arrivals import SqlArrivals
from ai_workers.consequences import Consequences
from ai_workers.days import SqlDays
from ai_workers.figures import SqlFigures
from ai_workers.job_types import JobTypes, Tables, configured, shipped_workers
from ai_workers.past import SqlPast
from ai_workers.ports import JobWorker
from ai_workers.runner import Runner
from ai_workers.services import JobServices
from ai_workers.spending import SqlSpending
from ai_workers.store import SqlJobs
from ai_workers.tally import JobTally
from ai_workers.upkeep import DeadJobs, SqlJobUpkeep
from notifications.bus.topology import JOB_SUBSCRIPTIONS, JOBS_TOPIC
from notifications.extensions import Parts, Running
from notifications.http.console.joining import join
from notifications.outage import Outage
from notifications.retries import DAY
from notifications.settings import Settings
from notifications.shipped import SCHEMAS
from notifications.stores.tenants import SqlTenants
from notifications.worker import Appetite, Guard

_IN_HAND = 2
"""Messages in hand for each place: its own job's, and one whose job is begun and waits for a place,
or has ended and that is being written down."""

ROUTERS = (http.router, http_figures.router)
"""What the API serves of jobs."""


class AiWorkers:
    """Implements `notifications.extensions.Extension`.

    Args:
        workers: Who does the jobs; those of this release by default.
        schemas: The folder of the job types' schemas.
        asking: Opens whom the workers ask; what is configured by default.
        place_within_s: How long a job's message may wait for a place, in seconds; as long as it
            takes by default.
    """

    def __init__(
        self,
        workers: Sequence[JobWorker] | None = None,
        schemas: Path = SCHEMAS / "jobs",
        asking: OpenAsking = open_asking,
        place_within_s: float | None = None,
    ) -> None:
        self._workers = shipped_workers() if workers is None else tuple(workers)
        self._schemas = schemas
        self._asking = asking
        self._place_within_s = place_within_s

    def appetites(self, settings: Settings) -> Mapping[str, Appetite]:
        """See `extensions.Extension.appetites`: each message is settled as its own job ends.

        More are in hand than run, so that those that begin are there when others end; not many
        more, since another process could do them meanwhile.
        """
        window = _IN_HAND * settings.ai_concurrency
        names = [JOB_SUBSCRIPTIONS.get(worker.job_type) for worker in self._workers]
        return {name: Appetite(window=window, batch=1) for name in names if name is not None}

    @asynccontextmanager
    async def open(self, parts: Parts) -> AsyncIterator[Running]:
        """See `extensions.Extension.open`."""
        settings = parts.settings
        tables = Tables(video=settings.retry_video, light=settings.retry_light)
        types = JobTypes.load(configured(self._workers, settings), self._schemas, tables)
        announcing = Announcing(parts.catalogue, parts.ledger)
        spending, tally = SqlSpending(parts.database, announcing), JobTally()
        store = SqlJobs(
            parts.database,
            types,
            Consequences(announcing, spending, tally, outbox=parts.outbox),
            spending,
            numbers=parts.numbers,
            dice=parts.dice,
        )
        if not parts.shared:
            await store.release()
        keep = settings.retention_days * DAY
        upkeep = SqlJobUpkeep(parts.database, store, keep=keep)
        arrivals, days = SqlArrivals(parts.database), SqlDays(parts.database, parts.clock)
        dead = DeadJobs(parts.dead_letters, upkeep, types, [each.subscription for each in types])
        async with self._asking(parts) as asking:
            outage = Outage(parts.clock)
            runner = Runner(
                types,
                store,
                asking,
                parts.directory,
                SqlTenants(parts.database),
                clock=parts.clock,
                concurrency=settings.ai_concurrency,
                outage=outage,
                place_within_s=self._place_within_s,
            )
            publish = partial(parts.bus.publish, JOBS_TOPIC)
            guards = {
                each.subscription: Guard(
                    each.subscription, runner.handle, publish, parts.clock, parts.dice, outage
                )
                for each in types
            }
            services = JobServices(
                desk=store,
                past=SqlPast(parts.database),
                figures=SqlFigures(parts.database),
                types=types,
                numbers=parts.numbers,
                clock=parts.clock,
                cancel=runner.cancel,
                metrics=tally.metrics,
            )
            yield Running(
                guards=guards,
                steps={
                    "jobsBuried": dead.bury,
                    "jobsExpired": upkeep.expire,
                    "jobsWoken": upkeep.wake,
                    "budgetsTold": spending.tell,
                    "jobsLookedFor": arrivals.look,
                    "jobDaysRolled": days.roll,
                },
                tidying={"jobsForgotten": upkeep.forget, "jobDaysForgotten": days.forget},
                mount=partial(_mount, services=services),
            )


def _mount(app: FastAPI, services: JobServices) -> None:
    app.state.jobs = services
    app.state.metrics.append(services.metrics)
    for router in reversed(ROUTERS):
        # In front: each route before them is tried for each job that is asked for.
        app.router.routes[:0] = router.routes
    join(app, console.section)
