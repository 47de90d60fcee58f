"""What a client may say to the socket service, and what ends the conversation."""

import asyncio
import contextlib
from typing import Any

import jwt
import orjson
import pytest
import websockets

from notifications.channels.realtime.connection import Limits
from notifications.deliveries import Delivered
from tests.realtime_server import (
    HUB,
    PLAIN,
    SECRET,
    close_code,
    frame,
    refused,
    say,
    serving,
    until,
)

JOIN, SEND = "webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"


async def test_ping_is_answered() -> None:
    """The SDKs' own ping frame gets its pong."""
    async with serving() as service, service.client("acme", "lea") as client:
        assert await say(client, type="ping") == {"type": "pong"}


async def test_without_a_role_a_client_only_listens() -> None:
    """Groups and events are Forbidden, with the ack id that was given."""
    async with serving() as service, service.client("acme", "lea") as client:
        frames: list[dict[str, Any]] = [
            {"type": "joinGroup", "group": "g"},
            {"type": "leaveGroup", "group": "g"},
            {"type": "sendToGroup", "group": "g", "dataType": "text", "data": "hi"},
            {"type": "event", "event": "e", "dataType": "text", "data": "hi"},
        ]
        for ack_id, document in enumerate(frames):
            answer = await say(client, **document, ackId=ack_id)
            assert answer["error"].pop("message")
            assert answer == {
                "type": "ack",
                "ackId": ack_id,
                "success": False,
                "error": {"name": "Forbidden"},
            }


async def test_a_request_without_an_ack_id_is_not_answered() -> None:
    """Whoever gives no id is told nothing, even where it is refused, and stays connected."""
    async with serving() as service, service.client("acme", "lea") as client:
        await client.send('{"type":"joinGroup","group":"g"}')
        assert await say(client, type="ping") == {"type": "pong"}


async def test_a_call_is_answered_with_not_found() -> None:
    """Nobody answers calls here, which is said at once; taking it back is harmless."""
    async with serving() as service, service.client("acme", "lea") as client:
        answer = await say(client, type="invoke", invocationId="i", target="event", event="e")
        assert (answer["type"], answer["success"]) == ("invokeResponse", False)
        assert answer["error"]["name"] == "NotFound"
        await client.send('{"type":"cancelInvocation","invocationId":"i"}')
        assert await say(client, type="ping") == {"type": "pong"}


async def test_groups_reach_their_members_and_no_other_tenant() -> None:
    """What is sent to a group arrives at those of the tenant who joined it, echo included."""
    roles = (JOIN, SEND)
    async with (
        serving() as service,
        service.client("acme", "lea", roles=roles) as lea,
        service.client("acme", "max", roles=roles) as max_,
        service.client("other", "lea", roles=roles) as stranger,
    ):
        for client in (lea, max_, stranger):
            assert (await say(client, type="joinGroup", group="g", ackId=1))["success"]
        told = {
            "type": "message",
            "from": "group",
            "group": "g",
            "fromUserId": "acme/lea",
            "dataType": "json",
            "data": {"a": 1},
        }
        message = {"type": "sendToGroup", "group": "g", "dataType": "json", "data": {"a": 1}}
        assert await say(lea, **message, ackId=2) == told
        assert await frame(lea) == {"type": "ack", "ackId": 2, "success": True}
        assert await frame(max_) == told
        answer = await say(lea, **message, ackId=3, noEcho=True)
        assert answer == {"type": "ack", "ackId": 3, "success": True}
        assert await frame(max_) == told
        assert (await say(max_, type="leaveGroup", group="g", ackId=2))["success"]
        await lea.send(orjson.dumps(message).decode())
        assert await frame(lea) == told
        assert (await say(stranger, **message))["fromUserId"] == "other/lea"
        for client in (lea, max_, stranger):
            assert await say(client, type="ping") == {"type": "pong"}


async def test_a_token_may_bring_its_groups() -> None:
    """Groups that the token names are joined with the connection, as with Microsoft's tokens."""
    async with serving() as service:
        claims = {
            "aud": f"http://127.0.0.1:{service.port}/client/hubs/{HUB}",
            "sub": "acme/lea",
            "exp": service.clock.at.timestamp() + 60,
            "webpubsub.group": ["g"],
        }
        url = service.url(jwt.encode(claims, SECRET, algorithm="HS256"))
        offered = [websockets.Subprotocol(PLAIN)]
        async with (
            websockets.connect(url, subprotocols=offered) as client,
            service.client("acme", "max", roles=(SEND,)) as sender,
        ):
            assert (await frame(client))["event"] == "connected"
            message = {"type": "sendToGroup", "group": "g", "dataType": "text", "data": "hi"}
            assert (await say(sender, **message, ackId=1))["success"]
            assert (await frame(client))["data"] == "hi"


