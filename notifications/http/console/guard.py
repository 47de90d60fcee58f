"""What every request to the console goes through: who may, and what is told of errors."""

import hmac
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from notifications.errors import HuntazeError, InvalidInput, NotFound
from notifications.http.console.assets import asset
from notifications.http.console.sessions import Sessions
from notifications.http.console.visits import (
    SIGN_IN,
    Page,
    Visit,
    link,
    read_form,
    visit_of,
)
from notifications.http.problems import Refused, log_fault, problem_of

CSRF = "csrf"

NOWHERE = "/console/{rest:path}"
"""Whatever is below `/console` and no page: comes last."""

_TITLES: Mapping[int, str] = {403: "forbidden", 404: "missing", 409: "conflict", 503: "away"}


class Pages:
    """A part of the console: its pages, by path below `/console`."""

    def __init__(self) -> None:
        self.routes: list[BaseRoute] = []

    def get(self, path: str, page: Page, *, is_open: bool = False) -> None:
        """A page that is looked at; `is_open` is for who is not signed in, too."""
        self._add("GET", path, page, is_open=is_open)

    def post(self, path: str, page: Page, *, is_open: bool = False) -> None:
        """Something that is done: only from a form of the console's own."""
        self._add("POST", path, page, is_open=is_open)

    def _add(self, method: str, path: str, page: Page, *, is_open: bool) -> None:
        async def answer(request: Request) -> Response:
            request.scope["route"] = route  # by which requests are counted
            return await _answered(request, page, is_open=is_open)

        # No route of the API's: nothing of it is in the OpenAPI document.
        whole = f"/console{path}"
        route = Route(whole, answer, methods=[method], include_in_schema=False)
        self.routes.append(route)


def router_of(*parts: Pages) -> APIRouter:
    """All of the console's routes; whatever else is below `/console` is nowhere."""
    nowhere = Pages()
    nowhere.get(NOWHERE.removeprefix("/console"), _nowhere, is_open=True)
    files = Route("/console/files/{name}", asset, methods=["GET"], include_in_schema=False)
    routes = [route for part in (*parts, nowhere) for route in part.routes]
    return APIRouter(routes=[files, *routes])


async def _nowhere(visit: Visit) -> Response:
    if not visit.request.path_params["rest"]:
        return visit.go("")
    raise NotFound(visit.looks.t("error.nowhere"))


async def _answered(request: Request, page: Page, *, is_open: bool) -> Response:
    visit = visit_of(request, cast("Sessions", request.app.state.sessions))
    try:
        return await _admitted(visit, page, is_open=is_open)
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets a page
        log_fault(error, request.method, request.url.path)
        return _error(visit, error)


async def _admitted(visit: Visit, page: Page, *, is_open: bool) -> Response:
    request = visit.request
    if request.method == "POST":
        _check_origin(visit)
    if visit.session is None and not is_open:
        return _to_sign_in(visit)
    if request.method == "POST":
        visit.form = await read_form(request, within_s=visit.services.body_within_s)
        if not is_open:
            _check_form(visit)
    return await page(visit)


def _check_origin(visit: Visit) -> None:
    """Only pages of this very host send forms here; every browser says where a form comes from.

    Raises:
        Refused: Another's.
    """
    headers = visit.request.headers
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, visit.looks.t("error.origin"))
    origin = headers.get("origin")
    # The scheme is not compared: a proxy may have taken the TLS off.
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise Refused(403, visit.looks.t("error.origin"))


def _check_form(visit: Visit) -> None:
    assert visit.session is not None
    sent = visit.form.get(CSRF, "")
    if not hmac.compare_digest(sent.encode(), visit.session.csrf.encode()):
        raise Refused(403, visit.looks.t("error.form"))


def _to_sign_in(visit: Visit) -> Response:
    headers = visit.request.headers
    if (
        headers.get("sec-fetch-site") == "cross-site"
        and headers.get("sec-fetch-mode") == "navigate"
    ):
        # A link from elsewhere comes without the cookie, signed in or not; from here it has it.
        return visit.page("arriving.html", to=visit.here)
    if headers.get("x-fragment"):
        return visit.page("sign_in.html", status=401, next=None, failed=False)
    following = visit.here if visit.request.method == "GET" else None
    return RedirectResponse(
        link(SIGN_IN.removeprefix("/console"), next=following),
        status_code=303,
        headers={"cache-control": "no-store"},
    )


def _error(visit: Visit, error: Exception) -> Response:
    problem = problem_of(error)
    if isinstance(error, InvalidInput):
        lines = [f"{each.pointer.lstrip('/')}: {each.detail}".lstrip(": ") for each in error.errors]
    elif isinstance(error, HuntazeError) and problem.status != 500:
        lines = [problem.detail]
    else:
        lines = [visit.looks.t("error.internal")]
    title = visit.looks.t(f"error.title.{_TITLES.get(problem.status, 'other')}")
    response = visit.page(
        "error.html", status=problem.status, title=title, lines=lines, code=problem.status
    )
    response.headers.update(problem.headers)
    return response
