"""Webhook endpoints: where a customer's webhooks go."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from notifications.directory import Endpoint
from notifications.endpoints import EndpointHealth, Wishes
from notifications.http.auth import principal_of
from notifications.http.deliveries import DeliveryOut, delivery_out
from notifications.http.forms import (
    ActingTenant,
    Body,
    BodyTenant,
    PathId,
    Tenant,
    Text,
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
from notifications.http.services import Services, services_of

router = APIRouter(prefix="/v1/webhook-endpoints", tags=["webhook endpoints"], route_class=KeyRoute)

HIDDEN = "***"
"""Stands for the value of a header that carries a credential; sent back, it keeps that value."""

_CREDENTIAL = re.compile(r"auth|cookie|token|secret|passw|key|credential|session|signature")
_CURSOR = "w"

Scheme = Literal["v1", "v1a"]
_Url = Annotated[str, Field(max_length=2048, description="https; no credentials in it.")]
_Patterns = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(max_length=50, description="`*`, a type, or `job.*` for all that begin with `job.`."),
]
_Description = Annotated[Text, Field(max_length=500)]
_Headers = Annotated[dict[str, str], Field(max_length=20, description="Sent with every attempt.")]
_Signatures = Annotated[
    list[Scheme],
    Field(min_length=1, max_length=2, description="`v1` is always sent; `v1a` where asked for."),
]
_Rate = Annotated[
    int | None,
    Field(
        ge=1,
        le=1_000,
        description="The most attempts that are begun within a second; null is no limit.",
    ),
]


class EndpointPatch(Body):
    """What is to change; what is left out stays."""

    # Factories, so that the OpenAPI document shows no defaults: there are none.
    tenant_id: BodyTenant = None
    url: _Url = Field(default_factory=str)
    event_types: _Patterns = Field(default_factory=list)
    description: _Description = Field(default_factory=str)
    headers: _Headers = Field(default_factory=dict)
    signatures: _Signatures = Field(default_factory=list)
    rate_per_second: _Rate = None


class EndpointIn(EndpointPatch):
    """A new endpoint; it asks for every type (`*`) where it names none."""

    url: _Url


class HealthOut(View):
    """How it has been doing, over its last 20 deliveries."""

    last_attempt_at: str | None
    last_success_at: str | None
    recent_failures: int


class EndpointOut(View):
    """An endpoint. Values of headers that carry credentials are hidden as `***`."""

    id: str
    url: str
    event_types: list[str]
    description: str
    headers: dict[str, str]
    signatures: list[Scheme]
    rate_per_second: int | None
    state: Literal["active", "paused", "disabled"]
    state_reason: str | None
    public_key: str
    health: HealthOut
    created_at: str


class EndpointWithSecret(EndpointOut):
    """An endpoint and its secret, which is shown this once."""

    secret: str


class EndpointPage(View):
    """Endpoints, oldest first."""

    items: list[EndpointOut]
    next_cursor: str | None


@router.post("", status_code=201, summary="Create an endpoint", responses=problem_responses(429))
async def create_endpoint(request: Request, body: EndpointIn) -> EndpointWithSecret:
    """The answer holds the secret that verifies its webhooks; it is not shown again."""
    tenant = principal_of(request).tenant(body.tenant_id, place="/tenantId")
    services = services_of(request)
    endpoint = await services.endpoints.create(tenant, _wishes(body, {}))
    return await _with_secret(services, endpoint)


@router.get("", summary="List endpoints, oldest first")
async def list_endpoints(
    request: Request, tenant: Tenant, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> EndpointPage:
    """A tenant's endpoints."""
    services = services_of(request)
    skip = read_number(cursor, _CURSOR) or 0
    found = (await services.endpoints.of(tenant))[skip : skip + limit + 1]
    page, further = page_of(found, limit, lambda _: number_cursor(_CURSOR, skip + limit))
    health = await services.health.health(tenant, [each.id for each in page])
    items = [EndpointOut(**_shown(services, each, health[each.id])) for each in page]
    return EndpointPage(items=items, next_cursor=further)


@router.get("/{id}", summary="One endpoint")
async def get_endpoint(request: Request, tenant: Tenant, endpoint_id: PathId) -> EndpointOut:
    """Without its secret."""
    services = services_of(request)
    return await _out(services, await services.endpoints.get(tenant, endpoint_id))


