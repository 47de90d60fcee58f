"""Durations as Service Bus writes them: ISO 8601, of days, hours, minutes and seconds. Pure."""

import re

from notifications.entities import NEVER
from notifications.retries import DAY, HOUR, MINUTE, SECOND

FOREVER = "P10675199DT2H48M5.4775807S"
"""The longest that .NET can say: what never ends."""

_FOREVER_DAYS = 10_675_199

_MAX_LENGTH = 64

_FORM = re.compile(
    r"P(?:(?P<d>\d{1,8})D)?(?:T(?:(?P<h>\d{1,9})H)?(?:(?P<m>\d{1,9})M)?"
    r"(?:(?P<s>\d{1,12})(?:\.(?P<f>\d{1,9}))?S)?)?"
)


def read(text: str) -> int:
    """The milliseconds of a duration; `NEVER` where it is Service Bus's longest.

    Raises:
        ValueError: It is none, or has years or months, whose length is not known.
    """
    found = _FORM.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if found is None or text in ("P", "PT") or text.endswith("T"):
        raise ValueError("a duration is written like PT1M30S or P14D")
    part = {name: int(value or 0) for name, value in found.groupdict().items() if name != "f"}
    if part["d"] >= _FOREVER_DAYS:
        return NEVER
    thousandths = int((found["f"] or "0").ljust(3, "0")[:3])
    whole = part["d"] * DAY + part["h"] * HOUR + part["m"] * MINUTE + part["s"] * SECOND
    return min(whole + thousandths, NEVER)


def written(ms: int) -> str:
    """A duration of so many milliseconds."""
    if ms >= NEVER:
        return FOREVER
    days, rest = divmod(ms, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds, thousandths = divmod(rest, SECOND)
    fraction = f".{thousandths:03}".rstrip("0") if thousandths else ""
    parts = (
        f"{hours}H" if hours else "",
        f"{minutes}M" if minutes else "",
        f"{seconds}{fraction}S" if seconds or fraction else "",
    )
    day = f"{days}D" if days else ""
    time = "".join(parts)
    if not day and not time:
        return "PT0S"
    return f"P{day}" + (f"T{time}" if time else "")
