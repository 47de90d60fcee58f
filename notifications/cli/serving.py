"""A whole hub in this process, from its data folder to its port, and its orderly end."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from notifications.api import create_app
from notifications.bootstrap import OpenHub, open_local_hub
from notifications.channels.realtime.connection import Limits
from notifications.cli.protocol import Patience, patient_protocol
from notifications.cli.running import calm_the_collector
from notifications.errors import ConfigurationError, HuntazeError
from notifications.extensions import Extension
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

    hub: OpenHub
    url: str
    serving: "asyncio.Task[None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to listen.

    Attributes:
        host: An address or a name of this machine.
        port: 0 is any that is free.
        or_any: Take any port that is free where this one is not.
    """

    host: str
    port: int
    or_any: bool = False


@asynccontextmanager
async def serve_local_hub(
    settings: Settings,
    secrets: Secrets,
    folder: DataFolder,
    place: Place,
    patience: Patience | None = None,
    extension: Extension | None = None,
) -> AsyncIterator[ServedHub]:
    """Serve the hub of a data folder, which this process owns, until the block ends.

    `patience` is what slow clients meet with, `extension` what the hub runs beside its own.

    Raises:
        ConfigurationError: The place is taken or none of this machine's; or see `open_local_hub`.
    """
    patience = patience or Patience()
    with _listening(place) as listener:
        url = url_of(place.host, listener.getsockname()[1])
        calm_the_collector()
        async with (
            open_local_hub(settings, secrets, folder, extension=extension) as hub,
            _answering(
                create_app(hub, body_within_s=patience.body_s), listener, patience
            ) as serving,
        ):
            yield ServedHub(hub=hub, url=url, serving=serving)


async def until_stopped(
    work: Coroutine[Any, Any, object], stop: asyncio.Event, serving: "asyncio.Task[None]"
) -> None:
    """Work until it is done, or the event is set.

    Raises:
        HuntazeError: The server ended by itself. What the work raises is raised, too.
    """
    task = asyncio.create_task(work)
    stopping = asyncio.create_task(first_of(stop, serving))
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        (task if task.done() else stopping).result()
    finally:
        for each in (task, stopping):
            each.cancel()
        await asyncio.gather(task, stopping, return_exceptions=True)


async def first_of(event: asyncio.Event, serving: "asyncio.Task[None]") -> None:
    """Return when the event is set.

    Raises:
        HuntazeError: The server ended by itself before.
    """
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait((waiting, serving), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not event.is_set():
        cause = None if serving.cancelled() else serving.exception()
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


@contextmanager
def _listening(place: Place) -> Iterator[socket.socket]:
    """A socket that connections wait at until the hub is up."""
    try:
        listener = _bound(place)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigurationError(
            f"cannot listen on {place.host}:{place.port} ({why}):"
            " give another --port (0 takes a free one) or another --host"
        ) from error
    with listener:
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_PEER_MS)
        yield listener


def _bound(place: Place) -> socket.socket:
    family = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0][0]
    try:
        return socket.create_server((place.host, place.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if not (place.or_any and error.errno == errno.EADDRINUSE):
            raise
    return socket.create_server((place.host, 0), family=family, backlog=_BACKLOG)


class _Server(uvicorn.Server):
    """Tells when it answers, and leaves signals to the process it runs in."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _answering(
    app: ASGIApp, listener: socket.socket, patience: Patience
) -> AsyncIterator["asyncio.Task[None]"]:
    config = uvicorn.Config(
        app,
        http=patient_protocol(patience),
        ws="websockets-sansio",
        ws_max_size=Limits().frame_bytes,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1",
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
