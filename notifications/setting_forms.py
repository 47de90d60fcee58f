"""The forms that settings take: from text to value. Pure, but for looking at named files.

Each reader raises `ValueError` with what is wrong and what would be right, to follow the name of
the variable. Readers of secrets never repeat what they read.
"""

import re
import ssl
from collections.abc import Callable, Sequence
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from notifications import vault
from notifications.errors import ConfigurationError
from notifications.mailing import MailLimits
from notifications.retries import DAY, HOUR, MINUTE, SECOND, RetryTable

Network = IPv4Network | IPv6Network
T = TypeVar("T")

_UNITS = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h)")
_WHOLE = re.compile(r"[0-9]{1,9}")
# What Web PubSub takes as a hub's name.
_HUB = re.compile(r"[A-Za-z][A-Za-z0-9_`,.\[\]]{0,127}")
# What a Bearer token may be made of (RFC 6750), so that a key fits into the header as it is.
_KEY = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_POLICY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_SHORTEST_KEY = 16
_URL_KEY = re.compile(r"[A-Za-z0-9._~-]{32,256}")
_MAIL_LIMITS = re.compile(r"([0-9]{1,7})/m,([0-9]{1,7})/h")
_INSIGHTS = re.compile(
    r"(?:^|;)InstrumentationKey=[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
)
_SHARE = re.compile(r"1(?:\.0{1,9})?|0(?:\.[0-9]{1,9})?")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?=.{{1,64}}@.{{1,253}}$){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")

_SECRET_BYTES = 32
_MAX_RETRIES = 50
_SHOWN = 32


def one_of(*choices: str) -> Callable[[str], str]:
    """One of the values that this release takes."""

    def read(text: str) -> str:
        if text.lower() in choices:
            return text.lower()
        taken = f"only {choices[0]}" if len(choices) == 1 else f"one of {', '.join(choices)}"
        raise ValueError(f"{_quoted(text)} is not among the values; this release takes {taken}")

    return read


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number, without a unit."""

    def read(text: str) -> int:
        if _WHOLE.fullmatch(text) and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"{_quoted(text)} is no whole number between {least} and {most}")

    return read


def seconds(least: int, most: int) -> Callable[[str], float]:
    """A duration between two others in ms, as seconds."""

    def read(text: str) -> float:
        found = duration(text)
        if not least <= found <= most:
            raise ValueError(
                f"{text} is out of bounds: between {in_words(least)} and {in_words(most)}"
            )
        return found / SECOND

    return read


def duration(text: str) -> int:
    """A duration, in ms: a whole number and its unit, `200ms`, `5s`, `2m` or `1h`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{_quoted(text)} is no duration: write a whole number and its unit,"
            " such as 200ms, 5s, 2m or 1h"
        )
    return int(match[1]) * _UNITS[match[2]]


def in_words(ms: int) -> str:
    """A duration in the form it is written in, in its largest whole unit."""
    unit = next(unit for unit in ("h", "m", "s", "ms") if ms % _UNITS[unit] == 0)
    return f"{ms // _UNITS[unit]}{unit}"


def retry_table(text: str) -> RetryTable:
    """The delays before each retry of a notification, within a day."""
    return _retry_table(text, DAY, "a delivery ends after a day")


def job_table(lifetime: int) -> Callable[[str], RetryTable]:
    """The delays before each retry of jobs that have so long, ms, from acceptance to deadline."""
    ends = f"such a job ends after {in_words(lifetime)}"
    return lambda text: _retry_table(text, lifetime, ends)


def _retry_table(text: str, lifetime: int, ends: str) -> RetryTable:
    delays = tuple(duration(each) for each in items(text))
    if len(delays) > _MAX_RETRIES:
        raise ValueError(f"{len(delays)} delays are too many: at most {_MAX_RETRIES}")
    if 0 in delays:
        raise ValueError("a delay of nothing would hammer the receiver: at least 1ms each")
    if sum(delays) > lifetime:
        raise ValueError(
            f"the delays add up to {in_words(sum(delays))}, but {ends}:"
            f" at most {in_words(lifetime)} in all"
        )
    return RetryTable(delays=delays, lifetime=lifetime)