@router.patch("/{id}", summary="Change an endpoint")
async def patch_endpoint(request: Request, endpoint_id: PathId, body: EndpointPatch) -> EndpointOut:
    """Only what is sent changes."""
    tenant = principal_of(request).tenant(body.tenant_id, place="/tenantId")
    services = services_of(request)
    known = await services.endpoints.get(tenant, endpoint_id)
    wishes = _wishes(body, known.headers)
    return await _out(services, await services.endpoints.change(tenant, endpoint_id, wishes))


@router.delete("/{id}", status_code=204, summary="Delete an endpoint")
async def delete_endpoint(request: Request, tenant: Tenant, endpoint_id: PathId) -> None:
    """Its open deliveries end as skipped."""
    await services_of(request).endpoints.delete(tenant, endpoint_id)


@router.post("/{id}/rotate-secret", summary="Give an endpoint a new secret")
async def rotate_secret(
    request: Request, tenant: ActingTenant, endpoint_id: PathId
) -> EndpointWithSecret:
    """For 24 hours both secrets sign."""
    services = services_of(request)
    return await _with_secret(services, await services.endpoints.rotate(tenant, endpoint_id))


@router.post(
    "/{id}/test", summary="Send a test event to an endpoint", responses=problem_responses(429)
)
async def test_endpoint(request: Request, tenant: ActingTenant, endpoint_id: PathId) -> DeliveryOut:
    """Sends `webhook.test` to this endpoint alone; answers its delivery once it was tried."""
    services = services_of(request)
    services.publishes.spend({tenant: 1})
    return delivery_out(await services.endpoints.test(tenant, endpoint_id))


@router.post("/{id}/pause", summary="Pause an endpoint")
async def pause_endpoint(
    request: Request, tenant: ActingTenant, endpoint_id: PathId
) -> EndpointOut:
    """Its deliveries wait, for 7 days at most."""
    services = services_of(request)
    return await _out(services, await services.endpoints.pause(tenant, endpoint_id))


@router.post("/{id}/resume", summary="Resume an endpoint")
async def resume_endpoint(
    request: Request, tenant: ActingTenant, endpoint_id: PathId
) -> EndpointOut:
    """From paused and from disabled; what waited for it begins again."""
    services = services_of(request)
    return await _out(services, await services.endpoints.resume(tenant, endpoint_id))


def _wishes(body: EndpointPatch, known_headers: Mapping[str, str]) -> Wishes:
    given = body.model_fields_set
    headers = _with_hidden(body.headers, known_headers)
    return Wishes(
        url=body.url if "url" in given else None,
        event_types=tuple(body.event_types) if "event_types" in given else None,
        description=body.description if "description" in given else None,
        headers=headers if "headers" in given else None,
        signatures=tuple(sorted({"v1", *body.signatures})) if "signatures" in given else None,
        rate_per_second=(body.rate_per_second or 0) if "rate_per_second" in given else None,
    )


def _hides(name: str) -> bool:
    return _CREDENTIAL.search(name.lower()) is not None


def _with_hidden(sent: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """What was sent, with the values of before where only their stand-in came back."""
    return {
        name: known[name] if value == HIDDEN and name in known and _hides(name) else value
        for name, value in sent.items()
    }


async def _out(services: Services, endpoint: Endpoint) -> EndpointOut:
    return EndpointOut(**await _all_shown(services, endpoint))


async def _with_secret(services: Services, endpoint: Endpoint) -> EndpointWithSecret:
    shown = await _all_shown(services, endpoint)
    return EndpointWithSecret(**shown, secret=services.endpoints.secret(endpoint))


async def _all_shown(services: Services, endpoint: Endpoint) -> dict[str, Any]:
    health = await services.health.health(endpoint.tenant_id, [endpoint.id])
    return _shown(services, endpoint, health[endpoint.id])


def _shown(services: Services, endpoint: Endpoint, health: EndpointHealth) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "description": endpoint.description,
        "headers": {
            name: HIDDEN if _hides(name) else value for name, value in endpoint.headers.items()
        },
        "signatures": list(endpoint.signatures),
        "rate_per_second": endpoint.rate_per_second,
        "state": endpoint.state.value,
        "state_reason": endpoint.state_reason,
        "public_key": services.endpoints.public_key(endpoint),
        "health": HealthOut(
            last_attempt_at=moment_or_none(health.last_attempt_at),
            last_success_at=moment_or_none(health.last_success_at),
            recent_failures=health.recent_failures,
        ),
        "created_at": moment(endpoint.created_at),
    }
