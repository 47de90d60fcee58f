"""The built-in socket service: Web PubSub's client protocol, in this process.

An unmodified Web PubSub client connects at `/client/hubs/<hub>` and is sent what is pushed to its
user. Sockets live in one process; several hub processes need Web PubSub itself.

Mounted as `WebSocketRoute("/client/hubs/{hub}", sockets.endpoint)`. What it wants of uvicorn:
`ws="websockets-sansio"`; its default pings, which find dead peers; `ws_max_size` =
`Limits.frame_bytes`, so that no more of a message is kept; `ws_per_message_deflate=False`, since
small frames gain nothing and compressing costs a third of a push; and `TCP_USER_TIMEOUT` on the
listening socket, without which a client that reads nothing keeps its file descriptor for as long
as it likes after it was dropped here.
"""

import asyncio
import base64
import contextlib
import logging
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from notifications.channels.realtime.connection import (
    GONE,
    Backlogs,
    Connection,
    Limits,
)
from notifications.channels.realtime.frames import CloseCode, server_message
from notifications.channels.realtime.groups import Groups
from notifications.channels.realtime.plain import SUBPROTOCOL, PlainSession
from notifications.channels.realtime.tokens import ClientClaims, ClientTokens, TokenError
from notifications.deliveries import Delivered, Outcome
from notifications.ports import Dice

log = logging.getLogger("huntaze")

Owner = tuple[str, str]
"""A tenant and a user in it."""

_SENT = Delivered()
_NOBODY = Delivered(detail="nobody is connected")

_STOPPING = (CloseCode.GOING_AWAY, "the hub is stopping")

_HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"www-authenticate": "Bearer"},
    HTTPStatus.TOO_MANY_REQUESTS: {"retry-after": "5"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"retry-after": "5"},
}
"""What goes with a refusal."""

