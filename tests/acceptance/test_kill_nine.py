"""The hub is killed -9 while it works, and nothing that it answered for is lost."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.hub_process import HubProcess, hub_process, run_huntaze

EVENTS = 5_000
KILLS = 3
WITHIN_S = 60
SETTINGS = {
    "HUNTAZE_RETRY_NOTIFICATIONS": ",".join(["200ms"] * 10),
    "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HUNTAZE_LOG": "error",
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


async def publish_one_by_one(hub: HubProcess, headers: dict[str, str], answered: set[str]) -> None:
    """Publish all events, each in a request of its own, again until it is answered."""
    numbers = iter(range(EVENTS))
    async with aiohttp.ClientSession(headers=headers) as session:

        async def publish() -> None:
            for number in numbers:
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
                        async with session.post(f"{hub.url}/v1/events", json=event) as response:
                            assert response.status == 202, await response.text()
                            answered.add(str(event["id"]))
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.05)  # the hub is down: killed, or not up again

        await asyncio.gather(*(publish() for _ in range(4)))


@pytest.mark.parametrize("seed", [20261123])
async def test_every_answered_event_is_delivered_though_the_hub_is_killed_three_times(
    tmp_path: Path, seed: int
) -> None:
    """Three kill -9 under 5,000 publishes lose no answered event, invent none, and audit clean."""
    dice = random.Random(seed)
    receiver = Receiver()
    runner, url = await receiver.start()
    answered: set[str] = set()
    with hub_process(tmp_path, SETTINGS) as hub:
        headers = await asyncio.to_thread(hub.tenant_headers, "t1")
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{hub.url}/v1/webhook-endpoints", json={"url": url}) as made,
        ):
            assert made.status == 201, await made.text()
        publishing = asyncio.create_task(publish_one_by_one(hub, headers, answered))
        for kill in range(KILLS):
            point = EVENTS * (kill + dice.random()) / (KILLS + 0.5)
            while len(answered) < point and not publishing.done():
                await asyncio.sleep(0.005)
            assert not publishing.done(), "all was published before the last kill"
            await asyncio.to_thread(hub.kill)
            await asyncio.to_thread(hub.start)
        await publishing
        last_restart = time.monotonic()

        assert len(answered) == EVENTS
        while answered - receiver.taken and time.monotonic() - last_restart < WITHIN_S:
            await asyncio.sleep(0.1)
        audit = await asyncio.to_thread(run_huntaze, ["audit", "--data", str(tmp_path)], SETTINGS)
        took = time.monotonic() - last_restart
    await runner.cleanup()

    assert answered <= receiver.taken
    assert receiver.taken <= {f"event-{number}" for number in range(EVENTS)}
    assert {len(ids) for ids in receiver.webhook_ids.values()} == {1}
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert took < WITHIN_S
