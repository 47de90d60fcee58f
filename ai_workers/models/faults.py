"""What an endpoint's refusals and faults mean: for the user, and for whether to try again. Pure.

code                  tried again   when
model-timeout         yes           no answer in time, 408
model-busy            yes           429
model-unavailable     yes           409, 5xx, connection faults, an answer that is none
model-unauthorized    no            401, 403
model-gone            no            404, 410 of every model that is configured
content-filter        no            the endpoint's rules refuse the question or the answer
model-rejected        no            any other 4xx, a redirect
model-reply-cut       no            there was no room left for the answer
model-reply-invalid   no            it is too large, or not what was asked for
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ai_workers.ports import ModelFailed, Usage

LONGEST_PATIENCE_S = 86_400.0

_CONSTANT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_GONE = frozenset(("DeploymentNotFound", "model_not_found", "unknown_model"))
_FILTERED = frozenset(("content_filter", "ResponsibleAIPolicyViolation"))
_TOO_LONG = frozenset(("context_length_exceeded", "tokens_limit_reached"))


def timed_out(usage: Sequence[Usage] = ()) -> ModelFailed:
    """There is no answer yet."""
    return ModelFailed(
        "model-timeout", "The AI model did not answer in time.", retryable=True, usage=usage
    )


def unreachable(usage: Sequence[Usage] = ()) -> ModelFailed:
    """The connection could not be made, or broke."""
    return ModelFailed(
        "model-unavailable", "The connection to the AI model failed.", retryable=True, usage=usage
    )


def no_completion(usage: Sequence[Usage] = ()) -> ModelFailed:
    """It answered 200 with something else, as gateways in between do, or with half of it."""
    return ModelFailed(
        "model-unavailable",
        "The AI endpoint answered with something that is no model's reply.",
        retryable=True,
        usage=usage,
    )


def no_token() -> ModelFailed:
    """The managed identity gave no token: the service that gives them may be away."""
    return ModelFailed(
        "model-unavailable",
        "There is no access token for the AI endpoint at the moment.",
        retryable=True,
    )


def too_large(usage: Sequence[Usage]) -> ModelFailed:
    """The answer went on and on."""
    return ModelFailed(
        "model-reply-invalid",
        "The AI model's reply is too large to be read.",
        retryable=False,
        usage=usage,
    )


def cut(usage: Sequence[Usage]) -> ModelFailed:
    """All there was room for went into reasoning."""
    return ModelFailed(
        "model-reply-cut",
        "The AI model used up its room before it came to an answer.",
        retryable=False,
        usage=usage,
    )


def filtered(usage: Sequence[Usage] = ()) -> ModelFailed:
    """The endpoint's content rules."""
    return ModelFailed(
        "content-filter",
        "The AI service refuses this content: it breaks its rules of use.",
        retryable=False,
        usage=usage,
    )


def none_left(models: Sequence[str]) -> ModelFailed:
    """No model of the list is there any more."""
    return ModelFailed(
        "model-gone",
        f"None of the configured AI models is there any more: {', '.join(models)}.",
        retryable=False,
    )


def is_gone(status: int, body: object) -> bool:
    """Whether an answer says that there is no such model."""
    return status in (404, 410) or (status == 400 and not _GONE.isdisjoint(_codes(body)))


def is_about(body: object, parameter: str) -> bool:
    """Whether an answer complains of a parameter of the request, by its name."""
    error = _error(body)
    return error.get("param") == parameter or (
        not error.get("param") and f"'{parameter}'" in str(error.get("message"))[:500]
    )


def refused(
    status: int, body: object, headers: Mapping[str, str], *, wall: datetime
) -> ModelFailed:
    """What an answer other than 2xx means.

    Nothing of what the endpoint says is repeated but a short constant code: it may quote the
    question, or the key.

    Args:
        status: e.g. 429.
        body: The answer's JSON, or anything else.
        headers: The answer's, by lower-case name.
        wall: What the clock on the wall says, for a Retry-After that is a date.
    """
    codes = _codes(body)
    told = f"HTTP {status}" + "".join(f", {code}" for code in codes[:1])
    if not _FILTERED.isdisjoint(codes):
        return filtered()
    if status in (401, 403):
        why = (
            "does not accept our key or identity"
            if status == 401
            else "knows us, but does not allow us to use its models"
        )
        return ModelFailed(
            "model-unauthorized",
            f"The AI endpoint {why} ({told}); whoever runs this hub has to see to it.",
            retryable=False,
        )
    if status in (408, 409, 429) or status >= 500:
        code, why = {
            408: ("model-timeout", "The AI model did not answer in time"),
            429: ("model-busy", "The AI model has more to do than it can at the moment"),
        }.get(status, ("model-unavailable", "The AI model cannot answer at the moment"))
        patience = retry_after(headers, wall=wall)
        return ModelFailed(code, f"{why} ({told}).", retryable=True, retry_after_s=patience)
    if status == 413 or not _TOO_LONG.isdisjoint(codes):
        why = "This is more than the AI model can take at once"
    else:
        why = "The AI endpoint refused the question"
    return ModelFailed("model-rejected", f"{why} ({told}).", retryable=False)


def retry_after(headers: Mapping[str, str], *, wall: datetime) -> float | None:
    """Seconds that an answer asks to wait, at most a day; None where it does not say.

    Takes `retry-after-ms`, and `retry-after` in seconds or as a date; what is neither is nothing.
    """
    for name, per_second in (
        ("retry-after-ms", 1000),
        ("x-ms-retry-after-ms", 1000),
        ("retry-after", 1),
    ):
        try:
            value = float(headers.get(name, ""))
        except ValueError:
            continue
        if not math.isnan(value):
            return min(max(value / per_second, 0.0), LONGEST_PATIENCE_S)
    try:
        at = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - wall).total_seconds(), 0.0), LONGEST_PATIENCE_S)


def _error(body: object) -> Mapping[str, Any]:
    """The error in an answer: some endpoints wrap it, some clients have unwrapped it."""
    if not isinstance(body, dict):
        return {}
    inner = body.get("error", body)
    return inner if isinstance(inner, dict) else {}


def _codes(body: object) -> Sequence[str]:
    """The error's codes, the outer one first, where they are constants."""
    error = _error(body)
    inner = error.get("innererror")
    found = (error.get("code"), inner.get("code") if isinstance(inner, dict) else None)
    return [code for code in found if isinstance(code, str) and _CONSTANT.fullmatch(code)]
