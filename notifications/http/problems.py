"""RFC 9457 problem documents: the one place where errors become answers.

refused by HTTP itself      Refused            its own status
InvalidInput                422                what is wrong, each with its place
NotFound                    404
Conflict                    409
OverLimit                   429, Retry-After
Unavailable                 503, Retry-After
anything else               500, nothing of what happened inside
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.responses import Response

from notifications.errors import (
    Conflict,
    FieldError,
    HuntazeError,
    InvalidInput,
    NotFound,
    OverLimit,
    Unavailable,
)
from notifications.text import shorten

log = logging.getLogger("huntaze")

MEDIA_TYPE = "application/problem+json"

MAX_ERRORS = 50
"""Errors that a problem lists; `detail` says how many there are in all."""

_LONGEST_DETAIL = 500
_LONGEST_POINTER = 256
_LONGEST_INSTANCE = 1_024

TITLES: Mapping[int, tuple[str, str]] = {
    400: ("not-json", "The request or its body is not what the hub can read"),
    401: ("unauthorized", "A valid key is needed"),
    403: ("forbidden", "This key or token does not open that"),
    404: ("not-found", "There is no such thing"),
    405: ("method-not-allowed", "This resource does not take that method"),
    408: ("too-slow", "The request did not come in time"),
    409: ("conflict", "It is there already, or not in the right state"),
    413: ("too-large", "Over a limit"),
    415: ("unsupported-media-type", "The body's media type is not one that is taken here"),
    422: ("invalid", "What was sent is wrong"),
    429: ("too-many-requests", "Too many requests for now"),
    431: ("head-too-large", "The request's head is over the limit"),
    500: ("internal", "Something went wrong in the hub"),
    503: ("unavailable", "Something that the hub needs is away for now"),
}
"""By status: the last part of the problem's type, and its title."""


class Refused(HuntazeError):
    """A request that is refused for what it is as HTTP: its key, its body, its size.

    Attributes:
        status: One of `TITLES`.
        headers: Sent with the answer.
    """

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.headers = headers or {}
        super().__init__(detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong, as the caller sees it.

    Attributes:
        status: The HTTP status.
        detail: One or two sentences on this very case.
        errors: Each thing that is wrong in the body, with its place.
        headers: Sent with the answer.
    """

    status: int
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self, instance: str, *, most_errors: int = MAX_ERRORS) -> dict[str, Any]:
        """The problem as JSON, bounded whatever was sent; `instance` is the path asked for."""
        name, title = TITLES[self.status]
        document: dict[str, Any] = {
            "type": f"urn:huntaze:problem:{name}",
            "title": title,
            "status": self.status,
            "detail": shorten(self.detail, _LONGEST_DETAIL),
            "instance": shorten(instance, _LONGEST_INSTANCE),
        }
        if self.errors:
            document["errors"] = [
                {
                    "pointer": shorten(each.pointer, _LONGEST_POINTER),
                    "detail": shorten(each.detail, _LONGEST_DETAIL),
                }
                for each in self.errors[:most_errors]
            ]
        return document

    def response(self, instance: str) -> Response:
        """The problem as an answer."""
        return Response(
            orjson.dumps(self.document(instance)),
            status_code=self.status,
            media_type=MEDIA_TYPE,
            headers=dict(self.headers),
        )


def problem_of(error: Exception) -> Problem:
    """What the caller is told of an error. Nothing of an unexpected one but that it happened."""
    match error:
        case Refused():
            return Problem(status=error.status, detail=str(error), headers=error.headers)
        case InvalidInput():
            return Problem(status=422, detail=_summary(error.errors), errors=error.errors)
        case NotFound():
            return Problem(status=404, detail=str(error))
        case Conflict():
            return Problem(status=409, detail=str(error))
        case OverLimit():
            seconds = str(max(1, math.ceil(error.retry_after)))
            return Problem(status=429, detail=str(error), headers={"retry-after": seconds})
        case Unavailable():
            return unavailable(error.retry_after)
        case _:
            return Problem(
                status=500, detail="It was written down and will be looked at; try again later."
            )


def unavailable(retry_after: float) -> Problem:
    """Something of ours is away; the caller tries again after so many seconds."""
    seconds = max(1, math.ceil(retry_after))
    return Problem(
        status=503,
        detail=f"Nothing was done. Try again in {seconds} s.",
        headers={"retry-after": str(seconds)},
    )


def log_fault(error: Exception, method: str, path: str) -> None:
    """Write down what is our fault; what is the caller's is not."""
    if isinstance(error, Unavailable):
        fields = {"method": method, "path": path, "detail": str(error)}
        log.warning("http.unavailable", extra=fields)
    elif problem_of(error).status == 500:
        log.error("http.failed", exc_info=error, extra={"method": method, "path": path})


def _summary(errors: Sequence[FieldError]) -> str:
    if len(errors) == 1:
        return f"{errors[0].pointer or 'The whole'}: {errors[0].detail}"
    return f"{len(errors)} things are wrong; see errors."
