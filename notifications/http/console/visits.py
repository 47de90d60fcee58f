"""A visit to a page: who came, how they read, what they sent; and the page as an answer."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from notifications.errors import FieldError, InvalidInput
from notifications.events import is_tenant_id
from notifications.http import wire
from notifications.http.console.looks import LANGUAGE_COOKIE, ZONE_COOKIE, Looks, looks
from notifications.http.console.sessions import Session, Sessions
from notifications.http.problems import Refused
from notifications.http.services import Services, services_of
from notifications.ids import public_number
from notifications.text import clean

COOKIE = "huntaze_console"
ROOT = "/console"
SIGN_IN = f"{ROOT}/sign-in"

_FORM_TYPE = frozenset(("application/x-www-form-urlencoded",))
_MOST_FORM_BYTES = 64 * 1024
_MOST_FIELDS = 600
_LONGEST_FIELD = 512
_LOCAL = re.compile(r"/console(?:[/?][\x21-\x7e]*)?")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing inline and nothing from elsewhere; no string becomes markup or code."""

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "vary": "cookie, accept-language",
}


@dataclass(slots=True, kw_only=True)
class Visit:
    """One request to the console.

    Attributes:
        request: As it came.
        services: What the hub can do.
        sessions: Who may come in.
        session: Who is signed in; None on the pages that are open.
        looks: How the viewer reads.
        form: What was sent, by name; the last of each. Empty for a GET.
    """

    request: Request
    services: Services
    sessions: Sessions
    session: Session | None
    looks: Looks
    form: Mapping[str, str] = field(default_factory=dict)

    # ---------------------------------------------------------------- what was asked

    def asked(self, name: str, *, longest: int = _LONGEST_FIELD) -> str | None:
        """A parameter of the query or a field of the form; None where it is empty.

        Raises:
            InvalidInput: It is too long, or holds what no id or name does.
        """
        source = self.form if self.request.method == "POST" else self.request.query_params
        value = (source.get(name) or "").strip()
        if not value:
            return None
        if len(value) > longest or not value.isprintable():
            raise InvalidInput([FieldError(f"/{name}", "is too long, or holds control characters")])
        return value

    def required(self, name: str) -> str:
        """The same, where it must be there.

        Raises:
            InvalidInput: It is not.
        """
        value = self.asked(name)
        if value is None:
            raise InvalidInput([FieldError(f"/{name}", self.looks.t("error.required"))])
        return value

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """A parameter that is one of these; None where it is empty or another."""
        value = self.asked(name)
        return value if value in allowed else None

    def tenant(self) -> str | None:
        """The tenant that the page is about, if one was named.

        Raises:
            InvalidInput: What was named cannot be one.
        """
        named = self.asked("tenant")
        if named is not None and not is_tenant_id(named):
            raise InvalidInput([FieldError("/tenant", self.looks.t("error.tenant"))])
        return named

    def its_tenant(self) -> str:
        """The same, where it must be there."""
        self.required("tenant")
        tenant = self.tenant()
        assert tenant is not None
        return tenant

    @property
    def sections(self) -> tuple[tuple[str, str], ...]:
        """Name and first page of what others added to the console."""
        found: tuple[tuple[str, str], ...] = getattr(self.request.app.state, "console_sections", ())
        return found

    @property
    def here(self) -> str:
        """Path and query of this page."""
        query = self.request.url.query
        return self.request.url.path + (f"?{query}" if query else "")

    # ---------------------------------------------------------------- answering

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page."""
        return Response(
            self.fragment(template, **values),
            status_code=status,
            media_type="text/html; charset=utf-8",
            headers=dict(_HEADERS),
        )

    def fragment(self, template: str, **values: Any) -> str:
        """Markup."""
        environment = templates(self.services.console.templates)
        return environment.get_template(template).render(
            visit=self,
            t=self.looks.t,
            tn=self.looks.tn,
            n=self.looks.n,
            many=self.looks.many,
            dur=self.looks.dur,
            when=self.looks.when,
            usd=self.looks.usd,
            says=self.looks.says,
            link=link,
            public_number=public_number,
            done=self.one_of("done", DONE),
            **{"tenant": None, **values},
        )

    def go(self, path: str, **query: str | int | None) -> Response:
        """To another page, after something was done."""
        return RedirectResponse(link(path, **query), status_code=303, headers=dict(_HEADERS))


DONE = (
    "paused",
    "resumed",
    "retried",
    "tested",
    "revoked",
    "replay-started",
    "replay-cancelled",
    "job-cancelled",
    "job-stopping",
    "signed-out",
)
"""What a page says that was just done."""


def link(path: str, **query: object) -> str:
    """A path of the console with a query; what is None or empty is left out."""
    kept = {name: str(value) for name, value in query.items() if value not in (None, "")}
    whole = f"{ROOT}{path}"
    return f"{whole}?{urlencode(kept)}" if kept else whole


def local(path: str | None) -> str:
    """A page of the console to go to, whatever was asked for."""
    return path if path is not None and _LOCAL.fullmatch(path) else ROOT


def visit_of(request: Request, sessions: Sessions) -> Visit:
    """A visit, before anything was read of what it sent."""
    services = services_of(request)
    return Visit(
        request=request,
        services=services,
        sessions=sessions,
        session=sessions.read(request.cookies.get(COOKIE)),
        looks=looks(
            services.console.templates / "words",
            language=request.cookies.get(LANGUAGE_COOKIE),
            accepted=request.headers.get("accept-language"),
            zone=request.cookies.get(ZONE_COOKIE),
        ),
    )


async def read_form(request: Request, *, within_s: float) -> Mapping[str, str]:
    """A form's fields; of a name that is there twice the values are joined by commas.

    Raises:
        Refused: It is none, or larger than any of ours.
    """
    body = await wire.read_body(request, _FORM_TYPE, within_s=within_s)
    if len(body) > _MOST_FORM_BYTES:
        raise Refused(413, f"A form has at most {_MOST_FORM_BYTES} bytes.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise Refused(400, "This is not a form as browsers send it.") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields[name] = f"{fields[name]},{value}" if name in fields else value
    return fields


@cache
def templates(folder: Path) -> jinja2.Environment:
    """The console's pages. Everything is escaped, and nothing may be missing."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _finalize(value: object) -> object:
    """What every `{{ … }}` goes through, before escaping: nothing reorders or hides its neighbours.

    The console shows what strangers wrote.
    """
    if type(value) is str:
        return clean(value)
    assert isinstance(value, str | int | Markup | jinja2.Undefined), f"{type(value)} is no text"
    return value


Page = Callable[[Visit], Awaitable[Response]]
