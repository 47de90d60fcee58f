"""Toasts and mails from events: templates in Jinja2's sandbox, in the reader's language.

    toast/<type>/<locale>.json                                 title, body, url, progress
    email/<type>/<locale>/{subject.txt,body.html,body.txt}     a mail
    email/_base/{layout.html,layout.txt,parts.html,<locale>.json}   what all mails share
    jobs/<job type>/<locale>.json                              what a job is called, and its phrases

Templates see `data` and `event` (`notifications.events.Event`), `user` (`directory.User`), `job`
(its phrases) where `data` has a `jobType`, `locale`, and the filters of `_filters`; mails also
`subject`, `words` and `reference`. What an event carries is only ever a value: it is cleaned,
put on one line (but for `| lines`), escaped in HTML, and never compiled. A name that is missing,
and a value that is no text or number, are errors: no mail says `None`.
"""

import re
import traceback
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from markupsafe import Markup

from notifications import formats
from notifications.deliveries import Delivery
from notifications.directory import Locale, User
from notifications.errors import ConfigurationError, HuntazeError
from notifications.events import Event
from notifications.records import Mail
from notifications.sandbox import Sandbox
from notifications.template_files import TemplateFiles
from notifications.text import clean, one_line, safe_url, shorten

MAX_TITLE = 120
MAX_BODY = 300
MAX_SUBJECT = 150
MAX_NAME = 100
MAX_VALUE = 4_000
"""Longest piece of text that one place in a template shows, in characters."""

_DIVISIONS = re.compile(r"(?<=[/?&=#])(?![/?&=#]|$)")
"""Where an address may be broken: behind what divides it."""

_FALLBACKS = (Locale.EN, Locale.FR)
_FAULTS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toast:
    """A notification as it pops up, in the reader's language. Plain text throughout.

    Attributes:
        title: One line, at most 120 characters.
        body: One or two sentences, at most 300 characters; may be empty.
        url: Where a click leads: http, https or a path; or None.
        progress: 0-100 for a job under way, else None.
    """

    title: str
    body: str
    url: str | None = None
    progress: int | None = None


class RenderError(HuntazeError):
    """A template could not be rendered with an event.

    Attributes:
        template: Its path under `templates`, with the field for a toast.
        line: The line in it, 0 where none is known.
        problem: What was missing or wrong.
    """

    def __init__(self, template: str, line: int, problem: str) -> None:
        self.template = template
        self.line = line
        self.problem = problem
        super().__init__(f"{template}, line {line}: {problem}")


@dataclass(frozen=True, slots=True)
class _ToastTemplate:
    title: jinja2.Template
    body: jinja2.Template
    url: jinja2.Template | None
    progress: jinja2.Template | None


@dataclass(frozen=True, slots=True)
class _MailTemplate:
    subject: jinja2.Template
    html: jinja2.Template
    text: jinja2.Template


