"""Clients that do not take what they are sent: dropped alone, told why, and gone for good."""

import asyncio
import socket
import sys
from collections.abc import Callable

import orjson
import pytest

from notifications.channels.realtime.connection import Limits
from tests.realtime_server import PATIENCE_S, PLAIN, Service, close_code, frame, say, serving, until

BIG = orjson.dumps("x" * 20_000)
MORE_THAN_FITS = 2_000
"""Pushes of `BIG` that no kernel's and no server's buffer swallows: 40 MB."""


class Deaf:
    """A client that shakes hands and reads nothing more until it is told to."""

    def __init__(self, service: Service, user_id: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(10)
        path = service.url(service.token("acme", user_id)).partition(str(service.port))[2]
        self._port = service.port
        self._hello = (
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Protocol: {PLAIN}\r\n\r\n"
        ).encode()

    async def connect(self) -> None:
        await asyncio.to_thread(self._shake_hands)

    def _shake_hands(self) -> None:
        self._socket.connect(("127.0.0.1", self._port))
        self._socket.sendall(self._hello)
        greeting = b""
        while b"connectionId" not in greeting:
            greeting += self._socket.recv(1024)

    async def read_until(self, last: bytes) -> bytes:
        """Read what was on its way; the last of it, once it ends so."""
        return await asyncio.to_thread(self._read, last)

    def _read(self, last: bytes) -> bytes:
        end = b""
        while last not in end and (chunk := self._socket.recv(1 << 20)):
            end = (end + chunk)[-300:]
        return end

    def close(self) -> None:
        self._socket.close()


async def flood(service: Service, *user_ids: str, when: Callable[[], bool]) -> int:
    """Push to these users until that holds; the most that ever waited, in bytes."""
    most = 0
    for _ in range(MORE_THAN_FITS):
        for user_id in user_ids:
            await service.sockets.push("acme", user_id, BIG)
            most = max(most, service.sockets._backlogs.size)
        if when():
            return most
        await asyncio.sleep(0)
    raise AssertionError("that did not happen")


@pytest.mark.parametrize(
    "limits",
    [Limits(close_grace_s=0.3), Limits(close_grace_s=0.3, backlog_messages=10)],
    ids=["1 MiB", "10 messages"],
)
@pytest.mark.fault("a browser's socket reads slowly, or not at all", "ourselves")
async def test_a_client_that_reads_nothing_is_dropped(limits: Limits) -> None:
    """It costs at most its backlog, holds up no push, and no other client of the user notices."""
    async with serving(limits=limits) as service:
        deaf = Deaf(service, "lea")
        await deaf.connect()
        async with service.client("acme", "lea", max_queue=None) as healthy:
            most = 0
            async with asyncio.timeout(PATIENCE_S):
                while service.sockets.count() == 2:
                    await service.sockets.push("acme", "lea", BIG)
                    most = max(most, service.sockets._backlogs.size)
                    assert (await frame(healthy))["data"] == "x" * 20_000
            assert 0 < most <= min(limits.backlog_bytes, limits.backlog_messages * 21_000)
            assert service.sockets._backlogs.size == 0
            assert await say(healthy, type="ping") == {"type": "pong"}
        deaf.close()


async def test_a_client_that_wakes_up_is_told_to_try_again() -> None:
    """Within the grace it reads what was on its way, and then why: 1013."""
    async with serving(limits=Limits(close_grace_s=10)) as service:
        deaf = Deaf(service, "lea")
        await deaf.connect()
        connection = service.sockets._sessions["acme", "lea"][0].connection
        await flood(service, "lea", when=connection._ending.done)
        closing = (1013).to_bytes(2) + b"too slow"
        end = await deaf.read_until(closing)
        assert closing in end
        assert b'"event":"disconnected"' in end
        deaf.close()
        await until(lambda: service.sockets.count() == 0)


@pytest.mark.fault("a browser's socket reads slowly, or not at all", "ourselves")
async def test_many_deaf_clients_cost_no_more_than_the_bound_in_all() -> None:
    """However many there are, what waits for them together stays under the one bound."""
    limits = Limits(close_grace_s=0.3, backlog_bytes_in_all=1_000_000)
    async with serving(limits=limits) as service:
        deaf = [Deaf(service, f"user-{number}") for number in range(10)]
        for each in deaf:
            await each.connect()
        user_ids = [f"user-{number}" for number in range(10)]
        connections = [service.sockets._sessions["acme", each][0].connection for each in user_ids]
        most = await flood(
            service, *user_ids, when=lambda: all(each._ending.done() for each in connections)
        )
        assert 500_000 < most <= limits.backlog_bytes_in_all
        await until(lambda: service.sockets.count() == 0)
        for each in deaf:
            each.close()


async def test_stopping_does_not_wait_for_the_deaf() -> None:
    """A client that takes nothing holds up the stop no longer than the grace."""
    async with serving(limits=Limits(close_grace_s=0.3)) as service:
        deaf = Deaf(service, "lea")
        await deaf.connect()
        connection = service.sockets._sessions["acme", "lea"][0].connection
        await flood(service, "lea", when=lambda: connection.behind)
        async with service.client("acme", "max") as healthy:
            async with asyncio.timeout(2):
                await service.sockets.close()
            assert await close_code(healthy) == 1001
        deaf.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the option is Linux's")
async def test_a_bound_of_tcp_s_frees_the_deaf_one_s_descriptor() -> None:
    """With TCP_USER_TIMEOUT on the listening socket the server too is rid of a dropped client."""
    with socket.socket() as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 500)
        listening.bind(("127.0.0.1", 0))
        async with serving(limits=Limits(close_grace_s=0.1), listening=listening) as service:
            deaf = Deaf(service, "lea")
            await deaf.connect()
            connection = service.sockets._sessions["acme", "lea"][0].connection
            await flood(service, "lea", when=connection._ending.done)
            await until(lambda: not service.server.server_state.connections)
            deaf.close()