_LEAVING_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Why a client is not let in: an HTTP answer in place of the upgrade."""

    status: HTTPStatus
    detail: str


class Sockets:
    """Who is connected. A `PushGateway`."""

    def __init__(self, tokens: ClientTokens, dice: Dice, limits: Limits | None = None) -> None:
        self._tokens = tokens
        self._dice = dice
        self._limits = limits or Limits()
        self._backlogs = Backlogs()
        self._groups: Groups[PlainSession] = Groups()
        # A new tuple with each change, so that a push can walk one while sessions come and go.
        self._sessions: dict[Owner, tuple[PlainSession, ...]] = {}
        self._seats: Counter[Owner] = Counter()
        self._open = 0
        self._closing = False
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    def count(self) -> int:
        """How many clients are connected."""
        return self._open

    async def push(self, tenant_id: str, user_id: str, data: bytes) -> Outcome:
        """Send JSON to all of a user's connections; `Delivered` too where there is none.

        Waits for no client. Where one is behind, the loop gets a turn, so that a burst of pushes
        does not outrun a client that would read if only its bytes were let out.
        """
        sessions = self._sessions.get((tenant_id, user_id))
        if sessions is None:
            return _NOBODY
        frame = server_message(data)
        behind = False
        for session in sessions:
            behind |= session.deliver(frame)
        if behind:
            await asyncio.sleep(0)
        return _SENT

    async def endpoint(self, websocket: WebSocket) -> None:
        """Serve one client, from its handshake to its end."""
        admitted = self._admit(websocket)
        if isinstance(admitted, _Refusal):
            await _refuse(websocket, admitted)
            return
        owner = (admitted.tenant_id, admitted.user_id)
        self._take_seat(owner)
        try:
            if await _accept(websocket):
                await self._serve(websocket, owner, admitted)
        finally:
            self._give_seat_back(owner)

    async def close(self) -> None:
        """Close every connection with 1001 and let nobody in any more."""
        self._closing = True
        for sessions in tuple(self._sessions.values()):
            for session in sessions:
                session.connection.end(*_STOPPING)
        try:
            await asyncio.wait_for(self._all_gone.wait(), self._limits.close_grace_s + 1)
        except TimeoutError:
            log.warning("sockets.left_behind", extra={"connections": self._open})

    def _admit(self, websocket: WebSocket) -> ClientClaims | _Refusal:
        token = _take_token(websocket)
        if websocket.path_params.get("hub") != self._tokens.hub:
            return _Refusal(status=HTTPStatus.NOT_FOUND, detail="no such hub")
        try:
            claims = self._tokens.read(token)
        except TokenError as error:
            log.info("socket.refused", extra={"reason": error.reason})
            return _Refusal(status=HTTPStatus.UNAUTHORIZED, detail=str(error))
        if SUBPROTOCOL not in websocket.scope["subprotocols"]:
            detail = f"this hub speaks the WebSocket subprotocol {SUBPROTOCOL}"
            return _Refusal(status=HTTPStatus.BAD_REQUEST, detail=detail)
        return self._refusal_for_room((claims.tenant_id, claims.user_id)) or claims

    def _refusal_for_room(self, owner: Owner) -> _Refusal | None:
        if self._closing:
            return _Refusal(status=HTTPStatus.SERVICE_UNAVAILABLE, detail=_STOPPING[1])
        if self._open >= self._limits.connections:
            detail = "too many connections"
            return _Refusal(status=HTTPStatus.SERVICE_UNAVAILABLE, detail=detail)
        if self._seats[owner] >= self._limits.connections_per_user:
            detail = "too many connections of this user"
            return _Refusal(status=HTTPStatus.TOO_MANY_REQUESTS, detail=detail)
        return None

    async def _serve(self, websocket: WebSocket, owner: Owner, claims: ClientClaims) -> None:
        connection = Connection(
            websocket,
            connection_id=base64.urlsafe_b64encode(self._dice.token(18)).decode(),
            limits=self._limits,
            backlogs=self._backlogs,
        )
        max_groups = self._limits.groups_per_connection
        session = PlainSession(connection, claims, self._groups, max_groups=max_groups)
        # No wait between the two: nothing is pushed before the greeting or missed after it.
        session.open()
        self._sessions[owner] = (*self._sessions.get(owner, ()), session)
        if self._closing:  # it began during the handshake
            connection.end(*_STOPPING)
        context = {"tenantId": owner[0], "userId": owner[1], "connectionId": connection.id}
        log.info("socket.opened", extra=context)
        try:
            ending = await connection.serve(session.take)
        finally:
            self._forget(owner, session)
        ended = {"code": ending.code, "reason": ending.reason, "byClient": ending.by_client}
        log.info("socket.closed", extra=context | ended)

    def _take_seat(self, owner: Owner) -> None:
        self._open += 1
        self._seats[owner] += 1
        self._all_gone.clear()

    def _give_seat_back(self, owner: Owner) -> None:
        self._open -= 1
        self._seats[owner] -= 1
        if not self._seats[owner]:
            del self._seats[owner]
        if not self._open:
            self._all_gone.set()

    def _forget(self, owner: Owner, session: PlainSession) -> None:
        session.leave()
        left = tuple(each for each in self._sessions[owner] if each is not session)
        if left:
            self._sessions[owner] = left
        else:
            del self._sessions[owner]


def _take_token(websocket: WebSocket) -> str:
    """The client's token, or an empty string. It is in no log line after this."""
    scheme, _, bearer = websocket.headers.get("authorization", "").partition(" ")
    token = websocket.query_params.get("access_token")
    # uvicorn logs path and query when it answers the handshake, from this same scope.
    websocket.scope["query_string"] = b""
    if token is not None:
        return token
    return bearer.strip() if scheme.lower() == "bearer" else ""


async def _accept(websocket: WebSocket) -> bool:
    """Whether the client was still there to be let in."""
    try:
        await websocket.accept(subprotocol=SUBPROTOCOL)
    except GONE:
        return False
    return True


async def _refuse(websocket: WebSocket, refusal: _Refusal) -> None:
    status = refusal.status
    problem = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": refusal.detail,
    }
    with contextlib.suppress(*GONE):
        if "websocket.http.response" not in websocket.scope.get("extensions", {}):
            await websocket.close(CloseCode.POLICY)  # such a server makes a plain 403 of it
            return
        await websocket.send_denial_response(
            JSONResponse(
                problem,
                status_code=status.value,
                headers=_HEADERS.get(status, {}),
                media_type="application/problem+json",
            )
        )
        await _see_out(websocket)


async def _see_out(websocket: WebSocket) -> None:
    """Be there until the refused client is gone: uvicorn logs an error for who leaves first."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LEAVING_S):
            while (await websocket.receive())["type"] != "websocket.disconnect":
                pass
            await asyncio.sleep(0)
