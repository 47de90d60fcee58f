"""Topics, subscriptions and rules, written as ATOM entries. Pure."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from xml.sax import saxutils

from notifications.broker import NamedRule
from notifications.door import durations
from notifications.entities import (
    CORRELATION,
    Holding,
    Standing,
    SubscriptionEntity,
    TopicEntity,
)
from notifications.messages import PropertyValue

_ATOM = "http://www.w3.org/2005/Atom"
_CONNECT = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
_COUNTS = "http://schemas.microsoft.com/netservices/2011/06/servicebus"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_SCHEMA = "http://www.w3.org/2001/XMLSchema"

# Prefixes are the service's own: the JavaScript client goes by them, not by what they stand for.
_COUNT_DETAILS = f'CountDetails xmlns:d2p1="{_COUNTS}"'

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def topic_xml(standing: Standing[TopicEntity], holding: Holding, subscriptions: int) -> str:
    """A topic's description."""
    entity = standing.entity
    return _described(
        "TopicDescription",
        [
            ("DefaultMessageTimeToLive", durations.written(entity.ttl_ms)),
            ("MaxSizeInMegabytes", "1024"),
            ("RequiresDuplicateDetection", "false"),
            ("DuplicateDetectionHistoryTimeWindow", "PT10M"),
            ("EnableBatchedOperations", "true"),
            ("SizeInBytes", str(holding.size)),
            ("FilteringMessagesBeforePublishing", "false"),
            ("IsAnonymousAccessible", "false"),
            ("Status", "Active"),
            *([("UserMetadata", entity.metadata)] if entity.metadata else []),
            *_times(standing),
            ("SupportOrdering", "true"),
            (_COUNT_DETAILS, _counts(holding)),
            ("SubscriptionCount", str(subscriptions)),
            ("AutoDeleteOnIdle", durations.FOREVER),
            ("EnablePartitioning", "false"),
            ("EntityAvailabilityStatus", "Available"),
            ("EnableSubscriptionPartitioning", "false"),
            ("EnableExpress", "false"),
            ("MaxMessageSizeInKilobytes", "256"),
        ],
    )


def subscription_xml(standing: Standing[SubscriptionEntity], holding: Holding) -> str:
    """A subscription's description."""
    entity = standing.entity
    return _described(
        "SubscriptionDescription",
        [
            ("LockDuration", durations.written(entity.lock_ms)),
            ("RequiresSession", "false"),
            ("DefaultMessageTimeToLive", durations.written(entity.ttl_ms)),
            ("DeadLetteringOnMessageExpiration", _bool(entity.dead_letter_expired)),
            ("DeadLetteringOnFilterEvaluationExceptions", "true"),
            ("MessageCount", str(holding.active + holding.dead + holding.deferred)),
            ("MaxDeliveryCount", str(entity.max_delivery_count)),
            ("EnableBatchedOperations", "true"),
            ("Status", "Active"),
            *_times(standing),
            (_COUNT_DETAILS, _counts(holding)),
            *([("UserMetadata", entity.metadata)] if entity.metadata else []),
            ("AutoDeleteOnIdle", durations.FOREVER),
            ("EntityAvailabilityStatus", "Available"),
        ],
    )


def rule_xml(found: NamedRule, created_at: int) -> str:
    """A rule's description."""
    if found.sql is None:
        kind, inner = "CorrelationFilter", _correlation_xml(found)
    else:
        bare = found.sql.replace(" ", "")
        kind = {"1=1": "TrueFilter", "1=0": "FalseFilter"}.get(bare, "SqlFilter")
        inner = _element("SqlExpression", _escaped(found.sql)) + _element(
            "CompatibilityLevel", "20"
        )
    return _described(
        "RuleDescription",
        [
            (f"Filter i:type={_quoted(kind)}", inner),
            ('Action i:type="EmptyRuleAction"', ""),
            ("CreatedAt", _time(created_at)),
            ("Name", found.name),
        ],
    )


