"""Publish to toast: from a request's first byte to the toast's element in an open page.

Single publishes over HTTP to one user, whose page is open in headless Chromium. Open loop:
requests leave on their schedule, and latency counts from the scheduled time.

One clock: the page tells when an element was inserted by `performance.now()`, which counts on the
system's monotonic clock, as `time.monotonic()` does. What lies between the two is measured before
and after, by the quickest of many round trips; half of that round trip is the error, and is said.
"""

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import harness
import rows
from playwright.async_api import Page, async_playwright
from usage import watching

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")
GOAL_MS = 15.0
"""The median is to be under it."""

USER = "u1"
RATE = 100.0
ROUND_TRIPS = 200

WATCH = """() => {
  const root = document.querySelector('huntaze-toasts').shadowRoot;
  window.inserted = [];
  new MutationObserver((changes) => {
    const at = performance.now();
    for (const change of changes) for (const node of change.addedNodes) {
      if (node.matches('.toast')) {
        const [name] = node.querySelector('.title').textContent.split(' ');
        window.inserted.push([name, at]);
      }
    }
  }).observe(root.querySelector('.toasts'), { childList: true });
}"""
"""Observers are told at the end of the task that inserted: later than the insertion, not before."""


@dataclass(frozen=True, slots=True)
class Offset:
    """How far the page's clock is behind ours.

    Attributes:
        seconds: To be added to the page's time.
        error: At most so far off.
    """

    seconds: float
    error: float


async def offset_of(page: Page) -> Offset:
    """Measure it by the quickest of many round trips."""
    best = Offset(0.0, float("inf"))
    for _ in range(ROUND_TRIPS):
        begun = time.monotonic()
        theirs = float(await page.evaluate("performance.now()")) / 1000
        ended = time.monotonic()
        if (ended - begun) / 2 < best.error:
            best = Offset((begun + ended) / 2 - theirs, (ended - begun) / 2)
    return best


def event(name: str) -> dict[str, object]:
    """An event whose toast is known by its name."""
    return {
        "specversion": "1.0",
        "id": f"{name}-{time.time_ns():x}",
        "source": "/bench",
        "type": "message.received",
        "userid": USER,
        "data": {"from": {"name": name}, "preview": "hello"},
    }


async def publish(session: aiohttp.ClientSession, url: str, document: object) -> None:
    """Publish one event."""
    async with session.post(f"{url}/v1/events", json=document) as response:
        if response.status != 202:
            raise RuntimeError(f"{response.status} {await response.text()}")


async def send(
    session: aiohttp.ClientSession, url: str, prefix: str, count: int, rate: float
) -> dict[str, float]:
    """Publish on schedule; when each was due."""
    due: dict[str, float] = {}
    publishing = []
    begun = time.monotonic() + 0.05
    for number in range(count):
        at = begun + number / rate
        await asyncio.sleep(max(at - time.monotonic(), 0))
        name = f"{prefix}{number}"
        due[name] = at
        publishing.append(asyncio.create_task(publish(session, url, event(name))))
    await asyncio.gather(*publishing)
    return due


async def inserted(page: Page, count: int) -> dict[str, float]:
    """When each toast was inserted, by the page's clock, once that many were."""
    give_up = time.monotonic() + 30
    while (there := int(await page.evaluate("window.inserted.length"))) < count:
        if time.monotonic() > give_up:
            raise TimeoutError(f"{there} of {count} toasts")
        await asyncio.sleep(0.05)
    return {name: at / 1000 for name, at in await page.evaluate("window.inserted")}


async def measure(
    hub: harness.RunningHub, chromium: str, count: int, rate: float
) -> tuple[list[float], float]:
    """Milliseconds from due to inserted, and by how many they may be off."""
    token = hub.post("/v1/user-tokens", {"userId": USER}).json()["token"]
    async with (
        async_playwright() as playwright,
        aiohttp.ClientSession(headers=hub.headers) as session,
    ):
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        page = await browser.new_page()
        await page.goto(f"{hub.url}/toasts#{token}")
        await page.locator("#state[data-state=online]").wait_for()
        await page.evaluate(WATCH)
        await send(session, hub.url, "warm", 100, 50)
        await inserted(page, 100)
        await page.evaluate("window.inserted.length = 0")
        before = await offset_of(page)
        due = await send(session, hub.url, "m", count, rate)
        found = await inserted(page, count)
        after = await offset_of(page)
        await browser.close()
    offset = (before.seconds + after.seconds) / 2
    error = max(before.error, after.error) + abs(before.seconds - after.seconds) / 2
    latencies = [(found[name] + offset - at) * 1000 for name, at in due.items()]
    return latencies, error * 1000


def measured(options: rows.Options) -> Sequence[rows.Row]:
    """One row, without a value where there is no browser."""
    name, unit = "toast-in-page-p50-100", "ms"
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        why = f"no browser on this machine (none of {', '.join(NAMES)})"
        return [rows.Row(name=name, value=None, unit=unit, at_most=GOAL_MS, limited_by=why)]
    with harness.running_hub() as hub, watching(hub.data) as usage:
        found, error = asyncio.run(measure(hub, chromium, options.size(1_000, 300), RATE))
    half, most = (rows.percentile(found, share) for share in (0.5, 0.99))
    rows.tell(f"toasts in a page: p50 {half:.1f}, p99 {most:.1f} ms, ± {error:.2f}")
    return [
        rows.Row(name=name, value=half, unit=unit, at_most=GOAL_MS, limited_by=usage.limited_by())
    ]


if __name__ == "__main__":
    rows.alone(measured, __doc__)
