"""Rules as text, and the filters that are made of them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from notifications.broker import NamedRule
from notifications.bus.filters import (
    CorrelationFilter,
    FalseFilter,
    Filter,
    FilterError,
    FilterSyntaxError,
    MessageView,
    SqlFilter,
    TrueFilter,
)
from notifications.bus.topology import DEFAULT_RULE, Rule
from notifications.entities import CORRELATION, check_rule_name
from notifications.errors import FieldError, InvalidInput

EVERYTHING, NOTHING = "1=1", "1=0"

TAKES_ALL = NamedRule(name=DEFAULT_RULE, sql=EVERYTHING)
"""What a subscription has until it is given a rule."""

_FIELDS = {name.casefold(): name for name in CORRELATION}

_ATTRIBUTES = {
    "ContentType": "content_type",
    "CorrelationId": "correlation_id",
    "Label": "label",
    "MessageId": "message_id",
    "ReplyTo": "reply_to",
    "ReplyToSessionId": "reply_to_session_id",
    "SessionId": "session_id",
    "To": "to",
}


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Takes what one of them takes; where none does, an error of one of them counts."""

    filters: Sequence[Filter]

    def matches(self, view: MessageView) -> bool:
        """Whether one of them takes the message.

        Raises:
            FilterError: None takes it, and one cannot tell.
        """
        failed: FilterError | None = None
        for each in self.filters:
            try:
                if each.matches(view):
                    return True
            except FilterError as error:
                failed = error
        if failed is not None:
            raise failed
        return False


def filter_of(rules: Iterable[NamedRule]) -> Filter:
    """The filter of a subscription that has these.

    Raises:
        InvalidInput: One is no rule.
    """
    filters = [_filter(rule) for rule in rules]
    return filters[0] if len(filters) == 1 else AnyOf(filters)


def check_rule(rule: NamedRule) -> None:
    """Whether it is a rule.

    Raises:
        InvalidInput: It is none: says what is wrong with it.
    """
    check_rule_name(rule.name)
    _filter(rule)


def named(rule: Rule) -> NamedRule:
    """A rule of a hub's topology, as text."""
    found = rule.filter
    if isinstance(found, SqlFilter):
        return NamedRule(name=rule.name, sql=found.expression)
    wanted = {name: getattr(found, attribute) for name, attribute in _ATTRIBUTES.items()}
    return NamedRule(
        name=rule.name,
        correlation={name: value for name, value in wanted.items() if value is not None},
        properties=found.properties,
    )


def _filter(rule: NamedRule) -> Filter:
    if rule.sql is None:
        return _correlation(rule)
    bare = rule.sql.replace(" ", "")
    if bare == EVERYTHING:
        return TrueFilter()
    if bare == NOTHING:
        return FalseFilter()
    try:
        return SqlFilter(rule.sql)
    except FilterSyntaxError as error:
        raise InvalidInput([FieldError("/sqlExpression", str(error))]) from error


def _correlation(rule: NamedRule) -> Filter:
    wanted: dict[str, str] = {}
    for name, value in rule.correlation.items():
        known = _FIELDS.get(name.casefold())
        if known is None:
            detail = f"{name!r} is none of {', '.join(_FIELDS.values())}"
            raise InvalidInput([FieldError("/correlationFilter", detail)])
        wanted[_ATTRIBUTES[known]] = value
    if not wanted and not rule.properties:
        detail = "has to ask for one property at least"
        raise InvalidInput([FieldError("/correlationFilter", detail)])
    return CorrelationFilter(**wanted, properties=dict(rule.properties))
