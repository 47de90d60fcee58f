"""Pushes over the socket service under uvicorn, and clients that vanish."""

import asyncio
import contextlib
import resource
from collections.abc import Iterator

import orjson
import pytest
import websockets

from notifications.deliveries import Delivered
from notifications.ports import PushGateway
from tests.realtime_server import (
    PLAIN,
    Service,
    frame,
    say,
    serving,
    until,
)

JOIN = "webpubsub.joinLeaveGroup"


def data(number: int = 1) -> bytes:
    return orjson.dumps({"kind": "inbox", "item": None, "unread": number})


async def unread(client: websockets.ClientConnection) -> int:
    return int((await frame(client))["data"]["unread"])


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
    burst = 4_000  # of 10 kB: no kernel's buffers hold 40 MB
    async with serving() as service, service.client("acme", "lea", max_queue=16) as client:

        async def read() -> list[int]:
            return [(await frame(client))["data"][0] for _ in range(burst)]

        reading = asyncio.create_task(read())
        for number in range(burst):
            await service.sockets.push("acme", "lea", orjson.dumps([number, "x" * 10_000]))
        assert await reading == list(range(burst))


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for both ends of 500 connections in one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_clients_that_vanish_leave_nothing(many_files: None) -> None:
    """500 connections of 50 users end without a close frame, in the middle of pushes."""
    async with serving() as service, contextlib.AsyncExitStack() as stack:
        users = [(f"tenant-{number % 5}", f"user-{number % 50}") for number in range(500)]
        tasks = len(asyncio.all_tasks())
        clients = []
        for tenant_id, user_id in users:
            made = service.client(tenant_id, user_id, roles=(JOIN,), close_timeout=0.1)
            clients.append(await stack.enter_async_context(made))
            await clients[-1].send('{"type":"joinGroup","group":"g"}')
        assert service.sockets.count() == 500
        for client in clients:
            client.transport.abort()
            for owner in set(users[:3]):
                await service.sockets.push(*owner, data())
        await until(lambda: not any(service.remains().values()))
        await stack.aclose()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_a_dead_peer_is_found() -> None:
    """A client that answers no ping is closed by the server and forgotten here."""
    async with (
        serving(ws_ping_interval=0.2, ws_ping_timeout=0.5) as service,
        service.client("acme", "lea") as alive,
    ):
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
