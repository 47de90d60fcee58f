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
h2 { margin: 40px 0 8px; overflow-wrap: anywhere; }
h3 { margin: 0 0 8px; font-size: 15px; }
h3 a { font-weight: 400; }
article { margin: 0 0 40px; }
.views { display: grid; gap: 16px; align-items: start; justify-content: start;
  grid-template-columns: 100%; }
figure { margin: 0; min-width: 0; }
figcaption { margin: 0 0 4px; font-size: 13px; opacity: .7; }
figcaption span { display: none; }
iframe { display: block; border: 1px solid #8888; border-radius: 8px; height: 760px; }
.phone iframe { width: 390px; }
.desktop iframe { width: 680px; }
.sideways { overflow-x: auto; }
pre { box-sizing: border-box; margin: 0; padding: 16px;
  border: 1px solid #8888; border-radius: 8px; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.5 ui-monospace, Consolas, Menlo, monospace; }
@media (min-width: 1150px) {
  .views { grid-template: "desktop text" auto "phone text" 1fr / 682px minmax(0, 620px); }
  .desktop { grid-area: desktop; }
  .phone { grid-area: phone; }
  .text { grid-area: text; position: sticky; top: 16px; }
}
@media (min-width: 1620px) {
  .views { grid-template: "phone desktop text" auto / 392px 682px minmax(0, 620px); }
}
@media (max-width: 739px) {
  body { padding: 16px; }
  .phone, .desktop { margin: 0 -16px; }
  .phone figcaption, .desktop figcaption { padding: 0 16px; }
  .phone iframe { width: 100%; max-width: 390px; }
  iframe { border-width: 1px 0; border-radius: 0; }
  figcaption span { display: inline; }
}
</style>
</head>
<body>
<h1>Mails</h1>
<p>From the examples of the event types. Light or dark as this browser prefers.</p>
<nav>
"""


_TAIL = """<script>
// Each frame becomes as tall as its mail. Mails cannot run scripts of their own.
function fit(frame) {
  const mail = frame.contentDocument?.documentElement;
  if (mail) frame.style.height = `${Math.ceil(mail.getBoundingClientRect().height)}px`;
}
const frames = document.querySelectorAll("iframe");
for (const frame of frames) {
  frame.addEventListener("load", () => fit(frame));
  fit(frame);
}
addEventListener("resize", () => frames.forEach(fit));
</script>
</body>
</html>
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
    yield _TAIL


def _article(each: Preview) -> Iterator[str]:
    mail, name = each.mail, f"{escape(each.event_type)}, {escape(each.mail.locale)}"
    yield f'<article lang="{escape(mail.locale)}">\n'
    link = f'<a href="{escape(each.folder)}/body.html">{escape(mail.locale)}</a>'
    yield f'<h3>{escape(mail.subject)} {link}</h3>\n<div class="views">\n'
    yield '<figure class="phone"><figcaption lang="en">Phone</figcaption>\n'
    yield f"{_frame(f'{name}, phone', mail.html)}</figure>\n"
    yield '<figure class="desktop"><figcaption lang="en">Desktop'
    yield " <span>(wider than this window: it scrolls sideways)</span></figcaption>\n"
    yield f'<div class="sideways" role="region" aria-label="{name}, desktop" tabindex="0">'
    yield f"{_frame(f'{name}, desktop', mail.html)}</div></figure>\n"
    yield '<figure class="text"><figcaption lang="en">Plain text</figcaption>\n'
    yield f"<pre>{escape(mail.text)}</pre></figure>\n</div>\n</article>\n"


def _frame(title: str, html: str) -> str:
    # Of one origin with the page, though both may be files, for it has to measure the mail; which
    # still runs no script.
    return f'<iframe title="{title}" sandbox="allow-same-origin" srcdoc="{escape(html)}"></iframe>'
