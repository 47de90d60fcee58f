"""All that a function app has around it, on this machine: a small host, and stand-ins for Azure.

The bus is the door, the realtime service the built-in one, mails go to the hub's own endpoint, and
the database is a PostgreSQL server behind a line that can be cut. The host hands the door's
messages to Microsoft's worker library and settles them as the Functions host does. It claims
nothing of scaling, of the host's own locks, or of its keys.
"""

import asyncio
import base64
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

import function_app
from notifications.bus.brokering import EmbeddedBroker
from notifications.bus.registry import Registry
from notifications.bus.servicebus.bus import ServiceBus, open_service_bus
from notifications.bus.topology import TOPOLOGY
from notifications.door.listener import Door
from notifications.messages import Abandon, Complete, Received
from notifications.service_bus_address import ServiceBusAddress
from notifications.timing import SystemClock, SystemDice
from tests.acs_world import KEY, AcsEndpoint, acs_endpoint
from tests.bus_worlds import EmbeddedWorld, embedded_world
from tests.functions_runtime import Answer, Worker, http, service_bus, timer
from tests.hub_world import ADMIN_KEY, bearer
from tests.mail_servers import SENDER
from tests.postgres_server import migrated_database
from tests.realtime_server import SECRET, Service, serving
from tests.service_bus_world import connection_string

HOST = "https://hub.azurewebsites.net"
TOKEN_SECRET = "a-user-token-secret-of-the-function-app-01"
AT_ONCE = 32
"""`maxConcurrentCalls` of host.json."""

_worker: list[Worker] = []


async def worker() -> Worker:
    """The library with the app loaded: once per process."""
    if not _worker:
        _worker.append(await Worker.start())
    return _worker[0]


# ------------------------------------------------------------------ the database, on a line


@dataclass
class DatabaseLine:
    """The way to a database, which can be cut."""

    socket_path: str
    server: asyncio.Server | None = None
    port: int = 0
    carried: set[asyncio.StreamWriter] = field(default_factory=set)

    async def mend(self) -> None:
        """Let connections through."""
        self.server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """End those there are, and refuse others."""
        assert self.server
        self.server.close()
        for writer in self.carried:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self.socket_path)
        self.carried |= {writer, back}
        try:
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        finally:
            self.carried -= {writer, back}


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    writer.transport.abort()


@contextlib.asynccontextmanager
async def database_line(url: str) -> AsyncIterator[tuple[str, DatabaseLine]]:
    """A database's URL through a line, and the line."""
    made = sa.make_url(url)
    folder = made.query["host"]
    line = DatabaseLine(socket_path=f"{folder}/.s.PGSQL.{made.port or 5432}")
    await line.mend()
    through = sa.URL.create(
        "postgresql", made.username, made.password, "127.0.0.1", line.port, made.database
    )
    try:
        yield through.render_as_string(hide_password=False), line
    finally:
        line.cut()


# ------------------------------------------------------------------ the host