def items(text: str) -> tuple[str, ...]:
    """The items of a comma-separated list."""
    found = tuple(each.strip() for each in text.split(","))
    if "" in found:
        raise ValueError("an item of the list is empty: put one comma between two items")
    return found


def each_of(read: Callable[[str], T], *, secret: bool = False) -> Callable[[str], tuple[T, ...]]:
    """A comma-separated list, each item in its form; items of secrets are named by their place."""

    def read_all(text: str) -> tuple[T, ...]:
        values = []
        for place, item in enumerate(items(text), start=1):
            try:
                values.append(read(item))
            except ValueError as error:
                raise ValueError(f"item {place}: {error}" if secret else str(error)) from None
        return tuple(values)

    return read_all


# --------------------------------------------------------------------------- secrets


def api_key(text: str) -> str:
    """A key as it travels in the Authorization header."""
    if _KEY.fullmatch(text) is None:
        raise ValueError("a key is made of letters, digits and - . _ ~ + / only")
    return text


def admin_key(text: str) -> str:
    """A key that nobody guesses."""
    if len(text) < _SECRET_BYTES:
        raise ValueError(f"an admin key has at least {_SECRET_BYTES} characters")
    return api_key(text)


def policy_key(text: str) -> tuple[str, str]:
    """A shared access policy and its key, `name=key`."""
    name, _, key = text.partition("=")
    if _POLICY.fullmatch(name) is None or _KEY.fullmatch(key) is None:
        raise ValueError("a policy and its key are written as name=key")
    if len(key) < _SHORTEST_KEY:
        raise ValueError(f"the key of {name} is shorter than {_SHORTEST_KEY} characters")
    return name, key


def token_secret(text: str) -> str:
    """A secret that signs user tokens."""
    if len(text.encode()) < _SECRET_BYTES or not text.isprintable():
        raise ValueError(f"a secret has at least {_SECRET_BYTES} printable characters")
    return text


def encryption_key(text: str) -> bytes:
    """A key of the vault."""
    try:
        return vault.parse_key(text)
    except ConfigurationError as error:
        raise ValueError(str(error).removeprefix(f"{vault.SETTING}: ")) from None


def reports_key(text: str) -> str:
    """What the address of reports carries: as it stands in a URL, and hard to guess."""
    if _URL_KEY.fullmatch(text) is None:
        raise ValueError("such a key has 32-256 letters, digits and - . _ ~")
    return text


# --------------------------------------------------------------------------- names and places


def mail_limits(text: str) -> MailLimits:
    """How many mails an account may send: `30/m,100/h`."""
    match = _MAIL_LIMITS.fullmatch(text.replace(" ", ""))
    if match is None or not int(match[1]) or not int(match[2]):
        raise ValueError(
            f"{_quoted(text)} are no limits: write mails a minute and mails an hour, as 30/m,100/h"
        )
    return MailLimits(per_minute=int(match[1]), per_hour=int(match[2]))


def ai_endpoint(text: str) -> str:
    """Where models answer."""
    parts = _http_url(text)
    if parts.query or parts.fragment:
        raise ValueError("the address of the models has no query and no fragment")
    return text.rstrip("/")


def ai_key(text: str) -> str:
    """What the models' endpoint is shown; it goes into a header."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a key is made of printable ASCII characters, without spaces")
    return text


def model_name(text: str) -> str:
    """The name of a model, or of its deployment."""
    if _MODEL.fullmatch(text) is None:
        raise ValueError(f"{_quoted(text)} is no model's name: 1-128 letters, digits and . _ : / -")
    return text


def hub_name(text: str) -> str:
    """A hub's name, as Web PubSub takes it."""
    if _HUB.fullmatch(text) is None:
        raise ValueError(
            f"{_quoted(text)} is no hub name: a letter, then letters, digits and _ ` , . [ ],"
            " at most 128 in all"
        )
    return text


