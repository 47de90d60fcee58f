"""Jobs over HTTP: asking for them, looking at them, cancelling them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field

from ai_workers import spans
from ai_workers.jobs import Job, Order, State
from ai_workers.orders import check_size
from ai_workers.services import services_of
from ai_workers.telling import usage_document
from notifications import tracing
from notifications.errors import NotFound
from notifications.http.auth import principal_of
from notifications.http.forms import (
    ActingTenant,
    Body,
    BodyTenant,
    PathId,
    Tenant,
    UserId,
    View,
    moment,
    moment_or_none,
)
from notifications.http.pagination import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    number_cursor,
    page_of,
    read_number,
)
from notifications.http.routing import KeyRoute, problem_responses
from notifications.ids import job_id
from notifications.spans import asked_under

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=KeyRoute)

_CURSOR = "j"

StateName = Literal["queued", "running", "retrying", "succeeded", "failed", "cancelled", "expired"]


class JobIn(Body):
    """What is to be done, and for whom."""

    tenant_id: BodyTenant = None
    job_type: Annotated[
        str,
        Field(min_length=1, max_length=64, examples=["chat.suggest"], description="What to do."),
    ]
    user_id: Annotated[UserId, Field(description="Who gets the result and hears of it.")]
    input: Annotated[dict[str, Any], Field(description="As the job type's schema says.")]
    idempotency_key: Annotated[
        str | None,
        Field(
            pattern=r"^[!-~]{1,128}$",
            description="Sent again with the same content, it is the same job.",
        ),
    ] = None


class JobAccepted(View):
    """A job that was accepted, now or before."""

    id: str
    state: StateName
    duplicate: bool


class ErrorOut(View):
    """Why it came to nothing; `code` is short and constant."""

    code: str
    message: str


class UsageOut(View):
    """What it took over all its runs; money is what the price table says."""

    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    queue_ms: int
    run_ms: int


class JobSummary(View):
    """How a job stands. `attempt` is the run under way, or the last one; 0 before the first."""

    id: str
    job_type: str
    user_id: str | None
    state: StateName
    attempt: int
    progress: Annotated[int, Field(ge=0, le=100)]
    error: ErrorOut | None
    usage: UsageOut
    created_at: str
    started_at: str | None
    finished_at: str | None


class JobOut(JobSummary):
    """The whole of it."""

    input: dict[str, Any]
    result: dict[str, Any] | None


class JobPage(View):
    """Jobs, newest first, without what went in and came out."""

    items: list[JobSummary]
    next_cursor: str | None


@router.post(
    "",
    status_code=202,
    summary="Ask for a job",
    responses=problem_responses(409, 429),
)
async def submit_job(request: Request, body: JobIn) -> JobAccepted:
    """Answers once the job is kept; a worker does it, and events tell how far it is.

    429 where the tenant's budget for this month is spent and it refuses new jobs then.
    """
    tenant = principal_of(request).tenant(body.tenant_id, place="/tenantId")
    services = services_of(request)
    services.types.get(body.job_type).check(body.input)
    order = Order(
        tenant_id=tenant,
        id=job_id(services.numbers.next()),
        job_type=body.job_type,
        user_id=body.user_id,
        input=body.input,
        idempotency_key=body.idempotency_key,
    )
    check_size(order)
    if tracing.active is None:
        job, duplicate = await services.desk.submit(order)
    else:
        parent = asked_under(request.headers)
        job, duplicate = await spans.submit(tracing.active, services.desk, order, parent)
    return JobAccepted(id=job.order.id, state=job.state.value, duplicate=duplicate)


@router.get("", summary="List jobs, newest first")
async def list_jobs(
    request: Request,
    tenant: Tenant,
    state: Annotated[StateName | None, Query()] = None,
    job_type: Annotated[str | None, Query(alias="jobType", max_length=64)] = None,
    user_id: Annotated[UserId | None, Query(alias="userId")] = None,
    idempotency_key: Annotated[
        str | None, Query(alias="idempotencyKey", pattern=r"^[!-~]{1,128}$")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> JobPage:
    """A tenant's jobs. There is one at most that has a key."""
    found = await services_of(request).desk.page(
        tenant,
        state=None if state is None else State(state),
        job_type=job_type,
        user_id=user_id,
        idempotency_key=idempotency_key,
        below=read_number(cursor, _CURSOR),
        limit=limit + 1,
    )
    page, further = page_of(found, limit, lambda job: number_cursor(_CURSOR, job.number))
    return JobPage(items=[JobSummary(**_summary(job)) for job in page], next_cursor=further)


@router.get("/{id}", summary="One job")
async def get_job(request: Request, tenant: Tenant, name: PathId) -> JobOut:
    """As it stands now, with its input, and its result where it succeeded."""
    return _out(await services_of(request).desk.get(tenant, name))


@router.post("/{id}/cancel", summary="Cancel a job")
async def cancel_job(request: Request, tenant: ActingTenant, name: PathId) -> JobOut:
    """One that is over is left as it is. One that runs is told to stop, and ends soon after."""
    return _out(await services_of(request).stop(tenant, name))


def _out(job: Job | None) -> JobOut:
    if job is None:
        raise NotFound("no such job")
    result = None if job.result is None else dict(job.result)
    return JobOut(**_summary(job), input=dict(job.order.input), result=result)


def _summary(job: Job) -> dict[str, Any]:
    return {
        "id": job.order.id,
        "job_type": job.order.job_type,
        "user_id": job.order.user_id,
        "state": job.state.value,
        "attempt": job.run,
        "progress": job.progress,
        "error": None if job.error is None else ErrorOut(**job.error.document()),
        "usage": UsageOut.model_validate(usage_document(job)),
        "created_at": moment(job.created_at),
        "started_at": moment_or_none(job.started_at),
        "finished_at": moment_or_none(job.finished_at),
    }