def namespace_xml(now: int) -> str:
    """What is said of the namespace."""
    return _described(
        "NamespaceInfo",
        [
            ("Alias", ""),
            ("CreatedTime", _time(now)),
            ("MessagingSKU", "Standard"),
            ("MessagingUnits", "0"),
            ("ModifiedTime", _time(now)),
            ("Name", "huntaze-door"),
            ("NamespaceType", "Messaging"),
        ],
    )


def entry_xml(url: str, title: str, content: str, at: int) -> str:
    """An entry about something."""
    when = _time(at)
    return (
        f'<entry xmlns="{_ATOM}"><id>{_escaped(url)}</id>'
        f'<title type="text">{_escaped(title)}</title><published>{when}</published>'
        f"<updated>{when}</updated><author><name>huntaze-door</name></author>"
        f'<link rel="self" href={_quoted(url)}/>'
        f'<content type="application/xml">{content}</content></entry>'
    )


def feed_xml(url: str, title: str, entries: Iterable[str], at: int, following: str | None) -> str:
    """A page of entries; `following` leads to the next one."""
    more = f'<link rel="next" href={_quoted(following)}/>' if following else ""
    return (
        f'<feed xmlns="{_ATOM}"><title type="text">{_escaped(title)}</title>'
        f"<id>{_escaped(url)}</id>"
        f'<updated>{_time(at)}</updated><link rel="self" href={_quoted(url)}/>{more}'
        f"{''.join(entries)}</feed>"
    )


def error_xml(code: int, detail: str) -> str:
    """What went wrong."""
    return f"<Error><Code>{code}</Code><Detail>{_escaped(detail)}</Detail></Error>"


_MADE = ("CountDetails", "Filter")
"""Whose content is XML already."""


def _described(kind: str, fields: Iterable[tuple[str, str]]) -> str:
    inner = "".join(
        _element(name, text if name.startswith(_MADE) else _escaped(text)) for name, text in fields
    )
    return f'<{kind} xmlns="{_CONNECT}" xmlns:i="{_INSTANCE}">{inner}</{kind}>'


def _element(tag: str, inner: str) -> str:
    return f"<{tag}>{inner}</{tag.split(' ')[0]}>"


def _times(standing: Standing[TopicEntity] | Standing[SubscriptionEntity]) -> list[tuple[str, str]]:
    updated = _time(standing.updated_at)
    return [
        ("CreatedAt", _time(standing.created_at)),
        ("UpdatedAt", updated),
        ("AccessedAt", updated),
    ]


def _counts(holding: Holding) -> str:
    numbers = (
        ("ActiveMessageCount", holding.active),
        ("DeadLetterMessageCount", holding.dead),
        ("ScheduledMessageCount", holding.scheduled),
        ("TransferMessageCount", 0),
        ("TransferDeadLetterMessageCount", 0),
    )
    return "".join(_element(f"d2p1:{name}", str(number)) for name, number in numbers)


def _correlation_xml(found: NamedRule) -> str:
    system = "".join(
        _element(name, _escaped(found.correlation[name]))
        for name in CORRELATION
        if name in found.correlation
    )
    pairs = "".join(
        f"<KeyValueOfstringanyType><Key>{_escaped(key)}</Key>"
        f'<Value xmlns:d6p1="{_SCHEMA}" i:type="d6p1:{_kind(value)}">'
        f"{_escaped(_text(value))}</Value>"
        "</KeyValueOfstringanyType>"
        for key, value in found.properties.items()
    )
    return system + (_element("Properties", pairs) if pairs else "")


def _kind(value: PropertyValue) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "int" if -(2**31) <= value < 2**31 else "long"
    return "double" if isinstance(value, float) else "string"


def _text(value: PropertyValue) -> str:
    return _bool(value) if isinstance(value, bool) else str(value)


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _escaped(text: str) -> str:
    return saxutils.escape(_NOT_IN_XML.sub("\ufffd", text))


def _quoted(text: str) -> str:
    return saxutils.quoteattr(_NOT_IN_XML.sub("\ufffd", text))


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
