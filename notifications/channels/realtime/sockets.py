"""The built-in socket service: Web PubSub's client protocols, in this process.

An unmodified Web PubSub client connects at `/client/hubs/<hub>` and is sent what is pushed to its
user, over the protocol that it offers: the reliable one, the plain one, or none. Sockets live in
one process; several hub processes need Web PubSub itself.

Mounted as `WebSocketRoute("/client/hubs/{hub}", sockets.endpoint)`, and as "/client/" for those
who name their hub as `?hub=`. What it wants of uvicorn:
`ws="websockets-sansio"`; its default pings, which find dead peers; `ws_max_size` =
`Limits.frame_bytes`, so that no more of a message is kept; `ws_per_message_deflate=False`, since
small frames gain nothing and compressing costs a third of a push; and `TCP_USER_TIMEOUT` on the
listening socket, without which a client that reads nothing keeps its file descriptor for as long
as it likes after it was dropped here.
"""

import asyncio
import base64
import logging
from collections.abc import Sequence
from http import HTTPStatus

from starlette.websockets import WebSocket

from notifications.channels.realtime import handshake, plain, reliable
from notifications.channels.realtime.connection import Backlogs, Connection, Ending, Limits
from notifications.channels.realtime.frames import CloseCode, server_message
from notifications.channels.realtime.groups import Groups
from notifications.channels.realtime.handshake import Arrival, Refusal
from notifications.channels.realtime.plain import PlainSession
from notifications.channels.realtime.recoveries import Recoveries
from notifications.channels.realtime.reliable import ReliableSession
from notifications.channels.realtime.seats import STRANGER, Seats
from notifications.channels.realtime.sessions import Session
from notifications.channels.realtime.signalr_negotiation import Negotiation
from notifications.channels.realtime.signalr_session import SignalRSession
from notifications.channels.realtime.signalr_tokens import SignalRTokens
from notifications.channels.realtime.simple import SimpleSession
from notifications.channels.realtime.tokens import ClientClaims, ClientTokens, TokenError
from notifications.channels.realtime.unacknowledged import Owner
from notifications.deliveries import Delivered, Outcome
from notifications.ports import Dice

log = logging.getLogger("huntaze")

SUBPROTOCOLS = (reliable.SUBPROTOCOL, plain.SUBPROTOCOL)
"""What is spoken here; who offers none at all is sent bare data."""

_SENT = Delivered()
_NOBODY = Delivered(detail="nobody is connected")

_NOTHING_LEFT = "nothing to recover: connect afresh and read the inbox"

_KEY_BYTES = 32

_STOPPING = (CloseCode.GOING_AWAY, "the hub is stopping")

_FOR_GOOD = frozenset((1000, 1001))
"""Codes by which a client says that it will not come back. Web PubSub's own clients leave without
a code, which looks like a connection that was lost: those are kept for a while in vain."""


