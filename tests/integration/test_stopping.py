"""How a hub comes to its end while work is under way."""

import asyncio
import socket
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

from notifications.owner import own
from tests.hub_world import World, document, hub_world
from tests.job_workers import CHAT


async def test_a_hub_that_is_cut_short_is_over_in_all_its_parts(tmp_path: Path) -> None:
    """Nothing waits once more after time was up: neither a job, whose run is given back, nor a
    webhook that hangs."""
    under_way, stop = asyncio.Event(), asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        black_hole.setblocking(False)

        async def live() -> None:
            with ExitStack() as open_until_the_end:
                async with hub_world(tmp_path, drain_seconds=600, webhook_timeout=60.0) as world:
                    open_until_the_end.enter_context(await _begin(world, black_hole))
                    under_way.set()
                    await stop.wait()

        living = asyncio.create_task(live())
        async with asyncio.timeout(30):
            waiting = asyncio.create_task(under_way.wait())
            await asyncio.wait({living, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            stop.set()
            for _ in range(20):  # it is stopping now, and has 600 seconds
                await asyncio.sleep(0)
            living.cancel()
            await asyncio.wait({living})
    assert living.cancelled(), living.exception()
    with own(tmp_path) as folder, closing(sqlite3.connect(folder.database)) as database:
        [job] = database.execute("SELECT state, run, returned FROM jobs").fetchall()
    assert job == ("running", 1, 1)


async def _begin(world: World, black_hole: socket.socket) -> socket.socket:
    """Have a job and a webhook under way that do not end; the webhook's connection."""
    headers = await world.tenant("acme")
    job = {"jobType": CHAT, "userId": "ada", "input": {"text": "one", "sleepMs": 600_000}}
    asked = await world.http.post("/v1/jobs", json=job, headers=headers)
    assert asked.status_code == 202, asked.text
    url = f"http://127.0.0.1:{black_hole.getsockname()[1]}/"
    await world.http.post("/v1/webhook-endpoints", json={"url": url}, headers=headers)
    await world.http.post("/v1/events", json=document(tenantid="acme"), headers=headers)
    async with asyncio.timeout(20):
        connection, _ = await asyncio.get_running_loop().sock_accept(black_hole)
        job_id = asked.json()["id"]
        while not {f"job-{job_id}", "attempt"} <= _under_way():
            await asyncio.sleep(0.02)
    return connection


def _under_way() -> set[str]:
    """The names of what this process does; attempts that go on without their message are one."""
    names = {task.get_name() for task in asyncio.all_tasks()}
    return {"attempt" if name.startswith("attempt-") else name for name in names}
