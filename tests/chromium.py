"""A real browser for tests that look at pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
EXECUTABLE = next((found for name in NAMES if (found := shutil.which(name))), None)

needed = pytest.mark.skipif(
    EXECUTABLE is None, reason=f"none of {', '.join(NAMES)} is on this machine"
)


@contextmanager
def browser() -> Iterator[Browser]:
    """Headless Chromium, as this machine has it."""
    with sync_playwright() as playwright:
        # Its sandbox cannot be had as root in a container; what it is shown is ours.
        running = playwright.chromium.launch(executable_path=EXECUTABLE, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()
