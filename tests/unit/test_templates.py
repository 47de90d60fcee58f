"""The templates that ship: complete, finished and readable in both languages."""

import re
from html.parser import HTMLParser

import pytest

from notifications.directory import Locale
from notifications.ids import public_id
from notifications.records import Mail
from notifications.rendering import Renderer, Toast
from tests.event_samples import (
    MAILED,
    SHOWN,
    TEMPLATES,
    TYPES,
    delivery,
    example,
    minimal,
    minimal_data,
    user,
)

RENDERER = Renderer(TEMPLATES)
LOCALES = sorted(Locale)
JOB_TYPES = ("video.analysis", "chat.suggest", "content.suggest", "content.analyze")
LEFTOVERS = re.compile(r"\{\{|\}\}|\{%|%\}|None|[Uu]ndefined|True|False|\[\]|\{\}")
VOID = {"meta", "br", "wbr"}


def toast(sample, locale) -> Toast:
    """The toast of an event."""
    return RENDERER.toast(sample, user(locale))


def mail(sample, locale) -> Mail:
    """The mail of an event."""
    sent = delivery()
    return RENDERER.mail(sample, user(locale), delivery=sent, operation_id=public_id(sent))


class Page(HTMLParser):
    """What a reader of a mail's HTML gets: its visible text, its tags balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            hidden = "display:none" in (dict(attrs).get("style") or "")
            self.open.append("hidden" if hidden else tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() in (tag, "hidden")

    def handle_data(self, data):
        if data.strip() and not {"style", "title", "hidden"} & set(self.open):
            self.texts.append(re.sub(r"[ \n]+", " ", data).strip(" \n"))


def variants(name):
    """A type's example, its barest form, and forms in which its conditions turn out otherwise."""
    yield example(name)
    yield minimal(name)
    if name == "budget.threshold":
        over = {"thresholdPercent": 100, "spentUsd": 60.5, "refusing": True}
        yield example(name, **over)
    if name == "endpoint.disabled":
        yield example(name, reason="manual", parkDays=1)
        yield example(name, reason="failing")
    if name == "message.received":
        yield example(name, attachments=3)
        yield example(name, attachments=0)
    if name == "job.failed":
        usage = TYPES["job.succeeded"].example["data"]["usage"]
        yield example(name, usage=usage)
    if name.startswith("job."):
        for job_type in (*JOB_TYPES, "another.one"):
            yield example(name, jobType=job_type)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", SHOWN)
def test_toasts_are_complete(name, locale):
    """Every shown type has a toast in each language, for its barest event too; nothing is left."""
    for sample in variants(name):
        shown = toast(sample, locale)
        assert shown.title
        assert len(shown.title) <= 90
        for text in (shown.title, shown.body):
            assert not LEFTOVERS.search(text), text
            assert text == " ".join(text.split(" ")).strip(), text
        assert shown.url == sample.data.get("url") or name == "endpoint.disabled"
        assert shown.progress == sample.data.get("progress")


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", MAILED)
def test_mails_are_complete(name, locale):
    """Every mailed type has subject, text and HTML in each language, without leftovers."""
    for sample in variants(name):
        sent = mail(sample, locale)
        assert 0 < len(sent.subject) <= 120
        assert sent.locale == locale
        for part in (sent.subject, sent.text, " ".join(Page(sent.html).texts)):
            assert not LEFTOVERS.search(part), part
        assert "\n\n\n" not in sent.text
        assert all(line == line.rstrip() for line in sent.text.splitlines())
        assert "Huntaze" in sent.text


@pytest.mark.parametrize("name", SHOWN)
def test_the_languages_differ(name):
    """French and English are two texts: nothing was left untranslated."""
    french, english = toast(example(name), Locale.FR), toast(example(name), Locale.EN)
    assert french.title != english.title
    if name != "job.started" and not (
        "summary" in example(name).data or name == "message.received"
    ):
        assert french.body != english.body
    if name in MAILED:
        one, other = mail(example(name), Locale.FR), mail(example(name), Locale.EN)
        assert one.subject != other.subject
        own = set(Page(one.html).texts) & set(Page(other.html).texts)
        words = {text for text in own if re.search(r"[a-z]{3,} [a-z]{3,}", text)}
        carried = str(dict(example(name).data)) + " Sam Sample"
        assert {text for text in words if text not in carried} == set()


FRENCH_SLIPS = re.compile(
    r"[^\s\u00a0\u202f:/&][;!?»]"  # no space before a high sign
    r"| [;:!?»%€]"  # a space that may break before one
    r"|« "  # or after an opening quote
    r"|\w'\w"  # a typewriter's apostrophe
    r"|\.\.\."
    r"|(?i:\btu\b|\btes\b|\bton\b|\bta\b)"  # the familiar form
)


