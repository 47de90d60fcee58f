"""Deliveries: what was tried, and trying again."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from notifications.deliveries import Delivery, State
from notifications.errors import NotFound
from notifications.http.forms import ActingTenant, PathId, Tenant, View, moment, moment_or_none
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
from notifications.ids import parse_public_id, public_number
from notifications.records import AttemptView, DeliveryView
from notifications.routing import NOBODY

router = APIRouter(prefix="/v1/deliveries", tags=["deliveries"], route_class=KeyRoute)

StateName = Literal["pending", "delivered", "skipped", "parked", "exhausted"]
ChannelName = Literal["realtime", "email", "webhook"]
_CURSOR = "d"


class AttemptOut(View):
    """One try at a delivery."""

    number: int
    round: int
    at: str
    duration_ms: int
    outcome: str
    status: int | None
    detail: str | None


class DeliverySummary(View):
    """One event to one target."""

    id: str
    event_id: str
    channel: ChannelName
    target: str | None
    state: StateName
    reason: str | None
    round: int
    next_attempt_at: str | None
    created_at: str


class DeliveryOut(DeliverySummary):
    """One event to one target, with all that was tried."""

    attempts: list[AttemptOut]


class DeliveryPage(View):
    """Deliveries, newest first."""

    items: list[DeliverySummary]
    next_cursor: str | None


@router.get("", summary="List deliveries, newest first")
async def list_deliveries(
    request: Request,
    tenant: Tenant,
    endpoint_id: Annotated[str | None, Query(alias="endpointId", max_length=128)] = None,
    state: StateName | None = None,
    event_id: Annotated[str | None, Query(alias="eventId", max_length=128)] = None,
    channel: ChannelName | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> DeliveryPage:
    """A tenant's deliveries; each filter that is given narrows them down."""
    found = await services_of(request).queries.deliveries(
        tenant,
        endpoint_id=endpoint_id,
        state=state,
        event_id=event_id,
        channel=channel,
        below=read_number(cursor, _CURSOR),
        limit=limit + 1,
    )
    page, further = page_of(found, limit, lambda view: number_cursor(_CURSOR, view.delivery.id))
    return DeliveryPage(items=[delivery_summary(view) for view in page], next_cursor=further)


@router.get("/{id}", summary="One delivery with its attempts")
async def get_delivery(request: Request, tenant: Tenant, delivery_id: PathId) -> DeliveryOut:
    """Attempts of all rounds, oldest first."""
    return delivery_out(await _find(request, tenant, _number(delivery_id)))


@router.post(
    "/{id}/retry",
    status_code=202,
    summary="Try a delivery again",
    responses=problem_responses(409),
)
async def retry_delivery(
    request: Request, tenant: ActingTenant, delivery_id: PathId
) -> DeliveryOut:
    """A new round, at once, for a delivery that is exhausted, parked or pending."""
    number = _number(delivery_id)
    if await services_of(request).rounds.retry(tenant, number) is None:
        raise NotFound("no such delivery")
    return delivery_out(await _find(request, tenant, number))


def delivery_out(view: DeliveryView) -> DeliveryOut:
    """A delivery as the API shows it."""
    attempts = [_attempt_out(each) for each in view.attempts]
    return DeliveryOut(**_shown(view), attempts=attempts)


def delivery_summary(view: DeliveryView) -> DeliverySummary:
    """The same, without its attempts."""
    return DeliverySummary(**_shown(view))


def _shown(view: DeliveryView) -> dict[str, Any]:
    delivery = view.delivery
    return {
        "id": public_number(delivery.id),
        "event_id": view.event_id,
        "channel": delivery.channel.value,
        "target": None if delivery.target == NOBODY else delivery.target,
        "state": delivery.state.value,
        "reason": delivery.reason,
        "round": delivery.round,
        "next_attempt_at": moment_or_none(_next_attempt(delivery)),
        "created_at": moment(delivery.created_at),
    }


def _next_attempt(delivery: Delivery) -> int | None:
    # A claimed one is being tried; its `due_at` says when the claim runs out.
    if delivery.state is not State.PENDING or delivery.claimed:
        return None
    return delivery.due_at


def _attempt_out(attempt: AttemptView) -> AttemptOut:
    return AttemptOut(
        number=attempt.number,
        round=attempt.round,
        at=moment(attempt.at),
        duration_ms=attempt.duration_ms,
        outcome=attempt.outcome,
        status=attempt.status,
        detail=attempt.detail,
    )


async def _find(request: Request, tenant: str, number: int) -> DeliveryView:
    view = await services_of(request).queries.delivery(tenant, number)
    if view is None:
        raise NotFound("no such delivery")
    return view


def _number(delivery_id: str) -> int:
    number = parse_public_id(delivery_id)
    if number is None:
        raise NotFound("no such delivery")
    return number
