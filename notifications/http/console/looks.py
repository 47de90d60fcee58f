"""How a page looks to its viewer: language, zone, words, numbers and times. Pure, but for files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache, lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
from markupsafe import Markup

from notifications import formats
from notifications.errors import ConfigurationError

LANGUAGES = ("en", "fr")
LANGUAGE_COOKIE = "huntaze_language"
ZONE_COOKIE = "huntaze_zone"

_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}")
_RANGE = re.compile(r"\s*([A-Za-z]{2,3})(?:-[A-Za-z0-9]+)*\s*(?:;\s*q=([01](?:\.[0-9]{0,3})?))?\s*")
_MONTHS: Mapping[str, tuple[str, ...]] = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "fr": (
        "janv.", "févr.", "mars", "avr.", "mai", "juin",
        "juil.", "août", "sept.", "oct.", "nov.", "déc.",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Looks:
    """How a viewer reads.

    Attributes:
        language: One of `LANGUAGES`.
        zone_name: IANA name of the viewer's zone.
        words: What the console says, by key.
    """

    language: str
    zone_name: str
    words: Mapping[str, str]

    def t(self, key: str, **values: object) -> str:
        """A phrase, with values put in; not escaped."""
        text = self.words[key]
        return text.format_map(values) if values else text

    def says(self, key: str) -> bool:
        """Whether there is such a phrase."""
        return key in self.words

    def tn(self, key: str, count: int, **values: object) -> str:
        """A phrase about a number of things, which is `{n}` in it."""
        one = count < 2 if self.language == "fr" else count == 1
        return self.t(f"{key}.{'one' if one else 'other'}", n=self.n(count), **values)

    def n(self, value: float, digits: int = 0) -> str:
        """A number."""
        return formats.number(value, formats.STYLES[self.language], digits)

    def many(self, value: int, most: int) -> str:
        """A count that stopped at a bound."""
        return f"{self.n(most - 1)}+" if value >= most else self.n(value)

    def dur(self, ms: float) -> str:
        """A time span."""
        return formats.duration(ms, formats.STYLES[self.language])

    def usd(self, nano: int) -> str:
        """US dollars, given in billionths of one."""
        return formats.dollars(nano / 1_000_000_000, formats.STYLES[self.language])

    def day(self, text: str) -> str:
        """A UTC day, `2026-03-01`, in short."""
        _, number, day = text.split("-")
        month = _MONTHS[self.language][int(number) - 1]
        return f"{int(day)} {month}" if self.language == "fr" else f"{month} {int(day)}"

    def moment(self, ms: int) -> str:
        """A time, in the viewer's zone, to the second."""
        there = datetime.fromtimestamp(ms / 1000, _zone(self.zone_name))
        month = _MONTHS[self.language][there.month - 1]
        day = f"{there.day} {month}" if self.language == "fr" else f"{month} {there.day}"
        return f"{day}, {there:%H:%M:%S}" if self.language == "en" else f"{day} {there:%H:%M:%S}"

    def when(self, ms: int | None) -> Markup | str:
        """The same as an element that also says it in UTC, with its year."""
        if ms is None:
            return "–"
        utc = datetime.fromtimestamp(ms / 1000, UTC)
        machine = utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        exact = f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03d} UTC"
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            machine, exact, self.moment(ms)
        )


def looks(folder: Path, *, language: str | None, accepted: str | None, zone: str | None) -> Looks:
    """The looks that a viewer asks for.

    Args:
        folder: Holds `<language>.json`.
        language: What the viewer chose, if anything.
        accepted: `Accept-Language`.
        zone: The zone that the viewer's browser is in, if it said.
    """
    chosen = language if language in LANGUAGES else _preferred(accepted or "")
    known = zone is not None and _ZONE.fullmatch(zone) is not None and _zone(zone) is not UTC
    return Looks(chosen, zone if known and zone is not None else "UTC", words(folder)[chosen])


@cache
def words(folder: Path) -> Mapping[str, Mapping[str, str]]:
    """What the console says, by language and key.

    Raises:
        ConfigurationError: The installation lacks it.
    """
    try:
        return {each: orjson.loads((folder / f"{each}.json").read_bytes()) for each in LANGUAGES}
    except OSError as error:
        raise ConfigurationError(f"{error.filename} is missing: install the hub again") from error


def _preferred(accepted: str) -> str:
    ranges = [match for part in accepted[:500].split(",") if (match := _RANGE.fullmatch(part))]
    by_weight = sorted(ranges, key=lambda match: -float(match[2] or 1))
    asked = (match[1].lower() for match in by_weight if float(match[2] or 1) > 0)
    return next((each for each in asked if each in LANGUAGES), LANGUAGES[0])


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC
