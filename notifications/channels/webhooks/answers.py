"""What a receiver's answer means. Pure."""

import codecs
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from notifications.deliveries import Delivered, Failed
from notifications.retries import DAY

KEPT_OF_FAILURE = 16 * 1024
KEPT_OF_SUCCESS = 1024
_KEPT_OF_LOCATION = 300

_SECONDS = re.compile(r"[0-9]{1,15}(\.[0-9]{0,9})?")
_Utf8 = codecs.getincrementaldecoder("utf-8")
_UNREADABLE = dict.fromkeys((*range(32), 127), "\N{REPLACEMENT CHARACTER}")
_UNREADABLE |= {ord("\t"): "\t", ord("\n"): "\n", ord("\r"): ""}


def outcome_of(
    status: int, body: bytes, *, location: str | None, retry_after: int | None
) -> Delivered | Failed:
    """The outcome of an attempt that was answered.

    Args:
        status: The answer's.
        body: As much of it as was read.
        location: Its `Location`, shown where a redirect was not followed.
        retry_after: From its `Retry-After`, ms.
    """
    if 200 <= status < 300:
        return Delivered(status=status, detail=readable(body, KEPT_OF_SUCCESS))
    if status == 410:
        return gone(body)
    detail = readable(body, KEPT_OF_FAILURE)
    if 300 <= status < 400 and location is not None:
        where = readable(location.encode("utf-8", "replace"), _KEPT_OF_LOCATION)
        detail = f"redirects are not followed; this one leads to {where}"
    return Failed(reason=f"http-{status}", retry_after=retry_after, status=status, detail=detail)


def gone(body: bytes) -> Failed:
    """The outcome of a 410: this delivery ends, and so does the endpoint."""
    return Failed(
        reason="gone", retryable=False, status=410, detail=readable(body, KEPT_OF_FAILURE)
    )


def retry_after_ms(value: str | None, now: datetime) -> int | None:
    """How long a `Retry-After` asks to wait, ms; None where it asks nothing sensible.

    Args:
        value: Seconds, with or without a fraction, or an HTTP date. What lies in the past or
            cannot be read counts as absent, what is beyond a day as a day.
        now: The wall clock, with a zone: what a date is compared with.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        wait = float(text) * 1000
    else:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        wait = (aware - now).total_seconds() * 1000
    return min(int(wait), DAY) if wait > 0 else None


def readable(body: bytes, longest: int) -> str | None:
    """A body as text that can be stored and shown; None where it is empty.

    Args:
        body: Of any charset; what is not UTF-8 shows as replacement characters.
        longest: How many bytes of it are kept; also holds for the text's own UTF-8.
    """
    if not body:
        return None
    # Not final where it is cut: half a character at the cut is left out, not replaced.
    decoder = _Utf8("replace")
    text = decoder.decode(body[:longest], final=len(body) <= longest).translate(_UNREADABLE)
    if text.isascii():
        return text
    return text.encode()[:longest].decode("utf-8", "ignore")
