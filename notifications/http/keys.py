"""API keys: made, listed and revoked. A key's text is shown once; only its hash is kept."""

import base64
import hashlib
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from notifications.endpoints import ROOM_AGAIN_S, short_id
from notifications.errors import NotFound, OverLimit
from notifications.http.auth import KEY_PREFIX, principal_of
from notifications.http.forms import (
    Body,
    BodyTenant,
    Line,
    PathId,
    TenantOrAll,
    View,
    moment,
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
from notifications.records import ApiKey

router = APIRouter(prefix="/v1/api-keys", tags=["API keys"], route_class=KeyRoute)

MAX_NAME = 100
_KEY_BYTES = 32
_CURSOR = "k"


class KeyIn(Body):
    """A new key."""

    tenant_id: BodyTenant = None
    name: Annotated[Line, Field(min_length=1, max_length=MAX_NAME)] = "default"


class KeyOut(View):
    """A key, without its text."""

    id: str
    tenant_id: str
    name: str
    created_at: str


class KeyWithText(KeyOut):
    """A key with its text, which is shown this once."""

    key: str


class KeyPage(View):
    """Keys, oldest first."""

    items: list[KeyOut]
    next_cursor: str | None


@router.post("", status_code=201, summary="Create a key", responses=problem_responses(429))
async def create_key(request: Request, body: KeyIn) -> KeyWithText:
    """A key that opens one tenant; with a tenant's key, that tenant."""
    tenant = principal_of(request).tenant(body.tenant_id, place="/tenantId")
    key, text = await make_key(services_of(request), tenant, body.name)
    return KeyWithText(**_shown(key), key=text)


async def make_key(services: Services, tenant_id: str, name: str) -> tuple[ApiKey, str]:
    """A new key of a tenant, and its text.

    Raises:
        OverLimit: The tenant has as many as it may.
    """
    key = ApiKey(
        tenant_id=tenant_id,
        id="key_" + short_id(services.dice),
        name=name,
        created_at=services.clock.now(),
    )
    secret = base64.urlsafe_b64encode(services.dice.token(_KEY_BYTES)).decode().rstrip("=")
    text = KEY_PREFIX + secret
    digest = hashlib.sha256(text.encode()).digest()
    if not await services.keys.add(key, digest, most=services.most_keys):
        raise OverLimit(
            f"A tenant has at most {services.most_keys} keys: revoke one that is not needed.",
            retry_after=ROOM_AGAIN_S,
        )
    return key, text


@router.get("", summary="List keys, oldest first")
async def list_keys(
    request: Request, tenant: TenantOrAll, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> KeyPage:
    """A tenant's keys; the admin who names no tenant sees everybody's."""
    skip = read_number(cursor, _CURSOR) or 0
    found = (await services_of(request).keys.page(tenant))[skip : skip + limit + 1]
    page, further = page_of(found, limit, lambda _: number_cursor(_CURSOR, skip + limit))
    return KeyPage(items=[KeyOut(**_shown(key)) for key in page], next_cursor=further)


@router.delete("/{id}", status_code=204, summary="Revoke a key")
async def revoke_key(request: Request, tenant: TenantOrAll, key_id: PathId) -> None:
    """It opens nothing from now on."""
    if not await services_of(request).keys.revoke(key_id, tenant):
        raise NotFound("no such key")


def _shown(key: ApiKey) -> dict[str, str]:
    return {
        "id": key.id,
        "tenant_id": key.tenant_id,
        "name": key.name,
        "created_at": moment(key.created_at),
    }
