"""What Azure Communication Services answer to a mail, as outcomes. Pure.

A refusal of one mail is that delivery's. What the service would say of every mail (who we are,
whether the domain is linked) is ours to mend, and is `Trouble`.
"""

from typing import Any

import orjson

from notifications.channels.email.smtp_answers import Trouble, Verdict
from notifications.deliveries import Delivered, Failed
from notifications.retries import SECOND
from notifications.text import one_line, shorten

SETTING = "HUNTAZE_ACS_CONNECTION"
SENDER_SETTING = "HUNTAZE_EMAIL_FROM"

LONGEST_RETRY_AFTER_S = 24 * 3_600
_KEPT_OF_ANSWER = 500

_SENDERS_FAULT = frozenset(
    ("domainnotlinked", "invalidsenderusername", "senderdomainnotverified", "domainnotverified")
)
"""Error codes about the sending address, whoever is written to."""

_ADVICE = {
    401: f"check the key in {SETTING}, and this machine's clock",
    403: f"check {SETTING}, and that the machine's identity may send mail there",
    404: f"check the endpoint in {SETTING}, and that the domain of {SENDER_SETTING} is linked",
}


def verdict_of(status: int, retry_after: str | None, body: bytes) -> Delivered | Verdict:
    """What an answer means.

    Args:
        status: Its status.
        retry_after: Its `Retry-After`, where there is one.
        body: Its body.
    """
    code, message = _error(body)
    detail = shorten(one_line(f"{code}: {message}" if code else message), _KEPT_OF_ANSWER)
    if 200 <= status < 300:
        return Delivered(status=status)
    if status == 409:
        # The operation's id is known: the service has the mail from an earlier try.
        return Delivered(status=status, detail="the service had it already")
    if code.lower() in _SENDERS_FAULT:
        advice = f"link and verify the domain, and the sender of {SENDER_SETTING}"
        return Trouble(reason=f"acs-{status}", detail=detail, advice=advice)
    if status in _ADVICE:
        return Trouble(reason=f"acs-{status}", detail=detail, advice=_ADVICE[status])
    return Failed(
        reason=f"acs-{status}",
        retryable=status in (408, 429) or status >= 500,
        retry_after=retry_after_ms(retry_after),
        status=status,
        detail=detail or None,
    )


def retry_after_ms(text: str | None) -> int | None:
    """A `Retry-After` in seconds, as Azure writes it; None for anything else."""
    if text is None or not (text.isascii() and text.isdecimal()) or len(text) > 9:
        return None
    return min(int(text), LONGEST_RETRY_AFTER_S) * SECOND


def _error(body: bytes) -> tuple[str, str]:
    """Code and message of an error, where the body has them."""
    try:
        document: Any = orjson.loads(body)
        error = document["error"]
        return str(error.get("code") or ""), str(error.get("message") or "")
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return "", body[: 4 * _KEPT_OF_ANSWER].decode(errors="replace")
