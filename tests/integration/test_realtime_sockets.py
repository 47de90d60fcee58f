"""The socket service under uvicorn, spoken to by a WebSocket client as the protocol says."""

import asyncio
import contextlib
import logging
from typing import Any

import orjson
import pytest
import websockets
from websockets.exceptions import InvalidStatus

from notifications.channels.realtime.connection import Limits
from notifications.channels.realtime.tokens import UserTokens
from notifications.deliveries import Delivered
from notifications.ports import PushGateway
from tests.realtime_server import (
    PLAIN,
    RELIABLE,
    SECRET,
    HandClock,
    Service,
    close_code,
    frame,
    say,
    serving,
    until,
)

JOIN, SEND = "webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"


async def refused(
    url: str, *, subprotocols: tuple[str, ...] = (PLAIN,), **options: Any
) -> tuple[int, dict[str, Any], Any]:
    """The answer to a handshake that is refused: status, problem, headers."""
    offered = [websockets.Subprotocol(name) for name in subprotocols] or None
    with pytest.raises(InvalidStatus) as caught:
        await websockets.connect(url, subprotocols=offered, **options)
    response = caught.value.response
    assert response.headers["content-type"] == "application/problem+json"
    problem = orjson.loads(response.body or b"")
    assert problem["status"] == response.status_code
    return response.status_code, problem, response.headers


def data(number: int = 1) -> bytes:
    return orjson.dumps({"kind": "inbox", "item": None, "unread": number})


async def unread(client: websockets.ClientConnection) -> int:
    return (await frame(client))["data"]["unread"]


# --------------------------------------------------------------------------- getting in


async def test_the_greeting_comes_first() -> None:
    """A client is greeted with its tenant-safe user id and a connection id of its own."""
    async with serving() as service:
        url = service.url(service.token("acme", "lea"))
        offered = [websockets.Subprotocol(RELIABLE), websockets.Subprotocol(PLAIN)]
        ids = set()
        for _ in range(2):
            async with websockets.connect(url, subprotocols=offered) as client:
                assert client.subprotocol == PLAIN
                greeting = await frame(client)
                ids.add(greeting.pop("connectionId"))
                assert greeting == {"type": "system", "event": "connected", "userId": "acme/lea"}
        assert len(ids) == 2
        assert all(len(each) == 24 for each in ids)


async def test_a_token_in_the_header_will_do() -> None:
    """Clients that can set headers may show their token there."""
    async with serving() as service:
        bearer = {"Authorization": f"Bearer {service.token('acme', 'lea')}"}
        offered = [websockets.Subprotocol(PLAIN)]
        async with websockets.connect(
            service.url(None), subprotocols=offered, additional_headers=bearer
        ) as client:
            assert (await frame(client))["userId"] == "acme/lea"


async def test_no_good_token_no_socket() -> None:
    """None, garbage, expired, another secret's, another hub's, a user token: 401 before the
    upgrade, and nobody is connected."""
    async with serving() as service:
        clock = HandClock()
        user_token, _ = UserTokens([SECRET], clock).issue("acme", "lea", 60)
        foreign = type(service.tokens)(["x" * 40], clock, hub=service.tokens.hub)
        elsewhere = type(service.tokens)([SECRET], clock, hub="elsewhere")
        good = service.token("acme", "lea")
        bad = [
            None,
            "",
            "garbage",
            good[:-4] + "AAAA",
            foreign.issue("http://x", "acme", "lea", 60).token,
            elsewhere.issue("http://x", "acme", "lea", 60).token,
            user_token,
        ]
        for token in bad:
            status, _, headers = await refused(service.url(token))
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
        service.clock.move(hours=1)
        assert (await refused(service.url(good)))[0] == 401
        assert service.sockets.count() == 0


async def test_another_hub_is_not_here() -> None:
    """A path that names another hub is 404, even with a good token."""
    async with serving() as service:
        url = service.url(service.token("acme", "lea"), hub="elsewhere")
        assert (await refused(url))[0] == 404


@pytest.mark.parametrize("offered", [(), (RELIABLE,), ("soap",)], ids=["none", "reliable", "soap"])
async def test_other_protocols_are_refused_by_name(offered: tuple[str, ...]) -> None:
    """A client that cannot speak the protocol is told which one, before the upgrade."""
    async with serving() as service:
        url = service.url(service.token("acme", "lea"))
        status, problem, _ = await refused(url, subprotocols=offered)
        assert status == 400
        assert PLAIN in problem["detail"]


async def test_connections_are_bounded() -> None:
    """One user's are (429), all together are (503), and a seat given up is free again."""
    limits = Limits(connections=3, connections_per_user=2)
    async with serving(limits=limits) as service, contextlib.AsyncExitStack() as stack:
        for user_id in ("lea", "lea"):
            last = await stack.enter_async_context(service.client("acme", user_id))
        lea, max_ = (service.url(service.token("acme", who)) for who in ("lea", "max"))
        status, _, headers = await refused(lea)
        assert (status, headers["retry-after"]) == (429, "5")
        await stack.enter_async_context(service.client("other", "lea"))
        assert (await refused(max_))[0] == 503
        assert service.sockets.count() == 3
        await last.close()
        await until(lambda: service.sockets.count() == 2)
        await stack.enter_async_context(service.client("acme", "lea"))


