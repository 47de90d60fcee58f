"""A whole hub in this process, from its data folder to its port, and its orderly end."""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from notifications.bootstrap import LocalHub, open_local_hub
from notifications.channels.realtime.connection import Limits
from notifications.errors import ConfigurationError, HuntazeError
from notifications.http.app import create_app
from notifications.owner import DataFolder
from notifications.settings import Secrets, Settings

log = logging.getLogger("huntaze")

_BACKLOG = 2048
_DEAD_PEER_MS = 30_000
"""How long the system tries to be rid of bytes for a client that reads none."""

_REQUESTS_END_S = 5
"""How long requests under way may take once the hub is stopping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedHub:
    """A hub that answers.

    Attributes:
        hub: Its parts.
        url: Where it answers, as this machine reaches it.
        serving: The server's task; goes on for ever, unless the server fails.
    """

    hub: LocalHub
    url: str
    serving: "asyncio.Task[None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to listen. Port 0 is any that is free."""

    host: str
    port: int


@asynccontextmanager
async def serve_local_hub(
    settings: Settings, secrets: Secrets, folder: DataFolder, place: Place
) -> AsyncIterator[ServedHub]:
    """Serve the hub of a data folder, which this process owns, until the block ends.

    Raises:
        ConfigurationError: The place is taken or none of this machine's; or see `open_local_hub`.
    """
    with _listening(place) as listener:
        url = url_of(place.host, listener.getsockname()[1])
        async with (
            open_local_hub(settings, secrets, folder) as hub,
            _answering(create_app(hub), listener) as serving,
        ):
            yield ServedHub(hub=hub, url=url, serving=serving)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run it on the fastest event loop there is."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    uvloop.run(main)


async def first_of(event: asyncio.Event, task: "asyncio.Task[None]") -> None:
    """Return when the event is set; or when the task, which should go on for ever, has ended.

    Raises:
        HuntazeError: The task ended.
    """
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait((waiting, task), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not event.is_set():
        cause = None if task.cancelled() else task.exception()
        raise HuntazeError(f"the server ended by itself: {cause}") from cause


def url_of(host: str, port: int) -> str:
    """Where this machine reaches what listens there."""
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


@contextlib.contextmanager
def _listening(place: Place) -> Iterator[socket.socket]:
    """A socket that connections wait at until the hub is up."""
    try:
        family = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server(
            (place.host, place.port), family=family, backlog=_BACKLOG, reuse_port=False
        )
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {place.host}:{place.port} ({error.strerror}):"
            " give another --port (0 takes a free one) or another --host"
        ) from error
    with listener:
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
        yield listener


class _Server(uvicorn.Server):
    """Tells when it answers, and leaves signals to the process it runs in."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _answering(app: ASGIApp, listener: socket.socket) -> AsyncIterator["asyncio.Task[None]"]:
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=Limits().frame_bytes,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_REQUESTS_END_S,
        lifespan="off",
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="http-server")
    try:
        await first_of(server.answers, serving)
        yield serving
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
