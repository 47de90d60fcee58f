"""What can go wrong when a program talks to a hub.

HubError
├── Refused           the hub said no, and why: `status`, `detail`, `errors`
│   ├── Invalid       400, 413, 415, 422: what was sent is wrong, or too large
│   ├── NotAllowed    401, 403: the key opens nothing, or not that
│   ├── NotFound      404: there is no such thing, or it is another tenant's
│   └── Conflict      409: the same id with another content, or not in that state
├── NoAnswer          however often it was asked; doing the same again later is harmless
├── Misconfigured     the URL or the key is none; nothing was sent
└── NoHub             something answered that is no hub
"""

from collections.abc import Sequence
from typing import Any

from notifications.errors import ConfigurationError, FieldError, HuntazeError, Unavailable


class HubError(HuntazeError):
    """Base of everything a client raises."""


class Refused(HubError):
    """The hub said no. As text: its problem document's sentences, in one line.

    Attributes:
        status: The HTTP status.
        title: What kind of problem it is.
        detail: One or two sentences on this very case.
        errors: Each thing that is wrong in what was sent, with its place.
    """

    def __init__(
        self, status: int, *, title: str = "", detail: str = "", errors: Sequence[FieldError] = ()
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        places = "; ".join(f"{each.pointer} {each.detail}".strip() for each in self.errors)
        super().__init__(" ".join((places or detail or title or f"status {status}").split()))


class Invalid(Refused):
    """What was sent is wrong, or too large."""


class NotAllowed(Refused, ConfigurationError):
    """The hub does not take this key, or it does not open that."""


class NotFound(Refused):
    """There is no such thing, or it is another tenant's."""


class Conflict(Refused):
    """The same id with another content, or something that is not in the right state."""


class OverLimit(Refused, Unavailable):
    """The tenant has, or has done, as much as it may. Nothing was done.

    Attributes:
        retry_after: Seconds after which trying again is sensible.
    """


class NoAnswer(HubError, Unavailable):
    """The hub did not answer, or is busy or away, however often it was asked."""


class Misconfigured(HubError, ConfigurationError):
    """The URL or the key that the client was made with is none. Nothing was sent."""


class NoHub(HubError, ConfigurationError):
    """What answered is no hub, or one that this client cannot read."""


_KINDS: dict[int, type[Refused]] = {
    400: Invalid,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: OverLimit,
}


def refusal(status: int, problem: Any, reason: str = "") -> Refused:
    """The error that an answer is.

    Args:
        status: Its status.
        problem: Its body, decoded: a problem document (RFC 9457), or whatever it is.
        reason: The status in words, said where the body says nothing.
    """
    found: dict[str, Any] = problem if isinstance(problem, dict) else {}
    told = problem if isinstance(problem, str) else ""
    listed = found.get("errors")
    errors = [
        FieldError(str(each.get("pointer") or ""), str(each.get("detail")))
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict)
    ]
    return _KINDS.get(status, Refused)(
        status,
        title=str(found.get("title") or f"{status} {reason}".strip()),
        detail=str(found.get("detail") or told),
        errors=errors,
    )