class FunctionsHost:
    """Takes messages to the functions, and settles them as the Functions host does.

    Attributes:
        failures: What functions raised, by their names.
        calls: How many messages each function was called with.
    """

    def __init__(self, functions: Worker, bus: ServiceBus) -> None:
        self.failures: list[tuple[str, str]] = []
        self.calls: dict[str, int] = {}
        self._functions = functions
        self._bus = bus
        self._running: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def at_work(self, *, sweep_every_s: float = 60.0) -> AsyncIterator["FunctionsHost"]:
        """Every Service Bus trigger is fed, and the sweep ticks, until the block ends."""
        feeding = [
            asyncio.create_task(self._feed(name, trigger["subscriptionName"]))
            for name, (trigger, *_) in self._functions.bindings.items()
            if trigger["type"] == "serviceBusTrigger"
        ]
        feeding.append(asyncio.create_task(self._tick("Sweep", sweep_every_s)))
        try:
            yield self
        finally:
            for task in (*feeding, *self._running):
                task.cancel()
            await asyncio.gather(*feeding, *self._running, return_exceptions=True)

    async def _tick(self, name: str, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            answer = await self._functions.invoke(name, timer())
            if answer.failure is not None:
                self.failures.append((name, answer.failure))

    async def _feed(self, name: str, subscription: str) -> None:
        calls: set[asyncio.Task[None]] = set()
        while True:
            while len(calls) == AT_ONCE:
                await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            for message in await self._bus.receive(subscription, limit=AT_ONCE - len(calls)):
                task = asyncio.create_task(self._call(name, message))
                for running in (calls, self._running):
                    running.add(task)
                    task.add_done_callback(running.discard)

    async def _call(self, name: str, received: Received) -> None:
        data, metadata = typed(received)
        self.calls[name] = self.calls.get(name, 0) + 1
        traceparent = str(received.message.properties.get("Diagnostic-Id", ""))
        answer = await self._functions.invoke(name, data, metadata, traceparent=traceparent)
        if answer.failure is not None:
            self.failures.append((name, answer.failure))
        await self._bus.settle(received, Complete() if answer.completes else Abandon())


def typed(received: Received) -> tuple[Any, dict[str, Any]]:
    """A message as the host types it."""
    strings = {
        "Subject": received.message.subject,
        "ContentType": received.message.content_type,
    }
    return service_bus(
        received.message.body,
        properties=received.message.properties,
        message_id=received.message.id,
        delivery_count=received.delivery_count,
        sequence_number=received.sequence_number,
        enqueued=_naive(received.enqueued_at),
        **{name: text for name, text in strings.items() if text},
    )


def _naive(ms: int) -> str:
    moment = SystemClock(wall=lambda: ms / 1000).wall()
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


# ------------------------------------------------------------------ all of it


@dataclass(kw_only=True)
class Azure:
    """The app and what is around it.

    Attributes:
        functions: The library with the app.
        bus: A client of the door, which is the bus.
        connection: The door's connection string.
        behind: What is behind the door.
        service: The realtime service.
        mails: The mail service.
        line: The way to the database.
        variables: The app's settings.
    """

    functions: Worker
    bus: ServiceBus
    connection: str
    behind: EmbeddedWorld
    service: Service
    mails: AcsEndpoint
    line: DatabaseLine
    variables: Mapping[str, str]

    @property
    def admin(self) -> Mapping[str, str]:
        """The admin's headers."""
        return bearer(ADMIN_KEY)

    def host(self) -> FunctionsHost:
        """A host that feeds the app."""
        return FunctionsHost(self.functions, self.bus)

    async def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Ask the API through its function."""
        asked = httpx.Request(method, HOST + path, **request)
        answer = await self.answer(method, str(asked.url), dict(asked.headers), asked.read())
        headers = list(answer.http.headers.items())
        headers += [
            ("set-cookie", f"{each.name}={each.value}") for each in answer.http.cookies or ()
        ]
        body = answer.http.body.bytes
        return httpx.Response(int(answer.http.status_code), headers=headers, content=body)

    async def answer(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """What the API's function answers."""
        answered = await self.functions.invoke("Api", http(method, url, headers=headers, body=body))
        assert answered.failure is None, answered.trace
        return answered

    async def json(self, method: str, path: str, **request: Any) -> Any:
        """The same, where all is well."""
        answer = await self.call(method, path, **request)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


@contextlib.asynccontextmanager
async def azure(folder: Path, realtime: str = "webpubsub", **more: str) -> AsyncIterator[Azure]:
    """The app, with nothing opened yet; closed at the end."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        service = await enter(serving(clock=SystemClock()))
        mails = await enter(acs_endpoint(folder / "mails"))
        url, line = await enter(database_line(migrated_database()))
        behind = await enter(embedded_world(folder, TOPOLOGY, (), clock=SystemClock()))
        registry = Registry.of_topology(TOPOLOGY, behind.clock.now())
        broker = EmbeddedBroker(
            behind.database, behind.bus, registry, clock=behind.clock, dice=SystemDice()
        )
        stack.push_async_callback(broker.close)
        door = Door(broker, clock=SystemClock(), dice=SystemDice())
        connection = connection_string(await door.start("127.0.0.1", 0))
        stack.push_async_callback(door.stop)
        address = ServiceBusAddress(host="localhost", connection_string=connection)
        bus = await enter(open_service_bus(address, TOPOLOGY, SystemClock()))
        variables = {
            **settings(url, connection, service, mails, realtime),
            **more,
        }
        log = logging.getLogger("huntaze")
        stack.callback(log.setLevel, log.level)  # the app's settings choose another
        stack.enter_context(environment(variables))
        stack.push_async_callback(function_app.hub.close)
        yield Azure(
            functions=await worker(),
            bus=bus,
            connection=connection,
            behind=behind,
            service=service,
            mails=mails,
            line=line,
            variables=variables,
        )


def settings(
    database: str, bus: str, service: Service, mails: AcsEndpoint, realtime: str
) -> dict[str, str]:
    """An app's settings."""
    origin = f"http://127.0.0.1:{service.port}"
    key = f"AccessKey={SECRET}"
    return {
        "HUNTAZE_BUS": "servicebus",
        "SERVICEBUS_CONNECTION": bus,
        "HUNTAZE_DATABASE_URL": database,
        "HUNTAZE_ADMIN_KEY": ADMIN_KEY,
        "HUNTAZE_ENCRYPTION_KEYS": base64.b64encode(bytes(range(32))).decode(),
        "HUNTAZE_USER_TOKEN_SECRET": TOKEN_SECRET,
        "HUNTAZE_REALTIME": realtime,
        "HUNTAZE_WEBPUBSUB_CONNECTION": f"Endpoint={origin};{key}",
        "HUNTAZE_SIGNALR_CONNECTION": f"Endpoint={origin}/signalr;{key}",
        "HUNTAZE_EMAIL": "acs",
        "HUNTAZE_EMAIL_FROM": SENDER,
        "HUNTAZE_ACS_CONNECTION": f"endpoint={mails.url};accesskey={KEY}",
        "HUNTAZE_ACS_LIMITS": "10000/m,10000/h",
        "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "HUNTAZE_RETRY_NOTIFICATIONS": "200ms,1s,1s,1s,1s,1s,1s,1s,1s",
        "HUNTAZE_LOG": "error",
    }


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Any:
    """This process's environment with these, and without any other of the hub's."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("HUNTAZE_", "SERVICEBUS_")):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
