"""The overview: what happens now, how long it takes, and what needs somebody."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from notifications.browsing import Held, Leg, Recent
from notifications.deliveries import State
from notifications.events import Channel
from notifications.http.console.choosing import suggested
from notifications.http.console.guard import Pages
from notifications.http.console.visits import Visit
from notifications.http.services import Services
from notifications.retries import MINUTE

SAMPLE = 200
"""Events that rates and latencies are taken from: the newest, however many there are."""

SHOWN = 20
_ATTENTION = 5
_LOOKED_AT = 50
"""Tenants in need whose deliveries are counted, so that those with the most come first."""

_MOST = 101
_ORDER = ("exhausted", "parked", "pending", "skipped", "delivered")

pages = Pages()


@dataclass(frozen=True, slots=True, kw_only=True)
class Went:
    """What became of an event on a channel.

    Attributes:
        channel: The way it went.
        state: The worst state there is.
        count: Deliveries in that state.
        of: Deliveries in all.
    """

    channel: Channel
    state: str
    count: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelPace:
    """How a channel has been doing.

    Attributes:
        channel: Which.
        attempted: Deliveries of the sample that were tried.
        at_once: How many of these their target took with the first attempt.
        median: From acceptance to the end of that attempt, ms; None where there was none.
        p95: The same, for all but the slowest twentieth.
        open: Deliveries of the sample that wait or are retried.
    """

    channel: Channel
    attempted: int
    at_once: int
    median: int | None
    p95: int | None
    open: int


def went(legs: Sequence[Leg]) -> Sequence[Went]:
    """Each channel's worst, in their order; channels without a delivery are left out."""
    found = []
    for channel in Channel:
        states = [leg.state for leg in legs if leg.channel is channel]
        if states:
            worst = min(states, key=_ORDER.index)
            found.append(
                Went(channel=channel, state=worst, count=states.count(worst), of=len(states))
            )
    return found


def per_minute(events: Sequence[Recent], now: int, *, sample: int = SAMPLE) -> float:
    """How many events were accepted in the last minute, as far as the sample goes back."""
    within = [each for each in events if each.accepted_at > now - MINUTE]
    if len(within) < sample:
        return float(len(within))
    span = max(now - within[-1].accepted_at, 1)
    return len(within) * MINUTE / span


def paces(events: Sequence[Recent], legs: Mapping[int, Sequence[Leg]]) -> Sequence[ChannelPace]:
    """How each channel has been doing."""
    accepted = {each.key: each.accepted_at for each in events}
    found = []
    for channel in Channel:
        of_it = [(accepted[key], leg) for key, some in legs.items() for leg in some]
        of_it = [(at, leg) for at, leg in of_it if leg.channel is channel]
        tried = [(at, leg) for at, leg in of_it if leg.first_at is not None]
        took = sorted(
            max(0, leg.first_at + (leg.first_ms or 0) - at)
            for at, leg in tried
            if leg.first_ok and leg.first_at is not None
        )
        found.append(
            ChannelPace(
                channel=channel,
                attempted=len(tried),
                at_once=len(took),
                median=_quantile(took, 0.5),
                p95=_quantile(took, 0.95),
                open=sum(leg.state == State.PENDING for _, leg in of_it),
            )
        )
    return found


def _quantile(values: Sequence[int], share: float) -> int | None:
    return values[math.ceil(share * len(values)) - 1] if values else None


async def overview(visit: Visit) -> Response:
    """The page."""
    tenant = visit.tenant()
    return visit.page(
        "overview.html",
        nav="overview",
        tenant=tenant,
        tenants=await suggested(visit),
        **await _live(visit, tenant),
    )


async def live(visit: Visit) -> Response:
    """The part of it that changes, for the script to put in its place."""
    tenant = visit.tenant()
    return visit.page("live.html", tenant=tenant, **await _live(visit, tenant))


async def _live(visit: Visit, tenant: str | None) -> Mapping[str, Any]:
    services = visit.services
    events = await services.console.pulse.recent(tenant, limit=SAMPLE)
    legs = await services.console.pulse.legs([each.key for each in events])
    now = services.clock.now()
    swept = services.vitals.sweep_at()
    return {
        **await _attention(services, tenant),
        "rate": per_minute(events, now),
        "paces": paces(events, legs),
        "events": [(each, went(legs[each.key])) for each in events[:SHOWN]],
        "sample": len(events),
        "now": now,
        "sockets": services.vitals.sockets(),
        "degraded": services.vitals.degraded(),
        "swept_ago": None if swept is None else max(0, now - swept),
    }


async def _attention(services: Services, tenant: str | None) -> Mapping[str, Any]:
    tenancy = services.console.tenancy
    names = [tenant] if tenant else await tenancy.needing(limit=_LOOKED_AT + 1)
    shown = _needing(await tenancy.held(names[:_LOOKED_AT], most=_MOST))
    letters, _ = await services.dead_letters.page(None, reason=None, after=("", 0), limit=1)
    return {
        "attention": shown,
        "others": 0 if tenant else len(names) - len(shown),
        "looked_at": _LOOKED_AT + 1 - len(shown),
        "most": _MOST,
        "letters": bool(letters),
    }


def _needing(held: Mapping[str, Held]) -> Sequence[tuple[str, Held]]:
    found = [(name, each) for name, each in held.items() if each.exhausted or each.parked]
    found.sort(key=lambda each: (-each[1].exhausted, -each[1].parked, each[0]))
    return found[:_ATTENTION]


pages.get("", overview)
pages.get("/live", live)
