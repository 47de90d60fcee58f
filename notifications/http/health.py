"""Whether the process lives, whether it can work, and its counts."""

from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import PlainTextResponse, Response

from notifications.errors import HuntazeError
from notifications.http import exposition
from notifications.http.exposition import Family, Metric
from notifications.http.forms import View
from notifications.http.problems import Problem
from notifications.http.routing import problem_responses
from notifications.http.services import Services, services_of
from notifications.retries import MINUTE

router = APIRouter(tags=["health"])

SWEEP_IS_LATE = 5 * MINUTE
"""A sweep comes every minute; so long without one, something is wrong."""


class Alive(View):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(View):
    """The hub can work."""

    status: Literal["ready"] = "ready"
    checks: list[str]
    degraded: dict[str, str]
    sweep_age_seconds: float | None


@router.get("/healthz", summary="Whether the process answers")
async def healthz() -> Alive:
    """Looks at nothing else: a database that is away is no reason to restart this."""
    return Alive()


@router.get(
    "/readyz",
    summary="Whether the hub can work",
    response_model=Ready,
    responses=problem_responses(503),
)
async def readyz(request: Request) -> Any:
    """Asks what the hub cannot do without, and looks at the age of the last sweep.

    `degraded` names what does not work meanwhile, and why: what it should have carried waits.
    """
    services = services_of(request)
    failing = [name async for name in _failing(services)]
    age = _sweep_age(services)
    if age is not None and age > SWEEP_IS_LATE:
        failing.append("sweep")
    if failing:
        detail = f"Not ready: {', '.join(failing)}."
        problem = Problem(status=503, detail=detail, headers={"retry-after": "5"})
        return problem.response(request.url.path)
    seconds = None if age is None else age / 1000
    return Ready(
        checks=sorted(services.vitals.probes),
        degraded=dict(services.vitals.degraded()),
        sweep_age_seconds=seconds,
    )


@router.get(
    "/metrics",
    summary="Counts, for Prometheus",
    response_class=PlainTextResponse,
)
async def metrics(request: Request) -> Response:
    """Counts of this process since it started; no tenant's name is in them."""
    text = "".join(metric.text() for metric in _metrics(request.app))
    return Response(text, media_type=exposition.MEDIA_TYPE)


async def _failing(services: Services) -> Any:
    for name, probe in services.vitals.probes.items():
        try:
            await probe()
        except HuntazeError:
            yield name


def _sweep_age(services: Services) -> int | None:
    at = services.vitals.sweep_at()
    return None if at is None else max(0, services.clock.now() - at)


def figures(app: FastAPI) -> Iterator[Family]:
    """What `/metrics` shows, save histograms: for those who are sent it."""
    return (metric for metric in _metrics(app) if isinstance(metric, Family))


def _metrics(app: FastAPI) -> Iterator[Metric]:
    yield from _families(app)
    for beside in app.state.metrics:
        yield from beside()


def _families(app: FastAPI) -> Iterator[Family]:
    services: Services = app.state.services
    vitals = services.vitals
    yield Family(
        "huntaze_events_total",
        "counter",
        "Events offered to the ledger, by what became of them.",
        tuple(({"outcome": name}, count) for name, count in sorted(vitals.tally.events.items())),
    )
    yield Family(
        "huntaze_deliveries_total",
        "counter",
        "Deliveries written down, by channel and the state they came to.",
        tuple(
            ({"channel": channel, "state": state}, count)
            for (channel, state), count in sorted(vitals.tally.deliveries.items())
        ),
    )
    yield Family(
        "huntaze_http_requests_total",
        "counter",
        "Requests answered, by method, route and status.",
        tuple(
            ({"method": method, "route": route, "status": str(status)}, count)
            for (method, route, status), count in sorted(app.state.requests.items())
        ),
    )
    yield Family(
        "huntaze_sockets", "gauge", "Realtime clients connected.", (({}, vitals.sockets()),)
    )
    yield Family(
        "huntaze_sockets_away",
        "gauge",
        "Realtime clients that lost their connection and may still recover it.",
        (({}, vitals.sockets_away()),),
    )
    yield Family(
        "huntaze_mails_waiting",
        "gauge",
        "Mails that wait for what their account may send.",
        (({}, vitals.mails_waiting()),),
    )
    yield Family(
        "huntaze_degraded",
        "gauge",
        "What does not work at present, and why.",
        tuple(
            ({"part": part, "reason": reason}, 1)
            for part, reason in sorted(vitals.degraded().items())
        ),
    )
    age = _sweep_age(services)
    yield Family(
        "huntaze_sweep_age_seconds",
        "gauge",
        "Since the last sweep ended.",
        () if age is None else (({}, age / 1000),),
    )
