"""The route of `docs/nextjs-producer.md`, as it is printed, in front of a whole hub."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest

from tests.acceptance.test_realtime_hub import WITHIN_S, Acme
from tests.docs_code import blocks
from tests.hub_process import ROOT, free_port, hub_process
from tests.node_packages import FOLDER, install, needs_node
from tests.realtime_clients import connected
from tests.realtime_server import until
from tests.service_bus_world import connection_string

SESSION = """
export const currentUser = async (request) =>
  request.headers.get("cookie") ? { tenantId: "acme", userId: "lea" } : null;
"""
INPUT = orjson.loads((ROOT / "schemas/jobs/chat.suggest/v1.example.json").read_bytes())


@contextlib.asynccontextmanager
async def served_route(folder: Path, service_bus_port: int) -> AsyncIterator[str]:
    """Where the printed route answers, laid out as in an app."""
    (route,) = [each for each in blocks("nextjs-producer.md", "js") if "POST" in each]
    place = folder / "app" / "api" / "suggestions"
    place.mkdir(parents=True)
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    (folder / "package.json").write_text('{"type": "module"}')
    (place / "route.js").write_text(route)
    (folder / "lib").mkdir()
    (folder / "lib" / "session.js").write_text(SESSION)
    port = free_port()
    variables = {
        **os.environ,
        "PORT": str(port),
        "SERVICEBUS_CONNECTION_SEND": connection_string(service_bus_port),
    }
    server = await asyncio.create_subprocess_exec(
        "node", str(FOLDER / "serve-route.mjs"), str(place / "route.js"), env=variables
    )
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.kill()
        await server.wait()


async def post(client: httpx.AsyncClient, url: str, body: object) -> httpx.Response:
    """Post, again until the route listens."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await client.post(url, json=body)
            except httpx.ConnectError:
                await asyncio.sleep(0.05)


@needs_node
@pytest.mark.long
async def test_a_job_that_the_route_sends_shows_its_user_toasts(tmp_path: Path) -> None:
    """The printed route sends a job through the door with Microsoft's client; the hub runs it
    once, though it is sent twice, and its user's Web PubSub client is told of its success."""
    await asyncio.to_thread(install)
    door = free_port()
    options = ["--service-bus-port", str(door)]
    with hub_process(tmp_path / "data", options=options) as hub:
        acme = Acme(hub)
        async with (
            served_route(tmp_path / "site", door) as url,
            connected("node", lambda: acme.negotiate(hub.url)) as browser,
            httpx.AsyncClient(timeout=30) as client,
        ):
            refused = await post(client, url, {"input": INPUT})
            client.headers["cookie"] = "session=1"
            first = await post(client, url, {"id": "job-1", "input": INPUT})
            again = await post(client, url, {"id": "job-1", "input": INPUT})

            def shown() -> list[str]:
                items = [each["item"] for each in browser.heard.data if "item" in each]
                return [each["type"] for each in items if each["eventId"].startswith("job-1.")]

            await until(lambda: "job.succeeded" in shown(), within_s=WITHIN_S)
            key = acme.headers
            job = (await client.get(f"{hub.url}/v1/jobs/job-1", headers=key)).json()

    assert refused.status_code == 401
    assert (first.status_code, first.json()) == (202, {"id": "job-1"})
    assert again.status_code == 202
    assert shown().count("job.succeeded") == 1
    assert (job["state"], job["attempt"], job["userId"]) == ("succeeded", 1, "lea")
