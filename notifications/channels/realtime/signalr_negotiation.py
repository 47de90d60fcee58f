"""The negotiate of the built-in SignalR service.

An unmodified SignalR client asks the hub's own `POST /v1/realtime/signalr/negotiate`, is redirected
here, negotiates a second time with the token that it was given, and connects.
"""

import base64
import hmac
import logging
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from notifications.channels.realtime.signalr_tokens import SignalRTokens
from notifications.channels.realtime.tokens import TokenError
from notifications.ports import Dice

log = logging.getLogger("huntaze")

_TRANSPORTS = [{"transport": "WebSockets", "transferFormats": ["Text"]}]
_ID_BYTES = 18


class Negotiation:
    """Gives out connection ids, and knows them again when their clients connect."""

    def __init__(self, tokens: SignalRTokens, dice: Dice) -> None:
        self._tokens = tokens
        self._dice = dice
        self._key = dice.token(32)

    async def answer(self, request: Request) -> Response:
        """`POST /signalr/client/negotiate`."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        shown = bearer.strip() if scheme.lower() == "bearer" else ""
        try:
            self._tokens.read(shown or request.query_params.get("access_token", ""))
        except TokenError as error:
            log.info("signalr.refused", extra={"reason": error.reason})
            return JSONResponse(
                {"error": str(error)},
                status_code=HTTPStatus.UNAUTHORIZED,
                headers={"www-authenticate": "Bearer"},
            )
        connection_id = base64.urlsafe_b64encode(self._dice.token(_ID_BYTES)).decode()
        return JSONResponse(
            {
                "negotiateVersion": 1,
                "connectionId": connection_id,
                "connectionToken": f"{connection_id}.{self._proof(connection_id)}",
                "availableTransports": _TRANSPORTS,
            }
        )

    def connection_id(self, connection_token: str) -> str | None:
        """The id that goes with a connection token; None where it is none of ours."""
        connection_id, _, proof = connection_token.partition(".")
        expected = self._proof(connection_id)
        right = hmac.compare_digest(expected.encode(), proof.encode(errors="replace"))
        return connection_id if right else None

    def _proof(self, connection_id: str) -> str:
        digest = hmac.digest(self._key, connection_id.encode(errors="replace"), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
