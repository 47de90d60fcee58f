"""Reading the configuration of Microsoft's Service Bus emulator. Pure.

The file is JSON, with `//` comments as in Microsoft's own sample. Everything that is wrong in it is
said at once, each with its place; what the door does not have is refused by name, so that no rule
is ever dropped without a word.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from notifications.broker import NamedRule
from notifications.door import durations
from notifications.door.refusals import LEFT_OUT, refused
from notifications.entities import (
    CORRELATION,
    DEFAULT_LOCK_MS,
    Entity,
    SubscriptionEntity,
    TopicEntity,
    check,
)
from notifications.errors import FieldError, InvalidInput
from notifications.messages import PropertyValue
from notifications.retries import HOUR

MAX_BYTES = 1024 * 1024

_DELIVERIES = 3
"""The emulator's default, not Azure's."""

_COMMENT = re.compile(rb'"(?:\\.|[^"\\])*"|//[^\r\n]*|/\*.*?\*/', re.DOTALL)

_IGNORED = frozenset(
    {
        "DuplicateDetectionHistoryTimeWindow",
        "EnableBatchedOperations",
        "EnableExpress",
        "MaxSizeInMegabytes",
        "SupportOrdering",
    }
)
"""Says nothing that the door could do otherwise."""

_ALSO = frozenset({*LEFT_OUT, "Status", "AutoDeleteOnIdle"})

V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """A topic or subscription of the file.

    Attributes:
        entity: Its description.
        rules: A subscription's, instead of the one that takes everything; None where the file
            names none.
        place: Where it stands in the file.
    """

    entity: Entity
    place: str
    rules: Sequence[NamedRule] | None = None


def read(text: bytes) -> Sequence[Configured]:
    """What the file asks for: each topic before its subscriptions.

    Raises:
        InvalidInput: It cannot be had; names each place and what is wrong there.
    """
    if len(text) > MAX_BYTES:
        raise InvalidInput([FieldError("", f"over {MAX_BYTES:,} bytes")])
    try:
        document = orjson.loads(_COMMENT.sub(_without, text.removeprefix(b"\xef\xbb\xbf")))
    except orjson.JSONDecodeError as error:
        raise InvalidInput([FieldError("", f"no JSON: {error}")]) from error
    reading = _Reading()
    found = list(reading.namespaces(document))
    if reading.errors:
        raise InvalidInput(reading.errors)
    return found


@dataclass(slots=True)
class _Reading:
    """Walks through the document and keeps what is wrong in it."""

    errors: list[FieldError] = field(default_factory=list)

    def namespaces(self, document: Any) -> Iterator[Configured]:
        config = self._object(document, "", {"UserConfig"}, {"UserConfig"})
        if "UserConfig" not in config:
            return
        user = self._object(
            config["UserConfig"], "/UserConfig", {"Namespaces", "Logging"}, {"Namespaces"}
        )
        place = "/UserConfig/Namespaces"
        namespaces = self._list(user.get("Namespaces", []), place)
        if len(namespaces) > 1:
            self._wrong(place, "the door is one namespace")
        for number, each in enumerate(namespaces[:1]):
            yield from self._namespace(each, f"{place}/{number}")

    def _namespace(self, found: Any, place: str) -> Iterator[Configured]:
        namespace = self._object(found, place, {"Name", "Queues", "Topics"})
        if self._list(namespace.get("Queues", []), f"{place}/Queues"):
            self._wrong(
                f"{place}/Queues", "the door has no queues: a topic with one subscription is one"
            )
        names: set[str] = set()
        for number, each in enumerate(self._list(namespace.get("Topics", []), f"{place}/Topics")):
            yield from self._topic(each, f"{place}/Topics/{number}", names)

    def _topic(self, found: Any, place: str, names: set[str]) -> Iterator[Configured]:
        topic = self._object(found, place, {"Name", "Properties", "Subscriptions"}, {"Name"})
        name = self._name(topic, place, names)
        properties = self._properties(topic, place, {"DefaultMessageTimeToLive", "UserMetadata"})
        entity = TopicEntity(
            name=name,
            ttl_ms=self._value(properties, place, "DefaultMessageTimeToLive", _duration, HOUR),
            metadata=self._value(properties, place, "UserMetadata", _text, ""),
        )
        self._checked(entity, place)
        yield Configured(entity=entity, place=place)
        mine: set[str] = set()
        inside = f"{place}/Subscriptions"
        for number, each in enumerate(self._list(topic.get("Subscriptions", []), inside)):
            yield self._subscription(name, each, f"{inside}/{number}", mine)

    def _subscription(self, topic: str, found: Any, place: str, names: set[str]) -> Configured:
        subscription = self._object(found, place, {"Name", "Properties", "Rules"}, {"Name"})
        name = self._name(subscription, place, names)
        known = {
            "DeadLetteringOnMessageExpiration",
            "DefaultMessageTimeToLive",
            "LockDuration",
            "MaxDeliveryCount",
            "UserMetadata",
        }
        given = self._properties(subscription, place, known)
        entity = SubscriptionEntity(
            topic=topic,
            name=name,
            lock_ms=self._value(given, place, "LockDuration", _duration, DEFAULT_LOCK_MS),
            ttl_ms=self._value(given, place, "DefaultMessageTimeToLive", _duration, HOUR),
            max_delivery_count=self._value(given, place, "MaxDeliveryCount", _number, _DELIVERIES),
            dead_letter_expired=self._value(
                given, place, "DeadLetteringOnMessageExpiration", _flag, False
            ),
            metadata=self._value(given, place, "UserMetadata", _text, ""),
        )
        self._checked(entity, place)
        rules = self._list(subscription.get("Rules", []), f"{place}/Rules")
        mine: set[str] = set()
        read = [self._rule(each, f"{place}/Rules/{n}", mine) for n, each in enumerate(rules)]
        return Configured(entity=entity, place=place, rules=read or None)

    # ---------------------------------------------------------------- rules

    def _rule(self, found: Any, place: str, names: set[str]) -> NamedRule:
        rule = self._object(found, place, {"Name", "Properties"}, {"Name", "Properties"})
        name = self._name(rule, place, names)
        place = f"{place}/Properties"
        known = {"FilterType", "SqlFilter", "CorrelationFilter", "Action"}
        properties = self._object(rule.get("Properties", {}), place, known, {"FilterType"})
        if properties.get("Action"):
            self._wrong(f"{place}/Action", "the door has no rule actions")
        kind = properties.get("FilterType")
        if kind == "Sql":
            inside = f"{place}/SqlFilter"
            wanted = {"SqlExpression"}
            sql = self._object(properties.get("SqlFilter", {}), inside, wanted, wanted)
            return NamedRule(name=name, sql=self._value(sql, inside, "SqlExpression", _text, ""))
        if kind == "Correlation":
            inside = f"{place}/CorrelationFilter"
            return self._correlation(name, properties.get("CorrelationFilter", {}), inside)
        if kind is not None:
            self._wrong(f"{place}/FilterType", f"Sql or Correlation, not {kind!r}")
        return NamedRule(name=name, sql="1=0")

    def _correlation(self, name: str, found: Any, place: str) -> NamedRule:
        wanted = self._object(found, place, {*CORRELATION, "Properties"}, set())
        correlation = {
            each: self._value(wanted, place, each, _text, "")
            for each in CORRELATION
            if wanted.get(each) not in (None, "")
        }
        inside = f"{place}/Properties"
        properties: dict[str, PropertyValue] = {}
        given = wanted.get("Properties")
        for key, value in self._object({} if given is None else given, inside).items():
            if isinstance(value, str | int | float | bool):
                properties[key] = value
            else:
                self._wrong(f"{inside}/{_escaped(key)}", "a text, a number, true or false")
        if not any(wanted.values()):
            self._wrong(place, "has to ask for one property at least")
        return NamedRule(name=name, correlation=correlation, properties=properties)

    # ---------------------------------------------------------------- places

    def _properties(self, found: Mapping[str, Any], place: str, known: set[str]) -> dict[str, Any]:
        place = f"{place}/Properties"
        properties = self._object(found.get("Properties", {}), place, known | _ALSO | _IGNORED)
        for name, value in properties.items():
            why = refused(name, value) if name in _ALSO else None
            if why is not None:
                self._wrong(f"{place}/{name}", why)
        return properties

    def _name(self, found: Mapping[str, Any], place: str, names: set[str]) -> str:
        name = found.get("Name", "")
        if not isinstance(name, str):
            self._wrong(f"{place}/Name", "a text")
            return "x"
        if name and name.casefold() in names:
            self._wrong(f"{place}/Name", f"there is another {name!r} beside it")
        names.add(name.casefold())
        return name

    def _checked(self, entity: Entity, place: str) -> None:
        """Bounds; a missing name has been said already."""
        if not entity.name:
            return
        try:
            check(entity)
        except InvalidInput as error:
            for each in error.errors:
                name = each.pointer[1:2].upper() + each.pointer[2:]
                inside = "" if name == "Name" else "/Properties"
                self._wrong(f"{place}{inside}/{name}", each.detail)

    def _value(
        self,
        found: Mapping[str, Any],
        place: str,
        name: str,
        read: Callable[[Any], V],
        otherwise: V,
    ) -> V:
        value = found.get(name)
        if value is None:
            return otherwise
        try:
            return read(value)
        except (ValueError, TypeError) as error:
            inside = "" if place.endswith("Filter") else "/Properties"
            self._wrong(f"{place}{inside}/{name}", str(error))
            return otherwise

    def _object(
        self,
        found: Any,
        place: str,
        known: set[str] | frozenset[str] | None = None,
        needed: set[str] | None = None,
    ) -> dict[str, Any]:
        if not isinstance(found, dict):
            self._wrong(place, "an object")
            return {}
        for name in found:
            if known is not None and name not in known:
                there = ", ".join(sorted(known - _IGNORED))
                self._wrong(f"{place}/{_escaped(name)}", f"not known; there are {there}")
        for name in sorted((needed or set()) - found.keys()):
            self._wrong(f"{place}/{name}", "is missing")
        return found

    def _list(self, found: Any, place: str) -> list[Any]:
        if not isinstance(found, list):
            self._wrong(place, "a list")
            return []
        return found

    def _wrong(self, place: str, detail: str) -> None:
        self.errors.append(FieldError(place, detail))


def _without(found: "re.Match[bytes]") -> bytes:
    """Texts stay, comments go."""
    return found[0] if found[0].startswith(b'"') else b" "


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text")
    return value


def _duration(value: Any) -> int:
    if not isinstance(value, str):
        raise TypeError("a duration is written like PT1M30S or P14D")
    return durations.read(value)


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("a whole number")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false")
    return value


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
