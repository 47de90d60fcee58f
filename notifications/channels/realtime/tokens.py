"""Who may open what: the hub's user tokens, and the access tokens of Web PubSub clients.

Both are JWTs (HS256), signed with the newest of the hub's secrets and accepted under any of
them, so that a secret can be rotated. Neither stands in for the other, though they share the
secrets: an access token names its audience, which a user token must not; a user token names its
tenant in `tid`, which an access token lacks.

    user token     sub = user, tid = tenant, exp
    access token   aud = <origin>/client/hubs/<hub>, sub = <tenant>/<user>, iat, exp, role?,
                   webpubsub.group?  (what Microsoft's SDK signs with an access key)

A backend may sign either itself. What is validly signed is accepted; `exp` is required and lies
at most `MAX_LIFE` ahead: nothing but a new secret revokes a token.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from jwt.types import Options

from notifications.errors import ConfigurationError, FieldError, HuntazeError, InvalidInput
from notifications.events import is_tenant_id, is_user_id
from notifications.ports import Clock

MAX_LIFE = timedelta(hours=24)
"""The furthest that `exp` may lie ahead, when a token is issued and when it is read."""

_SKEW_S = 60
"""How far a backend's clock may run ahead of ours, for `nbf` and `MAX_LIFE`; `exp` is strict."""

_ALGORITHM = "HS256"
_MIN_SECRET_BYTES = 32
_MAX_TOKEN_CHARACTERS = 8 * 1024
_CHECKED_HERE: Options = {  # by our clock, and with errors of our own
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
}


class TokenError(HuntazeError):
    """A token that opens nothing.

    Attributes:
        reason: Short and constant: `malformed`, `signature`, `expired`, `not-yet-valid`,
            `life`, `claims`, `audience`. Never a part of the token.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientClaims:
    """What an access token says of the client that shows it.

    Attributes:
        tenant_id: Whose.
        user_id: Who.
        roles: Web PubSub's roles, e.g. `webpubsub.joinLeaveGroup.<group>`.
        groups: What it joins when it connects.
    """

    tenant_id: str
    user_id: str
    roles: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The realtime user id: ids are unique within their tenant only."""
        return f"{self.tenant_id}/{self.user_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAccess:
    """What an unmodified Web PubSub client needs to connect.

    Attributes:
        url: Where to connect, the token included.
        token: The token alone.
        expires_at: When it no longer opens a socket; one that is open stays.
    """

    url: str = field(repr=False)
    token: str = field(repr=False)
    expires_at: datetime


class UserTokens:
    """Tokens that open negotiate, inbox and preferences of one user, and nothing else."""

    def __init__(self, secrets: Sequence[str], clock: Clock) -> None:
        self._keys = SignedTokens(secrets, clock)

    def issue(self, tenant_id: str, user_id: str, expires_in_s: int) -> tuple[str, datetime]:
        """A token for one user, and when it expires.

        Raises:
            InvalidInput: `expires_in_s` is not between one second and a day.
        """
        expires_at = self._keys.expiry(expires_in_s)
        claims = {"sub": user_id, "tid": tenant_id, "exp": int(expires_at.timestamp())}
        return self._keys.sign(claims), expires_at

    def read(self, token: str) -> tuple[str, str]:
        """The tenant and the user of a token.

        Raises:
            TokenError: It is not one of ours, not valid now, or not a user token.
        """
        claims = self._keys.read(token)
        if "aud" in claims:
            raise TokenError("audience", "this token is meant for something else")
        return _user(claims.get("tid"), claims.get("sub"))


class ClientTokens:
    """Tokens that open a socket of one hub, as Web PubSub's own."""

    def __init__(self, secrets: Sequence[str], clock: Clock, *, hub: str) -> None:
        self.hub = hub
        self._keys = SignedTokens(secrets, clock)

    def issue(
        self,
        origin: str,
        tenant_id: str,
        user_id: str,
        expires_in_s: int,
        *,
        roles: Sequence[str] = (),
        groups: Sequence[str] = (),
    ) -> ClientAccess:
        """Access for one user's client.

        Args:
            origin: Where the client reaches this hub, e.g. `https://hub.example`.
            tenant_id: Whose.
            user_id: Who.
            expires_in_s: How long the token opens a socket.
            roles: What the client may do besides listening.
            groups: What it joins when it connects.

        Raises:
            InvalidInput: `expires_in_s` is not between one second and a day.
        """
        expires_at = self._keys.expiry(expires_in_s)
        audience = f"{origin.rstrip('/').lower()}/client/hubs/{self.hub}"
        exp = int(expires_at.timestamp())
        claims: dict[str, Any] = {
            "aud": audience,
            "iat": exp - expires_in_s,
            "exp": exp,
            "sub": f"{tenant_id}/{user_id}",
        }
        if roles:
            claims["role"] = list(roles)
        if groups:
            claims["webpubsub.group"] = list(groups)
        token = self._keys.sign(claims)
        url = f"ws{audience.removeprefix('http')}?access_token={token}"
        return ClientAccess(url=url, token=token, expires_at=expires_at)

    def read(self, token: str) -> ClientClaims:
        """What a token says.

        The origin in its audience is not compared: one hub is reached under many names
        (loopback, a proxy, its public one), and no other hub signs with these secrets.

        Raises:
            TokenError: It is not one of ours, not valid now, or not for this hub.
        """
        claims = self._keys.read(token)
        if not any(self._is_here(audience) for audience in _strings(claims, "aud")):
            raise TokenError("audience", "this token opens another hub, or no hub")
        tenant_id, user_id = read_subject(claims.get("sub"), "sub")
        return ClientClaims(
            tenant_id=tenant_id,
            user_id=user_id,
            roles=frozenset(_strings(claims, "role")),
            groups=tuple(dict.fromkeys(_strings(claims, "webpubsub.group"))),
        )

    def _is_here(self, audience: str) -> bool:
        scheme, _, rest = audience.partition("://")
        host, _, path = rest.partition("/")
        return scheme in ("http", "https") and host != "" and path == f"client/hubs/{self.hub}"


