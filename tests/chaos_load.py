"""What tests of faults have a hub do: a tenant, its endpoint, a receiver that counts, a client."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.hub_process import HubProcess, run_huntaze

SETTINGS = {
    "HUNTAZE_RETRY_NOTIFICATIONS": ",".join(["200ms"] * 10),
    "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HUNTAZE_LOG": "error",
}
WITHIN_S = 60


@dataclass(slots=True)
class Counting:
    """A receiver of webhooks.

    Attributes:
        url: Where it is.
        calls: Its calls, by event id.
        answered: Those that it answered 2xx.
        delay_s: How long it takes for an answer.
        refuses: It answers 500 to the first call of each event.
    """

    url: str = ""
    calls: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    delay_s: float = 0.0
    refuses: bool = False

    async def take(self, request: web.Request) -> web.Response:
        """One call."""
        event_id = str((await request.json())["id"])
        self.calls[event_id] += 1
        await asyncio.sleep(self.delay_s)
        if self.refuses and self.calls[event_id] == 1:
            return web.Response(status=500)
        self.answered[event_id] += 1
        return web.Response(status=204)


@asynccontextmanager
async def counting(*, delay_s: float = 0.0, refuses: bool = False) -> AsyncIterator[Counting]:
    """A receiver that is up while the block runs."""
    one = Counting(delay_s=delay_s, refuses=refuses)
    app = web.Application()
    app.router.add_post("/", one.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield one
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class Tenant:
    """A tenant's calls; the ids of the events that were answered 202.

    `session` keeps its connections, as programs do.
    """

    hub: HubProcess
    session: aiohttp.ClientSession
    accepted: set[str] = field(default_factory=set)

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and document of an answer."""
        async with self.session.request(method, self.hub.url + path, json=body) as answer:
            return answer.status, await answer.json()

    async def publish(self, names: Iterable[str]) -> int:
        """Publish events of these ids in one batch; the status."""
        batch = [event(name) for name in names]
        status, _ = await self.call("POST", "/v1/events", batch)
        if status == 202:
            self.accepted.update(each["id"] for each in batch)
        return status

    async def is_settled(self) -> bool:
        """Whether it is written down what became of every delivery."""
        status, found = await self.call("GET", "/v1/deliveries?state=pending")
        return status == 200 and not found["items"]


@asynccontextmanager
async def tenant(hub: HubProcess, name: str, *targets: str) -> AsyncIterator[Tenant]:
    """A tenant with these endpoints."""
    headers = await asyncio.to_thread(hub.tenant_headers, name)
    timeout = aiohttp.ClientTimeout(total=WITHIN_S / 2)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        one = Tenant(hub, session)
        for url in targets:
            status, made = await one.call("POST", "/v1/webhook-endpoints", {"url": url})
            assert status == 201, made
        yield one


def event(name: str) -> dict[str, Any]:
    """An event that toasts and webhooks carry."""
    return {
        "specversion": "1.0",
        "id": name,
        "source": "/test",
        "type": "message.received",
        "userid": "ada",
        "data": {"from": {"name": "Sample"}, "preview": "a message"},
    }


async def until(
    condition: Callable[[], Awaitable[object] | object], what: str, within_s: float = WITHIN_S
) -> None:
    """Wait until a condition, awaited where it is to be, is true."""
    give_up = time.monotonic() + within_s
    while True:
        found = condition()
        if await found if isinstance(found, Awaitable) else found:
            return
        assert time.monotonic() < give_up, f"waited {within_s} s for {what}"
        await asyncio.sleep(0.02)


async def audit_is_clean(hub: HubProcess, settings: dict[str, str]) -> None:
    """The audit of its data finds no remainder."""
    arguments = ["audit", "--data", str(hub.data)]
    audit = await asyncio.to_thread(run_huntaze, arguments, settings)
    assert audit.returncode == 0, audit.stdout + audit.stderr
