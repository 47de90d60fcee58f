"""The function app behind a socket, for clients that have to connect: its HTTP trigger as a host
offers it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.functions_world import Azure
from tests.mail_servers import eventually

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@contextlib.asynccontextmanager
async def front(app: Azure) -> AsyncIterator[str]:
    """Where the app's API answers."""

    async def carry(request: Request) -> Response:
        answered = await app.answer(
            request.method, str(request.url), dict(request.headers), await request.body()
        )
        headers = {
            name: value for name, value in answered.http.headers.items() if name != "content-length"
        }
        body = getattr(answered.http.body, "bytes", b"")
        return Response(body, int(answered.http.status_code), headers)

    routes = [Route("/{path:path}", carry, methods=METHODS)]
    config = uvicorn.Config(
        Starlette(routes=routes), host="127.0.0.1", port=0, lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running
