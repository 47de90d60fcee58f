"""A real browser for tests that look at pages: Chromium, driven through Playwright."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.needs import must_be_here, needs

PATIENCE_MS = 20_000
"""How long something may take to show; the machine may be busy."""

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The best first: a shell without a window of its own does the same with two thirds of the work."""

EXECUTABLE = next((found for name in NAMES if (found := shutil.which(name))), None)
WHY_NOT = f"none of {', '.join(NAMES)} is on this machine (Debian: apt install {NAMES[0]})"

needed = needs(EXECUTABLE, WHY_NOT)

ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-features=PreloadTopChromeWebUI,WebUIReloadButton,InitialWebUI,Translate,MediaRouter",
)
"""The sandbox cannot be had as root in a container; what it is shown is ours. The features are
parts of the browser's own window, which nobody sees here and which take a third of a test."""


def require() -> None:
    """Skip where Chromium is missing, or fail where `CI` is set."""
    if EXECUTABLE is None:
        pytest.fail(WHY_NOT) if must_be_here() else pytest.skip(WHY_NOT)


@contextmanager
def browser() -> Iterator[Browser]:
    """Headless Chromium, where there is one."""
    require()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=EXECUTABLE, args=list(ARGUMENTS))
        try:
            yield running
        finally:
            running.close()


class Complaints:
    """What a page writes to its console as a warning or an error, and what it throws."""

    def __init__(self, page: Page, *, besides: Sequence[str] = ()) -> None:
        self.found: list[str] = []
        self._besides = tuple(besides)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.found.append(str(error)))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if not any(expected in message.text for expected in self._besides):
            self.found.append(message.text)
