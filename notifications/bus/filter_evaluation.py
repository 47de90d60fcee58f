"""Filters as closures: a syntax tree becomes functions of a message. Pure.

None stands for unknown, which is what a missing or null property and NULL are. It goes through
operators as Service Bus documents it: arithmetic, comparisons and LIKE are unknown where an operand
is, IN where its left operand is (an unknown item equals nothing), NOT of unknown is unknown, FALSE
decides AND, TRUE decides OR. Both stop at what decides them, so what stands behind cannot fail.
"""

import re
from collections.abc import Callable, Sequence

from notifications.bus.filter_tokens import FilterSyntaxError
from notifications.bus.filter_tree import (
    AllOf,
    AnyOf,
    Arithmetic,
    Comparison,
    Condition,
    Constant,
    Exists,
    In,
    IsNull,
    Like,
    NamedProperty,
    NewId,
    Not,
    Property,
    Signed,
    Value,
)
from notifications.bus.filter_values import (
    FilterError,
    PatternError,
    calculated,
    like_pattern,
    ordered,
    same,
    signed,
)
from notifications.bus.filter_view import MessageView

Reader = Callable[[MessageView], object]
"""Gives an expression's value for a message, None where it is unknown."""

Test = Callable[[MessageView], bool | None]
"""Gives a condition's truth for a message, None where it is unknown."""


def compiled(condition: Condition) -> Test:
    """Turn a condition into a function.

    Raises:
        FilterSyntaxError: A constant pattern or escape character can never be one.
    """
    match condition:
        case Comparison():
            return _comparison(condition)
        case IsNull():
            read = _reader(condition.operand)
            return lambda view: read(view) is None
        case Exists():
            return _exists(condition.operand)
        case In():
            return _in(condition)
        case Like():
            return _like(condition)
        case Not():
            return _not(compiled(condition.operand))
        case AllOf():
            return _decided_by(False, [compiled(operand) for operand in condition.operands])
        case AnyOf():
            return _decided_by(True, [compiled(operand) for operand in condition.operands])


# --------------------------------------------------------------------------- conditions


def _decided_by(decisive: bool, tests: list[Test]) -> Test:
    """AND is decided by a FALSE, OR by a TRUE; else an unknown makes it unknown."""
    otherwise = not decisive
    fixed = tuple(tests)

    def decide(view: MessageView) -> bool | None:
        result: bool | None = otherwise
        for test in fixed:
            found = test(view)
            if found is decisive:
                return decisive
            if found is None:
                result = None
        return result

    return decide


def _not(test: Test) -> Test:
    def negate(view: MessageView) -> bool | None:
        found = test(view)
        return None if found is None else not found

    return negate


def _comparison(node: Comparison) -> Test:
    if node.operator == "=":
        return _equality(node.left, node.right)
    if node.operator == "<>":
        return _not(_equality(node.left, node.right))
    symbol, read_left, read_right = node.operator, _reader(node.left), _reader(node.right)

    def compare(view: MessageView) -> bool | None:
        left, right = read_left(view), read_right(view)
        return None if left is None or right is None else ordered(symbol, left, right)

    return compare


def _equality(left_node: Value, right_node: Value) -> Test:
    read_left, read_right = _reader(left_node), _reader(right_node)
    if isinstance(right_node, Constant) and isinstance(right_node.value, str):
        return _equals_text(read_left, right_node.value)

    def compare(view: MessageView) -> bool | None:
        left, right = read_left(view), read_right(view)
        return None if left is None or right is None else same(left, right)

    return compare


def _equals_text(read: Reader, text: str) -> Test:
    """`= 'text'`, by far the most frequent comparison, without a look at the kinds of number."""

    def compare(view: MessageView) -> bool | None:
        value = read(view)
        return None if value is None else isinstance(value, str) and value == text

    return compare


def _exists(node: Property) -> Test:
    if node.system:
        return lambda view: view.system_value(node.name) is not None
    name = node.name.casefold()
    return lambda view: name in view.folded


def _in(node: In) -> Test:
    read = _reader(node.operand)
    readers = tuple(_reader(item) for item in node.items)

    def contains(view: MessageView) -> bool | None:
        value = read(view)
        if value is None:
            return None
        for item in readers:
            other = item(view)
            if other is not None and same(value, other):
                return True
        return False

    return contains


def _like(node: Like) -> Test:
    read, read_pattern = _reader(node.operand), _pattern_reader(node)

    def like(view: MessageView) -> bool | None:
        text, pattern = read(view), read_pattern(view)
        if text is None or pattern is None:
            return None
        if not isinstance(text, str):
            raise FilterError("LIKE looks at strings only")
        return pattern.fullmatch(text) is not None

    return like


def _pattern_reader(node: Like) -> Callable[[MessageView], re.Pattern[str] | None]:
    """A constant pattern is translated, and refused, once and for all."""
    parts = [node.pattern] if node.escape is None else [node.pattern, node.escape]
    constants = [part.value for part in parts if isinstance(part, Constant)]
    if len(constants) == len(parts):
        try:
            pattern = _pattern(constants)
        except PatternError as error:
            raise FilterSyntaxError(node.position, error.expected) from error
        return lambda _view: pattern
    readers = [_reader(part) for part in parts]
    return lambda view: _pattern([read(view) for read in readers])


def _pattern(values: Sequence[object]) -> re.Pattern[str] | None:
    if any(value is None for value in values):
        return None
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values):
        raise PatternError("strings as pattern and escape character")
    return like_pattern(*texts)


# --------------------------------------------------------------------------- values


class _Guid:
    """What `newid()` gives. It is new, so it equals nothing, and no filter can tell more of it."""


def _reader(node: Value) -> Reader:
    match node:
        case Constant():
            value = node.value
            return lambda _view: value
        case Property():
            return _property(node)
        case NamedProperty():
            return _named_property(_reader(node.name))
        case NewId():
            return lambda _view: _Guid()
        case Signed():
            return _signed(_reader(node.operand), negative=node.negative)
        case Arithmetic():
            return _arithmetic(node)


def _property(node: Property) -> Reader:
    if node.system:
        return lambda view: view.system_value(node.name)
    name = node.name.casefold()
    return lambda view: view.folded.get(name)


def _named_property(read_name: Reader) -> Reader:
    def read(view: MessageView) -> object:
        name = read_name(view)
        if not isinstance(name, str | None):
            raise FilterError("property() takes a string")
        return None if name is None else view.property_value(name)

    return read


def _signed(read: Reader, *, negative: bool) -> Reader:
    def sign(view: MessageView) -> object:
        operand = read(view)
        return None if operand is None else signed(negative=negative, operand=operand)

    return sign


def _arithmetic(node: Arithmetic) -> Reader:
    read_first = _reader(node.first)
    rest = tuple((symbol, _reader(operand)) for symbol, operand in node.rest)

    def calculate(view: MessageView) -> object:
        result = read_first(view)
        for symbol, read in rest:
            operand = read(view)
            if result is None or operand is None:
                return None
            result = calculated(symbol, result, operand)
        return result

    return calculate
