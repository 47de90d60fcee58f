"""The console's pages of jobs: the list that moves, one job with its events, cancelling."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response

from ai_workers import console_figures
from ai_workers.jobs import Failure, Job, State
from ai_workers.keeping import Told
from ai_workers.models.offline import NAME as OFFLINE
from ai_workers.services import JobServices, services_of
from ai_workers.wording import called, names, phrases, understood
from notifications.errors import NotFound
from notifications.http.console.choosing import choice, only_tenant, suggested
from notifications.http.console.guard import Pages
from notifications.http.console.joining import Section
from notifications.http.console.looks import Looks
from notifications.http.console.visits import Visit
from notifications.http.pagination import number_cursor, page_of, read_number
from notifications.text import one_line, shorten

PER_PAGE = 25
TOLD = 100
"""Events that a job's page shows: the last ones."""

SHOWN = 20_000
"""Characters of an input or a result that are shown."""

_LONGEST_LINE = 160
_CURSOR = "j"
_STATES = tuple(state.value for state in State)

pages = Pages()
section = Section(name="jobs", path="/jobs", pages=pages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A job in the list.

    Attributes:
        job: As it stands.
        name: What its type is called.
        title: What its user calls it, where they do.
        text: What came of it, or what it does now, in a line.
    """

    job: Job
    name: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that was told of a job.

    Attributes:
        told: The event.
        state: How the timeline marks it.
        text: What it says.
    """

    told: Told
    state: str
    text: str


# ---------------------------------------------------------------------------- the list


async def jobs(visit: Visit) -> Response:
    """A tenant's jobs, the newest first."""
    tenant = await only_tenant(visit)
    if tenant is None:
        return await choice(visit, "/jobs", "jobs")
    services = services_of(visit.request)
    return visit.page(
        "jobs.html",
        nav="jobs",
        tenants=await suggested(visit),
        states=_STATES,
        types=names(services.types, visit.looks),
        **await _list(visit, services, tenant),
    )


async def jobs_live(visit: Visit) -> Response:
    """The part of it that changes, for the script to put in its place."""
    tenant = visit.its_tenant()
    return visit.page("jobs_live.html", **await _list(visit, services_of(visit.request), tenant))


async def _list(visit: Visit, services: JobServices, tenant: str) -> Mapping[str, Any]:
    state, cursor = visit.one_of("state", _STATES), visit.asked("cursor")
    job_type, user = visit.asked("type"), visit.asked("user")
    found = await services.desk.page(
        tenant,
        state=None if state is None else State(state),
        job_type=job_type,
        user_id=user,
        below=read_number(cursor, _CURSOR),
        limit=PER_PAGE + 1,
    )
    page, further = page_of(found, PER_PAGE, lambda job: number_cursor(_CURSOR, job.number))
    return {
        "tenant": tenant,
        "chosen": {"state": state or "", "type": job_type or "", "user": user or ""},
        "lines": [_line(job, visit.looks) for job in page],
        "cursor": cursor,
        "further": further,
        "later": cursor is not None,
    }


def _line(job: Job, looks: Looks) -> Line:
    return Line(
        job=job,
        name=called(job.order.job_type, looks.language),
        title=_text(job.order.input, "title"),
        text=_came_of(job, looks),
    )


def _came_of(job: Job, looks: Looks) -> str:
    if job.error is not None:
        return understood(job.error, job.order.job_type, looks.language)
    return shorten(_text(job.result or {}, "summary"), _LONGEST_LINE)


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return one_line(value) if isinstance(value, str) else ""


# ---------------------------------------------------------------------------- one


async def job(visit: Visit) -> Response:
    """One job: how it stands, what was told of it, what was asked and what came of it."""
    tenant = visit.its_tenant()
    values = await _one(visit, tenant)
    return visit.page("job.html", nav="jobs", input=_pretty(values["job"].order.input), **values)


async def job_live(visit: Visit) -> Response:
    """The part of it that changes."""
    return visit.page("job_live.html", **await _one(visit, visit.its_tenant()))


async def cancel(visit: Visit) -> Response:
    """Cancel it; one that runs ends soon after."""
    tenant, named = visit.its_tenant(), visit.required("id")
    found = await services_of(visit.request).stop(tenant, named)
    if found is None:
        raise NotFound(visit.looks.t("error.no_job"))
    return visit.go("/job", tenant=tenant, id=named, done=_done(found))


def _done(job: Job) -> str | None:
    """What is said after a job was cancelled; nothing where it had ended before."""
    if not job.ended:
        return "job-stopping"
    return "job-cancelled" if job.state is State.CANCELLED else None


async def _one(visit: Visit, tenant: str) -> Mapping[str, Any]:
    services, named = services_of(visit.request), visit.required("id")
    found = await services.desk.get(tenant, named)
    if found is None:
        raise NotFound(visit.looks.t("error.no_job"))
    told = await services.past.told(tenant, named, limit=TOLD)
    looks, job_type = visit.looks, found.order.job_type
    return {
        "tenant": tenant,
        "job": found,
        "name": called(job_type, looks.language),
        "title": _text(found.order.input, "title"),
        "error": None if found.error is None else understood(found.error, job_type, looks.language),
        "summary": _text(found.result or {}, "summary"),
        "result": None if found.result is None else _pretty(found.result),
        "offline": found.spent.model == OFFLINE,
        "steps": [_step(each, job_type, looks) for each in told],
        "cut": len(told) == TOLD,
    }


def _step(told: Told, job_type: str, looks: Looks) -> Step:
    said, data = phrases(job_type, looks.language), told.data
    word = told.type.removeprefix("job.")
    run = looks.n(told.run)
    match word:
        case "progress":
            text = looks.t("job.told.progress", n=looks.n(data.get("progress", 0)))
            if (step := said["steps"].get(data.get("step"))) is not None:
                text = f"{text} · {step}"
        case "retrying":
            text = looks.t("job.told.retrying", n=run, after=looks.dur(data.get("delayMs", 0)))
        case "queued" | "started" | "succeeded" | "failed" | "cancelled" | "expired":
            text = looks.t(f"job.told.{word}", n=run)
        case _:
            text = told.type
    if isinstance(error := data.get("error"), Mapping):
        failure = Failure(code=str(error.get("code")), message=str(error.get("message")))
        text = f"{text} · {understood(failure, job_type, looks.language)}"
    return Step(told=told, state=_MARKS.get(word, ""), text=text)


_MARKS = {
    "started": "accepted",
    "progress": "under-way",
    "retrying": "parked",
    "succeeded": "delivered",
    "failed": "failed",
    "expired": "failed",
}


def _pretty(document: Mapping[str, Any]) -> str:
    return shorten(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode(), SHOWN)


pages.get("/jobs", jobs)
pages.get("/jobs/live", jobs_live)
pages.get("/jobs/figures", console_figures.figures)
pages.get("/job", job)
pages.get("/job/live", job_live)
pages.post("/job/cancel", cancel)