async def test_no_token_in_the_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that anybody logs about a handshake, let in or refused, holds its token."""
    caplog.set_level(logging.DEBUG, "huntaze")
    caplog.set_level(logging.INFO, "uvicorn.error")
    async with serving() as service:
        async with service.client("acme", "lea"):
            good = service.token("acme", "lea")
        bad = "sample.bad.token"
        await refused(service.url(bad))
        lines = [str(record.__dict__) + record.getMessage() for record in caplog.records]
        assert any("[accepted]" in line for line in lines)
        assert any("socket.closed" in line for line in lines)
        assert not any(part in line for line in lines for part in [*good.split("."), bad])


# --------------------------------------------------------------------------- pushes


async def test_all_of_a_user_s_connections_are_told() -> None:
    """Two tabs, two pushes each, in order; the data arrives as it was given."""
    async with serving() as service:
        gateway: PushGateway = service.sockets
        async with service.client("acme", "lea") as one, service.client("acme", "lea") as two:
            for number in (1, 2):
                assert isinstance(await gateway.push("acme", "lea", data(number)), Delivered)
            for client in (one, two):
                first = await frame(client)
                assert first == {
                    "type": "message",
                    "from": "server",
                    "dataType": "json",
                    "data": {"kind": "inbox", "item": None, "unread": 1},
                }
                assert await unread(client) == 2


async def test_nobody_connected_is_delivered() -> None:
    """A push to a user who is away, or has left, is no failure."""
    async with serving() as service:
        assert isinstance(await service.sockets.push("acme", "lea", data()), Delivered)
        async with service.client("acme", "lea"):
            pass
        await until(lambda: service.sockets.count() == 0)
        assert isinstance(await service.sockets.push("acme", "lea", data()), Delivered)


async def test_tenants_never_see_each_other_s_pushes() -> None:
    """The same user id elsewhere, and ids that look alike when joined, are other users."""
    clients = [("acme", "lea"), ("other", "lea"), ("acme", "lea/x"), ("acme", "l"), ("a", "lea")]
    async with serving() as service, contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(service.client(*each)) for each in clients]
        for number, owner in enumerate(clients):
            await service.sockets.push(*owner, data(number))
        for number, client in enumerate(opened):
            assert await unread(client) == number
            assert await say(client, type="ping") == {"type": "pong"}  # and nothing before it


async def test_a_burst_to_a_client_that_reads_arrives_whole() -> None:
    """Pushing far more than every buffer holds, without a pause, loses a reader nothing."""
    burst = 20_000
    async with serving() as service, service.client("acme", "lea", max_queue=16) as client:

        async def read() -> list[int]:
            return [await unread(client) for _ in range(burst)]

        reading = asyncio.create_task(read())
        for number in range(burst):
            await service.sockets.push("acme", "lea", data(number))
        assert await reading == list(range(burst))


# --------------------------------------------------------------------------- the conversation


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
        for client in (max_, stranger):
            assert await say(client, type="ping") == {"type": "pong"}


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


# --------------------------------------------------------------------------- what ends it


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
async def test_what_cannot_be_answered_closes_with_its_code(message: str | bytes, code: int) -> None:
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
        await service.sockets.push("acme", "lea", data(1))
        assert await unread(other) == 1


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
        assert isinstance(await service.sockets.push("acme", "user-1", data()), Delivered)


async def test_the_client_s_own_close_is_answered() -> None:
    """A client that leaves in order is gone at once."""
    async with serving() as service:
        async with service.client("acme", "lea") as client:
            await client.close(1000, "bye")
            assert client.close_code == 1000
            await until(lambda: service.sockets.count() == 0)


# --------------------------------------------------------------------------- vanishing


def remains(service: Service) -> dict[str, int]:
    """What the service holds on behalf of clients."""
    sockets = service.sockets
    return {
        "count": sockets.count(),
        "sessions": len(sockets._sessions),
        "seats": len(sockets._seats),
        "groups": len(sockets._groups),
        "backlogs": sockets._backlogs.size,
        "server": len(service.server.server_state.connections),
        "requests": len(service.server.server_state.tasks),
    }


async def test_clients_that_vanish_leave_nothing() -> None:
    """500 connections of 50 users end without a close frame, in the middle of pushes."""
    async with serving() as service, contextlib.AsyncExitStack() as stack:
        users = [(f"tenant-{number % 5}", f"user-{number % 50}") for number in range(500)]
        tasks = len(asyncio.all_tasks())
        clients = []
        for tenant_id, user_id in users:
            client = service.client(tenant_id, user_id, roles=(JOIN,), close_timeout=0.1)
            clients.append(await stack.enter_async_context(client))
            await clients[-1].send('{"type":"joinGroup","group":"g"}')
        assert service.sockets.count() == 500
        for client in clients:
            client.transport.abort()
            for owner in set(users[:3]):
                await service.sockets.push(*owner, data())
        await until(lambda: not any(remains(service).values()))
        await stack.aclose()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_a_dead_peer_is_found() -> None:
    """A client that answers no ping is closed by the server and forgotten here."""
    async with serving(ws_ping_interval=0.1, ws_ping_timeout=0.1) as service:
        async with service.client("acme", "lea") as alive:
            dead = await _silent_client(service)
            assert service.sockets.count() == 2
            await until(lambda: service.sockets.count() == 1)
            assert await say(alive, type="ping") == {"type": "pong"}
            dead.close()


async def _silent_client(service: Service) -> asyncio.StreamWriter:
    """A client that shakes hands, reads its greeting, and never says another word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    path = service.url(service.token("acme", "gone")).partition(str(service.port))[2]
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: {PLAIN}\r\n\r\n".encode()
    )
    await reader.readuntil(b"connectionId")
    return writer
