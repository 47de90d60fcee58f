"""Who may call the socket service's REST API: a server that has the access key.

Its token is what Microsoft's SDK makes: a JWT, signed with the text of the key (HS256), whose `aud`
is the URL that it calls and whose `exp` is a minute ahead. The access keys are the secrets of user
tokens: whoever has one may sign in as any user already, and the SDK's client tokens, which it
signs with the same key, open the sockets. What tells the tokens apart is what they are for: a
client's names `/client/…`, a user's names nothing, neither of which is a URL of this API.
"""

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from notifications.channels.realtime.tokens import SignedTokens, TokenError
from notifications.ports import Clock


class ServiceAccess:
    """Tells servers by the `Authorization` header. Signatures are compared in constant time."""

    def __init__(self, secrets: Sequence[str], clock: Clock) -> None:
        self._tokens = SignedTokens(secrets, clock)

    def check(self, authorization: str, path: str) -> None:
        """Let a call through.

        The origin in its audience is not compared, as with clients: one hub is reached under many
        names. Nor is the query: SDKs do not agree on what of it belongs there.

        Args:
            authorization: The header, or an empty string.
            path: What is called, percent-decoded or not.

        Raises:
            TokenError: There is no token, it is not one of ours or not valid now, or it is meant
                for something else.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenError("malformed", "send Authorization: Bearer <token>")
        claims = self._tokens.read(token.strip())
        audience = claims.get("aud")
        named = [audience] if isinstance(audience, str) else audience
        if not isinstance(named, list) or not any(_names(each, path) for each in named):
            raise TokenError("audience", "this token is meant for another call")


def _names(audience: object, path: str) -> bool:
    if not isinstance(audience, str):
        return False
    try:
        parts = urlsplit(audience)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and _plain(parts.path) == _plain(path)


def _plain(path: str) -> str:
    return unquote(path).rstrip("/")