async def test_the_same_request_is_done_once() -> None:
    """A request sent again under its ack id is a Duplicate: nobody is told twice."""
    async with serving() as service, service.client("acme", "lea", roles=(JOIN, SEND)) as client:
        await say(client, type="joinGroup", group="g", ackId=1)
        message = {"type": "sendToGroup", "group": "g", "dataType": "text", "data": "hi"}
        assert (await say(client, **message, ackId=2))["type"] == "message"
        assert (await frame(client))["success"]
        again = await say(client, **message, ackId=2)
        assert (again["type"], again["error"]["name"]) == ("ack", "Duplicate")


async def test_a_role_for_one_group_is_for_that_group() -> None:
    """A token's role may name its group; the number of groups is bounded."""
    roles = tuple(f"{JOIN}.{group}" for group in "abc")
    async with (
        serving(limits=Limits(groups_per_connection=2)) as service,
        service.client("acme", "lea", roles=roles) as client,
    ):
        success = [
            (await say(client, type="joinGroup", group=group, ackId=number))["success"]
            for number, group in enumerate("abacd")
        ]
        assert success == [True, True, True, False, False]
        send = {"type": "sendToGroup", "group": "a", "dataType": "text", "data": "hi"}
        assert (await say(client, **send, ackId=9))["error"]["name"] == "Forbidden"


async def test_a_wrong_frame_with_an_ack_id_is_answered() -> None:
    """The client hears what was wrong and stays."""
    async with serving() as service, service.client("acme", "lea") as client:
        answer = await say(client, type="dance", ackId=5)
        assert (answer["ackId"], answer["success"]) == (5, False)
        assert answer["error"]["name"] == "BadRequest"
        assert await say(client, type="ping") == {"type": "pong"}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("not json", 1007),
        ("[" * 30_000, 1007),
        ("[]", 1008),
        ('{"type":"dance"}', 1008),
        ('{"type":"sequenceAck","sequenceId":1}', 1008),
        (b'{"type":"ping"}', 1003),
        ('{"type":"' + "x" * 65_536 + '"}', 1009),
    ],
    ids=["text", "nesting", "array", "type", "reliable", "binary", "big"],
)
async def test_what_cannot_be_answered_closes_with_its_code(
    message: str | bytes, code: int
) -> None:
    """The client is told in a last frame and by the close code, and nobody else notices."""
    async with (
        serving() as service,
        service.client("acme", "lea") as other,
        service.client("acme", "lea") as client,
    ):
        await client.send(message)
        assert (await frame(client))["event"] == "disconnected"
        assert await close_code(client) == code
        await until(lambda: service.sockets.count() == 1)
        await service.sockets.push("acme", "lea", b"1")
        assert (await frame(other))["data"] == 1


async def test_a_server_that_bounds_messages_closes_with_1009_too() -> None:
    """With the recommended setting uvicorn itself keeps no more than the limit."""
    async with (
        serving(ws_max_size=64 * 1024) as service,
        service.client("acme", "lea") as client,
    ):
        assert await say(client, type="ping", pad="x" * 65_000) == {"type": "pong"}
        await client.send("x" * 65_537)
        assert await close_code(client) == 1009
        await until(lambda: service.sockets.count() == 0)


async def test_stopping_says_going_away() -> None:
    """Every client is closed with 1001 and told why; nobody is let in any more."""
    async with serving() as service, contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(service.client("acme", f"user-{number}"))
            for number in range(20)
        ]
        async with asyncio.timeout(5):
            await service.sockets.close()
        assert service.sockets.count() == 0
        for client in clients:
            assert (await frame(client))["event"] == "disconnected"
            assert await close_code(client) == 1001
        status, _, _ = await refused(service.url(service.token("acme", "lea")))
        assert status == 503
        assert isinstance(await service.sockets.push("acme", "user-1", b"1"), Delivered)


async def test_the_client_s_own_close_is_answered() -> None:
    """A client that leaves in order is gone at once."""
    async with serving() as service, service.client("acme", "lea") as client:
        await client.close(1000, "bye")
        assert client.close_code == 1000
        await until(lambda: service.sockets.count() == 0)
