"""The access tokens of SignalR clients: what Azure SignalR Service takes, and the built-in one.

A JWT, signed with the text of the access key (HS256), whose `aud` is `<endpoint>/client/?hub=<hub>`
and whose `nameid` is the user, `<tenant>/<user>`.
"""

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from notifications.channels.realtime.tokens import (
    ClientClaims,
    SignedTokens,
    TokenError,
    read_subject,
)
from notifications.ports import Clock

PREFIX = "/signalr"
"""Where the built-in service is: Web PubSub's has the root."""


class SignalRTokens:
    """Tokens that open a socket of one hub of a SignalR service."""

    def __init__(self, secrets: Sequence[str], clock: Clock, *, hub: str) -> None:
        self.hub = hub.lower()
        self._tokens = SignedTokens(secrets, clock)

    def issue(
        self, endpoint: str, tenant_id: str, user_id: str, expires_in_s: int
    ) -> tuple[str, str]:
        """Where one user's client is redirected to, and the token that it shows there.

        Args:
            endpoint: The service, e.g. `https://name.service.signalr.net`.
            tenant_id: Whose.
            user_id: Who.
            expires_in_s: How long the token opens a socket.

        Raises:
            InvalidInput: `expires_in_s` is not between one second and a day.
        """
        url = f"{endpoint.rstrip('/')}/client/?hub={self.hub}"
        exp = int(self._tokens.expiry(expires_in_s).timestamp())
        claims = {
            "aud": url,
            "iat": exp - expires_in_s,
            "nbf": exp - expires_in_s,
            "exp": exp,
            "nameid": f"{tenant_id}/{user_id}",
        }
        return url, self._tokens.sign(claims)

    def read(self, token: str) -> ClientClaims:
        """What a token of the built-in service says; its origin is not compared.

        Raises:
            TokenError: It is not one of ours, not valid now, or not for this hub.
        """
        claims = self._tokens.read(token)
        audience = claims.get("aud")
        if not isinstance(audience, str) or not self._is_here(audience):
            raise TokenError("audience", "this token opens another hub, or no hub")
        tenant_id, user_id = read_subject(claims.get("nameid"), "nameid")
        return ClientClaims(tenant_id=tenant_id, user_id=user_id)

    def _is_here(self, audience: str) -> bool:
        try:
            parts = urlsplit(audience)
        except ValueError:
            return False
        hubs = [each.lower() for each in parse_qs(parts.query).get("hub", ())]
        return parts.path.rstrip("/") == f"{PREFIX}/client" and hubs == [self.hub]
