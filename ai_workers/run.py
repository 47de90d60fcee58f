"""One run of a job, as its worker sees it, and how it came to an end."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ai_workers.job_types import JobType
from ai_workers.jobs import (
    INTERNAL,
    Cancelled,
    End,
    Expired,
    Failed,
    Failure,
    Job,
    Succeeded,
)
from ai_workers.keeping import Progress, Runs
from ai_workers.ports import Asking, JobFailed, ModelFailed, Question, Usage
from notifications.crashpoints import Point, between
from notifications.errors import Unavailable
from notifications.ports import Clock
from notifications.retries import SECOND

log = logging.getLogger("huntaze")

RENEW_MS = 20 * SECOND
"""How often a claim of a minute is renewed, and a cancellation read."""

PROGRESS_MS = 1 * SECOND
"""How far apart a job's events of progress are at least."""

FIRST_MS = SECOND // 2
"""How long a light job runs before its progress is told: of one that is over by then, its end is.
"""

_LETS_GO_S = 5.0
"""How long a worker that is told to stop may take before nobody waits for it any more."""

_STOPS_S = 0.5
"""The same where the process stops, which has to give back the run within its time, too."""

_WENT_WRONG = Failure(code=INTERNAL, message="The worker failed in a way that nobody foresaw.")
_WRONG_RESULT = Failure(
    code="invalid-result", message="What the worker found is not what the job type promises."
)


class LostRun(Exception):
    """The run is not its worker's any more: another has begun, or the job has ended."""


