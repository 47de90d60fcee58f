"""The door itself: listens, counts its clients, and lets time pass for them."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from ipaddress import ip_address

from notifications.broker import Broker
from notifications.door.connection import Connection
from notifications.door.faults import FORCED, Fault
from notifications.door.limits import Limits
from notifications.door.sas import EMULATOR_KEY, EMULATOR_POLICY
from notifications.door.world import World
from notifications.errors import ConfigurationError
from notifications.ports import Clock, Dice

log = logging.getLogger("huntaze")

_TICK_MS = 500
_BACKLOG = 1024
_LEAVE_S = 5.0
"""How long what is under way may take when the door closes."""

_LOOPBACK = ("127.0.0.1", "::1")
_USUAL = ("localhost", *_LOOPBACK)


class Door:
    """An AMQP 1.0 listener in front of a broker.

    Args:
        broker: What is behind it.
        clock: For heartbeats and the expiry of tokens.
        dice: For ids of messages that come without.
        keys: Shared access keys by the names of their policies. On loopback the emulator's is
            taken too, unless this says otherwise of its policy.
        limits: What one client may take up.
        own_bus: Behind it is a hub's own bus: application properties that begin with `hub` are
            the hub's word, and taken from nobody.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        clock: Clock,
        dice: Dice,
        keys: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        own_bus: bool = False,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._dice = dice
        self._keys = dict(keys or {})
        self._limits = limits or Limits()
        self._own_bus = own_bus
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._world: World | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port, which is a free one where 0 was asked for.

        Of loopback both usual addresses are listened at: clients say `localhost`.

        Raises:
            OSError: The port is taken.
            ConfigurationError: Nobody could enter.
        """
        is_loopback = _is_loopback(host)
        keys = {EMULATOR_POLICY: EMULATOR_KEY, **self._keys} if is_loopback else self._keys
        if not keys:
            raise ConfigurationError(
                f"HUNTAZE_SERVICEBUS_KEYS: is needed where the door listens at {host}, which others"
                " reach: the emulator's key, which everybody knows, opens it on loopback only"
            )
        self._world = World(
            broker=self._broker,
            clock=self._clock,
            dice=self._dice,
            keys=keys,
            limits=self._limits,
            own_bus=self._own_bus,
        )
        is_usual = host in _USUAL
        first = await self._listen(_LOOPBACK[0] if is_usual else host, port)
        port = first.sockets[0].getsockname()[1]
        if is_usual:
            # Where the machine has no IPv6, or the port is taken there, IPv4 has to do.
            with contextlib.suppress(OSError):
                await self._listen(_LOOPBACK[1], port)
        self._ticking = asyncio.create_task(self._tick())
        return port

    async def stop(self) -> None:
        """Close every connection; what is under way at the broker may end first."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.fail(Fault(FORCED, "The service is shutting down."))
        if self._ticking is not None:
            self._ticking.cancel()
        tasks = self._world.tasks if self._world else set()
        if tasks:
            await asyncio.wait(tasks, timeout=_LEAVE_S)
        for task in tasks:
            task.cancel()
        for connection in list(self._connections):
            connection.abort()
        for server in self._servers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), _LEAVE_S)
        self._servers.clear()

    @property
    def connections(self) -> int:
        """How many clients there are."""
        return len(self._connections)

    async def _listen(self, host: str, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._connection, host, port, backlog=_BACKLOG)
        self._servers.append(server)
        return server

    def _connection(self) -> asyncio.Protocol:
        if len(self._connections) >= self._limits.connections:
            log.warning("door.full", extra={"connections": self._limits.connections})
            return _Turned()
        assert self._world
        connection = Connection(self._world, self._connections.discard)
        self._connections.add(connection)
        return connection

    async def _tick(self) -> None:
        while True:
            now = self._clock.now()
            for connection in list(self._connections):
                connection.tick(now)
            await self._clock.sleep_until(now + _TICK_MS)


class _Turned(asyncio.Protocol):
    """A client that there is no room for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
