"""The one error tree.

    HuntazeError
    ├── InvalidInput          what somebody sent us is wrong: says what and where
    │   └── InvalidEvent      an event's envelope or data
    ├── NotFound              absent, or another tenant's: the two look alike on purpose
    ├── Conflict              the same id or key with another content
    ├── NotAllowed            it is there, and is not for whoever asks to change
    ├── OverLimit             the tenant has used up what it may have: says when to try again
    ├── RejectedMessage       a bus message nobody can ever handle: goes to the dead letters
    ├── Unavailable           something of ours is away for now: try again later
    │   └── StoreUnavailable  the database cannot answer
    ├── ConfigurationError    a setting is missing or wrong: names the setting
    └── AlreadyRunning        another hub owns this data folder

Expected results of an attempt are values (`notifications.deliveries.Outcome`), not errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong in a document.

    Attributes:
        pointer: RFC 6901 JSON pointer to the place, `""` for the whole document.
        detail: What is wrong and what would be right, in one sentence.
    """

    pointer: str
    detail: str


class HuntazeError(Exception):
    """Base of every error the hub raises on purpose."""


class InvalidInput(HuntazeError):
    """What was sent has a known shape and is wrong in it.

    Attributes:
        errors: Each thing that is wrong, with its place.
    """

    def __init__(self, errors: Sequence[FieldError], detail: str | None = None) -> None:
        self.errors = tuple(errors)
        super().__init__(detail or "; ".join(f"{e.pointer or '/'}: {e.detail}" for e in errors))


class InvalidEvent(InvalidInput):
    """An event whose envelope or data is not what its type's schema says."""


class NotFound(HuntazeError):
    """No such thing, or another tenant's."""


class Conflict(HuntazeError):
    """The id or key is taken, with another content."""


class NotAllowed(HuntazeError):
    """What was asked for is understood, and is not to be: says why."""


class OverLimit(HuntazeError):
    """The tenant has, or has done, as much as it may; nothing was done.

    Attributes:
        retry_after: Seconds after which trying again is sensible.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class RejectedMessage(HuntazeError):
    """A bus message that no retry can make readable.

    Attributes:
        reason: Short, constant, for grouping: `not-json`, `schema`, `unknown-type`, ...
        description: What exactly was wrong, for the person who looks at the dead letter.
    """

    def __init__(self, reason: str, description: str) -> None:
        self.reason = reason
        self.description = description
        super().__init__(f"{reason}: {description}")


class Unavailable(HuntazeError):
    """Something of ours is away; nothing was done, try again.

    Attributes:
        retry_after: Seconds after which trying again is sensible.
    """

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class StoreUnavailable(Unavailable):
    """The database is locked, full, unreachable or closed."""


class ConfigurationError(HuntazeError):
    """A setting is missing or wrong; the message names it and says what to do."""


class AlreadyRunning(HuntazeError):
    """Another hub process owns the data folder; the message names it."""
