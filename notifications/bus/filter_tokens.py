"""The words of Service Bus SQL filters: text in, tokens out. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from notifications.errors import HuntazeError

KEYWORDS = frozenset(
    ("AND", "ESCAPE", "EXISTS", "FALSE", "IN", "IS", "LIKE", "NOT", "NULL", "OR", "TRUE")
)
"""Words that name no property unless they stand in [ ]."""

_TOKEN = re.compile(
    r"""
      (?P<SPACE>   \s+ )
    | (?P<NUMBER>  [0-9]+ (?:\.[0-9]+)? (?:[eE][+-]?[0-9]+)? )
    | (?P<WORD>    \w+ )
    | (?P<STRING>  '(?:[^']|'')*+' )
    | (?P<NAME>    \[(?:[^\]]|\]\])++\] | "(?:[^"]|"")++" )
    | (?P<SYMBOL>  <> | != | >= | <= | [=<>+\-*/%(),.] )
    """,
    re.VERBOSE,
)
_UNFINISHED = {
    "'": "a closing '",
    '"': 'a name and a closing "',
    "[": "a name and a closing ]",
    "@": "a value in place of the parameter",
}


class FilterSyntaxError(HuntazeError):
    """A filter that Service Bus would refuse when the rule is made.

    Attributes:
        position: Where, in characters from 0; the expression's length for its end.
        expected: What would be right there.
    """

    def __init__(self, position: int, expected: str) -> None:
        self.position = position
        self.expected = expected
        super().__init__(f"expected {expected} at position {position} of the filter")


class Kind(Enum):
    """What a token is."""

    KEYWORD = auto()
    WORD = auto()
    NAME = auto()
    STRING = auto()
    NUMBER = auto()
    SYMBOL = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a filter.

    Attributes:
        kind: What it is.
        text: A keyword in capitals; a name or string without its delimiters; else as written.
        position: Where it begins, in characters from 0.
    """

    kind: Kind
    text: str
    position: int

    def number(self) -> int | float:
        """The value of a NUMBER: an integer of any size, or a double."""
        return int(self.text) if self.text.isdecimal() else float(self.text)


def tokens(expression: str) -> list[Token]:
    """Cut a filter into its words; the last one is END.

    Raises:
        FilterSyntaxError: It has a character or a literal that no filter has.
    """
    return [*_scan(expression), Token(Kind.END, "", len(expression))]


def _scan(expression: str) -> Iterator[Token]:
    position = 0
    while position < len(expression):
        found = _TOKEN.match(expression, position)
        if found is None:
            expected = _UNFINISHED.get(
                expression[position], "a property, a constant or an operator"
            )
            raise FilterSyntaxError(position, expected)
        if found.lastgroup != "SPACE":
            yield _token(expression, found)
        position = found.end()


def _token(expression: str, found: re.Match[str]) -> Token:
    kind, text, position = Kind[found.lastgroup or ""], found.group(), found.start()
    if kind is Kind.WORD:
        return _word(text, position)
    if kind is Kind.NUMBER and re.match(r"[\w.]", expression[found.end() :]):
        raise FilterSyntaxError(found.end(), "a space or an operator after the number")
    if kind in (Kind.STRING, Kind.NAME):
        text = text[1:-1].replace(text[-1] * 2, text[-1])
    return Token(kind, text, position)


def _word(text: str, position: int) -> Token:
    if text.upper() in KEYWORDS:
        return Token(Kind.KEYWORD, text.upper(), position)
    for offset, character in enumerate(text):
        if not (character.isalpha() or (offset and (character == "_" or character.isdecimal()))):
            raise FilterSyntaxError(
                position + offset, "a letter, or [ ] around a name of other characters"
            )
    return Token(Kind.WORD, text, position)
