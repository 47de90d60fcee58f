"""The grammar of Service Bus SQL filters: text in, syntax tree out. Pure.

    condition     := all-of (OR all-of)*
    all-of        := negation (AND negation)*
    negation      := NOT* test
    test          := sum [ (= | <> | != | > | >= | < | <=) sum
                         | IS [NOT] NULL
                         | [NOT] IN ( sum [, ...] )
                         | [NOT] LIKE sum [ESCAPE sum] ]
    sum           := product ((+ | -) product)*
    product       := signed ((* | / | %) signed)*
    signed        := (+ | -)* atom
    atom          := constant | newid() | property(sum) | p(sum) | property-name
                   | EXISTS ( property-name ) | ( condition )
    property-name := [sys. | user.] (word | [delimited] | "quoted")

A condition and a value are different things, as in Service Bus: `flag` alone is refused, say
`flag = TRUE`. Words are case-insensitive. A property whose name is reserved, or is not a letter
followed by letters, digits and underscores, goes in [ ].
"""

import math
from collections.abc import Callable
from typing import NoReturn, TypeVar

from notifications.bus.filter_tokens import FilterSyntaxError, Kind, Token, tokens
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
    Node,
    Not,
    Property,
    Signed,
    Value,
)

MAX_CHARACTERS = 1024
"""The longest expression that Service Bus takes."""

MAX_DEPTH = 32
"""How deep parentheses and function calls may nest: a bound on the parser's stack."""

_INT64_MAX = 2**63 - 1
_SMALLEST = str(_INT64_MAX + 1)  # behind a minus only: Int64 has one more below zero than above
_COMPARISONS = ("=", "<>", "!=", ">", ">=", "<", "<=")
_FUNCTIONS = ("NEWID", "PROPERTY", "P")
_KEYWORD_CONSTANTS = {"TRUE": True, "FALSE": False, "NULL": None}

_N = TypeVar("_N", bound=Node)


def parse(expression: str) -> Condition:
    """Read a filter.

    Raises:
        FilterSyntaxError: It is none; says where and what was expected.
    """
    if len(expression) > MAX_CHARACTERS:
        raise FilterSyntaxError(MAX_CHARACTERS, f"at most {MAX_CHARACTERS:,} characters")
    return _Parser(expression).filter()


