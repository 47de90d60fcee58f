"""A real browser on a real page: Chromium, driven through Playwright."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

PATIENCE_MS = 20_000
"""How long something may take to show; the machine may be busy."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--mute-audio")
"""Tests may run as root, in a container with little shared memory."""


def chromium_path() -> str:
    """Where Chromium is. Where it is not, the test is skipped, and fails where `CI` is set."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    why = f"no browser on this machine: none of {', '.join(NAMES)} (Debian: apt install chromium)"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, closed at the end."""
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


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