def mailbox(text: str) -> str:
    """An address, or a name and an address in angle brackets."""
    _, address = parseaddr(text)
    whole = text in (address, f"<{address}>") or text.endswith(f" <{address}>")
    if not whole or not text.isprintable() or _ADDRESS.fullmatch(address) is None:
        raise ValueError(
            f"{_quoted(text)} is no sender: write name@example.com or Name <name@example.com>"
        )
    return text


def network(text: str) -> Network:
    """A network in CIDR notation, or one address."""
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{_quoted(text)} is no network: write it as 10.0.0.0/8 or fd00::/8"
        ) from None
    if str(found.network_address) != text.partition("/")[0].lower():
        raise ValueError(f"{_quoted(text)} is inside a network: write {found}, or one address")
    return found


def certificates(text: str) -> Path:
    """A PEM file with at least one certificate."""
    path = Path(text)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise ValueError(f"{path} holds no certificate in PEM form") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    return path


def json_file(text: str) -> Path:
    """A JSON file; whoever needs it reads it."""
    path = Path(text)
    if path.suffix != ".json":
        raise ValueError(f"{_quoted(text)} has to be a JSON file, such as prices.json")
    return path


def origin(text: str) -> str:
    """A web origin, as a browser sends it."""
    parts = _http_url(text)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(
            f"{_quoted(text)} is no origin: scheme, host and port alone,"
            " such as https://app.example.com"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}"


def hub_url(text: str) -> str:
    """Where a hub answers."""
    parts = _http_url(text)
    if parts.query or parts.fragment:
        raise ValueError("the address of a hub has no query and no fragment")
    return text.rstrip("/")


def otlp_endpoint(text: str) -> str:
    """Where OTLP is taken over HTTP; each signal has its own path below it."""
    parts = _http_url(text)
    if parts.query or parts.fragment:
        raise ValueError("the address of a collector has no query and no fragment")
    return text.rstrip("/")


def insights(text: str) -> str:
    """A connection string of Application Insights."""
    if _INSIGHTS.search(text) is None:
        raise ValueError(
            "that is no connection string: write it as"
            " InstrumentationKey=…;IngestionEndpoint=https://…, as the portal shows it"
        )
    return text


def share(text: str) -> float:
    """A part of a whole, between 0 and 1."""
    if _SHARE.fullmatch(text) is None:
        raise ValueError(f"{_quoted(text)} is no part of a whole: write 1, 0.05 or 0")
    return float(text)


def database_url(text: str) -> str:
    """A PostgreSQL database; whatever its options, they are its driver's."""
    scheme, separator, rest = text.partition("://")
    if scheme == "postgres" and separator:
        raise ValueError("write it as postgresql://… (postgres:// is a former spelling)")
    if scheme != "postgresql" or not rest.strip("/"):
        raise ValueError("that is no database: write it as postgresql://user:password@host/name")
    try:
        urlsplit(text).port  # noqa: B018 - raises where it is none
    except ValueError:
        raise ValueError("its port is no number: write it as postgresql://host:5432/name") from None
    return text


def _http_url(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable or not text.isprintable() or " " in text:
        raise ValueError("that is no address: write it as https://hub.example.com")
    if "@" in parts.netloc:
        raise ValueError("an address carries no user name or password; take them out")
    return parts


def logging_form(text: str) -> tuple[str, str]:
    """A level and a form, in any order; what is left out has its default."""
    level, form = "info", "text"
    for word in items(text.lower()):
        if word in LOG_LEVELS:
            level = word
        elif word in LOG_FORMS:
            form = word
        else:
            raise ValueError(
                f"{_quoted(word)} is neither a level ({', '.join(LOG_LEVELS)})"
                f" nor a form ({', '.join(LOG_FORMS)})"
            )
    return level, form


LOG_LEVELS: Sequence[str] = ("debug", "info", "warning", "error")
LOG_FORMS: Sequence[str] = ("text", "json")


def _quoted(text: str) -> str:
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return repr(shown)