class WorkingRun:
    """Implements `ports.Run`, and watches over it.

    Attributes:
        job: As it was claimed.
    """

    def __init__(
        self,
        job: Job,
        job_type: JobType,
        *,
        locale: str,
        runs: Runs,
        asking: Asking,
        clock: Clock,
        room: asyncio.Semaphore,
    ) -> None:
        self.job = job
        self._type = job_type
        self._locale = locale
        self._runs = runs
        self._asking = asking
        self._clock = clock
        self._room = room
        self._spent: list[Usage] = []
        self._percent = 0
        self._untold: str | None = None
        self._number = 0
        self._first_ms = 0 if job_type.heavy else FIRST_MS
        self._next_at = clock.now() + self._first_ms
        self._since: int | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._cancelling = False
        self._lost = False
        self._beats: set[asyncio.Task[None]] = set()

    # ---------------------------------------------------------------- ports.Run

    @property
    def input(self) -> Mapping[str, Any]:
        """See `ports.Run.input`."""
        return self.job.order.input

    @property
    def locale(self) -> str:
        """See `ports.Run.locale`."""
        return self._locale

    async def progress(self, percent: int, step: str) -> None:
        """See `ports.Run.progress`. What comes too soon is told later, if nothing newer is then.

        It never goes back within a run.
        """
        self._percent = max(self._percent, min(percent, 100))
        self._untold = step
        if self._clock.now() >= self._next_at:
            await self._tell(step)
        if self._cancelling or self._lost:
            raise asyncio.CancelledError

    async def ask(self, question: Question) -> Mapping[str, Any]:
        """See `ports.Run.ask`."""
        within_s = max(self.job.deadline - self._clock.now(), 1) / SECOND
        asking = self._asking.ask(question, within_s=within_s, spent=self._spend)
        answered = await between(Point.JOB_ASKS, asking, Point.JOB_ANSWERED)
        return answered.result

    # ---------------------------------------------------------------- watching over it

    def cancel(self) -> None:
        """Somebody in this process cancelled the job."""
        self._cancelling = True
        self._end()

    def worked(self) -> Job:
        """The job as it was claimed, whose run began when its worker had its place."""
        since = self._clock.now() if self._since is None else self._since
        return replace(self.job, run_at=since)

    async def spent(self) -> Sequence[Usage]:
        """All that was spent, once no heartbeat is being written any more."""
        if self._beats:
            await asyncio.wait(self._beats)
        return tuple(self._spent)

    async def to_its_end(self) -> End:
        """Run the worker until it is done, or must stop.

        Raises:
            LostRun: The run is another's; what it spent is still to be written down.
        """
        working = asyncio.create_task(self._work(), name=f"job-{self.job.order.id}")
        watching = asyncio.create_task(self._watch(), name="job-heartbeat")
        patience_s = _LETS_GO_S
        try:
            await self._over
            if working.done() and not working.cancelled():
                return self._end_of(working)
        except asyncio.CancelledError:
            patience_s = _STOPS_S
            raise
        finally:
            working.cancel()
            watching.cancel()
            if not working.done():
                # It may be in a thread that nothing stops: nobody waits for that.
                await asyncio.wait({working}, timeout=patience_s)
                if not working.done():
                    log.warning("job.worker_goes_on", extra=self.job.log_context())
        if self._lost:
            raise LostRun
        if self._cancelling:
            return Cancelled()
        if self._clock.now() >= self.job.deadline:
            return Expired()
        return Failed(failure=_WENT_WRONG, retryable=True)

    async def _work(self) -> Mapping[str, Any]:
        try:
            async with self._room:
                self._since = self._clock.now()
                self._next_at = self._since + self._first_ms
                return await self._type.worker.run(self)
        finally:
            self._end()  # here and not when the task is done: that is a turn of the loop later

    async def _watch(self) -> None:
        try:
            await self._renew()
        except Exception:
            log.exception("job.watch_failed", extra=self.job.log_context())
        finally:
            self._end()

    def _end(self) -> None:
        """The worker is done, or must stop."""
        if not self._over.done():
            self._over.set_result(None)

    def _end_of(self, working: "asyncio.Task[Mapping[str, Any]]") -> End:
        error = working.exception()
        match error:
            case None:
                return self._checked(working.result())
            case ModelFailed():
                patience = error.retry_after_s
                return Failed(
                    failure=Failure(code=error.code, message=error.message),
                    retryable=error.retryable,
                    retry_after=None if patience is None else int(patience * SECOND),
                )
            case JobFailed():
                failure = Failure(code=error.code, message=error.message)
                return Failed(failure=failure, retryable=error.retryable)
            case _:
                log.error("job.worker_failed", exc_info=error, extra=self.job.log_context())
                return Failed(failure=_WENT_WRONG, retryable=True)

    def _checked(self, result: Mapping[str, Any]) -> End:
        wrong = next(self._type.result.errors(result, below="/result"), None)
        if wrong is None:
            return Succeeded(result)
        log.error("job.result_invalid", extra={**self.job.log_context(), "detail": str(wrong)})
        return Failed(failure=_WRONG_RESULT, retryable=False)

    async def _renew(self) -> None:
        """Hold the run, and tell what came too soon; returns once it is cancelled or lost, or its
        time is up."""
        now = self._clock.now()
        renew_at = now + RENEW_MS
        while not (self._lost or self._cancelling or now >= self.job.deadline):
            look_at = self._next_at if self._next_at > now else now + PROGRESS_MS
            await self._clock.sleep_until(min(look_at, renew_at, self.job.deadline))
            now = self._clock.now()
            if self._untold is not None and now >= self._next_at:
                await self._tell(self._untold)
            elif now >= renew_at:
                await self._beat(None)
            else:
                continue
            renew_at = now + RENEW_MS

    async def _tell(self, step: str) -> None:
        self._untold = None
        self._next_at = self._clock.now() + PROGRESS_MS
        self._number += 1
        await self._beat(Progress(number=self._number, percent=self._percent, step=step))

    async def _beat(self, progress: Progress | None) -> None:
        """Hold the run, in a task of its own: who is cancelled would not know what was written."""
        beat = asyncio.create_task(self._beat_to_the_end(progress), name="job-beat")
        self._beats.add(beat)
        beat.add_done_callback(self._beats.discard)
        await asyncio.shield(beat)

    async def _beat_to_the_end(self, progress: Progress | None) -> None:
        try:
            beating = self._runs.beat(self.job, tuple(self._spent), progress)
            beat = await between(Point.JOB_BEATS, beating, Point.JOB_BEAT)
        except Unavailable as error:
            # The claim outlasts two beats that fail.
            log.warning("job.beat_failed", extra={**self.job.log_context(), "detail": str(error)})
            return
        if not beat.held:
            self._lost = True
        if beat.cancelling:
            self._cancelling = True
        if self._lost or self._cancelling:
            self._end()

    def _spend(self, usage: Usage) -> None:
        self._spent.append(usage)
