"""The console's page of what jobs took: cost per day by model, run time per day by type.

It shows what `GET /v1/metrics/jobs` reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from ai_workers.keeping import Figure
from ai_workers.services import services_of
from ai_workers.wording import called, names
from notifications.http.console.choosing import suggested
from notifications.http.console.looks import Looks
from notifications.http.console.plots import HEIGHT, WIDTH, Plot, Values, fewer, lines, stacked
from notifications.http.console.visits import Visit
from notifications.retries import DAY
from notifications.stores.codes import day_of

MOST_FIGURES = 5_000
MOST_TYPES = 12
_SPANS = ("7", "30", "90")
_USUAL = "30"
_SHARES = (("p50", "50 %"), ("p95", "95 %"), ("p99", "99 %"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a model's answers cost on a day.

    Attributes:
        day: UTC.
        model: Who answered last; None where nobody was asked.
        count: Jobs that ended.
        failures: How many of these failed or expired.
        tokens: Sent and answered.
        nano: Billionths of a dollar.
    """

    day: str
    model: str | None
    count: int = 0
    failures: int = 0
    tokens: int = 0
    nano: int = 0

    def and_(self, figure: Figure) -> "Cost":
        """This, and what else it was."""
        return Cost(
            day=self.day,
            model=self.model,
            count=self.count + figure.count,
            failures=self.failures + figure.failures,
            tokens=self.tokens + figure.input_tokens + figure.output_tokens,
            nano=self.nano + figure.cost_nano_usd,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a type's jobs ran on a day.

    Attributes:
        day: UTC.
        job_type: Whose.
        count: Jobs that ended.
        shares: Milliseconds that 50, 95 and 99 of a hundred do not exceed. Percentiles cannot be
            added up: of several models or tenants these are the slowest one's.
    """

    day: str
    job_type: str
    count: int = 0
    shares: tuple[int, ...] = (0, 0, 0)

    def and_(self, figure: Figure) -> "Pace":
        """This, and what else it was."""
        more = (figure.run.p50, figure.run.p95, figure.run.p99)
        return Pace(
            day=self.day,
            job_type=self.job_type,
            count=self.count + figure.count,
            shares=tuple(max(a, b or 0) for a, b in zip(self.shares, more, strict=True)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A type's run times as a plot."""

    job_type: str
    name: str
    plot: Plot
    text: str


async def figures(visit: Visit) -> Response:
    """The page; of everybody where no tenant is named."""
    services, looks = services_of(visit.request), visit.looks
    tenant, job_type = visit.tenant(), visit.asked("type")
    span = visit.one_of("days", _SPANS) or _USUAL
    now = services.clock.now()
    days = [day_of(now - back * DAY) for back in reversed(range(int(span)))]
    found = await services.figures.by_day(
        tenant, since=days[0], until=days[-1], job_type=job_type, limit=MOST_FIGURES
    )
    spent, ran = costs(found), paces(found)
    by_model = _by_model(spent, looks)
    return visit.page(
        "jobs_figures.html",
        nav="jobs",
        tenant=tenant,
        tenants=await suggested(visit),
        types=names(services.types, looks),
        spans=_SPANS,
        chosen={"type": job_type or "", "days": span},
        cut=len(found) == MOST_FIGURES,
        size=(WIDTH, HEIGHT),
        total=_total(spent),
        costs=spent,
        models=[(name, looks.usd(sum(values.values()))) for name, values in by_model],
        cost_plot=stacked(by_model, days, day=looks.day, value=looks.usd),
        paces=[(pace, called(pace.job_type, looks.language)) for pace in ran],
        panels=_panels(ran, days, looks),
        shares=[name for _, name in _SHARES],
    )


def costs(found: Sequence[Figure]) -> Sequence[Cost]:
    """By day and model, the newest day and the dearest model first."""
    by: dict[tuple[str, str | None], Cost] = {}
    for each in found:
        key = each.day, each.model
        by[key] = by.get(key, Cost(day=each.day, model=each.model)).and_(each)
    dearest = sorted(by.values(), key=lambda cost: (-cost.nano, cost.model or ""))
    return sorted(dearest, key=lambda cost: cost.day, reverse=True)


def paces(found: Sequence[Figure]) -> Sequence[Pace]:
    """By day and type, the newest day first. Jobs that no worker ran tell nothing of run times."""
    by: dict[tuple[str, str], Pace] = {}
    for each in found:
        if not each.run.p99:
            continue
        key = each.day, each.job_type
        by[key] = by.get(key, Pace(day=each.day, job_type=each.job_type)).and_(each)
    named = sorted(by.values(), key=lambda pace: pace.job_type)
    return sorted(named, key=lambda pace: pace.day, reverse=True)


def _total(spent: Sequence[Cost]) -> Cost:
    return Cost(
        day="",
        model=None,
        count=sum(each.count for each in spent),
        failures=sum(each.failures for each in spent),
        tokens=sum(each.tokens for each in spent),
        nano=sum(each.nano for each in spent),
    )


def _by_model(spent: Sequence[Cost], looks: Looks) -> Sequence[tuple[str, Values]]:
    by: dict[str, dict[str, int]] = {}
    for each in spent:
        if each.nano:
            by.setdefault(each.model or looks.t("figures.no_model"), {})[each.day] = each.nano
    return fewer(by, looks.t("figures.others"))


def _panels(ran: Sequence[Pace], days: Sequence[str], looks: Looks) -> Sequence[Panel]:
    by: dict[str, list[Pace]] = {}
    for each in ran:
        by.setdefault(each.job_type, []).append(each)
    return [_panel(job_type, by[job_type], days, looks) for job_type in sorted(by)[:MOST_TYPES]]


def _panel(job_type: str, ran: Sequence[Pace], days: Sequence[str], looks: Looks) -> Panel:
    series: Sequence[tuple[str, Mapping[str, int]]] = [
        (name, {pace.day: pace.shares[place] for pace in ran})
        for place, (_, name) in enumerate(_SHARES)
    ]
    last = ran[0]
    values: dict[str, Any] = {
        key: looks.dur(ms) for (key, _), ms in zip(_SHARES, last.shares, strict=True)
    }
    return Panel(
        job_type=job_type,
        name=called(job_type, looks.language),
        plot=lines(series, days, day=looks.day, value=looks.dur),
        text=looks.t("figures.run_desc", day=looks.day(last.day), **values),
    )
