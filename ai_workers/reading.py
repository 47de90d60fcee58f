"""Reading what models reply, leniently. Pure.

Models were asked for one JSON object. They also send it in fences, in prose, behind their
thoughts, with commas too many and line ends in the middle of strings. None of that is worth
asking again; what is missing or cut is never made up.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NoReturn

import orjson

from notifications.text import clean

LONGEST = 100_000
"""Characters of a reply that are looked at: many times what any model is asked for."""

_START = re.compile(r'\{(?=\s*+["}/])')
_MOST_STARTS = 16
"""How many of them are tried: prose has few, and each costs a walk through the rest."""

_THOUGHTS = "<think>"
_THOUGHT = "</think>"

# Each alternative takes what it begins with, closed or not: nothing is looked at twice.
_TOKENS = re.compile(
    r'"(?:[^"\\]+|\\.)*+"?'
    r"|//[^\n]*+"
    r"|,(?=\s*+[}\]])"
    r"|\b(?:True|False|None)\b",
    re.DOTALL,
)
_PYTHON = {"True": "true", "False": "false", "None": "null"}

# Words that are frequent in one of the two languages and rare in the other.
_FRENCH_TEXT = (
    "le la les des du une est pour dans que qui vous votre vos avec sur pas ce cette et au aux "
    "ton tes tu je mes nous sont plus merci il elle ne ou où à c’est c'est"
)
_ENGLISH_TEXT = (
    "the and of to is are for with your you that this it in i my was have not be we they what "
    "from will can so but at thanks"
)
_FRENCH = frozenset(_FRENCH_TEXT.split())
_ENGLISH = frozenset(_ENGLISH_TEXT.split())
_WORD = re.compile(r"[^\W\d_]+(?:[’'][^\W\d_]+)?")
_ENOUGH = 8
"""Frequent words of a language that make a text its own."""


def without_thoughts(text: str) -> str:
    """A reply without the thinking aloud that reasoning models put before it.

    Thoughts that never end leave nothing: whatever comes in them is no answer.
    """
    bare = text.strip().removeprefix("\ufeff").lstrip()
    if bare.startswith(_THOUGHTS):
        return bare.partition(_THOUGHT)[2].lstrip()
    answer = bare.rpartition(_THOUGHT)[2].lstrip()  # some models leave out where they begin
    return answer if "{" in answer and not bare.startswith(("{", "[", "`")) else bare


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a reply, the longest first. None of them is part of another.

    Their texts are without control characters and halves of characters, which no database takes.
    """
    bare = without_thoughts(text[:LONGEST])
    found: list[tuple[int, dict[str, Any]]] = []
    end = 0
    for start in islice(_START.finditer(bare), _MOST_STARTS):
        at = start.start()
        read = None if at < end else _decode(bare, at) or _mended(bare, at)
        if read is not None:
            value, end = read
            found.append((end - at, value))
    found.sort(key=lambda each: each[0], reverse=True)
    for _, value in found:
        yield value


def texts_in(value: object) -> Iterator[str]:
    """Every text in a JSON value that is more than one word."""
    if isinstance(value, str):
        if " " in value:
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from texts_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts_in(each)


def is_in_another_language(value: object, locale: str) -> bool:
    """Whether its texts are clearly in the other of the two languages. Doubt is no.

    Args:
        value: JSON.
        locale: `fr` or `en`; nothing is said of any other.
    """
    words = [word for text in texts_in(value) for word in _WORD.findall(text.lower())]
    french = sum(word in _FRENCH for word in words)
    english = sum(word in _ENGLISH for word in words)
    own, other = {"fr": (french, english), "en": (english, french)}.get(locale, (0, 0))
    return other >= _ENOUGH and other > 4 * own


# ------------------------------------------------------------------ one object


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


_DECODER = json.JSONDecoder(strict=False, parse_constant=_constant, parse_float=_number)


def _decode(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    """The object that begins there, and where it ends; whatever follows does not matter."""
    try:
        value, end = _DECODER.raw_decode(text, at)
        harmless = cleaned(value)
        orjson.dumps(harmless)  # refuses numbers that nothing of ours could keep
    except (ValueError, TypeError, RecursionError):
        return None
    return (harmless, end) if isinstance(harmless, dict) else None


def cleaned(value: Any) -> Any:
    """JSON whose texts are without control characters and what reorders or hides text."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name): cleaned(each) for name, each in value.items()}
    if isinstance(value, list):
        return [cleaned(each) for each in value]
    return value


def _mended(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    """The same of an object that is JSON but for commas, comments and Python's constants."""
    removed: list[tuple[int, int]] = []

    def mend(match: re.Match[str]) -> str:
        token = match[0]
        if token.startswith('"'):
            return token
        instead = _PYTHON.get(token, "")
        removed.append((match.start(), len(token) - len(instead)))
        return instead

    rest = _TOKENS.sub(mend, text[at:])
    read = _decode(rest, 0)
    if read is None:
        return None
    value, end = read
    for where, less in removed:
        if where < end:
            end += less
    return value, at + end
