"""Who is calling: the admin, a tenant, or one user of a tenant."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from fastapi import Request

from notifications.errors import FieldError, HuntazeError, InvalidInput, NotFound
from notifications.http.problems import Refused
from notifications.http.services import Services

KEY_PREFIX = "hz_"
_REALM = 'Bearer realm="huntaze"'


class Caller(StrEnum):
    """The kinds of callers."""

    ADMIN = "admin"
    TENANT = "tenant"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling.

    Attributes:
        caller: The kind.
        tenant_id: Whose key or token it is; None for the admin.
        user_id: Whose token it is; None for keys.
        key_id: The tenant's key; None for the admin and for users.
    """

    caller: Caller
    tenant_id: str | None = None
    user_id: str | None = None
    key_id: str | None = None

    def tenant(self, named: str | None, *, place: str = "") -> str:
        """The tenant that a call is about.

        Args:
            named: What the call names, if anything: the admin must, others need not.
            place: JSON pointer to where it is named; empty for the query.

        Raises:
            InvalidInput: The admin named none.
            NotFound: Another tenant's.
        """
        if self.tenant_id is None:
            if named is None:
                what = "required" if place else "the query parameter tenantId is required"
                raise InvalidInput([FieldError(place, f"{what}: the tenant that it is about")])
            return named
        if named is not None and named != self.tenant_id:
            raise NotFound("no such tenant")
        return self.tenant_id

    def tenant_or_all(self, named: str | None) -> str | None:
        """As `tenant`, but the admin who names none means everybody's."""
        if self.tenant_id is None and named is None:
            return None
        return self.tenant(named)


ADMIN = Principal(Caller.ADMIN)


class Gate:
    """Tells callers by the `Authorization` header."""

    def __init__(self, services: Services) -> None:
        self._admin = tuple(hashlib.sha256(key.encode()).digest() for key in services.admin_keys)
        self._keys = services.keys
        self._user_tokens = services.user_tokens

    async def principal(self, headers: Sequence[tuple[bytes, bytes]]) -> Principal:
        """Who sent these headers.

        Raises:
            Refused: 401: nobody who may call.
        """
        token = _bearer(headers)
        digest = hashlib.sha256(token).digest()
        # By digest: how long it takes tells nothing of how much of a key is right.
        if any(hmac.compare_digest(digest, known) for known in self._admin):
            return ADMIN
        key = await self._keys.find(digest)
        if key is not None:
            return Principal(Caller.TENANT, key.tenant_id, key_id=key.id)
        if token.count(b".") == 2:
            return self._user(token)
        raise unauthorized("This key is not known, or was revoked.", given=True)

    def _user(self, token: bytes) -> Principal:
        try:
            tenant_id, user_id = self._user_tokens.read(token.decode("latin-1"))
        except HuntazeError as error:
            raise unauthorized(f"{error}.".capitalize(), given=True) from None
        return Principal(Caller.USER, tenant_id, user_id)


def unauthorized(detail: str, *, given: bool) -> Refused:
    """401; `given` says that there was a key, and it opens nothing."""
    challenge = f'{_REALM}, error="invalid_token"' if given else _REALM
    return Refused(401, detail, headers={"www-authenticate": challenge})


def principal_of(request: Request) -> Principal:
    """Who is calling, on a route that has asked."""
    return cast("Principal", request.state.principal)


def _bearer(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.partition(b" ")
            if scheme.lower() == b"bearer" and (token := token.strip()):
                return token
    raise unauthorized("Send Authorization: Bearer <key>.", given=False)
