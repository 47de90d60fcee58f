"""Web PubSub's clients against a whole hub: negotiated, cut off, and bereft of it by kill -9."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.hub_process import END_WITHIN_S, READY_WITHIN_S, HubProcess, hub_process
from tests.node_packages import needs_node
from tests.realtime_clients import Heard, connected
from tests.realtime_server import line, until

WITHIN_S = READY_WITHIN_S + END_WITHIN_S

pytestmark = pytest.mark.parametrize("kind", ["python", pytest.param("node", marks=needs_node)])


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with hub_process(tmp_path / "data") as running:
        yield running


class Acme:
    """A tenant's backend, and what its user Lea has in hand."""

    def __init__(self, hub: HubProcess) -> None:
        self._hub = hub
        self.headers = hub.tenant_headers("acme")
        body = {"userId": "lea"}
        answer = httpx.post(f"{hub.url}/v1/user-tokens", json=body, headers=self.headers)
        self.lea = {"authorization": f"Bearer {answer.json()['token']}"}
        self._numbers = itertools.count()

    async def negotiate(self, base_url: str) -> str:
        async with httpx.AsyncClient(base_url=base_url, headers=self.lea) as api:
            answer = await api.post("/v1/realtime/negotiate")
            return str(answer.raise_for_status().json()["url"])

    async def publish(self, count: int) -> list[str]:
        """Publish so many messages to Lea; their ids, all of which are on disk."""
        ids = [f"message-{next(self._numbers)}" for _ in range(count)]
        async with httpx.AsyncClient(base_url=self._hub.url, headers=self.headers) as api:
            for event_id in ids:
                event = {
                    "specversion": "1.0",
                    "id": event_id,
                    "source": "/test",
                    "type": "message.received",
                    "userid": "lea",
                    "data": {"from": {"name": "Sample"}, "preview": "hello"},
                }
                (await api.post("/v1/events", json=event)).raise_for_status()
        return ids

    async def inbox(self, after: int) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=self._hub.url, headers=self.lea) as api:
            answer = await api.get("/v1/inbox", params={"after": after})
            return list(answer.raise_for_status().json()["items"])


def told(heard: Heard) -> list[str]:
    """The events that a client was told of."""
    return [data["item"]["eventId"] for data in heard.data]


async def test_cut_off_it_misses_nothing(kind: str, hub: HubProcess) -> None:
    """Connected with what negotiate returned; events of before, during and after the cut are told
    once each, and the inbox's numbers rise."""
    acme = Acme(hub)
    async with line(int(urlsplit(hub.url).port or 0)) as wire:

        async def url() -> str:
            return await acme.negotiate(f"http://127.0.0.1:{wire.port}")

        async with connected(kind, url) as client:
            published = await acme.publish(5)
            await until(lambda: len(client.heard.server) == 5, within_s=WITHIN_S)
            wire.cut()
            published += await acme.publish(20)
            await until(lambda: wire.refused, within_s=WITHIN_S)
            wire.mend()
            await until(lambda: len(client.heard.server) >= 25, within_s=WITHIN_S)
            published += await acme.publish(5)
            await until(lambda: len(client.heard.server) >= 30, within_s=WITHIN_S)
            assert sorted(told(client.heard)) == sorted(published)
            seqs = [data["item"]["seq"] for data in client.heard.data]
            assert seqs == sorted(seqs)
            assert (len(client.heard.connected), client.heard.disconnected) == (1, [])


async def test_after_kill_nine_it_begins_afresh_and_the_inbox_has_the_rest(
    kind: str, hub: HubProcess
) -> None:
    """The next process knows nothing of the connection and says so: the client tells its
    application, connects afresh by itself, and finds what it missed after the last seq it has."""
    acme = Acme(hub)

    async def url() -> str:
        return await acme.negotiate(hub.url)

    async with connected(kind, url) as client:
        heard = client.heard
        before = await acme.publish(3)
        await until(lambda: len(heard.server) == 3, within_s=WITHIN_S)
        last_seq = max(data["item"]["seq"] for data in heard.data)
        hub.kill()
        await asyncio.to_thread(hub.start)
        meanwhile = await acme.publish(3)
        await until(lambda: len(heard.connected) == 2, within_s=WITHIN_S)
        assert heard.disconnected == ["nothing to recover: connect afresh and read the inbox"]
        after = await acme.publish(3)
        await until(lambda: set(after) <= set(told(heard)), within_s=WITHIN_S)
        missed = [item["eventId"] for item in await acme.inbox(last_seq)]
        assert sorted(missed) == sorted(meanwhile + after)
        assert set(before) <= set(told(heard))