class _Parser:
    """Recursive descent: one method per rule of the grammar, one token of look-ahead."""

    __slots__ = ("_depth", "_index", "_tokens")

    def __init__(self, expression: str) -> None:
        self._tokens = tokens(expression)
        self._index = 0
        self._depth = 0

    # ---------------------------------------------------------------- conditions

    def filter(self) -> Condition:
        found = self._condition(self._any_of())
        if self._token.kind is not Kind.END:
            self._fail("AND, OR or the end")
        return found

    def _any_of(self) -> Node:
        first = self._all_of()
        if not self._at("OR"):
            return first
        operands = [self._condition(first)]
        while self._take("OR"):
            operands.append(self._condition(self._all_of()))
        return AnyOf(operands=tuple(operands))

    def _all_of(self) -> Node:
        first = self._negation()
        if not self._at("AND"):
            return first
        operands = [self._condition(first)]
        while self._take("AND"):
            operands.append(self._condition(self._negation()))
        return AllOf(operands=tuple(operands))

    def _negation(self) -> Node:
        times = 0
        while self._take("NOT"):
            times += 1
        found = self._test()
        if not times:
            return found
        condition = self._condition(found)
        return Not(operand=condition) if times % 2 else condition

    def _test(self) -> Node:
        left = self._sum()
        if isinstance(left, Condition):
            return left
        for operator in _COMPARISONS:
            if self._take(operator):
                meaning = "<>" if operator == "!=" else operator
                return Comparison(operator=meaning, left=left, right=self._value())
        if self._at("IS"):
            return self._is_null(left)
        if self._take("NOT"):
            return Not(operand=self._membership(left))
        if self._at("IN", "LIKE"):
            return self._membership(left)
        return left

    def _is_null(self, left: Value) -> Condition:
        if not isinstance(left, Property):
            self._fail("a property before IS NULL")
        self._take("IS")
        negated = self._take("NOT")
        self._expect("NULL", "NULL" if negated else "NULL or NOT NULL")
        found = IsNull(operand=left)
        return Not(operand=found) if negated else found

    def _membership(self, left: Value) -> Condition:
        if self._take("IN"):
            self._expect("(")
            items = [self._value()]
            while self._take(","):
                items.append(self._value())
            self._expect(")", ", or )")
            return In(operand=left, items=tuple(items))
        self._expect("LIKE", "IN or LIKE")
        position = self._token.position
        pattern = self._value()
        escape = self._value() if self._take("ESCAPE") else None
        return Like(operand=left, pattern=pattern, escape=escape, position=position)

    # ---------------------------------------------------------------- values

    def _sum(self) -> Node:
        return self._chain(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._chain(("*", "/", "%"), self._signed)

    def _chain(self, operators: tuple[str, ...], operand: Callable[[], Node]) -> Node:
        first = operand()
        if isinstance(first, Condition):
            return first
        rest = []
        while self._at(*operators):
            operator = self._next().text
            rest.append((operator, self._value(operand)))
        return Arithmetic(first=first, rest=tuple(rest)) if rest else first

    def _signed(self) -> Node:
        signs = []
        while self._at("+", "-"):
            signs.append(self._next().text)
        if not signs:
            return self._atom()
        negative = signs.count("-") % 2 == 1
        if negative and self._token.text == _SMALLEST and self._token.kind is Kind.NUMBER:
            return Constant(value=-self._next().number())
        return Signed(negative=negative, operand=self._value(self._atom))

    def _atom(self) -> Node:
        token = self._token
        if token.kind is Kind.STRING:
            return Constant(value=self._next().text)
        if token.kind is Kind.NUMBER:
            return Constant(value=self._number())
        if token.kind is Kind.KEYWORD and token.text in _KEYWORD_CONSTANTS:
            return Constant(value=_KEYWORD_CONSTANTS[self._next().text])
        if self._take("EXISTS"):
            return self._exists()
        if self._at("("):
            return self._parenthesised(self._any_of)
        if token.kind is Kind.WORD and token.text.upper() in _FUNCTIONS and self._ahead("("):
            return self._function()
        return self._property("a property, a constant, a function or (")

    def _number(self) -> int | float:
        token = self._next()
        value = token.number()
        if isinstance(value, int) and value > _INT64_MAX:
            raise FilterSyntaxError(token.position, "an integer of at most 64 bits")
        if math.isinf(value):
            raise FilterSyntaxError(token.position, "a number that a double can hold")
        return value

    def _exists(self) -> Condition:
        self._expect("(")
        operand = self._property("a property")
        self._expect(")")
        return Exists(operand=operand)

    def _function(self) -> Value:
        if self._next().text.upper() != "NEWID":
            return NamedProperty(name=self._parenthesised(self._value))
        self._expect("(")
        self._expect(")")
        return NewId()

    def _property(self, expected: str) -> Property:
        token = self._token
        if token.kind not in (Kind.WORD, Kind.NAME):
            self._fail(expected)
        self._next()
        if not self._at("."):
            return Property(name=token.text)
        scope = token.text.casefold() if token.kind is Kind.WORD else ""
        if scope not in ("sys", "user"):
            self._fail("sys or user before the dot, or [ ] around a name with a dot")
        self._next()
        if self._token.kind not in (Kind.WORD, Kind.NAME):
            self._fail("a property name, in [ ] where it is a reserved word")
        return Property(name=self._next().text, system=scope == "sys")

    def _parenthesised(self, inner: Callable[[], _N]) -> _N:
        if self._depth == MAX_DEPTH:
            self._fail(f"at most {MAX_DEPTH} parentheses inside one another")
        self._depth += 1
        self._expect("(")
        found = inner()
        self._expect(")")
        self._depth -= 1
        return found

    # ---------------------------------------------------------------- tokens

    @property
    def _token(self) -> Token:
        return self._tokens[self._index]

    def _next(self) -> Token:
        token = self._tokens[self._index]
        self._index += 1
        return token

    def _at(self, *texts: str) -> bool:
        return self._token.kind in (Kind.KEYWORD, Kind.SYMBOL) and self._token.text in texts

    def _ahead(self, text: str) -> bool:
        token = self._tokens[self._index + 1]
        return token.kind is Kind.SYMBOL and token.text == text

    def _take(self, text: str) -> bool:
        if not self._at(text):
            return False
        self._index += 1
        return True

    def _expect(self, text: str, expected: str | None = None) -> None:
        if not self._take(text):
            self._fail(expected or text)

    def _condition(self, found: Node) -> Condition:
        if not isinstance(found, Condition):
            self._fail("a comparison, such as = TRUE, LIKE, IN or IS NULL")
        return found

    def _value(self, rule: Callable[[], Node] | None = None) -> Value:
        position = self._token.position
        found = (rule or self._sum)()
        if isinstance(found, Condition):
            raise FilterSyntaxError(position, "a value, not a condition")
        return found

    def _fail(self, expected: str) -> NoReturn:
        raise FilterSyntaxError(self._token.position, expected)