class Renderer:
    """Renders events. Everything is read when it is made; rendering does no I/O.

    A template is compiled when it is first used: most programs need few of them, and compiling
    them all takes an eighth of a hub's start.
    """

    def __init__(self, templates_dir: Path, *, app_url: str | None = None) -> None:
        """Read all templates.

        Args:
            templates_dir: The `templates` folder.
            app_url: Where Huntaze is, e.g. `https://app.example.com`: makes paths into links in
                mails, which otherwise leave the button out.

        Raises:
            ConfigurationError: A file is missing or cannot be read; names it.
        """
        self._files = TemplateFiles.read(templates_dir)
        self._compilers = {
            locale: _Compiler(_environment(self._files, locale, app_url))
            for locale in self._files.locales
        }
        self._toasts: dict[tuple[str, str], _ToastTemplate] = {}
        self._mails: dict[tuple[str, str], _MailTemplate] = {}

    def check(self) -> None:
        """Compile every template.

        Raises:
            ConfigurationError: One is wrong; names file and line.
        """
        try:
            for key in self._files.toasts:
                self._toast_template(key)
            for key in self._files.mails:
                self._mail_template(key)
        except RenderError as error:
            raise ConfigurationError(str(error)) from error

    def toast(self, event: Event, user: User) -> Toast:
        """The toast of an event, in the user's language.

        Raises:
            RenderError: The type has no toast, or its template asks for what the event lacks.
        """
        locale = _choose(self._files.toasts, "toast", event.type, user.locale)
        template = self._toast_template((event.type, locale))
        context = self._context(event, user, locale)
        url = self._render(template.url, context) if template.url else ""
        progress = self._render(template.progress, context) if template.progress else ""
        return Toast(
            title=shorten(one_line(self._render(template.title, context)), MAX_TITLE),
            body=shorten(one_line(self._render(template.body, context)), MAX_BODY),
            url=safe_url(url) if url else None,
            progress=min(max(int(progress), 0), 100) if progress.isdecimal() else None,
        )

    def mail(self, event: Event, user: User, *, delivery: Delivery, operation_id: str) -> Mail:
        """The mail of an event, in the user's language. The same delivery gives the same mail.

        Args:
            event: What it tells of.
            user: Who reads it; must have an address.
            delivery: Gives the mail its date.
            operation_id: The delivery's public id.

        Raises:
            RenderError: The type has no mail, or its template asks for what the event lacks.
        """
        assert user.email is not None, "looked at before rendering"
        locale = _choose(self._files.mails, "email", event.type, user.locale)
        template = self._mail_template((event.type, locale))
        name = shorten(one_line(user.name), MAX_NAME) if user.name else None
        context = self._context(event, replace(user, name=name or None), locale)
        context["reference"] = operation_id
        context["subject"] = subject = shorten(
            one_line(self._render(template.subject, context)), MAX_SUBJECT
        )
        return Mail(
            operation_id=operation_id,
            to=user.email,
            to_name=name or None,
            subject=subject,
            text=_tidy(self._render(template.text, context)),
            html=self._render(template.html, context).strip() + "\n",
            locale=locale,
            created_at=delivery.created_at,
            tenant_id=delivery.tenant_id,
            round=delivery.round,
        )

    def _toast_template(self, key: tuple[str, str]) -> _ToastTemplate:
        found = self._toasts.get(key)
        if found is None:
            found = self._compilers[key[1]].toast(self._files.toasts[key])
            self._toasts[key] = found
        return found

    def _mail_template(self, key: tuple[str, str]) -> _MailTemplate:
        found = self._mails.get(key)
        if found is None:
            found = self._mails[key] = self._compilers[key[1]].mail(self._files.mails[key])
        return found

    def _context(self, event: Event, user: User, locale: str) -> dict[str, Any]:
        context: dict[str, Any] = {"data": event.data, "event": event, "user": user}
        job_type = event.data.get("jobType")
        if job_type is not None:
            context["job"] = self._files.phrases(str(job_type), locale)
        return context

    def _render(self, template: jinja2.Template, context: Mapping[str, Any]) -> str:
        try:
            return template.render(context)
        except _FAULTS as error:
            self._explain(error, template)

    def _explain(self, error: Exception, template: jinja2.Template) -> NoReturn:
        name, line = str(template.name), 0
        for frame, number in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename in self._files.sources:
                name, line = frame.f_code.co_filename, number
        raise RenderError(name, line, str(error) or type(error).__name__) from error


# ------------------------------------------------------------------ choosing and compiling


def _choose(templates: Container[tuple[str, str]], kind: str, event_type: str, locale: str) -> str:
    """The language that there is a template in, the user's own before others."""
    for each in (locale, *_FALLBACKS):
        if (event_type, each) in templates:
            return each
    raise RenderError(f"{kind}/{event_type}", 0, "there is no such template")


