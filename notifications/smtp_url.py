"""Where mails go out over SMTP: the form of `HUNTAZE_SMTP_URL`. Pure, but for the CA file.

    smtp://user:password@mail.example.com:587?starttls=required&timeout=20s&connections=4
    smtps://user:password@mail.example.com:465?ca=/etc/ssl/relay.pem&name=hub.example.com

No error repeats what may be part of a password: in a URL that is read wrong it may be anywhere.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from notifications import setting_forms as forms
from notifications.retries import MINUTE, SECOND

SETTING = "HUNTAZE_SMTP_URL"
SUBMISSION_PORT = 587
TLS_PORT = 465
MOST_CONNECTIONS = 64

_EXAMPLE = "smtp://user:password@mail.example.com:587"
_CODED = "in user name and password write % as %25, / as %2F, # as %23, ? as %3F, @ as %40"
_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_LITERAL_NAME = re.compile(r"\[[0-9A-Za-z:.]{2,60}\]")


class Tls(StrEnum):
    """How the connection is encrypted."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """The mail server that takes our mails, and how it is spoken to.

    Attributes:
        host: Its name or address.
        port: Its port.
        tls: How the connection is encrypted; a certificate is always verified.
        username: Whom to sign in as, or None.
        password: With what.
        ca_file: Certificates to trust beside the system's.
        timeout: Seconds for one attempt, everything included.
        connections: Connections at once, at most.
        name: What to call this machine; None is its own name.
        bounces: Where mail servers report what they could not deliver; None is the sender.
    """

    host: str
    port: int = SUBMISSION_PORT
    tls: Tls = Tls.STARTTLS
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    timeout: float = 20.0
    connections: int = 8
    name: str | None = None
    bounces: str | None = None

    @property
    def shown(self) -> str:
        """The URL's beginning, without the password."""
        scheme = "smtps" if self.tls is Tls.IMPLICIT else "smtp"
        who = f"{self.username}@" if self.username is not None else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{who}{host}:{self.port}"


def read_relay(text: str) -> Relay:
    """The relay that a URL describes.

    Raises:
        ValueError: What is wrong and what would be right, without any of the text.
    """
    parts, port = _parts(text)
    options = _options(parts.query)
    host = _host(parts)
    username, password = _credentials(parts)
    tls = _tls(parts.scheme, options.pop("starttls", None), loopback=_is_loopback(host))
    if username is not None and tls is Tls.NONE and not _is_loopback(host):
        raise ValueError(
            "the password would travel unencrypted: take starttls=never out, or use smtps://"
        )
    default_port = TLS_PORT if tls is Tls.IMPLICIT else SUBMISSION_PORT
    return Relay(
        host=host,
        port=default_port if port is None else port,
        tls=tls,
        username=username,
        password=password,
        **options,
    )


def _parts(text: str) -> tuple[SplitResult, int | None]:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"has a character that no URL has; {_CODED}")
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:  # says what it could not read
        raise ValueError(f"is no URL such as {_EXAMPLE}; {_CODED}") from None
    if parts.scheme not in ("smtp", "smtps") or not host or port == 0:
        raise ValueError(f"is no URL such as {_EXAMPLE}, or smtps:// for TLS from the start")
    if parts.path not in ("", "/") or "#" in text:
        raise ValueError(f"has something between host and options; {_CODED}")
    return parts, port


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    try:
        return str(ip_address(host))
    except ValueError:
        if _NAME.fullmatch(host) is None:
            raise ValueError("has no host name such as mail.example.com") from None
    return host


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    if "@" not in parts.netloc:
        return None, None
    try:
        username = unquote(parts.username or "", errors="strict")
        password = unquote(parts.password or "", errors="strict")
    except UnicodeDecodeError:
        raise ValueError("user name or password are no UTF-8 when decoded") from None
    if not username or not password:
        raise ValueError("needs a user name and a password before the @, or neither")
    if not (username + password).isprintable():
        raise ValueError("user name or password hold a control character")
    return username, password


def _tls(scheme: str, starttls: str | None, *, loopback: bool) -> Tls:
    if scheme == "smtps":
        if starttls is not None:
            raise ValueError("starttls is for smtp://; smtps:// is encrypted from the start")
        return Tls.IMPLICIT
    if starttls is None:
        return Tls.NONE if loopback else Tls.STARTTLS
    return Tls.STARTTLS if starttls == "required" else Tls.NONE


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


# --------------------------------------------------------------------------- options


def _options(query: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ValueError("what follows the ? is no list such as timeout=20s&connections=4") from (
            None
        )
    for name, value in pairs:
        known = _OPTIONS.get(name)
        if known is None:
            raise ValueError(f"has an option that is none; there are {', '.join(_OPTIONS)}")
        target, read = known
        if target in options:
            raise ValueError(f"has {name} twice")
        if "@" in value and name != "bounces":
            raise ValueError(f"has an @ in {name}; {_CODED}")  # the end of a password, perhaps
        try:
            options[target] = read(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return options


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None and _LITERAL_NAME.fullmatch(text) is None:
        raise ValueError("write this machine's name as hub.example.com, or [192.0.2.1]")
    return text


def _address(text: str) -> str:
    try:
        if parseaddr(text)[1] == text:
            return forms.mailbox(text)
    except ValueError:
        pass  # its error repeats the text
    raise ValueError("write one address alone, bounces@example.com")


_OPTIONS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "starttls": ("starttls", forms.one_of("required", "never")),
    "ca": ("ca_file", forms.certificates),
    "timeout": ("timeout", forms.seconds(1 * SECOND, 1 * MINUTE)),
    "connections": ("connections", forms.whole(1, MOST_CONNECTIONS)),
    "name": ("name", _name),
    "bounces": ("bounces", _address),
}
