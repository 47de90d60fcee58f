"""What the routes of jobs talk to: handed in where the workers are put together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from fastapi import Request

from ai_workers.job_types import JobTypes
from ai_workers.jobs import Job
from ai_workers.keeping import Desk, Figures, Past
from notifications.http.exposition import Metrics
from notifications.ports import Clock
from notifications.timing import Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class JobServices:
    """What the routes talk to.

    Attributes:
        desk: Keeps the jobs.
        past: Knows what was told of them.
        figures: Adds up what they took.
        types: What may be asked for.
        numbers: Name new jobs.
        clock: Says what day it is.
        metrics: What is counted for `/metrics`.
        cancel: Tells a run in this process that its job was cancelled: tenant and job id.
    """

    desk: Desk
    past: Past
    figures: Figures
    types: JobTypes
    numbers: Numbers
    clock: Clock
    metrics: Metrics
    cancel: Callable[[str, str], None]

    async def stop(self, tenant_id: str, job_id: str) -> Job | None:
        """Cancel a job, also the run that this process does of it; None where there is none."""
        job = await self.desk.cancel(tenant_id, job_id)
        if job is not None and job.cancelling and not job.ended:
            self.cancel(tenant_id, job_id)
        return job


def services_of(request: Request) -> JobServices:
    """The services that the routes were mounted with."""
    return cast("JobServices", request.app.state.jobs)