class Sockets:
    """Who is connected. A `PushGateway`."""

    def __init__(
        self,
        tokens: ClientTokens,
        dice: Dice,
        limits: Limits | None = None,
        signalr: SignalRTokens | None = None,
    ) -> None:
        self._tokens = tokens
        self._dice = dice
        self._limits = limits or Limits()
        self._backlogs = Backlogs()
        self._groups: Groups[Session] = Groups()
        self._signalr = signalr
        self.negotiation = None if signalr is None else Negotiation(signalr, dice)
        self.signalr_groups: Groups[Session] = Groups()
        # A new tuple with each change, so that a push can walk one while sessions come and go.
        self._sessions: dict[Owner, tuple[Session, ...]] = {}
        self._by_id: dict[str, Session] = {}
        self._ids: dict[Session, str] = {}
        self._recoveries = Recoveries(self._limits, self._forget)
        self._seats = Seats(self._limits)
        self._closing = False

    def count(self) -> int:
        """How many clients are connected."""
        return self._seats.taken

    def away(self) -> int:
        """How many clients lost their connection and may still come back."""
        return self._recoveries.away

    async def push(self, tenant_id: str, user_id: str, data: bytes) -> Outcome:
        """Send JSON to all of a user's connections; `Delivered` too where there is none.

        Waits for no client. Where one is behind, the loop gets a turn, so that a burst of pushes
        does not outrun a client that would read if only its bytes were let out.
        """
        sessions = self._sessions.get((tenant_id, user_id))
        if sessions is None:
            return _NOBODY
        message = server_message(data)
        behind = False
        for session in sessions:
            behind |= session.deliver(message)
        if behind:
            await asyncio.sleep(0)
        return _SENT

    @property
    def groups(self) -> Groups[Session]:
        """Who is in which group."""
        return self._groups

    def everybody(self) -> Sequence[Session]:
        """Every client, in the order they came."""
        return tuple(self._ids)

    def of_user(self, tenant_id: str, user_id: str) -> Sequence[Session]:
        """A user's clients."""
        return self._sessions.get((tenant_id, user_id), ())

    def find(self, connection_id: str) -> Session | None:
        """The client of a connection, there or away."""
        return self._by_id.get(connection_id)

    def id_of(self, session: Session) -> str:
        """The connection id of a client; empty where it is over."""
        return self._ids.get(session, "")

    def end(self, session: Session, reason: str) -> None:
        """Close a client's connection, for good."""
        if isinstance(session, ReliableSession):
            self._recoveries.end(session, CloseCode.POLICY, reason)
        elif session.connection is not None:
            session.connection.end(CloseCode.POLICY, reason)

    async def endpoint(self, websocket: WebSocket) -> None:
        """Serve one client, from its handshake to its end."""
        arrival = handshake.read(websocket)
        subprotocol = next((each for each in arrival.subprotocols if each in SUBPROTOCOLS), None)
        admitted = self._admit(arrival, subprotocol)
        if isinstance(admitted, Refusal):
            await handshake.refuse(websocket, admitted)
        elif admitted is None:
            with self._seats.taking(STRANGER):
                if await handshake.accept(websocket, reliable.SUBPROTOCOL):
                    await handshake.turn_away(websocket, _NOTHING_LEFT)
        elif isinstance(admitted, ReliableSession):
            await self._go_on(websocket, admitted)
        else:
            with self._seats.taking((admitted.tenant_id, admitted.user_id)):
                if await handshake.accept(websocket, subprotocol):
                    await self._begin(websocket, admitted, subprotocol)

    async def signalr_endpoint(self, websocket: WebSocket) -> None:
        """Serve one SignalR client, which may have negotiated before."""
        arrival = handshake.read(websocket)
        admitted = self._admit_signalr(arrival)
        if isinstance(admitted, Refusal):
            await handshake.refuse(websocket, admitted)
            return
        session = SignalRSession(
            admitted, self.signalr_groups, max_groups=self._limits.groups_per_connection
        )
        with self._seats.taking((admitted.tenant_id, admitted.user_id)):
            if await handshake.accept(websocket, None):
                connection_id = self._negotiated(arrival) or self._fresh_id()
                await self._begin_as(websocket, session, connection_id)

    async def close(self) -> None:
        """Close every connection with 1001 and let nobody in any more."""
        self._closing = True
        self._recoveries.close()
        for sessions in tuple(self._sessions.values()):
            for session in sessions:
                if session.connection is not None:
                    session.connection.end(*_STOPPING)
        try:
            await asyncio.wait_for(self._seats.all_free(), self._limits.close_grace_s + 1)
        except TimeoutError:
            log.warning("sockets.left_behind", extra={"connections": self.count()})

    # ----------------------------------------------------------------------- who is let in

    def _admit(
        self, arrival: Arrival, subprotocol: str | None
    ) -> ClientClaims | ReliableSession | Refusal | None:
        if arrival.hub != self._tokens.hub:
            return Refusal(status=HTTPStatus.NOT_FOUND, detail="no such hub")
        if arrival.connection_id is not None and subprotocol == reliable.SUBPROTOCOL:
            return self._admit_again(arrival.connection_id, arrival.reconnection_token)
        try:
            claims = self._tokens.read(arrival.token)
        except TokenError as error:
            log.info("socket.refused", extra={"reason": error.reason})
            return Refusal(status=HTTPStatus.UNAUTHORIZED, detail=str(error))
        if arrival.subprotocols and subprotocol is None:
            spoken = " and ".join(SUBPROTOCOLS)
            detail = f"this hub speaks the WebSocket subprotocols {spoken}; offer one, or none"
            return Refusal(status=HTTPStatus.BAD_REQUEST, detail=detail)
        return self._refusal_for_room((claims.tenant_id, claims.user_id)) or claims

    def _admit_signalr(self, arrival: Arrival) -> ClientClaims | Refusal:
        if self._signalr is None or (arrival.hub or "").lower() != self._signalr.hub:
            return Refusal(status=HTTPStatus.NOT_FOUND, detail="no such hub")
        try:
            claims = self._signalr.read(arrival.token)
        except TokenError as error:
            log.info("socket.refused", extra={"reason": error.reason})
            return Refusal(status=HTTPStatus.UNAUTHORIZED, detail=str(error))
        return self._refusal_for_room((claims.tenant_id, claims.user_id)) or claims

    def _negotiated(self, arrival: Arrival) -> str | None:
        """The id that a SignalR client was given before; None where it is none, or is taken."""
        if self.negotiation is None:
            return None
        connection_id = self.negotiation.connection_id(arrival.connection_token)
        return None if connection_id in self._by_id else connection_id

    def _admit_again(self, connection_id: str, token: str) -> ReliableSession | Refusal | None:
        """The session that the client comes back to, or None where there is none any more."""
        session = self._recoveries.find(connection_id, token)
        owner = STRANGER if session is None else session.owner
        # What is refused is tried again by clients, for half a minute.
        refusal = self._refusal_for_room(owner, comes_back=session is not None)
        if refusal is not None:
            return refusal
        if session is None:
            log.info("socket.unrecoverable")
            return None
        return session

    def _refusal_for_room(self, owner: Owner, *, comes_back: bool = False) -> Refusal | None:
        if self._closing:
            return Refusal(status=HTTPStatus.SERVICE_UNAVAILABLE, detail=_STOPPING[1])
        return self._seats.refusal(owner, comes_back=comes_back)

    # ----------------------------------------------------------------------- while it lasts

    async def _begin(
        self, websocket: WebSocket, claims: ClientClaims, subprotocol: str | None
    ) -> None:
        connection_id = self._fresh_id()
        session = self._session(claims, subprotocol, connection_id)
        await self._begin_as(websocket, session, connection_id)

    def _fresh_id(self) -> str:
        return base64.urlsafe_b64encode(self._dice.token(18)).decode()

    async def _begin_as(self, websocket: WebSocket, session: Session, connection_id: str) -> None:
        connection = self._connection(websocket, connection_id, session)
        owner = (session.claims.tenant_id, session.claims.user_id)
        # No wait between the two: nothing is pushed before the greeting or missed after it.
        session.open(connection)
        self._sessions[owner] = (*self._sessions.get(owner, ()), session)
        self._by_id[connection_id] = session
        self._ids[session] = connection_id
        log.info("socket.opened", extra=_context(session, connection))
        await self._serve(session, connection)

    async def _go_on(self, websocket: WebSocket, session: ReliableSession) -> None:
        with self._seats.taking(session.owner):
            if not await handshake.accept(websocket, reliable.SUBPROTOCOL):
                return
            if not self._recoveries.come_back(session):  # it ended during the handshake
                await handshake.turn_away(websocket, _NOTHING_LEFT)
                return
            connection = self._connection(websocket, session.id, session)
            waiting = {"unacknowledged": session.waiting}
            session.open(connection)
            log.info("socket.recovered", extra={**_context(session, connection), **waiting})
            await self._serve(session, connection)

    def _session(
        self, claims: ClientClaims, subprotocol: str | None, connection_id: str
    ) -> Session:
        if subprotocol == reliable.SUBPROTOCOL:
            key = self._dice.token(_KEY_BYTES)
            return self._recoveries.begin(
                claims, self._groups, connection_id=connection_id, key=key
            )
        kind = SimpleSession if subprotocol is None else PlainSession
        return kind(claims, self._groups, max_groups=self._limits.groups_per_connection)

    def _connection(self, websocket: WebSocket, connection_id: str, session: Session) -> Connection:
        return Connection(
            websocket,
            connection_id=connection_id,
            limits=self._limits,
            backlogs=self._backlogs,
            manners=session.manners,
        )

    async def _serve(self, session: Session, connection: Connection) -> None:
        if self._closing:  # it began during the handshake
            connection.end(*_STOPPING)
        ending = None
        try:
            ending = await connection.serve(session.take)
        finally:
            self._part(session, connection, ending)
        ended = {"code": ending.code, "reason": ending.reason, "byClient": ending.by_client}
        log.info("socket.closed", extra={**_context(session, connection), **ended})

    def _part(self, session: Session, connection: Connection, ending: Ending | None) -> None:
        if not isinstance(session, ReliableSession):
            self._forget(session)
        elif session.connection is not connection:
            pass  # it goes on over another one, or is over
        elif ending is not None and not self._closing and _may_come_back(ending):
            self._recoveries.leave(session)
        else:
            self._recoveries.end(session, CloseCode.POLICY, "")

    def _forget(self, session: Session) -> None:
        session.leave()
        self._by_id.pop(self._ids.pop(session, ""), None)
        owner = (session.claims.tenant_id, session.claims.user_id)
        left = tuple(each for each in self._sessions[owner] if each is not session)
        if left:
            self._sessions[owner] = left
        else:
            del self._sessions[owner]


def _may_come_back(ending: Ending) -> bool:
    if ending.by_client:
        return ending.code not in _FOR_GOOD
    return ending.code == CloseCode.TRY_AGAIN_LATER


def _context(session: Session, connection: Connection) -> dict[str, str | int]:
    claims = session.claims
    return {
        "tenantId": claims.tenant_id,
        "userId": claims.user_id,
        "connectionId": connection.id,
    }
