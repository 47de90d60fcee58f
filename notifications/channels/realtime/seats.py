"""How many clients are connected: of each user, and in all."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

from notifications.channels.realtime.connection import Limits
from notifications.channels.realtime.handshake import Refusal
from notifications.channels.realtime.unacknowledged import Owner

STRANGER: Owner = ("", "")
"""Who is let in only to be told to go. No tenant has this name."""


class Seats:
    """Taken with a handshake, given back with the connection's end."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken: Counter[Owner] = Counter()
        self._all = 0
        self._all_free = asyncio.Event()
        self._all_free.set()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._all

    def __len__(self) -> int:
        """How many users have one."""
        return len(self._taken)

    def refusal(self, owner: Owner, *, comes_back: bool = False) -> Refusal | None:
        """Why there is none, or None where there is.

        Who comes back finds one beside those that others took meanwhile: as many as may be away.
        """
        limits = self._limits
        if self._all >= limits.connections + (limits.away if comes_back else 0):
            detail = "too many connections"
            return Refusal(status=HTTPStatus.SERVICE_UNAVAILABLE, detail=detail)
        of_user = limits.connections_per_user + (limits.away_per_user if comes_back else 0)
        if owner is not STRANGER and self._taken[owner] >= of_user:
            detail = "too many connections of this user"
            return Refusal(status=HTTPStatus.TOO_MANY_REQUESTS, detail=detail)
        return None

    @contextlib.contextmanager
    def taking(self, owner: Owner) -> Iterator[None]:
        """Have one while the block lasts."""
        self._all += 1
        self._taken[owner] += 1
        self._all_free.clear()
        try:
            yield
        finally:
            self._all -= 1
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]
            if not self._all:
                self._all_free.set()

    async def all_free(self) -> None:
        """Wait until none is taken."""
        await self._all_free.wait()