@pytest.mark.parametrize("name", SHOWN)
def test_french_is_written_as_french_is(name):
    """French texts have French spacing, apostrophes and the polite form."""
    for sample in variants(name):
        if name == "message.received":
            sample = minimal(name)
        texts = [toast(sample, Locale.FR).title, toast(sample, Locale.FR).body]
        if name in MAILED:
            sent = mail(sample, Locale.FR)
            texts += [sent.subject, *sent.text.splitlines(), *Page(sent.html).texts]
        for text in texts:
            if "://" not in text:
                assert not FRENCH_SLIPS.search(text), text


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", MAILED)
def test_the_plain_text_says_what_the_html_says(name, locale):
    """Everything that the HTML tells is in the plain text, and the link too."""
    for sample in variants(name):
        sent = mail(sample, locale)
        plain = " ".join(sent.text.replace("\u00a0:", "").replace(":", "").split())
        only_html = ("button", "bouton")
        for text in Page(sent.html).texts:
            words = " ".join(text.replace("\u00a0:", "").replace(":", "").split()).strip(" ,")
            if not any(word in words for word in only_html):
                assert words in plain, words
        if "url" in sample.data and name != "endpoint.disabled":
            assert f"\n{sample.data['url']}\n" in sent.text


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("name", MAILED)
def test_the_html_is_sound(name, locale):
    """Tags are balanced, the language is told, layout tables are marked, nothing is loaded."""
    for sample in variants(name):
        sent = mail(sample, locale)
        page = Page(sent.html)
        assert page.open == []
        tags = [tag for tag, _ in page.tags]
        assert dict(page.tags)["html"] == {"lang": locale, "dir": "ltr"}
        assert tags.count("h1") == 1
        assert not {"img", "link", "script", "iframe", "form", "svg"} & set(tags)
        assert not re.search(r"url\(|@import|src=|\son\w+=", sent.html)
        facts = 0
        for tag, attributes in page.tags:
            if tag == "table" and attributes.get("role") is None:
                facts += 1
            if tag == "a":
                assert attributes["href"] == sample.data["url"]
        assert facts == 1, "one table of facts, all others are for layout"
        assert 'name="color-scheme" content="light dark"' in sent.html
        assert "max-width:600px" in sent.html
        assert len(sent.html.encode()) < 102_000, "Gmail cuts longer ones"
        assert f"<title>{sent.subject.replace(chr(39), '&#39;')}</title>" in sent.html


def _luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one, other):
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_texts_have_contrast():
    """Every colour of text stands out 4.5 to 1 from what is behind it, by day and by night."""
    source = "".join(
        (TEMPLATES / f"email/_base/{name}.html").read_text() for name in ("layout", "parts")
    )
    style = source[source.index("prefers-color-scheme: dark") : source.index("</style>")]
    day = set(re.findall(r"[;\"]color:#([0-9a-f]{6})", source)) - {"ffffff"}
    night = set(re.findall(r"[ {]color: #([0-9a-f]{6})", style))
    assert day
    assert night
    assert min(_contrast(colour, "ffffff") for colour in day) >= 4.5
    assert min(_contrast(colour, "1c1f26") for colour in night) >= 4.5
    assert _contrast("ffffff", "4338ca") >= 4.5


def test_every_job_type_has_its_own_words():
    """No two job types share a phrase, in either language."""
    for locale in LOCALES:
        for name in (name for name in SHOWN if name.startswith("job.")):
            titles = {toast(example(name, jobType=each), locale).title for each in JOB_TYPES}
            assert len(titles) == len(JOB_TYPES)


def test_a_full_budget_is_told_as_full():
    """At a hundred percent the mail says that the budget is used up and what is refused."""
    spent = {"thresholdPercent": 120, "spentUsd": 60, "budgetUsd": 50, "refusing": True}
    sent = mail(example("budget.threshold", **spent), Locale.EN)
    assert sent.subject == "Your AI budget for January\u00a02026 is used up"
    assert "Over budget: $10.00" in sent.text
    assert "New requests are refused" in sent.text
    assert 'width="100%" height="12"' in sent.html


def test_minimal_events_are_minimal():
    """The barest events of these tests hold what their schema requires and nothing else."""
    assert set(minimal_data("job.succeeded")) == {"jobType", "run", "usage"}
    assert minimal("payment.received").data["payer"] == {"name": "Camille Exemple"}
    assert minimal("job.queued").user_id is None
