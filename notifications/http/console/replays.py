"""Replays: a range of events to an endpoint once more; what it would be is shown first."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from starlette.responses import Response

from notifications.directory import Endpoint
from notifications.errors import FieldError, InvalidInput, NotFound
from notifications.http.console.choosing import choice, only_tenant, suggested
from notifications.http.console.guard import Pages
from notifications.http.console.visits import Visit
from notifications.http.pagination import number_cursor, page_of, read_number
from notifications.ids import parse_replay_id, replay_id
from notifications.replays import USUAL, Kind, Selection
from notifications.retries import DAY

PER_PAGE = 25
ASKED_BY = "admin"
_CURSOR = "r"
_KINDS = tuple(kind.value for kind in (*USUAL, Kind.DELIVERED, Kind.SKIPPED))

pages = Pages()


async def replays(visit: Visit) -> Response:
    """A tenant's, newest first, and the form for a new one."""
    tenant = await only_tenant(visit)
    if tenant is None:
        return await choice(visit, "/replays", "replays")
    found = await visit.services.replaying.page(
        tenant,
        endpoint_id=None,
        below=read_number(visit.asked("cursor"), _CURSOR),
        limit=PER_PAGE + 1,
    )
    page, further = page_of(found, PER_PAGE, lambda each: number_cursor(_CURSOR, each.id))
    endpoints = await visit.services.endpoints.of(tenant)
    now = visit.services.clock.now()
    return visit.page(
        "replays.html",
        nav="replays",
        tenant=tenant,
        tenants=await suggested(visit),
        replays=[(replay_id(each.id), each, _url(endpoints, each.endpoint_id)) for each in page],
        endpoints=endpoints,
        types=[each.name for each in visit.services.catalogue.types()],
        kinds=_KINDS,
        usual=[kind.value for kind in USUAL],
        chosen=visit.asked("endpoint") or "",
        since=_field(visit, now - DAY),
        until=_field(visit, now),
        further=further,
        later=visit.asked("cursor") is not None,
    )


async def preview(visit: Visit) -> Response:
    """How much it would be: nothing is done yet."""
    tenant, endpoint_id = visit.its_tenant(), visit.required("endpoint")
    selection = _selection(visit)
    endpoint = await visit.services.endpoints.get(tenant, endpoint_id)
    counts: Mapping[Kind, int] = await visit.services.replaying.preview(
        tenant, endpoint_id, selection
    )
    return visit.page(
        "replay_sure.html",
        nav="replays",
        tenant=tenant,
        endpoint=endpoint,
        selection=selection,
        counts=[(kind.value, count) for kind, count in counts.items()],
        total=sum(counts.values()),
        fields={name: visit.form.get(name, "") for name in ("since", "until", "kinds", "type")},
    )


async def start(visit: Visit) -> Response:
    """Begin; the hub works it off by itself."""
    tenant = visit.its_tenant()
    await visit.services.replaying.start(
        tenant, visit.required("endpoint"), _selection(visit), asked_by=ASKED_BY
    )
    return visit.go("/replays", tenant=tenant, done="replay-started")


async def cancel(visit: Visit) -> Response:
    """What was taken up stays so."""
    tenant, number = visit.its_tenant(), parse_replay_id(visit.required("id"))
    if number is None:
        raise NotFound(visit.looks.t("error.no_replay"))
    await visit.services.replaying.cancel(tenant, number)
    return visit.go("/replays", tenant=tenant, done="replay-cancelled")


def _selection(visit: Visit) -> Selection:
    asked = set((visit.asked("kinds") or "").split(","))
    kinds = tuple(kind for kind in (*USUAL, Kind.DELIVERED, Kind.SKIPPED) if kind.value in asked)
    if not kinds:
        raise InvalidInput([FieldError("/kinds", visit.looks.t("error.kinds"))])
    return Selection(
        since=_ms(visit, "since"),
        until=_ms(visit, "until"),
        event_types=(visit.asked("type", longest=64) or "*",),
        kinds=kinds,
    )


def _ms(visit: Visit, name: str) -> int:
    """A time as the browser's field writes it, in the viewer's zone."""
    text = visit.required(name)
    try:
        there = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput([FieldError(f"/{name}", visit.looks.t("error.time"))]) from None
    if not 1970 <= there.year < 2200:
        raise InvalidInput([FieldError(f"/{name}", visit.looks.t("error.time"))])
    if there.tzinfo is None:
        there = there.replace(tzinfo=ZoneInfo(visit.looks.zone_name))
    # Fields have no seconds: up to a minute is to its end.
    return int(there.astimezone(UTC).timestamp() * 1000) + (60_000 if name == "until" else 0)


def _field(visit: Visit, ms: int) -> str:
    there = datetime.fromtimestamp(ms / 1000, ZoneInfo(visit.looks.zone_name))
    return there.strftime("%Y-%m-%dT%H:%M")


def _url(endpoints: Sequence[Endpoint], endpoint_id: str) -> str | None:
    return next((each.url for each in endpoints if each.id == endpoint_id), None)


pages.get("/replays", replays)
pages.post("/replays/preview", preview)
pages.post("/replays/start", start)
pages.post("/replays/cancel", cancel)
