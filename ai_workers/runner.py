"""Does jobs: takes in their messages, runs their workers, and writes down how they ended.

A message is only a wake-up: whoever claims the job's run does it, everybody else does nothing.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from ai_workers import spans
from ai_workers.job_types import JobType, JobTypes
from ai_workers.jobs import End, Failure, Job, Order, Released
from ai_workers.keeping import Runs
from ai_workers.orders import read_message
from ai_workers.ports import Asking, Usage
from ai_workers.run import LostRun, WorkingRun
from notifications import tracing
from notifications.crashpoints import Point, between
from notifications.errors import Conflict, InvalidInput, RejectedMessage, Unavailable
from notifications.messages import Complete, DeadLetter, Received, Settlement
from notifications.outage import DATABASE, Outage
from notifications.ports import Clock, Directory
from notifications.spans import key_of, under_way
from notifications.tenants import Tenants
from notifications.text import shorten
from notifications.worker import OUTAGE_PATIENCE_MS

log = logging.getLogger("huntaze")

_MOST_SAID = 900
_RELEASED_WITHIN_S = 2.0
"""How long a process that stops takes to give back a run, at most."""

_AHEAD = 2
"""For so many jobs that run, one is begun whose worker waits for its place: beginning a run is a
commit, in which a place would be empty; and answers come together where questions left together.
"""

_LOCALE = "fr"
"""The language of results where nobody can be asked for theirs."""


class Runner:
    """Handles the messages of every job subscription, so many jobs at a time."""

    def __init__(
        self,
        types: JobTypes,
        runs: Runs,
        asking: Asking,
        directory: Directory,
        tenants: Tenants,
        *,
        clock: Clock,
        concurrency: int,
        outage: Outage | None = None,
        place_within_s: float | None = None,
    ) -> None:
        """Put it together.

        Args:
            types: The job types.
            runs: Keeps the jobs.
            asking: Who answers the workers.
            directory: Knows the users' languages.
            tenants: Knows the language of those who are nobody in particular.
            clock: The ledger's time.
            concurrency: Jobs that run at once.
            outage: The one that is shared by all who wait for the database.
            place_within_s: How long a message may wait for a place, in seconds; None where its
                host lets it wait.
        """
        self._types = types
        self._runs = runs
        self._asking = asking
        self._directory = directory
        self._tenants = tenants
        self._clock = clock
        self._room = asyncio.Semaphore(concurrency)
        self._begun = asyncio.Semaphore(concurrency + concurrency // _AHEAD)
        # Videos that are slow to come hold up no text: they never have more than half the places.
        self._heavy = asyncio.Semaphore(max(concurrency // 2, 1))
        self._outage = outage or Outage(clock)
        self._place_within_s = place_within_s
        self._running: dict[tuple[str, str], WorkingRun] = {}

    def cancel(self, tenant_id: str, job_id: str) -> None:
        """Tell a run of this process, where there is one, that its job was cancelled."""
        run = self._running.get((tenant_id, job_id))
        if run is not None:
            run.cancel()

    async def handle(self, messages: Sequence[Received]) -> Sequence[Settlement]:
        """One settlement each, in order.

        Raises:
            Unavailable: What is needed is away, or no place came free; the same messages may be
                handed in again.
        """
        if len(messages) == 1:
            return [await self._handle(messages[0])]
        return await asyncio.gather(*(self._handle(each) for each in messages))

    async def _handle(self, received: Received) -> Settlement:
        try:
            order = read_message(received.message)
            job_type = self._types.get(order.job_type)
        except RejectedMessage as error:
            return DeadLetter(error.reason, error.description)
        except InvalidInput as error:
            return DeadLetter("unknown-type", str(error))
        parent = None if tracing.active is None else under_way(key_of(received.message))
        # Where it is heard of for the first time, its trace goes on from here; else its row says.
        order = order if parent is None else replace(order, traceparent=parent)
        async with AsyncExitStack() as places:
            await self._take_place(places, job_type)
            try:
                taking = self._runs.take(order, _refusal(job_type, order))
                job = await between(Point.JOB_TAKES, taking, Point.JOB_TAKEN)
            except Conflict as error:
                return DeadLetter("conflict", str(error))
            if job is None:
                return Complete()
            job, how, spent = await self._run(job, job_type, parent)
        # The next one runs while this one's end is written down.
        await self._finish(job, how, spent, received)
        return Complete()

    async def _take_place(self, places: AsyncExitStack, job_type: JobType) -> None:
        """Wait until one may begin.

        Raises:
            Unavailable: None came free in time.
        """
        try:
            async with asyncio.timeout(self._place_within_s):
                if job_type.heavy:
                    await places.enter_async_context(self._heavy)
                await places.enter_async_context(self._begun)
        except TimeoutError as error:
            raise Unavailable("all places are taken") from error

    async def _run(
        self, job: Job, job_type: JobType, parent: str | None
    ) -> tuple[Job, End, Sequence[Usage]]:
        """A run, how it ended, and what it spent."""
        try:
            locale = await self._locale(job.order)
        except asyncio.CancelledError:
            await self._release(job, None)
            raise
        run = WorkingRun(
            job,
            job_type,
            locale=locale,
            runs=self._runs,
            asking=self._asking,
            clock=self._clock,
            room=self._room,
        )
        self._running[job.name] = run
        try:
            how = await _to_its_end(run, parent)
        except asyncio.CancelledError:
            await self._release(job, run)
            raise
        finally:
            self._running.pop(job.name, None)
        return run.worked(), how, await run.spent()

    async def _finish(self, job: Job, how: End, spent: Sequence[Usage], received: Received) -> None:
        """Write it down, with patience: what was found has been paid for."""
        give_up_at = self._clock.now() + OUTAGE_PATIENCE_MS
        while True:
            try:
                finishing = self._runs.finish(job, how, spent, received)
                held = await between(Point.JOB_ENDS, finishing, Point.JOB_ENDED)
            except Unavailable:
                self._outage.noticed(DATABASE)
                if not await self._outage.turn(DATABASE, until=give_up_at):
                    raise
            else:
                self._outage.over(DATABASE)
                _tell(job, how, held, spent)
                return

    async def _release(self, job: Job, run: WorkingRun | None) -> None:
        """This process stops: another may begin the next run at once."""
        job = job if run is None else run.worked()
        try:
            async with asyncio.timeout(_RELEASED_WITHIN_S):
                spent = () if run is None else await run.spent()
                _tell(job, Released(), await self._runs.finish(job, Released(), spent), spent)
        except Exception as error:
            log.warning("job.not_released", exc_info=error, extra=job.log_context())

    async def _locale(self, order: Order) -> str:
        """The language of whoever the result is for: what the job says, else the user's, else that
        of the tenant."""
        for wanted in (order.input.get("language"), order.input.get("locale")):
            if wanted in ("fr", "en"):
                return str(wanted)
        try:
            if order.user_id is not None:
                user = await self._directory.user(order.tenant_id, order.user_id)
                if user is not None:
                    return user.locale.value
            tenant = await self._tenants.find(order.tenant_id)
        except Unavailable:
            return _LOCALE
        return _LOCALE if tenant is None else tenant.locale.value


async def _to_its_end(run: WorkingRun, parent: str | None) -> End:
    """How a run ended; in a span of its own where somebody traces."""
    ending = run.to_its_end()
    if tracing.active is not None:
        ending = spans.run(tracing.active, run.job, parent, ending)
    try:
        return await ending
    except LostRun:
        # Its next run is another's, or there is none; the money is spent all the same.
        log.warning("job.run_lost", extra=run.job.log_context())
        return Released()


def _refusal(job_type: JobType, order: Order) -> Failure | None:
    """Why its schema does not take an order; None where it does."""
    try:
        job_type.check(order.input)
    except InvalidInput as error:
        return Failure(code="invalid-input", message=shorten(str(error), _MOST_SAID))
    return None


def _tell(job: Job, how: End, held: bool, spent: Sequence[Usage]) -> None:
    """For dashboards, which add it up: dollars in billionths, and who was asked last."""
    cost = {
        "model": spent[-1].model if spent else None,
        "costNanoUsd": sum(each.cost_nano_usd for each in spent),
        "estimated": any(each.estimated for each in spent),
    }
    word = type(how).__name__.lower()
    log.info("job.run_ended", extra={**job.log_context(), "as": word, "held": held, **cost})
