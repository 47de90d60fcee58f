"""The topology as the Config.json of Microsoft's Service Bus emulator. Pure.

The emulator keeps messages for an hour at most, and counts ten deliveries at most; what is longer
here is cut there.
"""

from collections.abc import Sequence

from notifications.bus.filters import CorrelationFilter
from notifications.bus.topology import (
    DEAD_LETTERS_ON_EXPIRY,
    DUPLICATE_DETECTION,
    Rule,
    Subscription,
    Topic,
)
from notifications.retries import HOUR, MINUTE, SECOND

LONGEST_TTL = HOUR
MOST_DELIVERIES = 10
SHORTEST_LOCK = MINUTE
"""The bounds of the emulator's own schema."""

NAMESPACE = "sbemulatorns"
"""The only name that it takes."""

_CORRELATION = (
    ("CorrelationId", "correlation_id"),
    ("MessageId", "message_id"),
    ("To", "to"),
    ("ReplyTo", "reply_to"),
    ("Label", "label"),
    ("SessionId", "session_id"),
    ("ReplyToSessionId", "reply_to_session_id"),
    ("ContentType", "content_type"),
)


def emulator_config(topology: Sequence[Topic]) -> dict[str, object]:
    """The document, to be written as JSON."""
    namespace = {"Name": NAMESPACE, "Queues": [], "Topics": [_topic(each) for each in topology]}
    return {"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "Console"}}}


def _topic(topic: Topic) -> dict[str, object]:
    return {
        "Name": topic.name,
        "Properties": {
            "DefaultMessageTimeToLive": _duration(LONGEST_TTL),
            "RequiresDuplicateDetection": DUPLICATE_DETECTION,
        },
        "Subscriptions": [_subscription(each) for each in topic.subscriptions],
    }


def _subscription(subscription: Subscription) -> dict[str, object]:
    return {
        "Name": subscription.name,
        "Properties": {
            "DeadLetteringOnMessageExpiration": DEAD_LETTERS_ON_EXPIRY,
            "DefaultMessageTimeToLive": _duration(min(subscription.ttl_ms, LONGEST_TTL)),
            "LockDuration": _duration(max(subscription.lock_ms, SHORTEST_LOCK)),
            "MaxDeliveryCount": min(subscription.max_delivery_count, MOST_DELIVERIES),
            "RequiresSession": False,
        },
        "Rules": [{"Name": subscription.rule.name, "Properties": _rule(subscription.rule)}],
    }


def _rule(rule: Rule) -> dict[str, object]:
    if not isinstance(rule.filter, CorrelationFilter):
        return {"FilterType": "Sql", "SqlFilter": {"SqlExpression": rule.filter.expression}}
    wanted = {
        name: value
        for name, field in _CORRELATION
        if (value := getattr(rule.filter, field)) is not None
    }
    properties = {"Properties": dict(rule.filter.properties)} if rule.filter.properties else {}
    return {"FilterType": "Correlation", "CorrelationFilter": {**wanted, **properties}}


def _duration(ms: int) -> str:
    """A duration of whole seconds, as ISO 8601 has it."""
    hours, rest = divmod(ms, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds = rest // SECOND
    said = (f"{hours}H" * bool(hours), f"{minutes}M" * bool(minutes), f"{seconds}S" * bool(seconds))
    return "PT" + "".join(said)
