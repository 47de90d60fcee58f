"""How jobs are written in their tables."""

from typing import Any

import sqlalchemy as sa

from ai_workers.jobs import Failure, Job, Order, Spent, State
from notifications.stores import codes


def row_of(job: Job) -> dict[str, Any]:
    """A job as columns."""
    order = job.order
    return {
        "tenant_id": order.tenant_id,
        "id": order.id,
        "number": job.number,
        "job_type": order.job_type,
        "user_id": order.user_id,
        "input": order.input,
        "idempotency_key": order.idempotency_key,
        "fingerprint": order.fingerprint(),
        "created_at": job.created_at,
        "deadline": job.deadline,
        "traceparent": order.traceparent,
        **changing(job),
    }


def changing(job: Job) -> dict[str, Any]:
    """The columns of a job that changes touch."""
    return {
        "state": job.state.value,
        "run": job.run,
        "returned": job.returned,
        "progress": job.progress,
        "cancelling": int(job.cancelling),
        "result": job.result,
        "error_code": None if job.error is None else job.error.document()["code"],
        "error_message": None if job.error is None else codes.text(job.error.document()["message"]),
        "model": codes.text(job.spent.model),
        "input_tokens": job.spent.input_tokens,
        "output_tokens": job.spent.output_tokens,
        "cost_nano_usd": job.spent.cost_nano_usd,
        "booked": {str(run): count for run, count in job.booked.items()} or None,
        "queue_ms": job.queue_ms,
        "run_ms": job.run_ms,
        "started_at": job.started_at,
        "run_at": job.run_at,
        "finished_at": job.finished_at,
        "due_at": job.due_at,
        "claimed_until": job.claimed_until,
        "wake_at": job.wake_at,
    }


def metrics_of(job: Job) -> dict[str, Any]:
    """What a job that ended took, as columns."""
    assert job.finished_at is not None
    return {
        "tenant_id": job.order.tenant_id,
        "job_id": job.order.id,
        "job_type": job.order.job_type,
        "day": codes.day_of(job.finished_at),
        "state": job.state.value,
        "model": codes.text(job.spent.model) or None,  # in a day's figures, empty is nobody
        "runs": job.run,
        "input_tokens": job.spent.input_tokens,
        "output_tokens": job.spent.output_tokens,
        "cost_nano_usd": job.spent.cost_nano_usd,
        "queue_ms": job.queue_ms,
        "run_ms": job.run_ms,
        "finished_at": job.finished_at,
        "look_at": job.finished_at,
        "rolled": 0,
    }


def job_of(row: sa.Row[Any]) -> Job:
    """A job from its row."""
    return Job(
        order=Order(
            tenant_id=row.tenant_id,
            id=row.id,
            job_type=row.job_type,
            user_id=row.user_id,
            input=row.input,
            idempotency_key=row.idempotency_key,
            traceparent=row.traceparent,
        ),
        number=row.number,
        created_at=row.created_at,
        deadline=row.deadline,
        due_at=row.due_at,
        wake_at=row.wake_at,
        state=State(row.state),
        run=row.run,
        returned=row.returned,
        progress=row.progress,
        cancelling=bool(row.cancelling),
        claimed_until=row.claimed_until,
        started_at=row.started_at,
        run_at=row.run_at,
        finished_at=row.finished_at,
        queue_ms=row.queue_ms,
        run_ms=row.run_ms,
        spent=Spent(
            model=row.model,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cost_nano_usd=row.cost_nano_usd,
        ),
        booked={int(run): count for run, count in (row.booked or {}).items()},
        result=row.result,
        error=None
        if row.error_code is None
        else Failure(code=row.error_code, message=row.error_message),
    )
