"""Coming in and going out, and the language."""

from starlette.responses import RedirectResponse, Response

from notifications.http.console.guard import Pages
from notifications.http.console.looks import LANGUAGE_COOKIE, LANGUAGES
from notifications.http.console.sessions import LASTS_S
from notifications.http.console.visits import COOKIE, ROOT, Visit, local

_YEAR_S = 365 * 86_400

pages = Pages()


async def ask(visit: Visit) -> Response:
    """The form that asks for the admin's key."""
    following = visit.request.query_params.get("next")
    if visit.session is not None:
        return RedirectResponse(local(following), status_code=303)
    return visit.page("sign_in.html", next=following and local(following), failed=False)


async def sign_in(visit: Visit) -> Response:
    """A session for who has the key."""
    cookie = visit.sessions.begin(visit.form.get("key", "").strip())
    following = visit.form.get("next")
    if cookie is None:
        return visit.page(
            "sign_in.html", status=401, next=following and local(following), failed=True
        )
    response = RedirectResponse(local(following), status_code=303)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=LASTS_S,
        path=ROOT,
        secure=_is_secure(visit),
        httponly=True,
        samesite="strict",
    )
    return response


async def sign_out(visit: Visit) -> Response:
    """The session is over, also for who has a copy of its cookie."""
    if visit.session is not None:
        visit.sessions.end(visit.session)
    response = visit.go("/sign-in", done="signed-out")
    response.delete_cookie(
        COOKIE, path=ROOT, secure=_is_secure(visit), httponly=True, samesite="strict"
    )
    return response


async def speak(visit: Visit) -> Response:
    """The console in another language."""
    response = RedirectResponse(local(visit.form.get("back")), status_code=303)
    if (language := visit.form.get("language")) in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE,
            str(language),
            max_age=_YEAR_S,
            path=ROOT,
            secure=_is_secure(visit),
            httponly=True,
            samesite="strict",
        )
    return response


def _is_secure(visit: Visit) -> bool:
    return visit.request.url.scheme == "https"


pages.get("/sign-in", ask, is_open=True)
pages.post("/sign-in", sign_in, is_open=True)
pages.post("/sign-out", sign_out)
pages.post("/language", speak, is_open=True)
