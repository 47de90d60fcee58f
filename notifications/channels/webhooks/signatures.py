"""Standard Webhooks 1.0: what we sign, and how a receiver checks it.

signed        <webhook-id>.<webhook-timestamp>.<body>
v1            HMAC-SHA256, secret `whsec_` + base64
v1a           ed25519, public key `whpk_` + base64
header        webhook-signature: v1,<base64> v1a,<base64>   several while a secret rotates
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from notifications.directory import Endpoint, SigningSecret
from notifications.errors import HuntazeError
from notifications.ports import Dice
from notifications.retries import DAY

SECRET_PREFIX = "whsec_"  # noqa: S105  # the public prefix of the text form, not a secret
PUBLIC_KEY_PREFIX = "whpk_"
PRIVATE_KEY_PREFIX = "whsk_"
SCHEMES = ("v1", "v1a")
"""The signatures an endpoint may ask for; `v1` is always sent."""

KEY_BYTES = 32
MAX_SECRETS = 10
"""Generations that sign at once: rotating in a loop must not make headers and signing grow."""

TOLERANCE_S = 300
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
# No full stop: it separates what is signed, so an id that holds one could be read in two ways.
_WEBHOOK_ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,256}")
_CACHED_KEYS = 8192


class SignatureError(HuntazeError):
    """A request that is not signed as it must be, or a key that is none; says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A request that its signer really sent.

    Attributes:
        webhook_id: The same for every attempt: what to deduplicate by.
        timestamp: When the attempt was made, seconds since the epoch.
        scheme: `v1` or `v1a`.
    """

    webhook_id: str
    timestamp: int
    scheme: str


# --------------------------------------------------------------------------- secrets


def new_secret(dice: Dice) -> SigningSecret:
    """A fresh generation of an endpoint's keys."""
    return SigningSecret(key=dice.token(KEY_BYTES), private_key=dice.token(KEY_BYTES))


def secret_text(secret: SigningSecret) -> str:
    """The HMAC key as its customer sees it, once: `whsec_…`."""
    return SECRET_PREFIX + base64.b64encode(secret.key).decode()


def private_key_text(secret: SigningSecret) -> str:
    """The ed25519 private key in the notation of Standard Webhooks: `whsk_…`."""
    return PRIVATE_KEY_PREFIX + base64.b64encode(secret.private_key).decode()


def public_key_text(secret: SigningSecret) -> str:
    """The ed25519 public key as its customer sees it, always: `whpk_…`."""
    public = _private_key(secret.private_key).public_key().public_bytes_raw()
    return PUBLIC_KEY_PREFIX + base64.b64encode(public).decode()


def rotate(
    secrets: Sequence[SigningSecret], new: SigningSecret, now: int, *, overlap: int = DAY
) -> tuple[SigningSecret, ...]:
    """Put a new secret in front; the former newest signs along until the overlap is over.

    Args:
        secrets: Newest first.
        new: The generation that takes over.
        now: ms since the epoch.
        overlap: How long the former one still signs, ms.
    """
    ends = now + overlap
    former = [
        replace(old, expires_at=ends if old.expires_at is None else min(old.expires_at, ends))
        for old in secrets
    ]
    return (new, *live_secrets(former, now))[:MAX_SECRETS]


def live_secrets(secrets: Sequence[SigningSecret], now: int) -> tuple[SigningSecret, ...]:
    """Those that have not run out at `now`, ms since the epoch."""
    return tuple(s for s in secrets if s.expires_at is None or s.expires_at > now)


# --------------------------------------------------------------------------- signing


def sign(endpoint: Endpoint, webhook_id: str, timestamp: int, body: bytes, now_ms: int) -> str:
    """The value of `webhook-signature`: every secret that has not run out signs.

    Args:
        endpoint: Whose secrets and schemes.
        webhook_id: `webhook-id`; contains no full stop.
        timestamp: `webhook-timestamp`, seconds since the epoch.
        body: The bytes that are posted.
        now_ms: ms since the epoch by the ledger's clock, against which secrets run out.
    """
    content = signed_content(webhook_id, str(timestamp), body)
    asymmetric = "v1a" in endpoint.signatures
    signatures = []
    for secret in endpoint.secrets:
        if secret.expires_at is not None and secret.expires_at <= now_ms:
            continue
        signatures.append(sign_v1(secret, content))
        if asymmetric:
            signatures.append(sign_v1a(secret, content))
    return " ".join(signatures)


def signed_content(webhook_id: str, timestamp: str, body: bytes) -> bytes:
    """What the signatures are over."""
    return b"%b.%b.%b" % (webhook_id.encode(), timestamp.encode(), body)


def sign_v1(secret: SigningSecret, content: bytes) -> str:
    """One signature of `webhook-signature`, with the secret that the receiver has, too."""
    return "v1," + _base64(_hmac(secret.key, content))


def sign_v1a(secret: SigningSecret, content: bytes) -> str:
    """One signature of `webhook-signature`, with the private key."""
    return "v1a," + _base64(_private_key(secret.private_key).sign(content))


@lru_cache(maxsize=_CACHED_KEYS)
def _prepared_hmac(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod=hashlib.sha256)


