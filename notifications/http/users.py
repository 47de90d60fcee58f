"""Users: who is told, where, and in which language."""

import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from notifications.directory import Locale, Role, User
from notifications.errors import FieldError, InvalidInput, NotFound
from notifications.events import is_user_id
from notifications.http.auth import principal_of
from notifications.http.forms import Body, BodyTenant, Line, PathId, Tenant, View
from notifications.http.routing import KeyRoute
from notifications.http.services import services_of

router = APIRouter(prefix="/v1/users", tags=["users"], route_class=KeyRoute)

# What could end an address, or begin another, wherever it is written.
_PART = r"[^\s@<>()\[\],;:\\\"\x00-\x20\x7f-\x9f]+"
_EMAIL = re.compile(rf"{_PART}@{_PART}")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}")


def is_email(text: str) -> bool:
    """Whether a mail could go there: one @ and nothing that could be anything but an address."""
    domain = text.rpartition("@")[2]
    return (
        _EMAIL.fullmatch(text) is not None
        and text.isprintable()
        and not domain.startswith((".", "-"))
        and not domain.endswith(".")
        and ".." not in domain
    )


def is_timezone(name: str) -> bool:
    """Whether this machine knows the zone."""
    if name == "UTC":
        return True
    if _ZONE.fullmatch(name) is None:
        return False
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _email(text: str) -> str:
    if not is_email(text):
        raise PydanticCustomError("email", "must be an e-mail address such as name@example.com")
    return text


def _timezone(text: str) -> str:
    if not is_timezone(text):
        raise PydanticCustomError("timezone", "must be an IANA time zone such as Europe/Paris")
    return text


class UserIn(Body):
    """A user, whole: what is left out takes its default."""

    tenant_id: BodyTenant = None
    email: Annotated[str, Field(max_length=254), AfterValidator(_email)] | None = None
    name: Annotated[Line, Field(min_length=1, max_length=200)] | None = None
    locale: Literal["fr", "en"] = "fr"
    timezone: Annotated[str, Field(max_length=64), AfterValidator(_timezone)] = "Europe/Paris"
    role: Literal["owner", "member"] = "member"


class UserOut(View):
    """A user."""

    id: str
    email: str | None
    name: str | None
    locale: Literal["fr", "en"]
    timezone: str
    role: Literal["owner", "member"]


@router.put("/{id:path}", summary="Create or replace a user")
async def put_user(request: Request, user_id: PathId, body: UserIn) -> UserOut:
    """Whoever is an owner also gets the events that name no user."""
    if not is_user_id(user_id):
        wrong = "the user id in the path must be 1-128 characters, no spaces or controls"
        raise InvalidInput([FieldError("", wrong)])
    user = User(
        tenant_id=principal_of(request).tenant(body.tenant_id, place="/tenantId"),
        id=user_id,
        email=body.email,
        name=body.name,
        locale=Locale(body.locale),
        timezone=body.timezone,
        role=Role(body.role),
    )
    await services_of(request).registry.save_user(user)
    return _out(user)


@router.get("/{id:path}", summary="One user")
async def get_user(request: Request, tenant: Tenant, user_id: PathId) -> UserOut:
    """As it was last put."""
    user = await services_of(request).directory.user(tenant, user_id)
    if user is None:
        raise NotFound("no such user")
    return _out(user)


@router.delete("/{id:path}", status_code=204, summary="Delete a user")
async def delete_user(request: Request, tenant: Tenant, user_id: PathId) -> None:
    """The inbox goes, too, and the address in the ledger is blanked."""
    if not await services_of(request).registry.delete_user(tenant, user_id):
        raise NotFound("no such user")


def _out(user: User) -> UserOut:
    return UserOut(
        id=user.id,
        email=user.email,
        name=user.name,
        locale=user.locale.value,
        timezone=user.timezone,
        role=user.role.value,
    )
