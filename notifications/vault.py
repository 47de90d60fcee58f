"""Encryption at rest: AES-256-GCM, under keys that the ciphertext names.

    v1.<key id>.<base64 of nonce and ciphertext>

The newest key seals, every key opens, so a new one is put in front of HUNTAZE_ENCRYPTION_KEYS and
the old one stays until nothing names it any more. The context (whose value it is) is authenticated
with it: a ciphertext copied to another row does not open there.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from notifications.errors import ConfigurationError, HuntazeError
from notifications.ports import Dice

SETTING = "HUNTAZE_ENCRYPTION_KEYS"
"""The setting that holds the keys, newest first."""

KEY_BYTES = 32
_NONCE_BYTES = 12
_SEALED = re.compile(r"v1\.([0-9a-f]{8})\.([A-Za-z0-9+/]+={0,2})")


class SealError(HuntazeError):
    """A stored value is no ciphertext, was altered, or belongs to another context."""


class Vault:
    """Seals and opens what must not be readable in the database."""

    def __init__(self, keys: Sequence[bytes], dice: Dice) -> None:
        """Take the keys.

        Args:
            keys: 32 bytes each, newest first.
            dice: Where nonces come from.

        Raises:
            ConfigurationError: There is no key, or one of another length.
        """
        if not keys:
            raise ConfigurationError(f"{SETTING} holds no key: give at least one")
        if any(len(key) != KEY_BYTES for key in keys):
            raise ConfigurationError(f"{SETTING}: each key has exactly {KEY_BYTES} bytes")
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._newest = key_id(keys[0])
        self._dice = dice

    def seal(self, plain: bytes, *, context: str) -> str:
        """Encrypt under the newest key.

        Args:
            plain: What to hide.
            context: Whose it is, e.g. tenant and endpoint id; needed again to open it.
        """
        nonce = self._dice.token(_NONCE_BYTES)
        ciphertext = self._ciphers[self._newest].encrypt(nonce, plain, context.encode())
        return f"v1.{self._newest}.{base64.b64encode(nonce + ciphertext).decode()}"

    def open(self, sealed: str, *, context: str) -> bytes:
        """Decrypt what `seal` returned.

        Raises:
            ConfigurationError: Its key is not among ours; names the key and the setting.
            SealError: It is damaged, altered, or was sealed in another context.
        """
        name, blob = _parse(sealed)
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise ConfigurationError(
                f"stored secrets are encrypted with key {name}, which {SETTING} lacks: add it again"
            )
        try:
            return cipher.decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError) as error:
            raise SealError(
                f"a value sealed with key {name} was altered or belongs elsewhere ({context})"
            ) from error

    def missing_keys(self, sealed: Iterable[str]) -> set[str]:
        """The key ids that these ciphertexts name and we lack: looked at once, at start.

        What is no ciphertext at all names no key; opening it says so.
        """
        named = {match[1] for value in sealed if (match := _SEALED.fullmatch(value))}
        return named - self._ciphers.keys()


def key_id(key: bytes) -> str:
    """The name under which ciphertexts know a key: 8 hex digits, says nothing about the key."""
    return hashlib.sha256(key).hexdigest()[:8]


def parse_key(text: str) -> bytes:
    """Read a key from its text form, base64 of 32 bytes.

    Raises:
        ConfigurationError: It is none; names the setting and never repeats the text.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"{SETTING}: each key is the base64 of {KEY_BYTES} random bytes (44 characters), "
            "e.g. from `openssl rand -base64 32`; several are separated by commas, newest first"
        )
    return key


def _parse(sealed: str) -> tuple[str, bytes]:
    match = _SEALED.fullmatch(sealed)
    try:
        if match is not None:
            return match[1], base64.b64decode(match[2], validate=True)
    except binascii.Error:
        pass
    raise SealError("a stored value is not in the form v1.<key id>.<base64>")
