"""A hub's socket service under a real server, for tests that speak to it as clients do."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
import orjson
import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import InvalidStatus

from notifications.channels.realtime.connection import Limits
from notifications.channels.realtime.gateways import SIGNALR_SOCKETS, SOCKETS, service_routes
from notifications.channels.realtime.service_access import ServiceAccess
from notifications.channels.realtime.service_http import SERVICE_METHODS
from notifications.channels.realtime.signalr_tokens import SignalRTokens
from notifications.channels.realtime.sockets import Sockets
from notifications.channels.realtime.tokens import ClientTokens
from notifications.timing import SystemDice

SECRET = "a-sample-secret-of-more-than-32-bytes"
HUB = "huntaze"
PLAIN = "json.webpubsub.azure.v1"
RELIABLE = "json.reliable.webpubsub.azure.v1"
PATIENCE_S = 30.0


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self, at: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)) -> None:
        self.at = at

    def now(self) -> int:
        return int(self.at.timestamp() * 1000)

    def wall(self) -> datetime:
        return self.at

    async def sleep_until(self, at: int) -> None:
        while self.now() < at:
            await asyncio.sleep(0)

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


@dataclass(frozen=True, kw_only=True)
class Service:
    """Sockets that are being served, and how to reach them."""

    sockets: Sockets
    tokens: ClientTokens
    signalr: SignalRTokens
    clock: HandClock
    server: uvicorn.Server
    port: int

    def token(self, tenant_id: str, user_id: str, **more: Any) -> str:
        origin = f"http://127.0.0.1:{self.port}"
        return self.tokens.issue(origin, tenant_id, user_id, 3600, **more).token

    def url(self, token: str | None, *, hub: str = HUB) -> str:
        query = "" if token is None else f"?access_token={token}"
        return f"ws://127.0.0.1:{self.port}/client/hubs/{hub}{query}"

    @contextlib.asynccontextmanager
    async def client(
        self, tenant_id: str, user_id: str, *, roles: tuple[str, ...] = (), **options: Any
    ) -> AsyncIterator[websockets.ClientConnection]:
        """A connected client that has read its greeting."""
        url = self.url(self.token(tenant_id, user_id, roles=roles))
        async with websockets.connect(
            url, subprotocols=[websockets.Subprotocol(PLAIN)], compression=None, **options
        ) as client:
            greeting = await frame(client)
            assert greeting["event"] == "connected"
            yield client

    @contextlib.asynccontextmanager
    async def reliable(
        self, tenant_id: str, user_id: str, *, roles: tuple[str, ...] = (), **options: Any
    ) -> AsyncIterator["Reliable"]:
        """A connected client of the reliable protocol that has read its greeting."""
        url = self.url(self.token(tenant_id, user_id, roles=roles))
        async with _offering(url, RELIABLE, **options) as client:
            yield Reliable(service=self, client=client, greeting=await frame(client))

    def signalr_access(self, tenant_id: str, user_id: str) -> tuple[str, str]:
        """Where a SignalR client is redirected to, and its token."""
        endpoint = f"http://127.0.0.1:{self.port}/signalr"
        return self.signalr.issue(endpoint, tenant_id, user_id, 3600)

    @contextlib.asynccontextmanager
    async def signalr_client(
        self, tenant_id: str, user_id: str
    ) -> AsyncIterator[websockets.ClientConnection]:
        """A connected client of the JSON hub protocol that has agreed on it."""
        url, token = self.signalr_access(tenant_id, user_id)
        url = f"ws{url.removeprefix('http')}&access_token={token}"
        async with websockets.connect(url, compression=None) as client:
            await client.send('{"protocol":"json","version":1}\x1e')
            assert await hub_messages(client) == [{}]
            yield client

    def remains(self) -> dict[str, int]:
        """What the service holds on behalf of clients."""
        sockets = self.sockets
        return {
            "count": sockets.count(),
            "sessions": len(sockets._sessions),
            "seats": len(sockets._seats),
            "away": sockets.away(),
            "reliable": len(sockets._recoveries),
            "kept": sockets._recoveries.holdings.size + len(sockets._recoveries.holdings),
            "groups": len(sockets._groups),
            "backlogs": sockets._backlogs.size,
            "server": len(self.server.server_state.connections),
            "requests": len(self.server.server_state.tasks),
        }


@dataclass(frozen=True, kw_only=True)
class Reliable:
    """A client that speaks the reliable protocol by hand, and what it was greeted with."""

    service: Service
    client: websockets.ClientConnection
    greeting: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.greeting["connectionId"])

    @property
    def way_back(self) -> str:
        """Where to recover, as the clients of Web PubSub write it."""
        return self.way_back_with(self.greeting["reconnectionToken"])

    def way_back_with(self, token: str | None) -> str:
        query = {"awps_connection_id": self.id, "awps_reconnection_token": token}
        given = {name: value for name, value in query.items() if value is not None}
        return f"{self.service.url(None)}?{urlencode(given)}"

    async def messages(self, count: int) -> list[tuple[int, Any]]:
        """Sequence id and data of the next messages."""
        found = []
        while len(found) < count:
            document = await frame(self.client)
            assert document["type"] == "message", document
            found.append((document["sequenceId"], document["data"]))
        return found

    async def acknowledge(self, sequence_id: int) -> None:
        """Acknowledge, and wait until that has been read."""
        await self.client.send(f'{{"type":"sequenceAck","sequenceId":{sequence_id}}}')
        assert await say(self.client, type="ping") == {"type": "pong"}

    async def lose(self) -> None:
        """Lose the connection, and wait until the service knows."""
        before = self.service.sockets.away()
        self.client.transport.abort()
        await until(lambda: self.service.sockets.away() > before)

    @contextlib.asynccontextmanager
    async def recovered(self, url: str | None = None) -> AsyncIterator["Reliable"]:
        """The same over another connection."""
        async with _offering(url or self.way_back, RELIABLE) as client:
            yield Reliable(service=self.service, client=client, greeting=await frame(client))

    async def unrecoverable(self, url: str | None = None) -> str:
        """Try to come back and be closed with 1008; what the service said last."""
        async with _offering(url or self.way_back, RELIABLE) as client:
            assert client.subprotocol == RELIABLE
            farewell = await frame(client)
            assert await close_code(client) == 1008
            assert farewell["event"] == "disconnected"
            return str(farewell["message"])


def _offering(url: str, protocol: str, **options: Any) -> websockets.connect:
    return websockets.connect(
        url, subprotocols=[websockets.Subprotocol(protocol)], compression=None, **options
    )


class Line:
    """A TCP proxy in front of a service, which can be cut and mended."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._broken = False
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.refused = 0

    def cut(self, *, noticed: bool = True) -> None:
        """Cut all connections, and every new one until `mend`.

        Args:
            noticed: Whether the service sees that its ends are dead.
        """
        self._broken = True
        for near, far in self._pairs:
            near.close()
            if noticed:
                far.close()

    def mend(self) -> None:
        """Let new connections through."""
        self._broken = False

    @property
    def live(self) -> int:
        """How many connections there are at the clients' end."""
        return sum(not near.is_closing() for near, _ in self._pairs)

    async def serve(
        self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter
    ) -> None:
        if self._broken:
            self.refused += 1
            near_writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        self._pairs.add((near_writer, far_writer))
        for reader, writer in ((near_reader, far_writer), (far_reader, near_writer)):
            task = asyncio.create_task(self._carry(reader, writer))
            self._tasks.add(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if not writer.is_closing():
                    writer.write(data)
                    await writer.drain()
            if not self._broken:  # who was cut without notice is left with an open end
                writer.close()

    async def end(self) -> None:
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in {each for pair in self._pairs for each in pair}:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def line(to_port: int) -> AsyncIterator[Line]:
    """A line to a port of this machine."""
    made = Line(to_port)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.end()
        await server.wait_closed()


class HeldServer:
    """An ASGI server whose client reads or not, as told."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.left = False
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.events.put_nowait({"type": "websocket.connect"})

    async def receive(self) -> dict[str, Any]:
        return await self.events.get()

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        if self.left:
            raise OSError
        self.sent.append(message)

    def say(self, **message: Any) -> None:
        self.events.put_nowait({"type": "websocket.receive", **message})

    def leave(self, code: int) -> None:
        self.events.put_nowait({"type": "websocket.disconnect", "code": code, "reason": "bye"})

    @property
    def texts(self) -> list[str]:
        return [each["text"] for each in self.sent if each["type"] == "websocket.send"]

    @property
    def closed(self) -> int | None:
        return next((each["code"] for each in self.sent if each["type"] == "websocket.close"), None)


@contextlib.asynccontextmanager
async def serving(
    *,
    limits: Limits | None = None,
    listening: socket.socket | None = None,
    clock: Any = None,
    **config: Any,
) -> AsyncIterator[Service]:
    """The socket service on a free port of this machine, or on a socket that is bound already.

    With a clock of its own, such as the system's, which SDKs go by; else with one that stands.
    """
    clock = clock or HandClock()
    tokens = ClientTokens([SECRET], clock, hub=HUB)
    signalr = SignalRTokens([SECRET], clock, hub=HUB)
    sockets = Sockets(tokens, SystemDice(), limits, signalr)
    app = Starlette(
        routes=[
            *(WebSocketRoute(path, sockets.endpoint) for path in SOCKETS),
            *(WebSocketRoute(path, sockets.signalr_endpoint) for path in SIGNALR_SOCKETS),
            *(
                Route(path, answer, methods=SERVICE_METHODS)
                for path, answer in service_routes(
                    sockets, tokens, ServiceAccess([SECRET], clock)
                ).items()
            ),
        ]
    )
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "ws": "websockets-sansio",
        "ws_per_message_deflate": False,
        "lifespan": "off",
        "log_config": None,
        "timeout_graceful_shutdown": 2,
    }
    server = uvicorn.Server(uvicorn.Config(app, **(settings | config)))
    running = asyncio.create_task(server.serve(sockets=None if listening is None else [listening]))
    try:
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Service(
            sockets=sockets,
            tokens=tokens,
            signalr=signalr,
            clock=clock,
            server=server,
            port=port,
        )
    finally:
        await sockets.close()
        server.should_exit = True
        await running


def server_token(url: str, *, key: str = SECRET, life_s: float = 60, **more: Any) -> str:
    """What Microsoft's SDKs sign for a call."""
    claims = {"aud": url, "exp": datetime.now(UTC) + timedelta(seconds=life_s), **more}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, key, algorithm="HS256")


async def until(condition: Callable[[], object], *, within_s: float = PATIENCE_S) -> None:
    """Wait for a condition; fail when it does not come about."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def frame(client: websockets.ClientConnection) -> Any:
    """The next frame that a client is sent, decoded."""
    async with asyncio.timeout(PATIENCE_S):
        return orjson.loads(await client.recv())


async def hub_messages(client: websockets.ClientConnection) -> list[Any]:
    """The messages of the hub protocol in the next frame."""
    async with asyncio.timeout(PATIENCE_S):
        text = str(await client.recv())
    assert text.endswith("\x1e")
    return [orjson.loads(part) for part in text[:-1].split("\x1e")]


async def say(client: websockets.ClientConnection, **document: Any) -> Any:
    """Send a frame and read the one that comes back."""
    await client.send(orjson.dumps(document).decode())
    return await frame(client)


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


async def close_code(client: websockets.ClientConnection) -> int | None:
    """The code that a client was closed with, once it is."""
    async with asyncio.timeout(PATIENCE_S):
        await client.wait_closed()
    return client.close_code
