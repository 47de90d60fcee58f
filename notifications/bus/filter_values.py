"""What the operators of Service Bus SQL filters do with values. Pure.

Operators follow C#: integers are of 64 bits and wrap around, an integer meets a double as a
double, division of integers cuts towards zero. Nothing else is converted: a string never equals a
number and `TRUE` never equals 1. Where C# has no operator for two kinds of value, evaluation
fails with a `FilterError`. Strings are compared by code point and `+` joins them.
"""

import math
import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeGuard

from notifications.errors import HuntazeError

MAX_PATTERN = 1024
"""The longest LIKE pattern, which a message may bring along: bounds the time to match it."""

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class FilterError(HuntazeError):
    """A filter that cannot be evaluated for a message, which Service Bus then dead-letters.

    Never tells values, only their kinds.
    """


class PatternError(FilterError):
    """A LIKE pattern or escape character that is none.

    Attributes:
        expected: What would be right.
    """

    def __init__(self, expected: str) -> None:
        self.expected = expected
        super().__init__(f"LIKE expects {expected}")


def same(left: object, right: object) -> bool:
    """Whether two values, neither unknown, are equal; values of different kinds are not."""
    if isinstance(left, str):
        return isinstance(right, str) and left == right
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float):
        return isinstance(right, int | float) and operator.eq(*_promoted(left, right))
    return type(left) is type(right) and left == right


def ordered(symbol: str, left: object, right: object) -> bool:
    """Compare two values, neither unknown, with < <= > or >=.

    Raises:
        FilterError: They have no order.
    """
    compare = _ORDER[symbol]
    if _is_number(left) and _is_number(right):
        return compare(*_promoted(left, right))
    if isinstance(left, str) and isinstance(right, str):
        return compare(left, right)
    if type(left) is not type(right) or isinstance(left, bool):
        raise _no_operator(symbol, left, right)
    try:
        return bool(compare(left, right))
    except TypeError as error:
        raise _no_operator(symbol, left, right) from error


def calculated(symbol: str, left: object, right: object) -> object:
    """Apply + - * / or % to two values, neither unknown.

    Raises:
        FilterError: They are no numbers (nor two strings to join), or the divisor is zero.
    """
    if isinstance(left, str) and isinstance(right, str) and symbol == "+":
        return left + right
    if not (_is_number(left) and _is_number(right)):
        raise _no_operator(symbol, left, right)
    first, second = _promoted(left, right)
    if isinstance(first, int):
        return _integer(symbol, first, second)
    return _double(symbol, first, second)


def signed(*, negative: bool, operand: object) -> object:
    """Apply unary + or - to a value that is not unknown.

    Raises:
        FilterError: It is no number.
    """
    if not _is_number(operand):
        raise FilterError(f"{'-' if negative else '+'} takes no {_kind(operand)}")
    if not negative:
        return operand
    return -operand if isinstance(operand, float) else _wrapped(-operand)


@lru_cache(maxsize=256)
def like_pattern(pattern: str, escape: str | None = None) -> re.Pattern[str]:
    """Translate a LIKE pattern, for `fullmatch`.

    `%` is any run of characters and `_` any one; behind the escape character each is itself.
    Once the text behind a `%` is found it is kept, for a later one would be no better: so the
    time to match is bounded by text x pattern, whatever a message brings along.

    Raises:
        PatternError: Pattern or escape character is none.
    """
    if escape is not None and len(escape) != 1:
        raise PatternError("one character after ESCAPE")
    if len(pattern) > MAX_PATTERN:
        raise PatternError(f"a pattern of at most {MAX_PATTERN:,} characters")
    runs = [""]
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            escaped = next(characters, None)
            if escaped is None:
                raise PatternError("a character behind the last escape character")
            runs[-1] += re.escape(escaped)
        elif character == "%":
            runs.append("")
        else:
            runs[-1] += "." if character == "_" else re.escape(character)
    first, *rest = runs
    middle = "".join(f"(?>.*?{run})" for run in rest[:-1])
    last = f".*{rest[-1]}" if rest else ""
    return re.compile(first + middle + last, re.DOTALL)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _promoted(left: Any, right: Any) -> tuple[Any, Any]:
    if isinstance(left, float) is isinstance(right, float):
        return left, right
    try:
        return float(left), float(right)
    except OverflowError as error:
        raise FilterError("an integer is out of range") from error


def _wrapped(value: int) -> int:
    return ((value - _INT64_MIN) & (2**64 - 1)) + _INT64_MIN


def _integer(symbol: str, left: int, right: int) -> int:
    if symbol == "+":
        return _wrapped(left + right)
    if symbol == "-":
        return _wrapped(left - right)
    if symbol == "*":
        return _wrapped(left * right)
    if right == 0:
        raise FilterError("division by zero")
    quotient = abs(left) // abs(right)
    if (left < 0) is not (right < 0):
        quotient = -quotient
    if quotient > _INT64_MAX:
        raise FilterError("an integer is out of range")
    return quotient if symbol == "/" else left - quotient * right


def _double(symbol: str, left: float, right: float) -> float:
    if symbol == "+":
        return left + right
    if symbol == "-":
        return left - right
    if symbol == "*":
        return left * right
    if symbol == "%":
        return math.nan if right == 0 or math.isinf(left) else math.fmod(left, right)
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1, right)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _no_operator(symbol: str, left: object, right: object) -> FilterError:
    return FilterError(f"there is no {symbol} for {_kind(left)} and {_kind(right)}")
