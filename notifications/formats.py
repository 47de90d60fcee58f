"""How people read amounts, times and shares, in French and in English. Pure.

The forms are those of Unicode CLDR for `fr` and `en`; a language is one more `Style`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NBSP = "\u00a0"
NARROW = "\u202f"

_NO_DECIMALS = (
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG",
    "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF",
)  # fmt: skip
_EXPONENTS = (
    dict.fromkeys(_NO_DECIMALS, 0)
    | dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)
    | dict.fromkeys(("CLF", "UYW"), 4)
)
"""Digits after the point where they are not two (ISO 4217)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How one language writes numbers and times.

    Attributes:
        group: Between thousands.
        point: Before decimals.
        currency_first: Whether the currency stands before the amount.
        percent: What follows a share.
        symbols: Currency signs; any other currency is written as its code.
        months: January to December.
        day: What separates and abbreviates days in durations.
        moment: Format of a date and time; fields `d`, `month`, `y`, `H`, `I`, `M`, `half`.
        first: How the first of the month is written.
    """

    group: str
    point: str
    currency_first: bool
    percent: str
    symbols: Mapping[str, str] = field(default_factory=dict)
    months: tuple[str, ...]
    day: str
    moment: str
    first: str


FR = Style(
    group=NARROW,
    point=",",
    currency_first=False,
    percent=NARROW + "%",
    symbols={
        "EUR": "€", "USD": "$US", "GBP": "£GB", "CAD": "$CA", "AUD": "$AU", "NZD": "$NZ",
        "BRL": "R$", "MXN": "$MX", "INR": "₹", "KRW": "₩", "ILS": "₪", "VND": "₫",
        "XOF": f"F{NARROW}CFA", "XAF": "FCFA", "XPF": "FCFP",
    },
    months=(
        "janvier", "février", "mars", "avril", "mai", "juin",
        "juillet", "août", "septembre", "octobre", "novembre", "décembre",
    ),
    day="j",
    moment="{d} {month} {y} à" + NBSP + "{H:02d}:{M:02d}",
    first="1er",
)  # fmt: skip

EN = Style(
    group=",",
    point=".",
    currency_first=True,
    percent="%",
    symbols={
        "EUR": "€", "USD": "$", "GBP": "£", "CAD": "CA$", "AUD": "A$", "NZD": "NZ$",
        "BRL": "R$", "MXN": "MX$", "INR": "₹", "KRW": "₩", "ILS": "₪", "VND": "₫",
        "XOF": f"F{NARROW}CFA", "XAF": "FCFA", "XPF": "CFPF",
        "JPY": "¥", "CNY": "CN¥", "HKD": "HK$", "TWD": "NT$",
    },
    months=(
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
    day="d",
    moment="{month} {d}, {y} at" + NBSP + "{I}:{M:02d}" + NARROW + "{half}",
    first="1",
)  # fmt: skip

STYLES: Mapping[str, Style] = {"fr": FR, "en": EN}


def number(value: float, style: Style, digits: int = 0) -> str:
    """A number with its thousands grouped: `12 345,6` or `12,345.6`."""
    return _write(f"{value:,.{digits}f}", style)


def money(minor: int, currency: str, style: Style) -> str:
    """An amount given in the currency's minor units: `49,00 €` or `€49.00`."""
    exponent = _EXPONENTS.get(currency, 2)
    whole, part = divmod(abs(minor), 10**exponent)
    digits = f"{whole:,}.{part:0{exponent}d}" if exponent else f"{whole:,}"
    return _with_currency("-" if minor < 0 else "", _write(digits, style), currency, style)


def dollars(amount: float, style: Style) -> str:
    """US dollars. Below one dollar, such as a job's cost, with up to four decimals."""
    if 0 < amount < 0.0001:
        return f"<{NBSP}{dollars(0.0001, style)}"
    text = f"{abs(amount):,.{4 if 0 < abs(amount) < 1 else 2}f}"
    if 0 < abs(amount) < 1:
        whole, _, part = text.partition(".")
        text = f"{whole}.{part.rstrip('0'):0<2}"
    return _with_currency("-" if amount < 0 else "", _write(text, style), "USD", style)


def percent(value: float, style: Style) -> str:
    """A share given in percent: `80 %` or `80%`."""
    return _write(f"{value:,.0f}", style) + style.percent


def duration(ms: float, style: Style) -> str:
    """A time span, in the two units that matter: `850 ms`, `4,1 s`, `2 min 5 s`, `3 h 12 min`."""
    if ms < 999.5:
        return f"{round(ms)}{NBSP}ms"
    if ms < 59_950:
        text = _write(f"{ms / 1000:.1f}", style)
        return f"{text.removesuffix(style.point + '0')}{NBSP}s"
    seconds = round(ms / 1000)
    for size, unit, smaller, small_unit in (
        (86_400, style.day, 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            tail = f" {rest // smaller}{NBSP}{small_unit}" if rest >= smaller else ""
            return f"{whole}{NBSP}{unit}{tail}"
    return f"{seconds}{NBSP}s"


def moment(time: str, timezone: str, style: Style) -> str:
    """An RFC 3339 time as a date and time of day in a zone.

    A zone that this machine does not know gives UTC, and says so.
    """
    zone = _zone(timezone)
    there = datetime.fromisoformat(time).astimezone(zone or UTC)
    text = style.moment.format(
        d=style.first if there.day == 1 else there.day,
        month=style.months[there.month - 1],
        y=there.year,
        H=there.hour,
        I=there.hour % 12 or 12,
        M=there.minute,
        half="AM" if there.hour < 12 else "PM",
    )
    return text if zone else f"{text} UTC"


def month(text: str, style: Style) -> str:
    """`2026-01` as `janvier 2026` or `January 2026`, which no line end divides."""
    year, _, number_ = text.partition("-")
    return f"{style.months[int(number_) - 1]}{NBSP}{year}"


def host(url: str) -> str:
    """The host of a URL, for people: what identifies it at a glance."""
    found = re.match(r"[a-z]+://([^/?#]+)", url, re.IGNORECASE)
    return found[1].rpartition("@")[2] if found else url


@lru_cache(maxsize=512)
def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _write(digits: str, style: Style) -> str:
    if style.group == ",":
        return digits
    return digits.replace(",", style.group).replace(".", style.point)


def _with_currency(sign: str, digits: str, currency: str, style: Style) -> str:
    symbol = style.symbols.get(currency, currency)
    if not style.currency_first:
        return f"{sign}{digits}{NBSP}{symbol}"
    gap = NBSP if symbol[-1].isalpha() else ""
    return f"{sign}{symbol}{gap}{digits}"
