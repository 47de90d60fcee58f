"""Filters of the bus: which messages a subscription takes, with Service Bus's semantics. Pure.

    SqlFilter           an expression of Service Bus's SQL (filter_grammar.py has the grammar)
    CorrelationFilter   properties that must be equal
    TrueFilter          every message: what a subscription has until it is given a rule
    FalseFilter         none

A filter is made once and asked for every message. A message that a filter cannot be evaluated for
(`FilterError`) goes to the subscription's dead letters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from notifications.bus.filter_evaluation import Test, compiled
from notifications.bus.filter_grammar import MAX_CHARACTERS, MAX_DEPTH, parse
from notifications.bus.filter_tokens import FilterSyntaxError
from notifications.bus.filter_values import FilterError, same
from notifications.bus.filter_view import SYSTEM_PROPERTIES, MessageView
from notifications.messages import PropertyValue

__all__ = [
    "MAX_CHARACTERS",
    "MAX_DEPTH",
    "SYSTEM_PROPERTIES",
    "CorrelationFilter",
    "FalseFilter",
    "Filter",
    "FilterError",
    "FilterSyntaxError",
    "MessageView",
    "SqlFilter",
    "TrueFilter",
]


class Filter(Protocol):
    """Decides whether a subscription takes a message."""

    def matches(self, view: MessageView) -> bool:
        """Whether it takes the message.

        Raises:
            FilterError: That cannot be told of this message.
        """
        ...


@dataclass(frozen=True, slots=True)
class SqlFilter:
    """A SQL filter, read once and compiled.

    Attributes:
        expression: At most 1,024 characters.

    Raises:
        FilterSyntaxError: The expression is no filter.
    """

    expression: str
    _test: Test = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_test", compiled(parse(self.expression)))

    def matches(self, view: MessageView) -> bool:
        """Whether the message is taken: unknown is no.

        Raises:
            FilterError: It names a system property that does not exist, or asks an operator for
                what C# has none for.
        """
        return self._test(view) is True

    def evaluate(self, view: MessageView) -> bool | None:
        """The condition's truth, None where it is unknown.

        Raises:
            FilterError: As `matches`.
        """
        return self._test(view)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationFilter:
    """Takes messages that have all of these, equal in value, kind and case.

    Attributes:
        properties: The application's; names whatever their case.
    """

    correlation_id: str | None = None
    message_id: str | None = None
    to: str | None = None
    reply_to: str | None = None
    label: str | None = None
    session_id: str | None = None
    reply_to_session_id: str | None = None
    content_type: str | None = None
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)

    def matches(self, view: MessageView) -> bool:
        """Whether everything that is set here is the same there; what is not set does not count."""
        system = (
            ("CorrelationId", self.correlation_id),
            ("MessageId", self.message_id),
            ("To", self.to),
            ("ReplyTo", self.reply_to),
            ("Label", self.label),
            ("SessionId", self.session_id),
            ("ReplyToSessionId", self.reply_to_session_id),
            ("ContentType", self.content_type),
        )
        return all(
            wanted is None or view.system_value(name) == wanted for name, wanted in system
        ) and all(
            same(view.property_value(name), wanted) for name, wanted in self.properties.items()
        )


@dataclass(frozen=True, slots=True)
class TrueFilter:
    """Takes every message."""

    def matches(self, view: MessageView) -> bool:  # noqa: ARG002
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class FalseFilter:
    """Takes no message."""

    def matches(self, view: MessageView) -> bool:  # noqa: ARG002
        """Never."""
        return False
