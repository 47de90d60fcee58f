"""A hub that pushes through a managed service, which another hub's sockets stand in for."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from notifications.azure_resource import AzureResource
from notifications.timing import SystemClock
from tests.hub_world import document, hub_world
from tests.realtime_server import PLAIN, SECRET, frame, hub_messages, serving

JSON = {"content-type": "application/cloudevents+json"}
NOBODYS = "http://127.0.0.1:9"


async def test_web_pubsub_carries_the_toasts(tmp_path: Path) -> None:
    """Negotiate leads to the service, where what is published arrives; SignalR has none here."""
    async with serving(clock=SystemClock()) as service:
        there = AzureResource(endpoint=f"http://127.0.0.1:{service.port}", key=SECRET)
        async with hub_world(tmp_path, realtime="webpubsub", webpubsub=there) as world:
            user = await world.user("acme", "ada")
            answer = await world.http.post("/v1/realtime/negotiate", headers=user)
            assert answer.json()["url"].startswith(f"ws://127.0.0.1:{service.port}/client/hubs/")
            page = await world.http.get("/toasts")
            policy = page.headers["content-security-policy"]
            assert f"connect-src 'self' ws://127.0.0.1:{service.port};" in policy
            other = await world.http.post("/v1/realtime/signalr/negotiate", headers=user)
            assert (other.status_code, "Web PubSub" in other.json()["detail"]) == (404, True)
            async with websockets.connect(
                answer.json()["url"], subprotocols=[websockets.Subprotocol(PLAIN)]
            ) as client:
                assert (await frame(client))["userId"] == "acme/ada"
                await publish(world.http, await world.tenant("acme"))
                assert (await frame(client))["data"]["item"]["eventId"] == "event-1"


async def test_signalr_service_carries_the_toasts(tmp_path: Path) -> None:
    """The same for SignalR; Web PubSub's negotiate is not here."""
    async with serving(clock=SystemClock()) as service:
        there = AzureResource(endpoint=f"http://127.0.0.1:{service.port}/signalr", key=SECRET)
        async with hub_world(tmp_path, realtime="signalr", signalr=there) as world:
            user = await world.user("acme", "ada")
            path = "/v1/realtime/signalr/negotiate?negotiateVersion=1"
            found = (await world.http.post(path, headers=user)).json()
            other = await world.http.post("/v1/realtime/negotiate", headers=user)
            assert (other.status_code, "SignalR" in other.json()["detail"]) == (404, True)
            url = f"ws{found['url'].removeprefix('http')}&access_token={found['accessToken']}"
            async with websockets.connect(url) as client:
                await client.send('{"protocol":"json","version":1}\x1e')
                assert await hub_messages(client) == [{}]
                await publish(world.http, await world.tenant("acme"))
                (message,) = await hub_messages(client)
                assert message["arguments"][0]["item"]["eventId"] == "event-1"


@pytest.mark.parametrize("kind", ["webpubsub", "signalr"])
async def test_a_service_that_is_away_costs_the_push_alone(tmp_path: Path, kind: str) -> None:
    """The item is in the inbox and the delivery is made, though nobody was told."""
    there = AzureResource(endpoint=NOBODYS, key=SECRET)
    changes: dict[str, Any] = {"realtime": kind, kind: there}
    async with hub_world(tmp_path, **changes) as world:
        headers = await world.tenant("acme")
        await publish(world.http, headers)
        async with asyncio.timeout(15):
            while True:
                query = {"eventId": "event-1", "channel": "realtime"}
                found = await world.http.get("/v1/deliveries", params=query, headers=headers)
                if [each["state"] for each in found.json()["items"]] == ["delivered"]:
                    break
                await asyncio.sleep(0.01)
        inbox = await world.http.get("/v1/inbox?userId=ada", headers=headers)
        assert [each["eventId"] for each in inbox.json()["items"]] == ["event-1"]


async def publish(http: httpx.AsyncClient, headers: Any) -> None:
    """Have a message come in for Ada."""
    sent = await http.post("/v1/events", json=document(userid="ada"), headers={**headers, **JSON})
    assert sent.status_code == 202, sent.text
