"""Clients that speak no subprotocol: bare data in, nothing out."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import jwt
import orjson
import pytest
import websockets

from notifications.channels.realtime.connection import Limits
from tests.realtime_server import HUB, SECRET, Service, close_code, frame, say, serving, until

JOIN, SEND = "webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"


@contextlib.asynccontextmanager
async def simple(
    service: Service, user_id: str = "lea", **claims: Any
) -> AsyncIterator[websockets.ClientConnection]:
    """A connected client without a subprotocol."""
    audience = f"http://127.0.0.1:{service.port}/client/hubs/{HUB}"
    said = {"aud": audience, "sub": f"acme/{user_id}", "exp": service.clock.at.timestamp() + 60}
    url = service.url(jwt.encode(said | claims, SECRET, algorithm="HS256"))
    async with websockets.connect(url, compression=None) as client:
        await until(lambda: ("acme", user_id) in service.sockets._sessions)
        yield client


async def test_a_push_arrives_as_it_was_pushed() -> None:
    """No greeting, no frame around it: the JSON is the text message."""
    async with serving() as service, simple(service) as client:
        assert client.subprotocol is None
        pushed = '{"kind":"inbox","item":null,"unread":1,"é":"é"}'
        await service.sockets.push("acme", "lea", pushed.encode())
        assert await client.recv() == pushed


@pytest.mark.parametrize(
    ("data_type", "data", "arrives"),
    [("text", "é", "é"), ("json", {"a": 1}, '{"a":1}'), ("binary", "AP8=", b"\x00\xff")],
)
async def test_groups_of_its_token_reach_it(
    data_type: str, data: Any, arrives: str | bytes
) -> None:
    """Text and JSON as text, binary data as a binary message."""
    async with (
        serving() as service,
        simple(service, **{"webpubsub.group": ["g"]}) as client,
        service.client("acme", "max", roles=(SEND,)) as max_,
    ):
        message = {"type": "sendToGroup", "group": "g", "dataType": data_type, "data": data}
        assert (await say(max_, **message, ackId=1))["success"]
        assert await client.recv() == arrives


async def test_what_it_says_is_heard_by_nobody() -> None:
    """Text, bytes and what looks like a frame are passed over, whatever its roles."""
    async with (
        serving() as service,
        simple(service, role=[JOIN, SEND]) as client,
        service.client("acme", "max", roles=(JOIN,)) as max_,
    ):
        assert (await say(max_, type="joinGroup", group="g", ackId=1))["success"]
        group = {"type": "sendToGroup", "group": "g", "dataType": "text", "data": "hi", "ackId": 1}
        for message in ("hello", b"\x00", '{"type":"ping"}', orjson.dumps(group).decode(), ""):
            await client.send(message)
        await (await client.ping())
        await service.sockets.push("acme", "lea", b"1")
        assert await client.recv() == "1"
        assert await say(max_, type="ping") == {"type": "pong"}


async def test_too_long_is_too_long() -> None:
    """The bound on messages holds for binary ones, too; the reason is in the close frame alone."""
    async with serving(limits=Limits(frame_bytes=100)) as service, simple(service) as client:
        await client.send(b"x" * 101)
        assert await close_code(client) == 1009
        assert client.close_reason == "over 100 bytes"
        await until(lambda: not any(service.remains().values()))


async def test_it_leaves_no_trace() -> None:
    """Neither groups nor seats; beside it other clients of the user are told in their frames."""
    async with serving() as service, service.client("acme", "lea") as other:
        async with simple(service, **{"webpubsub.group": ["g"]}):
            assert service.sockets.count() == 2
        await until(lambda: service.sockets.count() == 1)
        assert service.remains()["groups"] == 0
        await service.sockets.push("acme", "lea", b"1")
        assert (await frame(other))["data"] == 1


async def test_stopping_closes_it_with_going_away() -> None:
    """Without a frame of the hub's before it."""
    async with serving() as service, simple(service) as client:
        await service.sockets.close()
        with pytest.raises(websockets.ConnectionClosed):
            await client.recv()
        assert client.close_code == 1001
