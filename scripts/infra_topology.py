"""Write `infra/topology.json`, which the Bicep makes the bus from: topics, subscriptions and rules.

    python scripts/infra_topology.py

A test holds the file against `notifications.bus.topology`, so it is run again after a change there.
"""

import json
from pathlib import Path
from typing import Any

from notifications.bus.filters import CorrelationFilter, SqlFilter
from notifications.bus.topology import (
    DEAD_LETTERS_ON_EXPIRY,
    DUPLICATE_DETECTION,
    TOPOLOGY,
    Rule,
    Subscription,
)

OUT = Path(__file__).parents[1] / "infra" / "topology.json"

COMPATIBILITY = 20
"""Of SQL filters: the only level there is."""

_UNITS = ((86_400_000, "P", "D"), (3_600_000, "PT", "H"), (60_000, "PT", "M"), (1_000, "PT", "S"))


def duration(ms: int) -> str:
    """ISO 8601, in the largest unit that divides it: 120,000 is `PT2M`."""
    for unit, before, after in _UNITS:
        if ms % unit == 0:
            return f"{before}{ms // unit}{after}"
    raise ValueError(f"Service Bus takes whole seconds, not {ms} ms")


def rule_properties(rule: Rule) -> dict[str, Any]:
    """A rule's `properties` as Azure takes them."""
    match rule.filter:
        case SqlFilter(expression=expression):
            return {
                "filterType": "SqlFilter",
                "sqlFilter": {"sqlExpression": expression, "compatibilityLevel": COMPATIBILITY},
            }
        case CorrelationFilter():
            raise NotImplementedError("no rule of the topology is a correlation filter so far")


def subscription_entry(subscription: Subscription) -> dict[str, Any]:
    """A subscription and its rule."""
    return {
        "topic": subscription.topic,
        "name": subscription.name,
        "properties": {
            "lockDuration": duration(subscription.lock_ms),
            "defaultMessageTimeToLive": duration(subscription.ttl_ms),
            "maxDeliveryCount": subscription.max_delivery_count,
            "deadLetteringOnMessageExpiration": DEAD_LETTERS_ON_EXPIRY,
            "deadLetteringOnFilterEvaluationExceptions": True,
            "requiresSession": False,
        },
        "rule": {
            "name": subscription.rule.name,
            "properties": rule_properties(subscription.rule),
        },
    }


def document() -> dict[str, Any]:
    """The whole file."""
    return {
        "topics": [
            {
                "name": topic.name,
                "properties": {
                    "requiresDuplicateDetection": DUPLICATE_DETECTION,
                    "enablePartitioning": False,
                    "supportOrdering": False,
                },
            }
            for topic in TOPOLOGY
        ],
        "subscriptions": [
            subscription_entry(subscription)
            for topic in TOPOLOGY
            for subscription in topic.subscriptions
        ],
    }


if __name__ == "__main__":
    OUT.write_text(json.dumps(document(), indent=2) + "\n", "utf-8")
