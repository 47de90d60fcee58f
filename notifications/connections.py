"""Where connections are made: the guard's place, and lookups that hold up nobody else.

A socket is created for an address that has just been checked and connects to that very address, so
literals, DNS answers and answers that change between two lookups all come past here.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from notifications.addresses import (
    WEBHOOKS,
    Errand,
    Network,
    is_allowed,
    refusal,
)
from notifications.errors import ConfigurationError

MAX_LOOKUPS = 64
"""Names looked up at once, a thread each."""

CA_FILE_SETTING = "HUNTAZE_WEBHOOK_CA_FILE"

OWNERS_LOOKUPS = MAX_LOOKUPS // 4
"""The most of them that one tenant's names may hold, so that names that hang leave room."""


class AddressRefusedError(OSError):
    """The guard does not let a connection go there."""


@dataclass(slots=True)
class Exchange:
    """One request under way, as far as its connection is concerned.

    Attributes:
        plain: It is http, which only goes to allowed networks.
        owner: Whose URL it goes to: lookups are shared out by it.
        opened: Sockets opened for it; 0 while it uses a connection that was there already.
        refused: Why the guard refused an address, where it did.
        status: What the receiver answered, once it has.
    """

    plain: bool
    owner: str = ""
    opened: int = 0
    refused: str | None = None
    status: int | None = None


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """How servers have to prove who they are.

    Args:
        ca_file: Certificates to trust beside the system's, PEM.

    Raises:
        ConfigurationError: The file cannot be used.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one: no PEM in it
            message = f"{CA_FILE_SETTING}: cannot use {ca_file}: {error.strerror or error}"
            raise ConfigurationError(message) from error
    return context


current_exchange: ContextVar[Exchange] = ContextVar("current_exchange")
"""The request for which a socket is opened: aiohttp's socket factory is told the address alone."""


class CheckedSockets:
    """Opens sockets to addresses that the guard lets through, and knows how many are open."""

    def __init__(self, allowed: Sequence[Network], errand: Errand = WEBHOOKS) -> None:
        self._allowed = tuple(allowed)
        self._errand = errand
        self.open_count = 0

    def open(self, target: AddrInfoType) -> socket.socket:
        """Aiohttp's `socket_factory`: called just before it connects to `target`.

        Raises:
            AddressRefusedError: The guard says no.
        """
        exchange = current_exchange.get()
        family, kind, protocol, _, sockaddr = target
        if why := self._refusal(str(sockaddr[0]), exchange.plain):
            exchange.refused = why
            raise AddressRefusedError(why)
        opened = _CountedSocket(self, family, kind, protocol)
        exchange.opened += 1
        return opened

    def _refusal(self, host: str, plain: bool) -> str | None:
        address = ip_address(host)
        if why := refusal(address, self._allowed):
            return f"leads to {why}, {self._errand.not_there}"
        if plain and not is_allowed(address, self._allowed):
            return f"must begin with https://{self._errand.no_http}"
        return None


class _CountedSocket(socket.socket):
    """A socket that takes itself off the count when it is closed."""

    def __init__(self, owner: CheckedSockets, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._owner: CheckedSockets | None = owner
        owner.open_count += 1

    def close(self) -> None:
        self._uncount()
        super().close()

    def detach(self) -> int:
        # uvloop closes the descriptor itself and lets the object go this way.
        self._uncount()
        return super().detach()

    def _uncount(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.open_count -= 1


class ThreadedLookups(AbstractResolver):
    """`getaddrinfo`, each call in a thread of its own.

    The event loop's pool has a handful of threads for everything; a few names whose servers do not
    answer would take them all. These threads are daemons: a lookup that hangs does not hold up the
    end of the process either. They are shared out by the owner of the exchange under way, so that
    one tenant's names that hang leave threads for the others'.
    """

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(MAX_LOOKUPS)
        self._rooms: dict[str, _OwnersRoom] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of a name.

        Raises:
            OSError: There is none, or the lookup failed.
        """
        found = await self._lookup(host, port, family)
        if not found:
            raise OSError(f"{host} has no address")
        return [
            ResolveResult(
                hostname=host,
                host=str(sockaddr[0]),
                port=port,
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, protocol, _, sockaddr in found
        ]

    async def close(self) -> None:
        """Nothing to close: threads end with their lookup."""

    async def _lookup(self, host: str, port: int, family: int) -> list[Any]:
        exchange = current_exchange.get(None)
        owner = exchange.owner if exchange is not None else ""
        await self._enter(owner)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()

        def settle(found: list[Any], error: OSError | None) -> None:
            self._leave(owner)  # when the thread ends, not when its caller gives up
            if answer.done():
                return
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)

        def work() -> None:
            found: list[Any] = []
            error: OSError | None = None
            try:
                flags = socket.AI_ADDRCONFIG
                found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=flags)
            except (OSError, UnicodeError) as raised:
                error = raised if isinstance(raised, OSError) else OSError(str(raised))
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits
                loop.call_soon_threadsafe(settle, found, error)

        try:
            threading.Thread(target=work, name="name-lookup", daemon=True).start()
        except RuntimeError as error:
            self._leave(owner)
            raise OSError(errno.EAGAIN, str(error)) from error
        return await answer

    async def _enter(self, owner: str) -> None:
        """Wait for a thread: first for one of the owner's share, so that who has used it up does
        not stand in the others' way."""
        room = self._rooms.setdefault(owner, _OwnersRoom())
        room.users += 1
        try:
            await room.places.acquire()
        except BaseException:
            self._forget(owner)
            raise
        try:
            await self._room.acquire()
        except BaseException:
            room.places.release()
            self._forget(owner)
            raise

    def _leave(self, owner: str) -> None:
        self._room.release()
        self._rooms[owner].places.release()
        self._forget(owner)

    def _forget(self, owner: str) -> None:
        room = self._rooms[owner]
        room.users -= 1
        if not room.users:
            del self._rooms[owner]


@dataclass(slots=True)
class _OwnersRoom:
    """One owner's share of the threads, and how many hold or want one."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OWNERS_LOOKUPS))
    users: int = 0
