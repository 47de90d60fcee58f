"""What jobs took, over HTTP."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from ai_workers.keeping import Figure, Percentiles
from ai_workers.services import services_of
from notifications.http.forms import TenantOrAll, View
from notifications.http.routing import KeyRoute
from notifications.retries import DAY
from notifications.stores.codes import day_of
from notifications.tenants import NANO

router = APIRouter(prefix="/v1/metrics", tags=["jobs"], route_class=KeyRoute)

USUAL_DAYS = 30
MOST_FIGURES = 5_000


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise PydanticCustomError("day", "must be a day such as 2026-03-01") from None


Day = Annotated[
    Annotated[
        str,
        Field(pattern=r"^[12][0-9]{3}-[01][0-9]-[0-3][0-9]$"),
        AfterValidator(_day),
    ]
    | None,
    Query(description="A UTC day, `2026-03-01`."),
]


class PercentilesOut(View):
    """Milliseconds that half, 95 and 99 of a hundred do not exceed."""

    p50: int | None
    p95: int | None
    p99: int | None


class FigureOut(View):
    """What the jobs of a tenant, a day, a type and a model took. `failures` expired or failed."""

    tenant_id: str
    day: str
    job_type: str
    model: str | None
    count: int
    failures: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    queue_ms: PercentilesOut
    run_ms: PercentilesOut
    deliver_ms: PercentilesOut


class FiguresOut(View):
    """The newest day first."""

    items: list[FigureOut]


@router.get("/jobs", summary="What jobs took")
async def job_metrics(
    request: Request,
    tenant: TenantOrAll,
    since: Day = None,
    until: Day = None,
    job_type: Annotated[str | None, Query(alias="jobType", max_length=64)] = None,
) -> FiguresOut:
    """By day, type and model; of the last thirty days where none are named. `deliverMs` is from a
    job's end to the first toast or webhook that told of it, and known within minutes.

    With the admin's key and no tenant: everybody's. At most 5,000 figures; ask for fewer days
    where there are more.
    """
    services = services_of(request)
    now = services.clock.now()
    found = await services.figures.by_day(
        tenant,
        since=since or day_of(now - USUAL_DAYS * DAY),
        until=until or day_of(now),
        job_type=job_type,
        limit=MOST_FIGURES,
    )
    return FiguresOut(items=[_out(figure) for figure in found])


def _out(figure: Figure) -> FigureOut:
    return FigureOut(
        tenant_id=figure.tenant_id,
        day=figure.day,
        job_type=figure.job_type,
        model=figure.model,
        count=figure.count,
        failures=figure.failures,
        input_tokens=figure.input_tokens,
        output_tokens=figure.output_tokens,
        cost_usd=figure.cost_nano_usd / NANO,
        queue_ms=_percentiles(figure.queue),
        run_ms=_percentiles(figure.run),
        deliver_ms=_percentiles(figure.deliver),
    )


def _percentiles(found: Percentiles) -> PercentilesOut:
    return PercentilesOut(p50=found.p50, p95=found.p95, p99=found.p99)
