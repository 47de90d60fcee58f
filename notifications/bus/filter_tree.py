"""The syntax tree of a Service Bus SQL filter. Pure values, made by `filter_grammar.parse`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A literal; None is NULL."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """A property by its name, of the message (`system`) or of the application."""

    name: str
    system: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedProperty:
    """`property(name)`: the application property whose name is computed."""

    name: "Value"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewId:
    """`newid()`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """`+x` or `-x`."""

    negative: bool
    operand: "Value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Operators of one precedence, applied from left to right.

    A chain is one node, so that a long one is a loop and not a deep recursion.
    """

    first: "Value"
    rest: tuple[tuple[str, "Value"], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`operator` is one of = <> > >= < <=."""

    operator: str
    left: "Value"
    right: "Value"


@dataclass(frozen=True, slots=True, kw_only=True)
class IsNull:
    """`property IS NULL`: absent, or there and null."""

    operand: Property


@dataclass(frozen=True, slots=True, kw_only=True)
class Exists:
    """`EXISTS (property)`: there, null or not."""

    operand: Property


@dataclass(frozen=True, slots=True, kw_only=True)
class In:
    """`operand IN (items)`."""

    operand: "Value"
    items: tuple["Value", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Like:
    """`operand LIKE pattern ESCAPE escape`; `position` is the pattern's."""

    operand: "Value"
    pattern: "Value"
    escape: "Value | None"
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """The contrary; unknown stays unknown."""

    operand: "Condition"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    """`a AND b AND ...`."""

    operands: tuple["Condition", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    """`a OR b OR ...`."""

    operands: tuple["Condition", ...]


Value = Constant | Property | NamedProperty | NewId | Signed | Arithmetic
"""What an expression can be."""

Condition = Comparison | IsNull | Exists | In | Like | Not | AllOf | AnyOf
"""What is true, false or unknown."""

Node = Value | Condition
"""Any part of a filter."""
