"""The address guard: which addresses a customer's URL may lead to. Pure.

A URL is looked at twice: `check_url` when it is entered, so that its owner reads at once what is
wrong, and `refusal` for each address that a connection is about to be opened to. Only the second
protects: a name may lead elsewhere a moment later.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from yarl import URL

from notifications.errors import FieldError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL_LENGTH = 2048
ALLOWED_SETTING = "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What somebody's URL is used for, as complaints about it say it.

    Attributes:
        not_there: Ends "leads to a private address, ...".
        no_credentials: Ends "must not contain credentials...".
        no_http: Ends "must begin with https://..." and is for whoever may change that.
    """

    not_there: str
    no_credentials: str = ""
    no_http: str = ""


WEBHOOKS = Errand(
    not_there="where webhooks are not sent",
    no_credentials="; use a header of the endpoint instead",
    no_http=f" (http is for {ALLOWED_SETTING} only)",
)

_V4: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "an unspecified address"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a shared address"),
        ("127.0.0.0/8", "a loopback address"),
        ("168.63.129.16/32", "a metadata address"),  # Azure's, in the middle of public ones
        ("169.254.169.254/32", "a metadata address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a reserved address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmark address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "a broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)

# The first that fits decides; an empty one lets through (what it wraps is judged besides).
_V6: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("::ffff:0:0/96", ""),
        ("64:ff9b::/96", ""),
        ("64:ff9b:1::/48", "a locally translated address"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
        ("2001::/32", ""),
        ("2001:2::/48", "a benchmark address"),
        ("2001:db8::/32", "a documentation address"),
        ("3fff::/20", "a documentation address"),
        ("2001::/23", "a reserved address"),
        ("2000::/3", ""),
        ("::/0", "a reserved address"),  # only 2000::/3 is handed out to anybody
    )
)

# Forms that carry an IPv4 address, and how far from the right it stands.
_WRAPPED: tuple[tuple[IPv6Network, tuple[int, ...]], ...] = (
    (IPv6Network("::ffff:0:0/96"), (0,)),  # IPv4-mapped
    (IPv6Network("::/96"), (0,)),  # IPv4-compatible
    (IPv6Network("::ffff:0:0:0/96"), (0,)),  # IPv4-translated
    (IPv6Network("64:ff9b::/96"), (0,)),  # NAT64
    (IPv6Network("2002::/16"), (80,)),  # 6to4
)
_TEREDO = IPv6Network("2001::/32")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
_32_BITS = 0xFFFF_FFFF

_UNSAFE = re.compile(r"[\s\\\x00-\x1f\x7f]")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_PORT = re.compile(r":([^:\]]*)\Z")
_WRONG_PORT = "must have a port from 1 to 65535, or none"
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")


# --------------------------------------------------------------------------- addresses


def refusal(address: Address, allowed: Sequence[Network]) -> str | None:
    """Why nothing is sent to this address, e.g. `a private address`; None where it may be.

    Args:
        address: Where a connection would go; forms that wrap an IPv4 address are unwrapped.
        allowed: Networks that are let through whatever they are.
    """
    if is_allowed(address, allowed):
        return None
    if isinstance(address, IPv4Address):
        return _first(_V4, address)
    if address.scope_id is not None:
        return "an address with a zone"
    if why := _first(_V6, address):
        return why
    reasons = (refusal(inner, allowed) for inner in _unwrap(address))
    return next((f"{why} in another form" for why in reasons if why), None)


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether the address is in a network that the operator lets through."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in allowed)


def _first(table: tuple[tuple[Network, str], ...], address: Address) -> str | None:
    return next((what or None for network, what in table if address in network), None)