class SignedTokens:
    """Signs with the newest secret, accepts any; judges times by the hub's clock."""

    def __init__(self, secrets: Sequence[str], clock: Clock) -> None:
        if not secrets or any(len(secret.encode()) < _MIN_SECRET_BYTES for secret in secrets):
            raise ConfigurationError(
                "HUNTAZE_USER_TOKEN_SECRET: at least one secret, each of at least"
                f" {_MIN_SECRET_BYTES} bytes"
            )
        self._secrets = tuple(secrets)
        self._clock = clock

    def expiry(self, expires_in_s: int) -> datetime:
        """When something that lasts so long expires.

        Raises:
            InvalidInput: It is not between one second and a day.
        """
        longest = int(MAX_LIFE.total_seconds())
        if not 1 <= expires_in_s <= longest:
            raise InvalidInput(
                [FieldError("/expiresInSeconds", f"must be between 1 and {longest}")]
            )
        return datetime.fromtimestamp(int(self._now()) + expires_in_s, UTC)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token that says this."""
        return jwt.encode(dict(claims), self._secrets[0], algorithm=_ALGORITHM)

    def read(self, token: str) -> Mapping[str, Any]:
        """What a token says that is ours and valid now.

        Raises:
            TokenError: It is not.
        """
        if len(token) > _MAX_TOKEN_CHARACTERS or not token.isascii():
            raise TokenError("malformed", "this is not a token")
        claims = self._verified(token)
        now = self._now()
        exp = _moment(claims, "exp")
        if exp is None:
            raise TokenError("claims", "`exp` is required")
        if now >= exp:
            raise TokenError("expired", "this token has expired")
        if exp - now > MAX_LIFE.total_seconds() + _SKEW_S:
            raise TokenError("life", "`exp` lies more than 24 hours ahead")
        if (_moment(claims, "nbf") or 0) > now + _SKEW_S:
            raise TokenError("not-yet-valid", "this token is not valid yet")
        return claims

    def _verified(self, token: str) -> Mapping[str, Any]:
        for secret in self._secrets:
            try:
                return jwt.decode(token, secret, algorithms=[_ALGORITHM], options=_CHECKED_HERE)
            except jwt.InvalidSignatureError:
                continue
            except jwt.PyJWTError as error:
                raise TokenError("malformed", "this is not a token of this hub") from error
        raise TokenError("signature", "this token was signed by somebody else")

    def _now(self) -> float:
        return self._clock.wall().timestamp()


def read_subject(subject: object, claim: str) -> tuple[str, str]:
    """The tenant and the user of a realtime user id.

    Raises:
        TokenError: It is none; names the claim.
    """
    # Tenant ids have no slash, so the first one ends the tenant; user ids may have more.
    tenant_id, slash, user_id = subject.partition("/") if isinstance(subject, str) else ("",) * 3
    if not slash:
        raise TokenError("claims", f"`{claim}` must be <tenant>/<user>")
    return _user(tenant_id, user_id)


def _user(tenant_id: object, user_id: object) -> tuple[str, str]:
    if not is_tenant_id(tenant_id) or not is_user_id(user_id):
        raise TokenError("claims", "this token names no user of a tenant")
    return str(tenant_id), str(user_id)


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenError("claims", f"`{name}` must be seconds since the epoch")
    return value


def _strings(claims: Mapping[str, Any], name: str) -> Sequence[str]:
    """A claim that is a string, a list of strings, or absent."""
    value = claims.get(name, [])
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise TokenError("claims", f"`{name}` must be a string or a list of strings")
    return values
