"""Routes: who opens them, what they read, and what the OpenAPI document says of both.

Who is calling is asked before anything of the request is read; a body is read by `wire`, not by the
framework.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, ClassVar, cast

from fastapi import Request, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from starlette.responses import Response

from notifications.http import wire
from notifications.http.auth import Caller, Gate
from notifications.http.forms import check_query
from notifications.http.problems import MEDIA_TYPE, TITLES, Refused
from notifications.http.services import services_of

API_KEY = "apiKey"
USER_TOKEN = "userToken"  # noqa: S105 - a name
SCHEMES: Mapping[str, Mapping[str, str]] = {
    API_KEY: {
        "type": "http",
        "scheme": "bearer",
        "description": "The admin's key, or a tenant's key (`hz_…`), which opens that tenant only.",
    },
    USER_TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A user token (`POST /v1/user-tokens`): opens one user's inbox.",
    },
}

_WITHOUT_BODY = (401, 403, 404, 422, 500, 503)
_WITH_BODY = (400, 401, 403, 404, 408, 413, 415, 422, 500, 503)

Handle = Callable[[Request], Coroutine[Any, Any, Response]]


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These problems, as the OpenAPI document describes them."""
    return {status: _described(status) for status in statuses}


def _described(status: int) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": TITLES[status][1],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in (429, 503):
        described["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    if status == 401:
        described["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return described


class KeyRoute(APIRoute):
    """A route that API keys open; user tokens do not."""

    callers: ClassVar[frozenset[Caller]] = frozenset((Caller.ADMIN, Caller.TENANT))
    schemes: ClassVar[tuple[str, ...]] = (API_KEY,)
    closed: ClassVar[str] = "A user token opens the inbox and negotiate, and nothing else."
    """What those who may not call are told."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        statuses = _WITH_BODY if self.body_field else _WITHOUT_BODY
        self.responses = {**problem_responses(*statuses), **self.responses}
        security: list[dict[str, list[str]]] = [{scheme: []} for scheme in self.schemes]
        self.openapi_extra = {"security": security, **(self.openapi_extra or {})}

    def get_route_handler(self) -> Handle:
        """The handler behind the gate."""
        return self.guarded(super().get_route_handler(), reads_json=self.body_field is not None)

    def guarded(
        self, handle: Callable[[Request], Awaitable[Response]], *, reads_json: bool
    ) -> Handle:
        """`handle`, for those who may call it."""

        asked = frozenset(
            parameter.alias
            for parameter in get_flat_params(self.dependant)
            if isinstance(parameter.field_info, params.Query)
        )
        required = self.body_field is not None and self.body_field.field_info.is_required()

        async def guarded(request: Request) -> Response:
            gate = cast("Gate", request.app.state.gate)
            principal = await gate.principal(request.scope["headers"])
            if principal.caller not in self.callers:
                raise Refused(403, self.closed)
            request.state.principal = principal
            if request.scope["query_string"]:
                check_query(request.query_params, asked)
            if reads_json:
                within_s = services_of(request).body_within_s
                request = await wire.read_json(request, required=required, within_s=within_s)
            return await handle(request)

        return guarded


class AdminRoute(KeyRoute):
    """A route about the hub as a whole, which only the admin's key opens."""

    callers = frozenset((Caller.ADMIN,))
    closed = "Only the admin's key opens this: it is about every tenant."


class UserRoute(KeyRoute):
    """A route about one user, which that user's tokens open, too."""

    callers = frozenset(Caller)
    schemes = (API_KEY, USER_TOKEN)


class RawRoute(KeyRoute):
    """A route whose function takes and gives what is on the wire, past the framework."""

    def get_route_handler(self) -> Handle:
        """The function itself behind the gate."""
        return self.guarded(self.endpoint, reads_json=False)
