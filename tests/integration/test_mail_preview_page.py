"""The page of `huntaze mails preview` as a browser shows it, opened as a file."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from notifications.cli.mail_previews import previews, write
from tests.chromium import PATIENCE_MS, Complaints, browser, needed

pytestmark = needed

FITTED = """() => [...document.querySelectorAll("iframe")].every((frame) => {
  const mail = frame.contentDocument?.querySelector("table.card");
  if (!mail) return false;
  const {scrollWidth, scrollHeight} = frame.contentDocument.documentElement;
  return scrollWidth <= frame.clientWidth && scrollHeight <= frame.clientHeight
    && frame.clientHeight - mail.getBoundingClientRect().bottom < 60;
})"""
"""No mail is cut, and no frame is much longer than its mail."""

PLACES = """() => ["phone", "desktop", "text"].map((name) => {
  const {left, top, right, bottom} = document.querySelector(`.${name}`).getBoundingClientRect();
  return {left, top, right, bottom};
})"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mails")
    return write(previews(None, datetime(2026, 1, 31, 12, tzinfo=UTC)), folder).as_uri()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context()
    yield context.new_page()
    context.close()


def opened(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address)
    page.wait_for_function(FITTED, timeout=PATIENCE_MS)


@pytest.mark.parametrize("width", [320, 390, 800, 1280, 1720])
def test_no_mail_is_cut(page: Page, address: str, width: int):
    """Every frame is as tall as its mail, and the page does not scroll sideways."""
    complaints = Complaints(page)
    opened(page, address, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints.found == []


def test_frames_follow_the_window(page: Page, address: str):
    """A window that becomes narrower, or wider again, cuts nothing either."""
    opened(page, address, 1280)
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(FITTED, timeout=PATIENCE_MS)


@pytest.mark.parametrize("width", [1280, 1720])
def test_a_mail_is_beside_its_plain_text(page: Page, address: str, width: int):
    """Both begin at one height; where there is room, the phone's form does, too."""
    opened(page, address, width)
    phone, desktop, text = page.evaluate(PLACES)
    assert text["left"] >= max(desktop["right"], phone["right"])
    assert text["top"] == desktop["top"]
    assert (phone["top"] == text["top"]) is (width == 1720)


def test_on_a_phone_the_desktop_s_form_scrolls_sideways(page: Page, address: str):
    """One form is under the other; the desktop's keeps its width, and says that it scrolls."""
    opened(page, address, 390)
    phone, desktop, text = page.evaluate(PLACES)
    assert phone["bottom"] <= desktop["top"] < desktop["bottom"] <= text["top"]
    assert [
        page.locator(f"{each} iframe").first.bounding_box()["width"]
        for each in (".phone", ".desktop")
    ] == [390, 680]
    assert page.locator(".desktop figcaption span").first.is_visible()
    region = page.locator(".sideways").first
    region.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "() => document.querySelector('.sideways').scrollLeft > 0", timeout=PATIENCE_MS
    )
    opened(page, address, 1280)
    assert not page.locator(".desktop figcaption span").first.is_visible()


def test_a_mail_runs_no_script(page: Page, tmp_path: Path, address: str):
    """The frames are of the page's origin, so nothing in them may run."""
    source = Path(address.removeprefix("file://")).read_text()
    spoilt = tmp_path / "index.html"
    script = "&lt;script&gt;parent.document.title=&#x27;ran&#x27;&lt;/script&gt;&lt;/body&gt;"
    assert "&lt;/body&gt;" in source
    spoilt.write_text(source.replace("&lt;/body&gt;", script))
    opened(page, spoilt.as_uri(), 1280)
    assert page.title() == "Mails"
