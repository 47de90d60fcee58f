"""Replays: a range of events to an endpoint once more."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from notifications.errors import NotFound
from notifications.http.auth import principal_of
from notifications.http.forms import Body, BodyTenant, PathId, Tenant, View, moment
from notifications.http.pagination import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    number_cursor,
    page_of,
    read_number,
)
from notifications.http.routing import KeyRoute, problem_responses
from notifications.http.services import services_of
from notifications.ids import parse_replay_id, replay_id
from notifications.replays import USUAL, Kind, Replay, Selection

starting = APIRouter(prefix="/v1/webhook-endpoints", tags=["replays"], route_class=KeyRoute)
router = APIRouter(prefix="/v1/replays", tags=["replays"], route_class=KeyRoute)

_CURSOR = "r"
_YEARS = range(1970, 2200)

KindName = Literal["exhausted", "parked", "absent", "delivered", "skipped"]


def _moment(text: str) -> str:
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or at.year not in _YEARS or "T" not in text.upper():
        raise PydanticCustomError(
            "moment", "must be RFC 3339 with a zone, e.g. 2026-01-31T12:00:00Z, 1970-2199"
        )
    return text


Moment = Annotated[
    str,
    Field(max_length=40, description="RFC 3339, with a zone.", examples=["2025-01-31T12:00:00Z"]),
    AfterValidator(_moment),
]


class ReplayIn(Body):
    """What is to be replayed.

    `states` says what is taken up: deliveries that are `exhausted` or `parked`, and events that the
    endpoint asks for and never got (`absent`), where it is left out. `delivered` and `skipped` ones
    are taken up again when asked for.
    """

    tenant_id: BodyTenant = None
    since: Moment
    until: Moment | None = None
    event_types: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]],
        Field(min_length=1, max_length=50, description="As an endpoint's."),
    ] = ["*"]  # noqa: RUF012 - pydantic copies it
    states: Annotated[list[KindName], Field(min_length=1, max_length=5)] = [  # noqa: RUF012
        "exhausted",
        "parked",
        "absent",
    ]
    dry_run: Annotated[bool, Field(description="Only say how much it would be.")] = False


class ReplayPreview(View):
    """What a replay would take up now."""

    dry_run: Literal[True]
    endpoint_id: str
    matching: dict[KindName, int]
    total: int


class ReplayOut(View):
    """A replay, and how far it is.

    `total` is how much there was when it began; `retried` deliveries began a new round, and `added`
    ones were made, for events that the endpoint never got. While it runs, `reason` says what it
    waits for.
    """

    id: str
    endpoint_id: str
    since: str
    until: str
    event_types: list[str]
    states: list[KindName]
    state: Literal["running", "done", "cancelled"]
    reason: str | None
    total: int
    retried: int
    added: int
    asked_by: str
    created_at: str
    updated_at: str


class ReplayPage(View):
    """Replays, newest first."""

    items: list[ReplayOut]
    next_cursor: str | None


@starting.post(
    "/{id}/replay",
    status_code=202,
    summary="Replay a range of events to an endpoint",
    responses={
        200: {"model": ReplayPreview, "description": "What it would be (`dryRun`)"},
        **problem_responses(409),
    },
    response_model=ReplayOut,
)
async def start_replay(request: Request, endpoint_id: PathId, body: ReplayIn) -> Any:
    """Answers at once; the hub works it off by itself, however much it is and whatever happens.

    An endpoint has one replay under way at most. What is replayed is retried as always, and
    waits while the endpoint is paused or disabled.
    """
    principal = principal_of(request)
    tenant = principal.tenant(body.tenant_id, place="/tenantId")
    replaying = services_of(request).replaying
    selection = _selection(body, services_of(request).clock.now())
    if body.dry_run:
        counts = await replaying.preview(tenant, endpoint_id, selection)
        preview = ReplayPreview(
            dry_run=True,
            endpoint_id=endpoint_id,
            matching={kind.value: number for kind, number in counts.items()},
            total=sum(counts.values()),
        )
        return Response(preview.model_dump_json(by_alias=True), media_type="application/json")
    asked_by = principal.key_id or principal.caller.value
    replay = await replaying.start(tenant, endpoint_id, selection, asked_by=asked_by)
    return _out(replay)


@router.get("", summary="List replays, newest first")
async def list_replays(
    request: Request,
    tenant: Tenant,
    endpoint_id: Annotated[str | None, Query(alias="endpointId", max_length=128)] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> ReplayPage:
    """A tenant's replays."""
    found = await services_of(request).replaying.page(
        tenant, endpoint_id=endpoint_id, below=read_number(cursor, _CURSOR), limit=limit + 1
    )
    page, further = page_of(found, limit, lambda each: number_cursor(_CURSOR, each.id))
    return ReplayPage(items=[_out(each) for each in page], next_cursor=further)


@router.get("/{id}", summary="One replay")
async def get_replay(request: Request, tenant: Tenant, number: PathId) -> ReplayOut:
    """As it stands now."""
    return _out(await services_of(request).replaying.get(tenant, _number(number)))


@router.post("/{id}/cancel", summary="Cancel a replay")
async def cancel_replay(request: Request, tenant: Tenant, number: PathId) -> ReplayOut:
    """What was taken up stays so. One that is over is left as it is."""
    return _out(await services_of(request).replaying.cancel(tenant, _number(number)))


def _selection(body: ReplayIn, now: int) -> Selection:
    given = set(body.states)
    ordered = [*USUAL, Kind.DELIVERED, Kind.SKIPPED]
    return Selection(
        since=_ms(body.since),
        until=_ms(body.until) if body.until is not None else now + 1,
        event_types=tuple(dict.fromkeys(body.event_types)),
        kinds=tuple(kind for kind in ordered if kind.value in given),
    )


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text.upper()).astimezone(UTC).timestamp() * 1000)


def _out(replay: Replay) -> ReplayOut:
    selection = replay.selection
    return ReplayOut(
        id=replay_id(replay.id),
        endpoint_id=replay.endpoint_id,
        since=moment(selection.since),
        until=moment(selection.until),
        event_types=list(selection.event_types),
        states=[kind.value for kind in selection.kinds],
        state=replay.state.value,
        reason=replay.reason,
        total=replay.total,
        retried=replay.begun,
        added=replay.made,
        asked_by=replay.asked_by,
        created_at=moment(replay.created_at),
        updated_at=moment(replay.updated_at),
    )


def _number(text: str) -> int:
    number = parse_replay_id(text)
    if number is None:
        raise NotFound("no such replay")
    return number
