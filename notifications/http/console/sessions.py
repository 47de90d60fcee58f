"""Who is signed in: a signed cookie that says nothing of the key, and the token of its forms.

A session is not stored. Its signature is made with the admin key that opened it and a secret of the
hub: it holds over a restart and in every process, and ends when either is taken out of the
settings. What signed out is remembered by this process until it would have run out anyway.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from notifications.ports import Clock, Dice

LASTS_S = 12 * 3_600
"""A session ends after a working day."""

_NONCE_BYTES = 16
_FORM = re.compile(
    r"1\.(?P<expires>[0-9]{1,12})\.(?P<nonce>[A-Za-z0-9_-]{22})\.(?P<mac>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody is signed in.

    Attributes:
        nonce: Names the session.
        expires: When it ends, seconds since the epoch.
        csrf: What its forms carry.
    """

    nonce: str
    expires: int
    csrf: str


class Sessions:
    """Opens, reads and ends sessions."""

    def __init__(
        self, admin_keys: Sequence[str], secrets: Sequence[str], clock: Clock, dice: Dice
    ) -> None:
        """Sign with what only the hub and its admin know; newest first, as in the settings."""
        self._digests = [hashlib.sha256(key.encode()).digest() for key in admin_keys]
        self._secrets = [secret.encode() for secret in secrets]
        self._clock = clock
        self._dice = dice
        self._ended: dict[str, int] = {}

    def begin(self, key: str) -> str | None:
        """The cookie of a new session for who has the admin key; None for who has not."""
        given = hashlib.sha256(key.encode("utf-8", "replace")).digest()
        # By digest, and all of them: how long it takes tells nothing of how much is right.
        fitting = [each for each in self._digests if hmac.compare_digest(given, each)]
        if not fitting:
            return None
        nonce = base64.urlsafe_b64encode(self._dice.token(_NONCE_BYTES)).decode().rstrip("=")
        payload = f"1.{self._now() + LASTS_S}.{nonce}"
        return f"{payload}.{_mac(self._signer(self._secrets[0], fitting[0]), 'session', payload)}"

    def read(self, cookie: str | None) -> Session | None:
        """The session of a cookie; None where it is none, or over."""
        found = _FORM.fullmatch(cookie or "")
        if found is None:
            return None
        payload, expires = found[0].rpartition(".")[0], int(found["expires"])
        for secret in self._secrets:
            for digest in self._digests:
                signer = self._signer(secret, digest)
                if not hmac.compare_digest(_mac(signer, "session", payload), found["mac"]):
                    continue
                if expires <= self._now() or found["nonce"] in self._ended:
                    return None
                csrf = _mac(signer, "form", payload)
                return Session(nonce=found["nonce"], expires=expires, csrf=csrf)
        return None

    def end(self, session: Session) -> None:
        """Signed out: its cookie opens nothing any more."""
        now = self._now()
        self._ended = {nonce: at for nonce, at in self._ended.items() if at > now}
        self._ended[session.nonce] = session.expires

    def _now(self) -> int:
        return int(self._clock.wall().timestamp())

    @staticmethod
    def _signer(secret: bytes, digest: bytes) -> bytes:
        return hmac.digest(secret, b"huntaze console\0" + digest, "sha256")


def _mac(signer: bytes, purpose: str, payload: str) -> str:
    return hmac.new(signer, f"{purpose}\0{payload}".encode(), "sha256").hexdigest()
