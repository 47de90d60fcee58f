"""The management API at its ports: http, and https beside it."""

import contextlib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from notifications.door.admin.certificate import tls_context
from notifications.door.admin.http import HttpServer
from notifications.door.admin.service import Administration
from notifications.door.sas import EMULATOR_KEY, EMULATOR_POLICY
from notifications.entities import Changes, Shown
from notifications.ports import Clock

_LOOPBACK = ("127.0.0.1", "::1")


class AdminDoor:
    """Answers administration clients.

    Args:
        shown: What there is.
        changes: What can be changed, or why not.
        clock: Says whether tokens and the certificate have expired.
        keys: Shared access keys by the names of their policies; on loopback the emulator's is
            taken too.
        folder: Where the certificate is kept.
    """

    def __init__(
        self,
        shown: Shown,
        changes: Changes,
        *,
        clock: Clock,
        keys: Mapping[str, str],
        folder: Path,
    ) -> None:
        self._shown = shown
        self._changes = changes
        self._clock = clock
        self._keys = keys
        self._folder = folder
        self._servers: list[HttpServer] = []

    async def start(self, host: str, port: int, *, secure: bool) -> int:
        """Listen; the port, which is a free one where 0 was asked for.

        On loopback both of its addresses are listened at: clients say `localhost`.

        Raises:
            OSError: The port is taken.
            ConfigurationError: The certificate cannot be used.
        """
        loopback = _is_loopback(host)
        keys = {EMULATOR_POLICY: EMULATOR_KEY, **self._keys} if loopback else self._keys
        service = Administration(self._shown, self._changes, clock=self._clock, keys=keys)
        tls = tls_context(self._folder, self._clock.wall()) if secure else None
        server = HttpServer(service.answer)
        self._servers.append(server)
        found = await server.start(_LOOPBACK[0] if loopback else host, port, tls)
        if loopback:
            # Where the machine has no IPv6, or the port is taken there, IPv4 has to do.
            with contextlib.suppress(OSError):
                await server.start(_LOOPBACK[1], found, tls)
        return found

    async def stop(self) -> None:
        """Close every connection."""
        for server in self._servers:
            await server.stop()
        self._servers.clear()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
