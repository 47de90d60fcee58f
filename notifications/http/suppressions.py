"""Addresses that a tenant's mails no longer go to: after a bounce, a complaint, or by hand."""

import re
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field

from notifications.endpoints import ROOM_AGAIN_S
from notifications.errors import FieldError, InvalidInput, NotFound, OverLimit
from notifications.http.auth import principal_of
from notifications.http.forms import Body, BodyTenant, Line, PathId, Tenant, View, moment
from notifications.http.pagination import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    page_of,
    read_text,
    text_cursor,
)
from notifications.http.routing import KeyRoute, problem_responses
from notifications.http.services import services_of
from notifications.http.users import is_email
from notifications.mailing import Suppression, spelled

router = APIRouter(prefix="/v1/suppressions", tags=["suppressions"], route_class=KeyRoute)

MOST = 100_000
"""Addresses that a tenant may suppress by hand; those of reports come on top."""

_LONGEST_REASON = 100
_LONGEST_CURSOR = 800
_CURSOR = "s"
_HEX = re.compile(r"(?:[0-9a-f]{2}){1,360}")


class SuppressionIn(Body):
    """Why an address gets no mail any more."""

    tenant_id: BodyTenant = None
    reason: Annotated[Line, Field(min_length=1, max_length=_LONGEST_REASON)]


class SuppressionOut(View):
    """An address that gets no mail, why, and since when."""

    address: str
    reason: str
    created_at: str


class SuppressionPage(View):
    """Suppressed addresses, in their order."""

    items: list[SuppressionOut]
    next_cursor: str | None


@router.get("", summary="List suppressed addresses")
async def list_suppressions(
    request: Request, tenant: Tenant, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> SuppressionPage:
    """By address."""
    after = _address_in(cursor)
    found = await services_of(request).suppressions.page(tenant, after=after, limit=limit + 1)
    page, further = page_of(found, limit, lambda one: _cursor_of(one.address))
    return SuppressionPage(items=[_out(one) for one in page], next_cursor=further)


@router.put(
    "/{id:path}", summary="Suppress an address, or change why", responses=problem_responses(429)
)
async def put_suppression(request: Request, address: PathId, body: SuppressionIn) -> SuppressionOut:
    """Its mails are skipped from now on, with this reason."""
    tenant = principal_of(request).tenant(body.tenant_id, place="/tenantId")
    if not is_email(address) or len(address) > 254:
        wrong = "the address in the path must be an e-mail address such as name@example.com"
        raise InvalidInput([FieldError("", wrong)])
    services = services_of(request)
    suppression = Suppression(
        tenant_id=tenant,
        address=spelled(address),
        reason=body.reason,
        created_at=services.clock.now(),
    )
    if not await services.suppressions.save(suppression, most=MOST):
        raise OverLimit(
            f"A tenant suppresses at most {MOST} addresses: delete those of nobody.",
            retry_after=ROOM_AGAIN_S,
        )
    return _out(await services.suppressions.find(tenant, suppression.address) or suppression)


@router.get("/{id:path}", summary="Whether and why an address is suppressed")
async def get_suppression(request: Request, tenant: Tenant, address: PathId) -> SuppressionOut:
    """However the address is written."""
    found = await services_of(request).suppressions.find(tenant, spelled(address))
    if found is None:
        raise NotFound("this address is not suppressed")
    return _out(found)


@router.delete("/{id:path}", status_code=204, summary="Mail to an address again")
async def delete_suppression(request: Request, tenant: Tenant, address: PathId) -> None:
    """What was skipped meanwhile stays so."""
    if not await services_of(request).suppressions.delete(tenant, spelled(address)):
        raise NotFound("this address is not suppressed")


def _cursor_of(address: str) -> str:
    return text_cursor(_CURSOR, address.encode().hex())


def _address_in(cursor: str | None) -> str:
    if cursor is None:
        return ""
    found = read_text(cursor, _CURSOR, _HEX)[0]
    return bytes.fromhex(found.removeprefix(_CURSOR)).decode(errors="replace")


def _out(suppression: Suppression) -> SuppressionOut:
    return SuppressionOut(
        address=suppression.address,
        reason=suppression.reason,
        created_at=moment(suppression.created_at),
    )
