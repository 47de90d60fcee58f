"""The reliable sessions of this process, and which of them wait for their client to come back.

A session that is away keeps its groups and its unacknowledged messages for `recovery_s`. How many
are away, and what is kept for them, is bounded per user and in all; who has been away longest goes
first. None of it outlives the process: after a restart every recovery is answered with 1008.
"""

import asyncio
import logging
from collections.abc import Callable

from notifications.channels.realtime.connection import Limits
from notifications.channels.realtime.frames import CloseCode
from notifications.channels.realtime.groups import Groups
from notifications.channels.realtime.reliable import ReconnectionTokens, ReliableSession
from notifications.channels.realtime.sessions import Session
from notifications.channels.realtime.tokens import ClientClaims
from notifications.channels.realtime.unacknowledged import Holdings, Owner, Unacknowledged

log = logging.getLogger("huntaze")


class Recoveries:
    """Makes reliable sessions, keeps them while they are away, and finds them again."""

    def __init__(self, limits: Limits, forget: Callable[[ReliableSession], None]) -> None:
        """
        Args:
            limits: What is kept.
            forget: Is told of each session that is over, once.
        """
        self.holdings = Holdings(limits, self._relieve)
        self._limits = limits
        self._forget = forget
        self._sessions: dict[str, ReliableSession] = {}
        # In the order they left, all together and those of each user.
        self._away: dict[str, asyncio.TimerHandle] = {}
        self._away_of: dict[Owner, dict[str, None]] = {}

    def __len__(self) -> int:
        """How many sessions there are, away or not."""
        return len(self._sessions)

    @property
    def away(self) -> int:
        """How many wait for their client."""
        return len(self._away)

    def begin(
        self, claims: ClientClaims, groups: Groups[Session], *, connection_id: str, key: bytes
    ) -> ReliableSession:
        """A new session, which can be recovered from now on."""
        owner = (claims.tenant_id, claims.user_id)
        session = ReliableSession(
            claims,
            groups,
            max_groups=self._limits.groups_per_connection,
            connection_id=connection_id,
            tokens=ReconnectionTokens(key),
            unacknowledged=Unacknowledged(owner, self._limits, self.holdings),
            end=self.end,
        )
        self._sessions[connection_id] = session
        return session

    def find(self, connection_id: str, token: str) -> ReliableSession | None:
        """The session that a client comes back to, by what it was greeted with."""
        session = self._sessions.get(connection_id)
        return session if session is not None and session.tokens.redeem(token) else None

    def leave(self, session: ReliableSession) -> None:
        """Its connection is lost: keep it for a while. Others may have to go for it."""
        session.connection = None
        mates = self._away_of.get(session.owner, {})
        while mates and len(mates) >= self._limits.away_per_user:
            self._expire(next(iter(mates)), "too-many-of-user")
        while self._away and len(self._away) >= self._limits.away:
            self._expire(next(iter(self._away)), "too-many")
        self._away_of.setdefault(session.owner, {})[session.id] = None
        self._away[session.id] = asyncio.get_running_loop().call_later(
            self._limits.recovery_s, self._expire, session.id, "time"
        )

    def come_back(self, session: ReliableSession) -> bool:
        """Its client is there again; a connection it still seemed to have is ended.

        False where it is over.
        """
        if session.id not in self._sessions:
            return False
        self._no_longer_away(session)
        if session.connection is not None:
            # Its client has given it up. Should it be somebody else's after all, 1008 keeps the
            # two from taking the session from each other for ever.
            session.connection.end(CloseCode.POLICY, "this connection was recovered elsewhere")
            session.connection = None
        return True

    def end(self, session: ReliableSession, code: CloseCode, reason: str) -> None:
        """It is over: its client is told, if it is there, and nothing is kept."""
        if self._sessions.pop(session.id, None) is None:
            return
        self._no_longer_away(session)
        if session.connection is not None:
            session.connection.end(code, reason)
        session.drop()
        self._forget(session)

    def close(self) -> None:
        """Keep nobody who is away."""
        for connection_id in tuple(self._away):
            self._expire(connection_id, "stopping")

    def _relieve(self, owner: Owner | None) -> bool:
        """Give up who has been away longest, of this user or of all."""
        away = self._away if owner is None else self._away_of.get(owner, {})
        connection_id = next(iter(away), None)
        if connection_id is None:
            return False
        self._expire(connection_id, "bytes")
        return True

    def _expire(self, connection_id: str, why: str) -> None:
        session = self._sessions[connection_id]
        context = {"tenantId": session.owner[0], "userId": session.owner[1]}
        fields = {"connectionId": connection_id, "reason": why, "unacknowledged": session.waiting}
        log.info("socket.not_recovered", extra=context | fields)
        self.end(session, CloseCode.POLICY, why)

    def _no_longer_away(self, session: ReliableSession) -> None:
        timer = self._away.pop(session.id, None)
        if timer is None:
            return
        timer.cancel()
        mates = self._away_of[session.owner]
        del mates[session.id]
        if not mates:
            del self._away_of[session.owner]
