"""What every answer goes through."""

from collections import Counter
from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from notifications.http.problems import Refused, log_fault, problem_of
from notifications.text import has_controls

Requests = Counter[tuple[str, str, int]]
"""Requests by method, route and status."""

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_MAKING = frozenset(("PUT",))
_NOWHERE = "-"

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""On every answer, save where a route set its own."""


class Envelope:
    """Puts security headers on every answer, and counts it."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        # A route's pattern would end before a line break, and find what is named without it.
        app = _nowhere if has_controls(scope["path"]) else self._app

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with_security(message["headers"])
                self._count(scope, message["status"])
            await send(message)

        await app(scope, receive, send_on)

    def _count(self, scope: Scope, status: int) -> None:
        method = scope["method"] if scope["method"] in _METHODS else _NOWHERE
        route = getattr(scope.get("route"), "path", _NOWHERE)
        self._requests[(method, route, status)] += 1


class Faults:
    """Turns what nobody expected into a problem that tells nothing of the inside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:
            log_fault(error, scope["method"], scope["path"])
            if started:
                raise  # the server breaks the connection off: half an answer must not look whole
            await problem_of(error).response(scope["path"])(scope, receive, send)


class UserRoutesCors:
    """Lets pages of the allowed origins call the routes that users' tokens open, and no others."""

    def __init__(self, app: ASGIApp, origins: Sequence[str], prefixes: tuple[str, ...]) -> None:
        self._app = app
        self._prefixes = prefixes
        self._cors = CORSMiddleware(
            app,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            # The last two are SignalR's own.
            allow_headers=[
                "authorization",
                "content-type",
                "x-requested-with",
                "x-signalr-user-agent",
            ],
            expose_headers=["retry-after"],
            max_age=600,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        open_to_pages = scope["type"] == "http" and scope["path"].startswith(self._prefixes)
        await (self._cors if open_to_pages else self._app)(scope, receive, send)


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    # To a caller who wants to make something, its name is wrong; to others nothing is there.
    status = 422 if scope["method"] in _MAKING else 404
    problem = problem_of(Refused(status, "No path has control characters in it."))
    await problem.response(scope["path"])(scope, receive, send)


def _with_security(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    names = {name for name, _ in headers}
    return [*headers, *(header for header in _HEADERS if header[0] not in names)]
