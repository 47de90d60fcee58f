"""Topics, subscriptions and rules, read from the ATOM entries that describe them. Pure."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from notifications.broker import NamedRule
from notifications.door import durations
from notifications.door.admin.xml import Element
from notifications.door.refusals import refused
from notifications.entities import (
    CORRELATION,
    DEFAULT_DELIVERIES,
    DEFAULT_LOCK_MS,
    NEVER,
    SubscriptionEntity,
    TopicEntity,
)
from notifications.errors import FieldError, InvalidInput
from notifications.messages import PropertyValue

_KINDS: Mapping[str, Callable[[str], PropertyValue]] = {
    "string": str,
    "int": int,
    "long": int,
    "short": int,
    "double": float,
    "decimal": float,
    "boolean": lambda text: {"true": True, "1": True, "false": False, "0": False}[text.lower()],
}

V = TypeVar("V")


def description(entry: Element, kind: str) -> Element:
    """The description in an entry.

    Raises:
        InvalidInput: There is none of that kind.
    """
    content = entry.child("content") if entry.name == "entry" else None
    found = content.child(kind) if content is not None else None
    if found is None:
        raise _invalid("", f"the body has to be an ATOM entry with a {kind}")
    for each in found.children:
        why = refused(each.name, each.text)
        if why is not None:
            raise _invalid(f"/{each.name}", why)
    return found


def topic(name: str, found: Element) -> TopicEntity:
    """A topic of that name.

    Raises:
        InvalidInput: A property is none.
    """
    return TopicEntity(
        name=name,
        ttl_ms=_value(found, "DefaultMessageTimeToLive", durations.read, NEVER),
        metadata=found.value("UserMetadata") or "",
    )


def subscription(topic_name: str, name: str, found: Element) -> SubscriptionEntity:
    """A subscription of that name.

    Raises:
        InvalidInput: A property is none.
    """
    return SubscriptionEntity(
        topic=topic_name,
        name=name,
        lock_ms=_value(found, "LockDuration", durations.read, DEFAULT_LOCK_MS),
        ttl_ms=_value(found, "DefaultMessageTimeToLive", durations.read, NEVER),
        max_delivery_count=_value(found, "MaxDeliveryCount", int, DEFAULT_DELIVERIES),
        dead_letter_expired=_value(found, "DeadLetteringOnMessageExpiration", _flag, False),
        metadata=found.value("UserMetadata") or "",
    )


def rule(name: str, found: Element) -> NamedRule:
    """A rule of that name.

    Raises:
        InvalidInput: It has an action, or no filter that is known.
    """
    action = found.child("Action")
    if action is not None and _type(action) not in ("", "EmptyRuleAction"):
        raise _invalid("/Action", "the door has no rule actions")
    wanted = found.child("Filter")
    kind = "TrueFilter" if wanted is None else _type(wanted)
    if wanted is None or kind == "TrueFilter":
        return NamedRule(name=name, sql="1=1")
    if kind == "FalseFilter":
        return NamedRule(name=name, sql="1=0")
    if kind == "SqlFilter":
        parameters = wanted.child("Parameters")
        if parameters is not None and parameters.children:
            raise _invalid("/Filter/Parameters", "the door's SQL filters have no parameters")
        return NamedRule(name=name, sql=wanted.value("SqlExpression") or "")
    if kind == "CorrelationFilter":
        return _correlation(name, wanted)
    raise _invalid("/Filter", f"a filter of type {kind!r} is not known")


def _correlation(name: str, wanted: Element) -> NamedRule:
    properties: dict[str, PropertyValue] = {}
    pairs = wanted.child("Properties")
    for pair in pairs.named("KeyValueOfstringanyType") if pairs is not None else ():
        key, value = pair.value("Key"), pair.child("Value")
        if key is None or value is None:
            raise _invalid("/Filter/Properties", "a property has a key and a value")
        kind = _KINDS.get(_type(value))
        if kind is None:
            raise _invalid(f"/Filter/Properties/{key}", f"is of a type {_type(value)!r}")
        try:
            properties[key] = kind(value.text)
        except (ValueError, KeyError):
            raise _invalid(f"/Filter/Properties/{key}", f"is no {_type(value)}") from None
    correlation = {each: text for each in CORRELATION if (text := wanted.value(each)) is not None}
    return NamedRule(name=name, correlation=correlation, properties=properties)


def _type(element: Element) -> str:
    return element.attributes.get("type", "").rpartition(":")[2]


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("it is true or false")
    return text.lower() == "true"


def _value(found: Element, name: str, read: Callable[[str], V], otherwise: V) -> V:
    text = found.value(name)
    if text is None:
        return otherwise
    try:
        return read(text)
    except ValueError as error:
        raise _invalid(f"/{name}", str(error)) from error


def _invalid(pointer: str, detail: str) -> InvalidInput:
    return InvalidInput([FieldError(pointer, detail)])
