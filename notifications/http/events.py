"""Events: publishing them, and what became of them.

`POST /v1/events` is the hot path: it goes past the framework's models, from bytes to the hub and
back.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from notifications import tracing
from notifications.errors import FieldError, HuntazeError, InvalidInput, NotFound
from notifications.events import MAX_EVENT_BYTES
from notifications.http import wire
from notifications.http.auth import principal_of
from notifications.http.deliveries import DeliveryOut, delivery_out
from notifications.http.forms import PathId, Tenant, TenantOrAll, UserId, View, moment
from notifications.http.pagination import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    number_cursor,
    page_of,
    read_number,
)
from notifications.http.problems import Refused, problem_of
from notifications.http.routing import KeyRoute, RawRoute, problem_responses
from notifications.http.services import services_of
from notifications.hub import Hub, Published
from notifications.records import EventView
from notifications.spans import asked_under

MAX_BATCH = 1_000
MEDIA_TYPES = (
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
)

publishing = APIRouter(prefix="/v1/events", tags=["events"], route_class=RawRoute)
reading = APIRouter(prefix="/v1/events", tags=["events"], route_class=KeyRoute)

_TYPES = frozenset(MEDIA_TYPES)
_CURSOR = "e"
_LONGEST_ID = 128
_ERRORS_OF_AN_ITEM = 5
"""So that the answer to 1,000 events that are wrong all over is no larger than they are."""


# --------------------------------------------------------------------------- publishing


@publishing.post(
    "",
    status_code=202,
    summary="Publish one event, or up to 1,000",
    responses=problem_responses(400, 408, 409, 413, 415, 429),
)
async def publish(request: Request) -> Response:
    """Accept events. Each is durable when the answer leaves.

    One event is answered with its id, or with a problem. An array is always answered with one item
    for each event, in the order sent: 202 when all were accepted, 207 when some were, 422 when none
    was. Sending an event again with the same id and content is harmless: it is a duplicate.
    """
    services = services_of(request)
    body = await wire.read_body(request, _TYPES, within_s=services.body_within_s)
    if len(body) > MAX_EVENT_BYTES and not body.lstrip().startswith(b"["):
        raise _too_large()  # before anything is spent on decoding it
    document = wire.decode(body)
    tenant_id = principal_of(request).tenant_id
    documents = document if isinstance(document, list) else [document]
    if len(documents) > MAX_BATCH:
        raise Refused(413, f"At most {MAX_BATCH:,} events at once.")
    services.publishes.spend_on(documents, tenant_id)
    hub = services.hub
    parent = None if tracing.active is None else asked_under(request.headers)
    if isinstance(document, list):
        return await _publish_batch(hub, body, document, tenant_id, parent)
    (answer,) = await hub.publish((document,), tenant_id=tenant_id, traceparent=parent)
    if isinstance(answer, HuntazeError):
        raise answer
    return _json(202, {"id": answer.id, "duplicate": answer.duplicate})


async def _publish_batch(
    hub: Hub,
    body: bytes,
    documents: Sequence[object],
    tenant_id: str | None,
    parent: str | None,
) -> Response:
    answers: list[Published | HuntazeError | None] = [None] * len(documents)
    if len(body) > MAX_EVENT_BYTES:
        for index in wire.oversized(body, documents, MAX_EVENT_BYTES):
            answers[index] = _too_large()
    offered = [index for index, answer in enumerate(answers) if answer is None]
    published = await hub.publish(
        [documents[index] for index in offered], tenant_id=tenant_id, traceparent=parent
    )
    for index, answer in zip(offered, published, strict=True):
        answers[index] = answer
    items = [_item(document, each) for document, each in zip(documents, answers, strict=True)]
    accepted = sum(item["status"] == 202 for item in items)
    status = 202 if accepted == len(items) else 207 if accepted else 422
    return _json(status, {"items": items})


def _item(document: object, answer: Published | HuntazeError | None) -> dict[str, Any]:
    if isinstance(answer, Published):
        return {"id": answer.id, "status": 202, "duplicate": answer.duplicate}
    assert answer is not None
    named = document.get("id") if isinstance(document, dict) else None
    problem = problem_of(answer)
    return {
        "id": named if isinstance(named, str) and len(named) <= _LONGEST_ID else None,
        "status": problem.status,
        "problem": problem.document("/v1/events", most_errors=_ERRORS_OF_AN_ITEM),
    }


def _too_large() -> Refused:
    return Refused(413, f"An event has at most {MAX_EVENT_BYTES} bytes.")


def _json(status: int, document: object) -> Response:
    return Response(orjson.dumps(document), status_code=status, media_type="application/json")


# --------------------------------------------------------------------------- reading


class EventSummary(View):
    """An event, and whether every channel that carries it has its deliveries.

    `traceId` is the OpenTelemetry trace in which it was published, where that is known.
    """

    event: dict[str, Any]
    trace_id: str | None
    state: Literal["accepted", "routed"]
    accepted_at: str


class EventOut(EventSummary):
    """An event with everything that became of it."""

    deliveries: list[DeliveryOut]


class EventPage(View):
    """Events, newest first."""

    items: list[EventSummary]
    next_cursor: str | None


@reading.get("", summary="List events, newest first")
async def list_events(
    request: Request,
    tenant: TenantOrAll,
    event_type: Annotated[str | None, Query(alias="type", max_length=64)] = None,
    user_id: Annotated[UserId | None, Query(alias="userId")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> EventPage:
    """A tenant's events, by type or by user; the admin who names no tenant sees everybody's."""
    if event_type is not None and user_id is not None:
        # An index for both would cost a quarter more with each event that is published.
        wrong = "choose type or userId: events are found by one of them, not by both"
        raise InvalidInput([FieldError("/userId", wrong)])
    found = await services_of(request).queries.events(
        tenant,
        event_type=event_type,
        user_id=user_id,
        below=read_number(cursor, _CURSOR),
        limit=limit + 1,
    )
    page, further = page_of(found, limit, lambda view: number_cursor(_CURSOR, view.key))
    return EventPage(items=[EventSummary(**_shown(view)) for view in page], next_cursor=further)


@reading.get("/{id:path}", summary="One event and what became of it")
async def get_event(request: Request, tenant: Tenant, event_id: PathId) -> EventOut:
    """The event as it is stored and sent, its deliveries and their attempts."""
    view = await services_of(request).queries.event(tenant, event_id)
    if view is None:
        raise NotFound("no such event")
    return EventOut(**_shown(view), deliveries=[delivery_out(each) for each in view.deliveries])


def _shown(view: EventView) -> dict[str, Any]:
    return {
        "event": orjson.loads(view.event.body),
        "trace_id": view.event.trace_id,
        "state": "routed" if view.routed else "accepted",
        "accepted_at": moment(view.accepted_at),
    }
