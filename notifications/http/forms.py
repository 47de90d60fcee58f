"""What bodies, queries and answers are made of. Pydantic ends here: inside there are values."""

import difflib
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Body as JsonBody
from fastapi import Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError
from starlette.datastructures import QueryParams

from notifications.errors import FieldError, InvalidInput, NotFound
from notifications.events import is_user_id
from notifications.http.auth import principal_of
from notifications.text import clean, has_controls, shorten

MAX_ERRORS = 50
_SHOWN = 64


class Body(BaseModel):
    """What is sent to us: camelCase, nothing that is not known, no guessing of types."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, validate_by_alias=True,
        extra="forbid", strict=True, frozen=True,
    )  # fmt: skip


class View(BaseModel):
    """What we answer: camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True
    )


# --------------------------------------------------------------------------- fields


def _one_line(text: str) -> str:
    if clean(text) != text or "\n" in text or "\t" in text:
        raise PydanticCustomError("one_line", "must be one line without control characters")
    return text


def _text(text: str) -> str:
    if clean(text) != text:
        raise PydanticCustomError("text", "must not contain control characters")
    return text


def _user_id(text: str) -> str:
    if not is_user_id(text):
        raise PydanticCustomError("user_id", "must be 1-128 characters, no spaces or controls")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
Text = Annotated[str, AfterValidator(_text)]
TenantId = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]{1,36}$", description="The Huntaze account.")
]
UserId = Annotated[
    str,
    Field(min_length=1, max_length=128, description="Unique in the tenant; no spaces."),
    AfterValidator(_user_id),
]
BodyTenant = Annotated[
    TenantId | None,
    Field(description="With the admin's key: the tenant. With a tenant's key it may be left out."),
]
QueryTenant = Annotated[
    TenantId | None,
    Query(
        alias="tenantId",
        description="With the admin's key: the tenant. With a tenant's key it may be left out.",
    ),
]
QueryUser = Annotated[
    UserId | None,
    Query(
        alias="userId",
        description="With an API key: the user. With a user's token it may be left out.",
    ),
]


# --------------------------------------------------------------------------- who and what


async def _tenant(request: Request, tenant_id: QueryTenant = None) -> str:
    return principal_of(request).tenant(tenant_id)


class ActionIn(Body):
    """What an action that needs nothing else may be sent: whose thing it is about."""

    tenant_id: BodyTenant = None


class SubjectIn(ActionIn):
    """The same, for an action in a user's inbox."""

    user_id: Annotated[
        UserId | None,
        Field(description="With an API key: the user, here or in the query."),
    ] = None


async def _acting_tenant(
    request: Request,
    body: Annotated[ActionIn | None, JsonBody()] = None,
    tenant_id: QueryTenant = None,
) -> str:
    named = _agreed("tenantId", None if body is None else body.tenant_id, tenant_id)
    return principal_of(request).tenant(named)


async def _acting_subject(
    request: Request,
    body: Annotated[SubjectIn | None, JsonBody()] = None,
    tenant_id: QueryTenant = None,
    user_id: QueryUser = None,
) -> tuple[str, str]:
    tenant = _agreed("tenantId", None if body is None else body.tenant_id, tenant_id)
    user = _agreed("userId", None if body is None else body.user_id, user_id)
    return await _subject(request, tenant, user)


def _agreed(name: str, in_body: str | None, in_query: str | None) -> str | None:
    if in_body is not None and in_query is not None and in_body != in_query:
        raise InvalidInput(
            [FieldError(f"/{name}", "is another one in the query: send one of them")]
        )
    return in_query if in_body is None else in_body


async def _tenant_or_all(request: Request, tenant_id: QueryTenant = None) -> str | None:
    return principal_of(request).tenant_or_all(tenant_id)


async def _subject(
    request: Request, tenant_id: QueryTenant = None, user_id: QueryUser = None
) -> tuple[str, str]:
    principal = principal_of(request)
    tenant = principal.tenant(tenant_id)
    if principal.user_id is None:
        if user_id is None:
            wrong = "the query parameter userId is required with an API key"
            raise InvalidInput([FieldError("", wrong)])
        return tenant, user_id
    if user_id is not None and user_id != principal.user_id:
        raise NotFound("no such user")
    return tenant, principal.user_id


Tenant = Annotated[str, Depends(_tenant)]
"""The tenant that a call without a body is about."""

ActingTenant = Annotated[str, Depends(_acting_tenant)]
"""The tenant of a POST that needs no other body: named in the body, or in the query."""

ActingSubject = Annotated[tuple[str, str], Depends(_acting_subject)]
"""The tenant and user of such a POST to an inbox."""

TenantOrAll = Annotated[str | None, Depends(_tenant_or_all)]
"""The same; None is everybody, for the admin who named none."""

Subject = Annotated[tuple[str, str], Depends(_subject)]
"""The tenant and user whose inbox it is."""


def check_query(sent: QueryParams, asked: Collection[str]) -> None:
    """Hold a query to the parameters that its route asks for, each at most once.

    A filter that is misspelt and ignored would answer, or change, more than was meant; no id and
    no name has control characters, and not every database takes a NUL.

    Raises:
        InvalidInput: Says which parameter is one too many.
    """
    errors = []
    for name, count in Counter(name for name, _ in sent.multi_items()).items():
        shown = shorten(name, _SHOWN) if name.isprintable() else "?"
        if name not in asked:
            close = difflib.get_close_matches(shown, asked, n=1, cutoff=0.6)
            guess = f"did you mean {close[0]}?" if close else _taken(asked)
            errors.append(FieldError("", f"there is no query parameter {shown!r} here; {guess}"))
        elif count > 1:
            errors.append(FieldError("", f"the query parameter {name} is there {count} times"))
        elif has_controls(sent[name]):
            detail = f"the query parameter {name} must not contain control characters"
            errors.append(FieldError("", detail))
    if errors:
        raise InvalidInput(errors[:MAX_ERRORS])


def _taken(asked: Collection[str]) -> str:
    return f"it takes {', '.join(sorted(asked))}" if asked else "it takes none"


def _path_id(text: str) -> str:
    # What no id is made of names nothing; no store ever sees it.
    return text if text.isprintable() and " " not in text else ""


PathId = Annotated[str, Path(alias="id", max_length=512), AfterValidator(_path_id)]


# --------------------------------------------------------------------------- times and errors


def moment(ms: int) -> str:
    """A time as the API writes it: RFC 3339, UTC, milliseconds."""
    return stamp(datetime.fromtimestamp(ms / 1000, UTC))


def moment_or_none(ms: int | None) -> str | None:
    """The same, where there may be none."""
    return None if ms is None else moment(ms)


def stamp(at: datetime) -> str:
    """A time with a zone, as the API writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def invalid(error: RequestValidationError) -> InvalidInput:
    """What pydantic found wrong, in our words' form; nothing of what was sent."""
    return InvalidInput([_field_error(each) for each in error.errors()[:MAX_ERRORS]])


def _field_error(found: dict[str, Any]) -> FieldError:
    where, *path = found["loc"]
    detail = str(found["msg"])
    if where == "body":
        return FieldError("".join(_step(part) for part in path), detail)
    names = ".".join(map(str, path))
    return FieldError("", f"the {where} parameter {names}: {detail}")


def _step(part: object) -> str:
    return "/" + str(part)[:64].replace("~", "~0").replace("/", "~1")
