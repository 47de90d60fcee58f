"""The API behind its real server, as clients on the network meet it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import websockets

from notifications.cli.serving import Place, serve_local_hub
from notifications.http.wire import MAX_REQUEST_BYTES
from notifications.owner import own
from tests.hub_world import ADMIN_KEY, SECRETS, SETTINGS, bearer, document

PATIENCE_S = 10


class Served:
    """A served hub and a client of it, as tenant acme."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self.url = url
        self.http = http

    async def tab(self) -> websockets.ClientConnection:
        """A connected realtime client of user ada."""
        answer = await self.http.post("/v1/realtime/negotiate?userId=ada")
        found = answer.json()
        client = await websockets.connect(found["url"], subprotocols=[found["protocol"]])
        assert (await frame(client))["event"] == "connected"
        return client

    async def raw(self, request: bytes) -> bytes:
        """What the server answers to these very bytes."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(request)
            await writer.drain()
            return await asyncio.wait_for(reader.read(65_536), PATIENCE_S)
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A hub on a free port."""
    with own(tmp_path) as folder:
        place = Place(host="127.0.0.1", port=0)
        async with (
            serve_local_hub(SETTINGS, SECRETS, folder, place) as hub,
            httpx.AsyncClient(base_url=hub.url) as http,
        ):
            made = await http.post(
                "/v1/api-keys",
                json={"tenantId": "acme", "name": "test"},
                headers=bearer(ADMIN_KEY),
            )
            http.headers.update(bearer(made.json()["key"]))
            yield Served(hub.url, http)


async def frame(client: websockets.ClientConnection) -> Any:
    """The next frame."""
    return orjson.loads(await asyncio.wait_for(client.recv(), PATIENCE_S))


async def message(client: websockets.ClientConnection, kind: str) -> Any:
    """The data of the next message of a kind."""
    while True:
        data = (await frame(client)).get("data") or {}
        if data.get("kind") == kind:
            return data


async def test_what_is_read_in_one_tab_is_told_to_the_others(served: Served) -> None:
    """An event reaches both tabs; marking it read in one tells both, with the new count."""
    one, other = await served.tab(), await served.tab()
    try:
        await served.http.post("/v1/events", json=document())
        seen = [await message(tab, "notification") for tab in (one, other)]
        item = seen[0]["item"]

        marked = await served.http.post(f"/v1/inbox/{item['id']}/read?userId=ada")
        told = [await message(tab, "inbox") for tab in (one, other)]
    finally:
        await one.close()
        await other.close()

    assert seen[0] == seen[1]
    assert seen[0]["unread"] == 1
    assert told[0] == told[1] == {"kind": "inbox", "item": marked.json(), "unread": 0}
    assert told[0]["item"]["seq"] > item["seq"]


async def test_reading_all_is_told_to_every_tab(served: Served) -> None:
    """One message without an item says that everything is read."""
    tab = await served.tab()
    try:
        await served.http.post("/v1/events", json=[document("e-1"), document("e-2")])
        for _ in range(2):
            await message(tab, "notification")

        await served.http.post("/v1/inbox/read-all?userId=ada")
        told = await message(tab, "inbox")
    finally:
        await tab.close()

    assert told == {"kind": "inbox", "item": None, "unread": 0}


async def test_of_the_same_event_sent_at_once_exactly_one_is_new(served: Served) -> None:
    """Fifty requests with one event: one is new, the others are duplicates, one is stored."""
    answers = await asyncio.gather(
        *(served.http.post("/v1/events", json=document("storm")) for _ in range(50))
    )

    assert {answer.status_code for answer in answers} == {202}
    assert sorted(answer.json()["duplicate"] for answer in answers) == [False] + [True] * 49
    listed = (await served.http.get("/v1/events")).json()["items"]
    assert len(listed) == 1


@pytest.mark.fault("announce a body of a gigabyte", "attackers")
async def test_what_is_announced_too_large_is_refused_before_it_is_sent(served: Served) -> None:
    """413 at the headers, and the connection is closed: the body need never be sent."""
    key = served.http.headers["authorization"]
    answer = await served.raw(
        f"POST /v1/events HTTP/1.1\r\nhost: hub\r\nauthorization: {key}\r\n"
        "content-type: application/json\r\n"
        f"content-length: {MAX_REQUEST_BYTES + 1}\r\n\r\n".encode()
    )

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head.lower()
    assert orjson.loads(body)["status"] == 413


@pytest.mark.fault("announce a body of a gigabyte", "attackers")
async def test_without_a_key_nothing_of_a_body_is_read(served: Served) -> None:
    """401 comes at the headers, whatever would follow."""
    answer = await served.raw(
        b"POST /v1/events HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\n"
        b"content-length: 1000000\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /v1/events/%ff%fe HTTP/1.1", b"404"),
        (b"GET /v1/events/%00 HTTP/1.1", b"404"),
        (b"GET /v1/events/../../etc/passwd HTTP/1.1", b"404"),
        (b"GET //v1/events HTTP/1.1", b"404"),
        (b"GET /v1/events?type=%ff HTTP/1.1", b"200"),
        (b"BREW /v1/events HTTP/1.1", b"4"),
    ],
)
async def test_odd_requests_are_answered(
    served: Served, request_line: bytes, status: bytes
) -> None:
    """Odd paths, queries and methods get an answer of the 4xx kind, or what they ask for."""
    key = served.http.headers["authorization"].encode()
    answer = await served.raw(
        request_line + b"\r\nhost: hub\r\nconnection: close\r\nauthorization: " + key + b"\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 " + status), answer


async def test_a_caller_who_hangs_up_disturbs_nobody(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that breaks off leaves no event, no error line, and a hub that goes on."""
    key = served.http.headers["authorization"]
    host, port = served.url.removeprefix("http://").split(":")
    for _ in range(5):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST /v1/events HTTP/1.1\r\nhost: hub\r\nauthorization: {key}\r\n"
            'content-type: application/json\r\ncontent-length: 500\r\n\r\n{"id":'.encode()
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    answer = await served.http.post("/v1/events", json=document())

    assert answer.status_code == 202
    assert len((await served.http.get("/v1/events")).json()["items"]) == 1
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_refused_request_leaves_the_connection_usable(served: Served) -> None:
    """After a 400 the same connection takes the next request."""
    refused = await served.http.post(
        "/v1/events", content=b"not json", headers={"content-type": "application/json"}
    )
    taken = await served.http.post("/v1/events", json=document())

    assert (refused.status_code, taken.status_code) == (400, 202)
    assert "connection" not in refused.headers