def _unwrap(address: IPv6Address) -> tuple[IPv4Address, ...]:
    number = int(address)
    if address in _TEREDO:  # the server, and the client with its bits turned over
        return IPv4Address(number >> 64 & _32_BITS), IPv4Address(~number & _32_BITS)
    if number >> 32 & _32_BITS in _ISATAP:
        return (IPv4Address(number & _32_BITS),)
    places = next((places for network, places in _WRAPPED if address in network), ())
    return tuple(IPv4Address(number >> place & _32_BITS) for place in places)


def read_literal(host: str) -> Address | None:
    """The address that a host is, in any notation a resolver takes; None where it is a name.

    `127.0.0.1`, `127.1`, `2130706433`, `0x7f.1`, `017700000001`, `::1` and `fe80::1%eth0` are
    addresses.

    Raises:
        ValueError: It ends in a number, as only addresses do, and is no address.
    """
    if ":" in host:
        return ip_address(host)
    parts = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(parts[-1]) is None:
        return None
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise ValueError("not an IPv4 address")
    *leading, last = (_number(part) for part in parts)
    if any(part > 255 for part in leading) or last >= 256 ** (4 - len(leading)):
        raise ValueError("not an IPv4 address")
    return IPv4Address(sum(part << 8 * (3 - i) for i, part in enumerate(leading)) + last)


def read_url(text: str) -> URL:
    """Read a URL; a literal address is put in the one notation that everything reads alike.

    Raises:
        ValueError: It is none of http or https.
    """
    url = URL(text)
    host = url.raw_host or ""
    if not host or url.scheme not in ("https", "http"):
        raise ValueError("not a URL of http or https")
    literal = None if ":" in host else read_literal(host)
    return url if literal is None else url.with_host(str(literal))


def _number(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)


# --------------------------------------------------------------------------- URLs


def check_url(url: str, allowed: Sequence[Network], errand: Errand = WEBHOOKS) -> list[FieldError]:
    """What is wrong with a URL, for the person who enters it.

    Literal addresses are judged here, names where the connection is made.

    Args:
        url: As entered.
        allowed: Networks that are let through; http is for these alone.
        errand: What it is for.
    """
    complaint = _complaint(url, allowed, errand)
    return [FieldError("/url", complaint)] if complaint else []


def _complaint(url: str, allowed: Sequence[Network], errand: Errand) -> str | None:
    if not 0 < len(url) <= MAX_URL_LENGTH:
        return f"must have 1-{MAX_URL_LENGTH} characters"
    if _UNSAFE.search(url) or not url.isprintable():
        return "must not contain spaces, backslashes or control characters"
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    try:
        parsed = URL(url)
    except ValueError:
        port = _PORT.search(authority)
        return _WRONG_PORT if port and not _is_port(port[1]) else "is not a valid URL"
    if parsed.scheme not in ("https", "http"):
        return "must begin with https://"
    if "@" in authority:
        return f"must not contain credentials{errand.no_credentials}"
    if not parsed.raw_host:
        return "must name a host"
    if (port := _PORT.search(authority)) and not _is_port(port[1]):
        return _WRONG_PORT
    return _host_complaint(parsed, "[" in authority, allowed, errand)


def _host_complaint(
    url: URL, bracketed: bool, allowed: Sequence[Network], errand: Errand
) -> str | None:
    host = url.raw_host or ""
    try:
        address = ip_address(host) if bracketed else read_literal(host)
    except ValueError:
        return f"{host} is neither a name nor an address"
    if address is not None and (why := refusal(address, allowed)):
        return f"leads to {why}, {errand.not_there}"
    if address is None and not _is_name(host):
        return f"{host} is not a valid host name"
    if url.scheme == "http" and not _may_be_plain(host, address, allowed):
        return f"must begin with https://{errand.no_http}"
    return None


def _may_be_plain(host: str, address: Address | None, allowed: Sequence[Network]) -> bool:
    if address is None and host.rstrip(".").lower() == "localhost":
        address = IPv4Address("127.0.0.1")
    return bool(allowed) if address is None else is_allowed(address, allowed)


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535


def _is_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
