"""A hub's socket service under a real server, for tests that speak to it as clients do."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.exceptions import InvalidStatus

from notifications.channels.realtime.connection import Limits
from notifications.channels.realtime.sockets import Sockets
from notifications.channels.realtime.tokens import ClientTokens
from notifications.timing import SystemDice

SECRET = "a-sample-secret-of-more-than-32-bytes"
HUB = "huntaze"
PLAIN = "json.webpubsub.azure.v1"
RELIABLE = "json.reliable.webpubsub.azure.v1"
PATIENCE_S = 10.0


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
    *, limits: Limits | None = None, listening: socket.socket | None = None, **config: Any
) -> AsyncIterator[Service]:
    """The socket service on a free port of this machine, or on a socket that is bound already."""
    clock = HandClock()
    tokens = ClientTokens([SECRET], clock, hub=HUB)
    sockets = Sockets(tokens, SystemDice(), limits)
    app = Starlette(routes=[WebSocketRoute("/client/hubs/{hub}", sockets.endpoint)])
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
        yield Service(sockets=sockets, tokens=tokens, clock=clock, server=server, port=port)
    finally:
        await sockets.close()
        server.should_exit = True
        await running


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, at most `PATIENCE_S`."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def frame(client: websockets.ClientConnection) -> Any:
    """The next frame that a client is sent, decoded."""
    async with asyncio.timeout(PATIENCE_S):
        return orjson.loads(await client.recv())


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
