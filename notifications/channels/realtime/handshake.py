"""The way in: what a client shows, and how it is turned away."""

import asyncio
import contextlib
from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from notifications.channels.realtime.connection import GONE
from notifications.channels.realtime.frames import CloseCode, disconnected

_HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"www-authenticate": "Bearer"},
    HTTPStatus.TOO_MANY_REQUESTS: {"retry-after": "5"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"retry-after": "5"},
}
"""What goes with a refusal."""

_LEAVING_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What a client shows.

    Attributes:
        hub: Which hub it is after.
        token: Its access token, or an empty string.
        subprotocols: What it speaks, what it likes best first.
        connection_id: The connection that it comes back to; None for a new one.
        reconnection_token: What it was given to come back with.
        connection_token: What a SignalR client was given when it negotiated.
    """

    hub: str | None
    token: str
    subprotocols: tuple[str, ...]
    connection_id: str | None
    reconnection_token: str
    connection_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a client is not let in: an HTTP answer in place of the upgrade."""

    status: HTTPStatus
    detail: str


def read(websocket: WebSocket) -> Arrival:
    """What the client shows. Its tokens are in no log line after this."""
    query = websocket.query_params
    scheme, _, bearer = websocket.headers.get("authorization", "").partition(" ")
    # uvicorn logs path and query when it answers the handshake, from this same scope.
    websocket.scope["query_string"] = b""
    token = query.get("access_token")
    if token is None:
        token = bearer.strip() if scheme.lower() == "bearer" else ""
    return Arrival(
        hub=websocket.path_params.get("hub") or query.get("hub"),
        token=token,
        subprotocols=tuple(websocket.scope["subprotocols"]),
        connection_id=query.get("awps_connection_id"),
        reconnection_token=query.get("awps_reconnection_token", ""),
        connection_token=query.get("id", ""),
    )


async def accept(websocket: WebSocket, subprotocol: str | None) -> bool:
    """Whether the client was still there to be let in."""
    try:
        await websocket.accept(subprotocol=subprotocol)
    except GONE:
        return False
    return True


async def refuse(websocket: WebSocket, refusal: Refusal) -> None:
    """Answer with an HTTP error."""
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


async def turn_away(websocket: WebSocket, reason: str) -> None:
    """Tell a client that was let in that it has nothing to come back to: 1008.

    Clients take no HTTP status for that; they would go on trying to recover.
    """
    with contextlib.suppress(TimeoutError, *GONE):
        async with asyncio.timeout(_LEAVING_S):
            await websocket.send({"type": "websocket.send", "text": disconnected(reason).content})
            await websocket.close(CloseCode.POLICY, reason)


async def _see_out(websocket: WebSocket) -> None:
    """Be there until the refused client is gone: uvicorn logs an error for who leaves first."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LEAVING_S):
            while (await websocket.receive())["type"] != "websocket.disconnect":
                pass
            await asyncio.sleep(0)
