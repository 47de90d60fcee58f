"""Rules as `$management` speaks of them. Pure."""

from collections.abc import Mapping
from typing import Any

from notifications.broker import NamedRule
from notifications.door import encoding as put
from notifications.door.decoding import Opaque, Timestamp
from notifications.door.faults import ARGUMENT, NOT_IMPLEMENTED, Fault
from notifications.messages import PropertyValue

_RULE, _NO_ACTION = 0x0000013700000004, 0x0000013700000005
_SQL, _TRUE, _FALSE, _CORRELATION = range(0x1370000006, 0x137000000A)  # one digit fewer: it is so
_COMPATIBILITY = 20

_SYSTEM = {
    "correlation-id": "CorrelationId",
    "message-id": "MessageId",
    "to": "To",
    "reply-to": "ReplyTo",
    "label": "Label",
    "session-id": "SessionId",
    "reply-to-session-id": "ReplyToSessionId",
    "content-type": "ContentType",
}
"""On the wire, in the order of the fields of a correlation filter, and how rules call them."""


def named_rule(body: Mapping[str, Any]) -> NamedRule:
    """The rule that a request adds.

    Raises:
        Fault: It is none, or has an action.
    """
    name, told = body.get("rule-name"), body.get("rule-description")
    if not isinstance(name, str) or not isinstance(told, dict):
        raise Fault(ARGUMENT, "rule-name has to be a string, rule-description a map.")
    if _expression(told.get("sql-rule-action")):
        raise Fault(NOT_IMPLEMENTED, "Rule actions are not supported.")
    sql, correlation = told.get("sql-filter"), told.get("correlation-filter")
    if isinstance(correlation, dict):
        return _correlated(str(name), correlation)
    expression = _expression(sql)
    if expression is None:
        raise Fault(ARGUMENT, "A rule has a sql-filter or a correlation-filter.")
    return NamedRule(name=str(name), sql=expression)


def described_rule(rule: NamedRule) -> bytes:
    """A rule as requests list it."""
    action = put.described(_NO_ACTION, put.EMPTY_LIST)
    return put.described(_RULE, put.sequence([_filter(rule), action, put.string(rule.name)]))


def _filter(rule: NamedRule) -> bytes:
    if rule.sql is None:
        return _correlation(rule)
    if rule.sql in ("1=1", "1=0"):
        kind = _TRUE if rule.sql == "1=1" else _FALSE
        return put.described(kind, put.EMPTY_LIST)
    parts = [put.string(rule.sql), put.int32(_COMPATIBILITY)]
    return put.described(_SQL, put.sequence(parts))


def _correlation(rule: NamedRule) -> bytes:
    parts = [
        put.string(rule.correlation[name]) if name in rule.correlation else put.NULL
        for name in _SYSTEM.values()
    ]
    values = {name: put.value(value) for name, value in rule.properties.items()}
    return put.described(_CORRELATION, put.sequence([*parts, put.strings(values)]))


def _expression(found: Any) -> str | None:
    expression = found.get("expression") if isinstance(found, dict) else None
    return str(expression) if isinstance(expression, str) else None


def _correlated(name: str, told: Mapping[Any, Any]) -> NamedRule:
    system = {
        _SYSTEM[key]: str(value)
        for key, value in told.items()
        if key in _SYSTEM and isinstance(value, str)
    }
    properties: dict[str, PropertyValue] = {}
    for key, value in (told.get("properties") or {}).items():
        if not isinstance(value, str | bool | int | float) or isinstance(value, Timestamp | Opaque):
            raise Fault(ARGUMENT, f"The property '{key}' is compared with what is no plain value.")
        properties[str(key)] = str(value) if isinstance(value, str) else value
    return NamedRule(name=name, correlation=system, properties=properties)
