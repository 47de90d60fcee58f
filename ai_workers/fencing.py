"""Keeping what other people wrote apart from instructions.

A fence is a line that the text between two of them cannot hold, since it is made by chance after
the text is there. What a text says about where it ends is then just text.
"""

from dataclasses import dataclass

from notifications.ports import Dice

_BYTES = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fenced:
    """A text between two lines that are not in it.

    Attributes:
        fence: What both lines hold, for instructions to name.
        block: The text with its lines.
    """

    fence: str
    block: str


def fenced(text: str, dice: Dice) -> Fenced:
    """Put a text between lines that nobody could foresee."""
    fence = dice.token(_BYTES).hex()
    while fence in text:
        fence = dice.token(_BYTES).hex()
    return Fenced(fence=fence, block=f"<<<{fence}\n{text}\n{fence}>>>")
