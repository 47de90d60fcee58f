"""The events that tell of a job, valid by `schemas/events/job.*`. Pure.

Their ids derive from the job, so that no state can be told of twice, whatever happens twice.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ai_workers.jobs import Job, State, is_code
from notifications.events import Event, read_event
from notifications.tenants import NANO
from notifications.text import one_line, shorten

SOURCE = "/huntaze/jobs"

_PROGRESS = "job.progress"

MOST_MS = 604_800_000
"""The longest time that an event tells of: a week."""

_LONGEST = {"title": 200, "summary": 1_000, "model": 128}
_MOST_TOKENS = 1_000_000_000
_MOST_USD = 1_000_000.0


def event_of(job: Job, suffix: str, now: int, **data: Any) -> Event:
    """An event of a job; its type is the first word of its id's end, or the job's state."""
    order = job.order
    word = suffix.partition(".")[0]
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{order.id}.{suffix}",
        "source": SOURCE,
        "type": f"job.{job.state.value if word == 'end' else word}",
        "subject": order.id,
        "tenantid": order.tenant_id,
        "jobid": order.id,
        "jobtype": order.job_type,
        "data": {"jobType": order.job_type, **_title(order.input), **data},
    }
    if order.user_id is not None:
        document["userid"] = order.user_id
    if order.traceparent is not None:
        document["traceparent"] = order.traceparent
    return read_event(document, tenant_id=None, now=datetime.fromtimestamp(now / 1000, UTC))


def _title(given: Mapping[str, Any]) -> dict[str, str]:
    title = given.get("title")
    if not isinstance(title, str) or not (line := one_line(title)):
        return {}
    return {"title": shorten(line, _LONGEST["title"])}


def told_at_the_end(job: Job) -> dict[str, Any]:
    """The data of the one event that tells of a job's end."""
    told: dict[str, Any] = {"run": job.run} if job.run else {}
    match job.state:
        case State.SUCCEEDED:
            told.update(_summary(job.result or {}))
        case State.FAILED:
            assert job.error is not None
            told["error"] = job.error.document()
        case State.EXPIRED:
            told["afterMs"] = bounded(job.deadline - job.created_at, MOST_MS)
    if job.run:
        told["usage"] = usage_document(job)
    return told


def _summary(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    summary = result.get("summary")
    if isinstance(summary, str) and (line := one_line(summary)):
        yield "summary", shorten(line, _LONGEST["summary"])


def usage_document(job: Job) -> dict[str, Any]:
    """What a job took, as events and the API show it; `none` is a job that asked no model."""
    spent = job.spent
    return {
        "model": shorten(spent.model or "none", _LONGEST["model"]),
        "inputTokens": bounded(spent.input_tokens, _MOST_TOKENS),
        "outputTokens": bounded(spent.output_tokens, _MOST_TOKENS),
        "costUsd": min(spent.cost_nano_usd / NANO, _MOST_USD),
        "queueMs": bounded(job.queue_ms or 0, MOST_MS),
        "runMs": bounded(job.run_ms, MOST_MS),
    }


def bounded(number: int, most: int) -> int:
    """Neither below nothing nor above `most`."""
    return max(0, min(number, most))


def progress_event(job: Job, number: int, step: str, *, now: int) -> Event:
    """Tells how far a run is; `number` counts within the run, from 1."""
    told: dict[str, Any] = {"run": job.run, "progress": job.progress}
    if is_code(step):
        told["step"] = step
    return event_of(job, f"progress.{job.run}.{number}", now, **told)


def end_id(job_id: str) -> str:
    """The id of the event that tells of a job's end."""
    return f"{job_id}.end"


def is_progress(event: Event) -> bool:
    """Whether it tells how far a run is, and of no other state."""
    return event.type == _PROGRESS
