"""Microsoft's Web PubSub clients, unmodified and with their defaults, behind one face."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from azure.messaging.webpubsubclient import aio
from azure.messaging.webpubsubclient.models import CallbackType, WebPubSubDataType

from tests.node_packages import FOLDER, install
from tests.realtime_server import PATIENCE_S, until

GetUrl = Callable[[], Awaitable[str]]
"""Where to connect, asked for whenever a client connects afresh."""

QUICK = {"reconnect_retry_backoff_factor": 0.05, "message_retry_backoff_factor": 0.05}


@dataclass
class Heard:
    """What a client's callbacks were given, in the order they came."""

    connected: list[tuple[str, str]] = field(default_factory=list)
    disconnected: list[str | None] = field(default_factory=list)
    server: list[tuple[int, Any]] = field(default_factory=list)
    group: list[tuple[int, Any]] = field(default_factory=list)

    @property
    def data(self) -> list[Any]:
        """The data of the server's messages, in the order of their numbers."""
        return [data for _, data in sorted(self.server, key=lambda each: each[0])]


class Client(Protocol):
    """A client that is open."""

    heard: Heard

    async def join(self, group: str) -> None:
        """Join a group, and wait for the ack."""
        ...

    async def send(self, group: str, data: Any) -> None:
        """Send to a group, and wait for the ack."""
        ...


@dataclass
class PythonClient:
    """The asyncio client."""

    client: aio.WebPubSubClient
    heard: Heard = field(default_factory=Heard)

    async def join(self, group: str) -> None:
        await self.client.join_group(group)

    async def send(self, group: str, data: Any) -> None:
        await self.client.send_to_group(group, data, WebPubSubDataType.JSON)


@contextlib.asynccontextmanager
async def python_client(get_url: GetUrl) -> AsyncIterator[PythonClient]:
    credential = aio.WebPubSubClientCredential(get_url)  # type: ignore[arg-type]
    made = PythonClient(aio.WebPubSubClient(credential, **QUICK))

    def keep(callback: CallbackType, how: Callable[[Any], None]) -> Awaitable[None]:
        async def listener(args: Any) -> None:
            how(args)

        return made.client.subscribe(callback, listener)

    for callback, how in listeners(made.heard).items():
        await keep(callback, how)
    await made.client.open()
    try:
        yield made
    finally:
        await made.client.close()


def listeners(heard: Heard) -> dict[CallbackType, Callable[[Any], None]]:
    return {
        CallbackType.CONNECTED: lambda args: heard.connected.append(
            (args.connection_id, args.user_id)
        ),
        CallbackType.DISCONNECTED: lambda args: heard.disconnected.append(args.message),
        CallbackType.SERVER_MESSAGE: lambda args: heard.server.append(
            (args.sequence_id, args.data)
        ),
        CallbackType.GROUP_MESSAGE: lambda args: heard.group.append((args.sequence_id, args.data)),
    }


class ProcessClient:
    """A client in a process of its own, driven over its stdin and stdout."""

    def __init__(self, process: asyncio.subprocess.Process, get_url: GetUrl) -> None:
        self.heard = Heard()
        self._process = process
        self._get_url = get_url
        self._answers: asyncio.Queue[str | None] = asyncio.Queue()

    async def join(self, group: str) -> None:
        await self._do({"join": group})

    async def send(self, group: str, data: Any) -> None:
        await self._do({"send": group, "data": data})

    async def _do(self, order: dict[str, Any]) -> None:
        self.tell(order)
        failure = await asyncio.wait_for(self._answers.get(), PATIENCE_S)
        assert failure is None, failure

    def tell(self, order: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(orjson.dumps(order) + b"\n")

    async def listen(self) -> None:
        assert self._process.stdout
        async for line in self._process.stdout:
            said = orjson.loads(line)
            if said.get("ask"):
                self.tell({"url": await self._get_url()})
                continue
            match said["what"]:
                case "connected":
                    self.heard.connected.append((said["id"], said["user"]))
                case "disconnected":
                    self.heard.disconnected.append(said.get("message"))
                case "server":
                    self.heard.server.append((said["number"], said["data"]))
                case "group":
                    self.heard.group.append((said["number"], said["data"]))
                case "done" | "failed":
                    self._answers.put_nowait(said.get("message"))


@contextlib.asynccontextmanager
async def process_client(get_url: GetUrl, *command: str) -> AsyncIterator[ProcessClient]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=FOLDER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    made = ProcessClient(process, get_url)
    listening = asyncio.create_task(made.listen())
    try:
        await until(lambda: made.heard.connected or listening.done())
        yield made
        made.tell({"stop": True})
        await asyncio.wait_for(process.wait(), PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await listening  # its output has ended with it


@contextlib.asynccontextmanager
async def node_client(get_url: GetUrl) -> AsyncIterator[ProcessClient]:
    await asyncio.to_thread(install)
    async with process_client(get_url, "node", "realtime.mjs") as client:
        yield client


@contextlib.asynccontextmanager
async def blocking_client(get_url: GetUrl) -> AsyncIterator[ProcessClient]:
    script = FOLDER.parent / "blocking_client.py"
    async with process_client(get_url, sys.executable, str(script)) as client:
        yield client


CLIENTS = {"python": python_client, "python-threads": blocking_client, "node": node_client}


@contextlib.asynccontextmanager
async def connected(kind: str, get_url: GetUrl) -> AsyncIterator[Client]:
    """A client of this kind, which has been greeted."""
    async with CLIENTS[kind](get_url) as client:
        await until(lambda: client.heard.connected)
        yield client
