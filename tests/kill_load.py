"""What kill tests load hubs with, and who receives it."""

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from tests.hub_process import HubProcess

SETTINGS = {
    "HUNTAZE_RETRY_NOTIFICATIONS": ",".join(["200ms"] * 10),
    "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HUNTAZE_LOG": "warning",
}


class Receiver:
    """Answers 500 to the first one to three calls of every second event, then 200."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.taken: set[str] = set()
        self.webhook_ids: defaultdict[str, set[str]] = defaultdict(set)

    async def take(self, request: web.Request) -> web.Response:
        event_id = (await request.json())["id"]
        self.calls[event_id] += 1
        self.webhook_ids[event_id].add(request.headers["webhook-id"])
        number = int(event_id.removeprefix("event-"))
        if number % 2 and self.calls[event_id] <= number % 3 + 1:
            return web.Response(status=500)
        self.taken.add(event_id)
        return web.Response(status=200)

    async def start(self) -> tuple[web.AppRunner, str]:
        app = web.Application()
        app.router.add_post("/", self.take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/"


@dataclass(slots=True)
class Gate:
    """Lets through events below a number, which may be raised."""

    limit: int

    async def passed(self, number: int) -> None:
        """Return once the event may be published."""
        while number >= self.limit:
            await asyncio.sleep(0.005)


async def publish_one_by_one(
    hubs: Sequence[HubProcess],
    headers: dict[str, str],
    answered: set[str],
    *,
    count: int,
    gate: Gate | None = None,
) -> None:
    """Publish so many events, each in a request to the next hub, again until it is answered."""
    numbers = iter(range(count))
    turns = itertools.cycle(hubs)
    async with aiohttp.ClientSession(headers=headers) as session:

        async def publish() -> None:
            for number in numbers:
                if gate is not None:
                    await gate.passed(number)
                event = {
                    "specversion": "1.0",
                    "id": f"event-{number}",
                    "source": "/test",
                    "type": "message.received",
                    "userid": "u1",
                    "data": {"from": {"name": "Sample"}, "preview": f"message {number}"},
                }
                while event["id"] not in answered:
                    try:
                        url = f"{next(turns).url}/v1/events"
                        async with session.post(url, json=event) as response:
                            assert response.status == 202, await response.text()
                            answered.add(str(event["id"]))
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.05)  # the hub is down: killed, or not up again

        await asyncio.gather(*(publish() for _ in range(4)))


async def make_endpoint(hub: HubProcess, headers: dict[str, str], url: str) -> None:
    """An endpoint that asks for everything."""
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{hub.url}/v1/webhook-endpoints", json={"url": url}) as made,
    ):
        assert made.status == 201, await made.text()
