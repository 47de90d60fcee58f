"""Shared access signatures: who may come in, and until when. Pure.

`SharedAccessSignature sr=<uri>&sig=<signature>&se=<seconds since the epoch>&skn=<policy>`, signed
with HMAC-SHA256 over `sr`, a line feed and `se`, by the text of the policy's key.
"""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus, urlsplit

from notifications.errors import HuntazeError

EMULATOR_POLICY = "RootManageSharedAccessKey"
EMULATOR_KEY = "SAS_KEY_VALUE"
"""What everybody knows: for listeners on loopback only."""

_SCHEME = "SharedAccessSignature "
_MAX_TOKEN = 4096
_FIELDS = frozenset({"sr", "sig", "se", "skn"})


class Refused(HuntazeError):
    """The token opens nothing; the message says why, and holds nothing of the token's secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token opens.

    Attributes:
        path: Everything at and below it, case-folded; empty is everything.
        expires_at: Seconds since the epoch.
    """

    path: str
    expires_at: float

    def covers(self, path: str) -> bool:
        """Whether a path, as of `path_of`, is at or below what it opens."""
        return not self.path or path == self.path or path.startswith(self.path + "/")


def plain_path(address: str) -> str:
    """The path in a URI or a bare address, without slashes around it.

    Clients name their host as they reach it, with and without a port, as `sb`, `amqps` or `http`:
    which of its names a listener is called by is not for it to know.

    Raises:
        ValueError: It is no URI.
    """
    return (urlsplit(address).path if "://" in address else address).strip("/")


def path_of(address: str) -> str:
    """`plain_path`, case-folded: as grants are compared."""
    return plain_path(address).casefold()


def check(token: str, keys: Mapping[str, str], now: float, *, path: str = "") -> Grant:
    """What the token opens.

    Args:
        token: As a client sent it.
        keys: The policies' keys, by their names.
        now: Seconds since the epoch.
        path: What it has to open, as of `path_of`.

    Raises:
        Refused: It is malformed, expired, of an unknown policy, signed with another key, or for
            another path.
    """
    fields = _fields(token)
    try:
        expires_at = float(int(fields["se"]))
    except (ValueError, OverflowError):
        raise Refused("the token's expiry (se) is no number of seconds") from None
    signed = f"{fields['sr']}\n{fields['se']}".encode()
    policy = unquote_plus(fields["skn"])
    # An unknown policy costs the same work as a known one.
    key = keys.get(policy, "")
    made = base64.b64encode(hmac.digest(key.encode(), signed, "sha256"))
    if not hmac.compare_digest(made, unquote_plus(fields["sig"]).encode()) or not key:
        raise Refused("the token's signature is not that of a policy of this namespace")
    if expires_at <= now:
        raise Refused("the token has expired; is the client's clock right?")
    try:
        grant = Grant(path=path_of(unquote_plus(fields["sr"])), expires_at=expires_at)
    except ValueError:
        raise Refused("the token's resource (sr) is no URI") from None
    if path and not grant.covers(path):
        raise Refused("the token is for another resource (sr)")
    return grant


def _fields(token: str) -> Mapping[str, str]:
    if len(token) > _MAX_TOKEN:
        raise Refused(f"the token is longer than {_MAX_TOKEN} characters")
    if not token.startswith(_SCHEME):
        raise Refused("the token is no shared access signature: others are not taken here")
    pairs = [part.partition("=") for part in token[len(_SCHEME) :].split("&")]
    fields = {name: value for name, _, value in pairs}
    if missing := _FIELDS - fields.keys():
        raise Refused(f"the token has no {', '.join(sorted(missing))}")
    return fields
