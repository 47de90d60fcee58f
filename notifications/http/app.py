"""The HTTP API: its routes in order, what every answer goes through, and errors as problems."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from notifications.errors import HuntazeError
from notifications.http import (
    dead_letters,
    deliveries,
    email_reports,
    endpoints,
    event_types,
    events,
    health,
    inbox,
    keys,
    openapi,
    replays,
    suppressions,
    tenants,
    toasts,
    user_tokens,
    users,
)
from notifications.http.auth import Gate
from notifications.http.console.router import router as console
from notifications.http.console.sessions import Sessions
from notifications.http.forms import invalid
from notifications.http.middleware import Envelope, Faults, Requests, UserRoutesCors
from notifications.http.problems import TITLES, Problem, log_fault, problem_of
from notifications.http.services import Services

ROUTERS: Sequence[APIRouter] = (
    events.publishing,  # first: the hot path is found with the first comparison
    events.reading,
    event_types.router,
    users.router,
    tenants.router,
    endpoints.router,
    replays.starting,
    replays.router,
    deliveries.router,
    dead_letters.router,
    suppressions.router,
    email_reports.router,
    inbox.router,
    user_tokens.realtime,
    user_tokens.tokens,
    keys.router,
    health.router,
    toasts.router,
    console,
)

_OPEN_TO_PAGES = ("/v1/inbox", "/v1/realtime/", "/signalr/client/")
_SILENT: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""The framework reads no environment and measures nothing of its own."""


class HubApp(FastAPI):
    """The application, with its own OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """The document; made once."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.document(self, self.state.services.catalogue)
        return self.openapi_schema


def build_app(services: Services) -> FastAPI:
    """The API over these services. The host adds what is its own (sockets, console)."""
    app = HubApp(
        version="1.0",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_SILENT,
    )
    requests: Requests = Requests()
    app.state.services = services
    app.state.gate = Gate(services)
    app.state.requests = requests
    app.state.metrics = []  # what else the host counts, as `exposition.Metrics`
    app.state.sessions = Sessions(
        services.admin_keys, services.console.secrets, services.clock, services.dice
    )
    for router in ROUTERS:
        # As they are: the framework's way of including routers costs 20 µs a request.
        app.router.routes.extend(router.routes)
    app.add_exception_handler(HuntazeError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    # The last that is added is the outermost.
    app.add_middleware(Faults)
    if services.allowed_origins:
        app.add_middleware(
            UserRoutesCors, origins=services.allowed_origins, prefixes=_OPEN_TO_PAGES
        )
    app.add_middleware(Envelope, requests=requests)
    return app


async def _on_error(request: Request, error: Exception) -> Response:
    log_fault(error, request.method, request.url.path)
    return problem_of(error).response(request.url.path)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_of(invalid(error)).response(request.url.path)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: there is no such path, or not with that method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    status = error.status_code if error.status_code in TITLES else 400
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    detail = "There is nothing at this path." if status == 404 else str(error.detail)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["allow"] = ", ".join(sorted(_methods_of(request.app.routes, path)))
        detail = f"It takes {headers['allow']}."
    return Problem(status=status, detail=detail, headers=headers).response(path)


def _methods_of(routes: Sequence[BaseRoute], path: str) -> set[str]:
    known = (route for route in routes if isinstance(route, Route))
    fitting = (route for route in known if re.match(route.path_regex, path))
    return {method for route in fitting for method in route.methods or ()}
