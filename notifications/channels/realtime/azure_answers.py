"""What Azure's realtime services answer to a push, as outcomes; the same for both of them. Pure."""

from notifications.deliveries import Delivered, Failed, Outcome
from notifications.retries import SECOND
from notifications.text import one_line, shorten

KEPT_OF_ANSWER = 500
"""Characters of an answer that are kept."""

LONGEST_RETRY_AFTER_S = 3_600

_ADVICE = {
    401: "check the key",
    403: "check the key, or the role of the machine's identity",
    404: "check the endpoint",
}

_RETRYABLE = frozenset((408, 409, 429))


def outcome_of(status: int, retry_after: str | None, text: str, *, setting: str) -> Outcome:
    """What an answer means for the push that it answers.

    Args:
        status: Its status.
        retry_after: Its `Retry-After`, where there is one.
        text: The start of its body.
        setting: The variable that names the service, for the advice.
    """
    if 200 <= status < 300:
        return Delivered(status=status)
    detail = shorten(one_line(text), KEPT_OF_ANSWER)
    if status in _ADVICE:
        detail = f"{_ADVICE[status]} in {setting}; it says: {detail or 'nothing'}"
    return Failed(
        reason=f"http-{status}",
        retryable=status in _RETRYABLE or status >= 500,
        retry_after=retry_after_ms(retry_after),
        status=status,
        detail=detail or None,
    )


def retry_after_ms(text: str | None) -> int | None:
    """A `Retry-After` in seconds, as Azure writes it; None for anything else."""
    if text is None or not (text.isascii() and text.isdecimal()) or len(text) > 9:
        return None
    return min(int(text), LONGEST_RETRY_AFTER_S) * SECOND


def unreached(error: Exception) -> Failed:
    """Nobody answered, or not to the end."""
    detail = shorten(one_line(str(error) or type(error).__name__), KEPT_OF_ANSWER)
    return Failed(reason="connection", detail=detail)


def too_slow(time_limit: float) -> Failed:
    """No whole answer came in time."""
    return Failed(reason="timeout", detail=f"no answer within {time_limit:g} s")
