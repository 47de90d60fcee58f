"""What `huntaze doctor` finds, one line each."""

from dataclasses import dataclass
from enum import Enum

from notifications.cli.looks import DOUBTFUL, RIGHT, WRONG


class Mark(Enum):
    """How it is."""

    RIGHT = RIGHT
    DOUBTFUL = DOUBTFUL
    WRONG = WRONG


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        mark: How it is.
        subject: What was looked at.
        detail: What was found.
        advice: What to do about it, where it is not right.
    """

    mark: Mark
    subject: str
    detail: str
    advice: str = ""
