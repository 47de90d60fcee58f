"""The mails as a browser draws them: on a phone and on a desktop, by day and by night."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from notifications.directory import Locale
from notifications.events import Event
from notifications.ids import public_id
from notifications.rendering import Renderer
from tests.chromium import browser, needed
from tests.event_samples import MAILED, TEMPLATES, delivery, example, minimal, user

pytestmark = needed

RENDERER = Renderer(TEMPLATES)
WORD = "W" * 200
LINK = "https://hooks.customer.example/" + "a" * 1_800

EXTREMES = {
    "budget.threshold": {
        "spentUsd": 99_999_999.99,
        "budgetUsd": 12_345_678.9,
        "thresholdPercent": 1000,
        "refusing": True,
        "url": LINK,
    },
    "endpoint.disabled": {"endpointId": "e" * 64, "url": LINK, "reason": "failing"},
    "job.expired": {"title": WORD, "url": LINK},
    "job.failed": {"title": WORD, "url": LINK, "error": {"code": "other", "message": WORD * 5}},
    "job.succeeded": {"title": WORD, "url": LINK, "summary": WORD * 5},
    "payment.received": {
        "amount": 999_999_999_999,
        "currency": "XOF",
        "payer": {"name": WORD},
        "description": WORD,
        "reference": WORD[:100],
        "url": LINK,
    },
}
"""What a schema lets through that is hardest to place: no spaces, greatest lengths and amounts."""

LOOK = """() => {
  const seen = [], width = document.documentElement.clientWidth;
  const probe = document.createElement("i");
  probe.style.backgroundColor = "Canvas";
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((each) => each / 255).map(
      (each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    document.body.append(probe);
    const canvas = parse(getComputedStyle(probe).backgroundColor);
    probe.remove();
    return canvas;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.textContent.trim();
    const element = node.parentElement, style = getComputedStyle(element);
    if (!text || !element.checkVisibility() || parseFloat(style.fontSize) === 0) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const one = luminance(parse(style.color)), other = luminance(behind(element));
    seen.push({
      text: text.slice(0, 60),
      size: parseFloat(style.fontSize),
      contrast: (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05),
      boxes: [...range.getClientRects()].filter((box) => box.width > 0.5).map(
        (box) => [box.left, box.top, box.right, box.bottom]),
    });
  }
  return {seen, width, scroll: document.documentElement.scrollWidth};
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


class View:
    """A page of one width and scheme; each mail is drawn once."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._seen: dict[str, dict] = {}

    def of(self, source: str) -> dict:
        """What is seen of a mail."""
        if source not in self._seen:
            self._page.set_content(source)
            self._seen[source] = self._page.evaluate(LOOK)
        assert len(self._seen[source]["seen"]) > 8
        return self._seen[source]


@pytest.fixture(
    scope="module",
    params=[(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")],
    ids=lambda each: f"{each[0]}-{each[1]}",
)
def view(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[View]:
    width, scheme = request.param
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    yield View(context.new_page())
    context.close()


def html(sample: Event, locale: Locale) -> str:
    sent = delivery()
    reader = user(locale)
    return RENDERER.mail(sample, reader, delivery=sent, operation_id=public_id(sent)).html


def mails(name: str) -> Iterator[str]:
    for locale in sorted(Locale):
        for sample in (example(name), minimal(name), example(name, **EXTREMES[name])):
            yield html(sample, locale)


@pytest.mark.parametrize("name", MAILED)
def test_nothing_is_cut_or_sticks_out(view: View, name: str):
    """Every line of every mail is within the page, which scrolls downwards alone."""
    for source in mails(name):
        found = view.of(source)
        assert found["scroll"] <= found["width"]
        for each in found["seen"]:
            for left, _, right, _ in each["boxes"]:
                assert left >= 0, each["text"]
                assert right <= found["width"], each["text"]


@pytest.mark.parametrize("name", MAILED)
def test_no_text_lies_on_another(view: View, name: str):
    """No two pieces of text share a place."""
    for source in mails(name):
        boxes = [(each["text"], box) for each in view.of(source)["seen"] for box in each["boxes"]]
        for at, (text, (left, top, right, bottom)) in enumerate(boxes):
            for other, box in boxes[at + 1 :]:
                across = min(right, box[2]) - max(left, box[0])
                down = min(bottom, box[3]) - max(top, box[1])
                assert across < 1 or down < 3, f"{text!r} and {other!r}"


@pytest.mark.parametrize("name", MAILED)
def test_every_text_can_be_read(view: View, name: str):
    """Text is 13 px or larger, and stands out 4.5 to 1 from what is really behind it."""
    for source in mails(name):
        for each in view.of(source)["seen"]:
            assert each["size"] >= 13, each["text"]
            assert each["contrast"] >= 4.5, (each["text"], each["contrast"])


@pytest.mark.parametrize("name", MAILED)
def test_without_css_every_text_can_be_read(view: View, name: str):
    """A client that knows no CSS shows dark on light or light on dark, the button among it."""
    for source in mails(name):
        bare = re.sub(r' style="[^"]*"|<style>.*?</style>', "", source, flags=re.DOTALL)
        for each in view.of(bare)["seen"]:
            assert each["contrast"] >= 4.5, (each["text"], each["contrast"])
