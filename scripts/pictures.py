"""Take the README's pictures: toasts and console of a `huntaze demo`, in headless Chromium.

    .venv/bin/python scripts/pictures.py [CHROMIUM]

Writes docs/pictures/*.png. The demo runs on a free port in a folder that is removed afterwards.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WITHIN_S = 90
WIDE = {"width": 1280, "height": 720}
POPPING = ("payment.received", "job.failed", "job.progress")


@contextmanager
def demo() -> Iterator[tuple[str, str]]:
    """A demo that has landed all of its story: its address and its admin key."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        command = [sys.executable, str(ROOT / "local_app.py"), "demo", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--data", str(data)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        try:
            give_up = time.monotonic() + WITHIN_S
            assert process.stdout is not None
            for line in process.stdout:
                if "landed" in line:
                    break
                assert time.monotonic() < give_up, "the demo did not land in time"
            url = json.loads((data / "hub.json").read_bytes())["url"]
            yield url, (data / "admin.key").read_text().strip()
        finally:
            process.terminate()
            process.wait(WITHIN_S)


def toasts(browser: Browser, url: str, key: str) -> None:
    """Three toasts on the page that shows them, one of them a job under way."""
    admin = {"authorization": f"Bearer {key}"}
    asked = {"tenantId": "demo", "userId": "alex", "expiresInSeconds": 600}
    token = httpx.post(f"{url}/v1/user-tokens", json=asked, headers=admin).json()["token"]
    page = browser.new_page(viewport=WIDE, color_scheme="light")
    page.goto(f"{url}/toasts#token={token}&locale=en")
    page.wait_for_function("document.querySelector('huntaze-toasts')?.matches(':defined')")
    page.wait_for_timeout(1_500)  # for the socket
    for number, kind in enumerate(POPPING):
        example = ROOT / "schemas" / "events" / kind / "v1.example.json"
        event = json.loads(example.read_bytes())
        event |= {"id": f"picture-{number}", "tenantid": "demo", "userid": "alex"}
        if "jobid" in event:
            event["jobid"] = f"picture-{number}"
        httpx.post(f"{url}/v1/events", json=event, headers=admin).raise_for_status()
    page.wait_for_timeout(1_500)  # for the toasts to have come to rest
    page.screenshot(path=PICTURES / "toasts.png")


def console(browser: Browser, url: str, key: str) -> None:
    """The overview, right after the demo's story."""
    page = browser.new_page(viewport=WIDE, color_scheme="light", locale="en")
    page.goto(f"{url}/console")
    page.locator("input[type=password]").fill(key)
    page.keyboard.press("Enter")
    page.locator("table").first.wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=PICTURES / "console.png")


def main() -> None:
    """Take them all."""
    named = sys.argv[1] if len(sys.argv) > 1 else None
    found = named or next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        sys.exit("no Chromium on this machine: install it, or name its program")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with demo() as (url, key), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        toasts(browser, url, key)
        console(browser, url, key)
        browser.close()


if __name__ == "__main__":
    main()