@dataclass(frozen=True, slots=True)
class _Compiler:
    environment: jinja2.Environment

    def toast(self, fields: Mapping[str, str]) -> _ToastTemplate:
        return _ToastTemplate(
            title=self._compile(fields["title"]),
            body=self._compile(fields["body"]),
            url=self._compile(fields["url"]) if "url" in fields else None,
            progress=self._compile(fields["progress"]) if "progress" in fields else None,
        )

    def mail(self, folder: str) -> _MailTemplate:
        return _MailTemplate(
            subject=self._compile(f"{folder}/subject.txt"),
            html=self._compile(f"{folder}/body.html"),
            text=self._compile(f"{folder}/body.txt"),
        )

    def _compile(self, name: str) -> jinja2.Template:
        try:
            template = self.environment.get_template(name)
        except jinja2.TemplateSyntaxError as error:
            raise RenderError(str(error.name), error.lineno, str(error.message)) from error
        return with_plain_globals(template)


def with_plain_globals(template: jinja2.Template) -> jinja2.Template:
    """The same, what it knows without being told in a dict: it is copied for each rendering, and
    copying the chain of mappings that Jinja makes takes as long as the rest."""
    template.globals = dict(template.globals)
    return template


def _environment(files: TemplateFiles, locale: str, app_url: str | None) -> jinja2.Environment:
    def source(name: str) -> tuple[str, str, Callable[[], bool]] | None:
        text = files.sources.get(name)
        return None if text is None else (text, name, lambda: True)

    environment = Sandbox(
        loader=jinja2.FunctionLoader(source),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=-1,
        auto_reload=False,
    )
    environment.filters.update(_filters(formats.STYLES.get(locale, formats.EN), app_url))
    environment.globals.update(locale=locale, words=files.words.get(locale, {}))
    return environment


def _filters(style: formats.Style, app_url: str | None) -> dict[str, Callable[..., str]]:
    return {
        "number": partial(formats.number, style=style),
        "money": lambda minor, currency: formats.money(int(minor), currency, style),
        "dollars": partial(formats.dollars, style=style),
        "percent": partial(formats.percent, style=style),
        "duration": partial(formats.duration, style=style),
        "moment": lambda time, timezone: formats.moment(time, timezone, style),
        "month": partial(formats.month, style=style),
        "host": formats.host,
        "absolute": lambda url: _absolute(url, app_url),
        "breakable": _breakable,
        "lines": lambda text: _Lines(shorten(clean(text), MAX_VALUE)),
    }


# ------------------------------------------------------------------ what reaches the reader


class _Lines(str):
    """Text that may keep its line ends."""

    __slots__ = ()


def _finalize(value: object) -> object:
    """What every `{{ … }}` goes through, before HTML escaping."""
    kind = type(value)
    if kind is str:
        return shorten(one_line(value), MAX_VALUE)  # type: ignore[arg-type]
    if kind in (Markup, _Lines, int) or isinstance(value, jinja2.Undefined):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)  # JSON Schema takes 80.0 for an integer
    raise jinja2.TemplateRuntimeError(f"a value of type {kind.__name__} cannot be shown as it is")


def _absolute(url: str, app_url: str | None) -> str:
    """A link that works in a mail, or nothing."""
    safe = safe_url(url)
    if safe is None or not safe.startswith("/"):
        return safe or ""
    return f"{app_url.rstrip('/')}{safe}" if app_url else ""


def _breakable(text: str) -> Markup:
    """An address that may be broken where it is divided, in HTML: elsewhere it reads as another."""
    parts = _DIVISIONS.split(shorten(one_line(text), MAX_VALUE))
    return Markup("<wbr>").join(parts)


def _tidy(text: str) -> str:
    """Templates leave blank lines where a condition did not hold."""
    lines = "\n".join(line.rstrip(" ") for line in text.splitlines())
    while "\n\n\n" in lines:
        lines = lines.replace("\n\n\n", "\n\n")
    return lines.strip("\n") + "\n"
