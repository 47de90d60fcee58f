"""Every mail of the event types' examples, as files to look at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import groupby
from pathlib import Path

from notifications.catalogue import EventType
from notifications.deliveries import Delivery
from notifications.directory import Locale, User
from notifications.events import Channel, read_event
from notifications.ids import public_id
from notifications.records import Mail
from notifications.rendering import Renderer
from notifications.shipped import TEMPLATES, load_catalogue

_TENANT = "preview"
_READERS = {Locale.FR: "Camille Exemple", Locale.EN: "Alex Sample"}


@dataclass(frozen=True, slots=True)
class Preview:
    """A mail of an event type's example.

    Attributes:
        event_type: Which.
        mail: Rendered, in its language.
    """

    event_type: str
    mail: Mail

    @property
    def folder(self) -> str:
        """Where it is written, as its templates are."""
        return f"{self.event_type}/{self.mail.locale}"


def previews(app_url: str | None, now: datetime) -> Sequence[Preview]:
    """Every mailed type in every language, type by type.

    Args:
        app_url: What paths in the examples lead to.
        now: When the mails are made.

    Raises:
        ConfigurationError: A template or schema is missing or wrong; names it.
        RenderError: A template asks for what its example lacks.
    """
    renderer = Renderer(TEMPLATES, app_url=app_url)
    mailed = [each for each in load_catalogue().types() if Channel.EMAIL in each.channels]
    return [
        Preview(each.name, _mail(renderer, each, locale, now))
        for each in sorted(mailed, key=lambda each: each.name)
        for locale in sorted(_READERS)
    ]


def _mail(renderer: Renderer, event_type: EventType, locale: Locale, now: datetime) -> Mail:
    envelope = {"id": f"example-{event_type.name}", "tenantid": _TENANT, "time": now.isoformat()}
    event = read_event({**event_type.example, **envelope}, tenant_id=None, now=now)
    user = User(
        tenant_id=_TENANT,
        id="reader",
        email="reader@example.com",
        name=_READERS[locale],
        locale=locale,
    )
    at = int(now.timestamp() * 1000)
    delivery = Delivery(
        tenant_id=_TENANT,
        id=at << 22,
        event_key=1,
        channel=Channel.EMAIL,
        target=user.id,
        deadline=at,
        created_at=at,
    )
    return renderer.mail(event, user, delivery=delivery, operation_id=public_id(delivery))


def write(found: Sequence[Preview], folder: Path) -> Path:
    """Write them out; the page that shows them all.

    Raises:
        OSError: The folder cannot be written to.
    """
    for each in found:
        place = folder / each.folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "subject.txt").write_text(f"{each.mail.subject}\n", "utf-8")
        (place / "body.html").write_text(each.mail.html, "utf-8")
        (place / "body.txt").write_text(each.mail.text, "utf-8")
    index = folder / "index.html"
    index.write_text("".join(_page(found)), "utf-8")
    return index


_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mails</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 0; padding: 24px; }
h2 { margin: 40px 0 8px; }
h3 { margin: 0 0 8px; font-size: 15px; }
h3 span { font-weight: 400; opacity: .7; }
article { margin: 0 0 32px; }
.views { display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start; }
iframe { border: 1px solid #8888; border-radius: 8px; height: 760px; }
.phone { width: 390px; }
.desktop { width: 680px; }
pre { box-sizing: border-box; width: 520px; max-width: 100%; margin: 0; padding: 16px;
  border: 1px solid #8888; border-radius: 8px; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.5 ui-monospace, Consolas, Menlo, monospace; }
</style>
</head>
<body>
<h1>Mails</h1>
<p>From the examples of the event types. Light or dark as this browser prefers.</p>
<nav>
"""


def _page(found: Sequence[Preview]) -> Iterator[str]:
    types = {each.event_type: None for each in found}
    yield _HEAD
    yield " · ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in types)
    yield "\n</nav>\n"
    for name, group in groupby(found, key=lambda each: each.event_type):
        yield f'<h2 id="{escape(name)}">{escape(name)}</h2>\n'
        for each in group:
            yield from _article(each)
    yield "</body>\n</html>\n"


def _article(each: Preview) -> Iterator[str]:
    mail, name = each.mail, f"{escape(each.event_type)}, {escape(each.mail.locale)}"
    source = escape(f"{each.folder}/body.html")
    yield f'<article lang="{escape(mail.locale)}">\n'
    link = f'<a href="{source}">{escape(mail.locale)}</a>'
    yield f'<h3>{escape(mail.subject)} <span>{link}</span></h3>\n<div class="views">\n'
    for width in ("phone", "desktop"):
        title = f"{name}, {width}"
        yield f'<iframe class="{width}" src="{source}" title="{title}" sandbox></iframe>\n'
    yield f"<pre>{escape(mail.text)}</pre>\n</div>\n</article>\n"
