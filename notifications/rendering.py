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

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from notifications import formats
from notifications.deliveries import Delivery
from notifications.directory import Locale, User
from notifications.errors import ConfigurationError, HuntazeError
from notifications.events import Event
from notifications.ports import Mail
from notifications.template_files import TemplateFiles
from notifications.text import clean, one_line, safe_url, shorten

MAX_TITLE = 120
MAX_BODY = 300
MAX_SUBJECT = 150
MAX_NAME = 100
MAX_VALUE = 4_000
"""Longest piece of text that one place in a template shows, in characters."""

_FALLBACKS = (Locale.EN, Locale.FR)
_FAULTS = (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


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
    """Renders events. Everything is read and compiled when it is made; rendering does no I/O."""

    def __init__(self, templates_dir: Path, *, app_url: str | None = None) -> None:
        """Read and compile all templates.

        Args:
            templates_dir: The `templates` folder.
            app_url: Where Huntaze is, e.g. `https://app.example.com`: makes paths into links in
                mails, which otherwise leave the button out.

        Raises:
            ConfigurationError: A template is missing or wrong; names file and line.
        """
        self._files = TemplateFiles.read(templates_dir)
        self._jobs = self._files.jobs
        environments = {
            locale: _environment(self._files, locale, app_url) for locale in self._files.locales
        }
        self._toasts: dict[tuple[str, str], _ToastTemplate] = {}
        self._mails: dict[tuple[str, str], _MailTemplate] = {}
        for (event_type, locale), fields in self._files.toasts.items():
            load = _loader(environments[locale])
            self._toasts[event_type, locale] = _ToastTemplate(
                load(fields["title"]),
                load(fields["body"]),
                load(fields["url"]) if "url" in fields else None,
                load(fields["progress"]) if "progress" in fields else None,
            )
        for (event_type, locale), folder in self._files.mails.items():
            load = _loader(environments[locale])
            self._mails[event_type, locale] = _MailTemplate(
                load(f"{folder}/subject.txt"), load(f"{folder}/body.html"), load(f"{folder}/body.txt")
            )

    def toast(self, event: Event, user: User) -> Toast:
        """The toast of an event, in the user's language.

        Raises:
            RenderError: The type has no toast, or its template asks for what the event lacks.
        """
        template, locale = self._choose(self._toasts, "toast", event.type, user.locale)
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
        template, locale = self._choose(self._mails, "email", event.type, user.locale)
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
        )

    def _choose[T](
        self, templates: Mapping[tuple[str, str], T], kind: str, event_type: str, locale: str
    ) -> tuple[T, str]:
        for each in (locale, *_FALLBACKS):
            found = templates.get((event_type, each))
            if found is not None:
                return found, each
        raise RenderError(f"{kind}/{event_type}", 0, "there is no such template")

    def _context(self, event: Event, user: User, locale: str) -> dict[str, Any]:
        context: dict[str, Any] = {"data": event.data, "event": event, "user": user}
        job_type = event.data.get("jobType")
        if job_type is not None:
            context["job"] = self._jobs.phrases(str(job_type), locale)
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