@lru_cache(maxsize=_CACHED_KEYS)
def _private_key(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def _hmac(key: bytes, content: bytes) -> bytes:
    # Keyed once and copied: setting the key up costs as much as signing 700 bytes.
    prepared = _prepared_hmac(key).copy()
    prepared.update(content)
    return prepared.digest()


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


# --------------------------------------------------------------------------- verifying


def verify(
    headers: Mapping[str, str],
    body: bytes,
    keys: Sequence[str],
    now: datetime,
    *,
    tolerance_s: int = TOLERANCE_S,
) -> Verified:
    """Check a request as its receiver must.

    Args:
        headers: The request's headers, names in any case.
        body: The raw bytes, before anything decodes them.
        keys: What the receiver trusts: `whsec_…` and `whpk_…`; one that fits is enough.
        now: The receiver's clock, with a zone.
        tolerance_s: How far the timestamp may be away, to either side.

    Raises:
        SignatureError: For everything that is missing, malformed, too old, too new or forged,
            and for a key that is none. Nothing else is raised, whatever the headers hold.
    """
    trusted = [read_key(key) for key in keys]
    lowered = {str(name).lower(): value for name, value in headers.items()}
    webhook_id = _header(lowered, "webhook-id")
    if _WEBHOOK_ID.fullmatch(webhook_id) is None:
        raise SignatureError("webhook-id is not 1-256 printable ASCII characters without full stop")
    timestamp = _check_timestamp(_header(lowered, "webhook-timestamp"), now, tolerance_s)
    signatures = _signatures(_header(lowered, "webhook-signature"))
    content = signed_content(webhook_id, str(timestamp), body)
    for key in trusted:
        if key.fits(signatures, content):
            return Verified(webhook_id=webhook_id, timestamp=timestamp, scheme=key.scheme)
    raise SignatureError("no signature in webhook-signature fits the body and a trusted key")


@dataclass(frozen=True, slots=True)
class _SymmetricKey:
    """The HMAC key, which the receiver shares with the signer."""

    key: bytes
    scheme: str = "v1"

    def fits(self, signatures: Sequence[tuple[str, bytes]], content: bytes) -> bool:
        expected = _hmac(self.key, content)
        # No early end: how long it takes must not tell which one fitted, or how nearly.
        fitting = [hmac.compare_digest(expected, s) for scheme, s in signatures if scheme == "v1"]
        return any(fitting)


@dataclass(frozen=True, slots=True)
class _PublicKey:
    """The signer's public key."""

    key: Ed25519PublicKey
    scheme: str = "v1a"

    def fits(self, signatures: Sequence[tuple[str, bytes]], content: bytes) -> bool:
        return any(self._signed(s, content) for scheme, s in signatures if scheme == "v1a")

    def _signed(self, signature: bytes, content: bytes) -> bool:
        try:
            self.key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


def read_secret(text: str) -> bytes:
    """The HMAC key in `whsec_…`.

    Raises:
        SignatureError: It is none.
    """
    key = _decoded(text.removeprefix(SECRET_PREFIX))
    if not text.startswith(SECRET_PREFIX) or not key:
        raise SignatureError("a secret is whsec_ followed by base64")
    return key


def read_private_key(text: str) -> bytes:
    """The ed25519 seed in `whsk_…`, whether or not the public key is in it, too.

    Raises:
        SignatureError: It is none.
    """
    key = _decoded(text.removeprefix(PRIVATE_KEY_PREFIX))
    if not text.startswith(PRIVATE_KEY_PREFIX) or len(key) not in (KEY_BYTES, 2 * KEY_BYTES):
        raise SignatureError("a private key is whsk_ followed by 32 or 64 bytes in base64")
    return key[:KEY_BYTES]


def _decoded(encoded: str) -> bytes:
    encoded = encoded.rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:  # binascii.Error is one
        return b""


def read_key(text: str) -> _SymmetricKey | _PublicKey:
    """A key that a receiver trusts: `whsec_…` or `whpk_…`.

    Raises:
        SignatureError: It is none.
    """
    key = _decoded(text.removeprefix(PUBLIC_KEY_PREFIX).removeprefix(SECRET_PREFIX))
    if text.startswith(PUBLIC_KEY_PREFIX):
        with suppress(ValueError):
            return _PublicKey(Ed25519PublicKey.from_public_bytes(key))
        key = b""
    if not key:
        raise SignatureError("a key is whsec_ or whpk_ followed by base64")
    return _SymmetricKey(key)


def _header(headers: Mapping[str, object], name: str) -> str:
    value = headers.get(name)
    if not isinstance(value, str) or not value:
        raise SignatureError(f"the header {name} is missing")
    return value


def _check_timestamp(text: str, now: datetime, tolerance_s: int) -> int:
    if _TIMESTAMP.fullmatch(text) is None:
        raise SignatureError("webhook-timestamp is not a whole number of seconds")
    timestamp = int(text)
    if abs(now.timestamp() - timestamp) > tolerance_s:
        age = "old" if timestamp < now.timestamp() else "new"
        raise SignatureError(f"webhook-timestamp is too {age}: over {tolerance_s} s away")
    return timestamp


def _signatures(header: str) -> list[tuple[str, bytes]]:
    """Those that could fit; other schemes and malformed ones are passed over."""
    found = []
    for part in header.split(" "):
        scheme, comma, encoded = part.partition(",")
        if not comma or scheme not in SCHEMES:
            continue
        try:
            found.append((scheme, base64.b64decode(encoded, validate=True)))
        except ValueError:  # binascii.Error is one
            continue
    return found
