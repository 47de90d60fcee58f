"""Stopping while a client is on its way in."""

import asyncio
from typing import Any

from starlette.websockets import WebSocket

from notifications.channels.realtime.sockets import Sockets
from notifications.channels.realtime.tokens import ClientTokens
from notifications.timing import SystemDice
from tests.realtime_server import HUB, PLAIN, SECRET, HandClock, HeldServer, until


async def test_a_client_that_is_still_shaking_hands_is_closed_too() -> None:
    """A stop that begins during a handshake waits for that client and closes it with 1001."""
    tokens = ClientTokens([SECRET], HandClock(), hub=HUB)
    sockets, server = Sockets(tokens, SystemDice()), HeldServer()
    token = tokens.issue("http://127.0.0.1", "acme", "lea", 60).token
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": f"/client/hubs/{HUB}",
        "path_params": {"hub": HUB},
        "headers": [(b"authorization", f"Bearer {token}".encode())],
        "query_string": b"",
        "subprotocols": [PLAIN],
    }
    server.reads.clear()
    serving = asyncio.create_task(sockets.endpoint(WebSocket(scope, server.receive, server.send)))
    await until(lambda: sockets.count() == 1)
    closing = asyncio.create_task(sockets.close())
    await asyncio.sleep(0)
    server.reads.set()
    async with asyncio.timeout(2):
        await asyncio.gather(closing, serving)
    assert server.closed == 1001
    assert sockets.count() == 0
