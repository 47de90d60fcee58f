"""The Config.json for Microsoft's Service Bus emulator, held against its schema's rules.

The rules are those of the emulator's `Config-schema.json` of 2026-06-12, and its quotas of 2026-09.
What breaks one of them is dropped by the emulator without a word, or keeps it from starting.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from notifications.bus.emulator_config import emulator_config
from notifications.bus.filters import CorrelationFilter, SqlFilter
from notifications.bus.topology import TOPOLOGY, Rule, Subscription, Topic
from notifications.retries import DAY, HOUR, MINUTE, SECOND

NAME = {"type": "string", "pattern": r"^[A-Za-z0-9]$|^[A-Za-z0-9][\w\-./]*[A-Za-z0-9]$"}
RULE_NAME = {"type": "string", "minLength": 1, "maxLength": 50}
DURATION = {"type": "string", "pattern": r"^PT(?=\d)(\d+H)?(\d+M)?(\d+S)?$"}
FLAG = {"type": "boolean"}
TEXT = {"type": "string"}
QUOTA = 50
SQL_FILTERS_OF_A_TOPIC = 70


def shape(required: dict[str, Any], **others: Any) -> dict[str, Any]:
    """An object with these properties and no other."""
    return {
        "type": "object",
        "properties": required | others,
        "required": list(required),
        "additionalProperties": False,
    }


def many(of: dict[str, Any], least: int, most: int) -> dict[str, Any]:
    """An array of so many."""
    return {"type": "array", "items": of, "minItems": least, "maxItems": most}


CORRELATION = shape(
    {},
    **dict.fromkeys(
        ("ContentType", "CorrelationId", "Label", "MessageId", "ReplyTo", "ReplyToSessionId"), TEXT
    ),
    SessionId=TEXT,
    To=TEXT,
    Properties={"type": "object", "minProperties": 1},
)
# The property is SqlFilter, and its FilterType Sql: any other leaves a rule that takes everything.
BY_SQL = shape(
    {
        "FilterType": {"const": "Sql"},
        "SqlFilter": shape(
            {"SqlExpression": {"type": "string", "minLength": 1, "maxLength": 1024}}
        ),
    }
)
BY_CORRELATION = shape({"FilterType": {"const": "Correlation"}, "CorrelationFilter": CORRELATION})
RULE = shape({"Name": RULE_NAME, "Properties": {"oneOf": [BY_SQL, BY_CORRELATION]}})
SUBSCRIPTION = shape(
    {
        "Name": NAME | {"maxLength": 50},
        "Properties": shape(
            {},
            DeadLetteringOnMessageExpiration=FLAG,
            DefaultMessageTimeToLive=DURATION,
            LockDuration=DURATION,
            MaxDeliveryCount={"type": "integer", "minimum": 1, "maximum": 10},
            ForwardDeadLetteredMessagesTo=TEXT,
            ForwardTo=TEXT,
            RequiresSession=FLAG,
        ),
        "Rules": many(RULE, 1, 1000),
    }
)
TOPIC = shape(
    {
        "Name": NAME,
        "Properties": shape(
            {},
            DefaultMessageTimeToLive=DURATION,
            DuplicateDetectionHistoryTimeWindow=DURATION,
            RequiresDuplicateDetection=FLAG,
        ),
        "Subscriptions": many(SUBSCRIPTION, 1, QUOTA),
    }
)
NAMESPACE = shape(
    {
        "Name": {"const": "sbemulatorns"},
        "Queues": {"type": "array", "maxItems": 0},
        "Topics": many(TOPIC, 1, QUOTA),
    }
)
LOGGING = {"enum": ["File", "Console", "File,Console", "Console,File"]}
SCHEMA = shape(
    {
        "UserConfig": shape(
            {"Namespaces": many(NAMESPACE, 1, 1), "Logging": shape({"Type": LOGGING})}
        )
    }
)
BOUNDS_MS = {
    # duration: the least and the most
    "DefaultMessageTimeToLive": (5 * MINUTE, HOUR),
    "LockDuration": (MINUTE, 5 * MINUTE),
    "DuplicateDetectionHistoryTimeWindow": (5 * SECOND, 5 * MINUTE),
}


def config(topology: Sequence[Topic]) -> Any:
    """The document as the emulator reads it: from JSON."""
    return json.loads(json.dumps(emulator_config(topology)))


def ms(duration: str) -> int:
    """An ISO 8601 duration of hours, minutes and seconds."""
    units = {"H": HOUR, "M": MINUTE, "S": SECOND}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([HMS])", duration))


def problems(document: dict[str, Any]) -> list[str]:
    """What the emulator has against a document."""
    found = [
        f"{'.'.join(map(str, error.instance_path))}: {error.message}"
        for error in Draft202012Validator(SCHEMA).iter_errors(document)
    ]
    if found:
        return found
    for topic in document["UserConfig"]["Namespaces"][0]["Topics"]:
        filters = [
            rule["Properties"]["FilterType"]
            for each in topic["Subscriptions"]
            for rule in each["Rules"]
        ]
        if filters.count("Sql") > SQL_FILTERS_OF_A_TOPIC:
            found.append(f"{topic['Name']}: {len(filters)} SQL filters")
        for entity in (topic, *topic["Subscriptions"]):
            for name, value in entity["Properties"].items():
                least, most = BOUNDS_MS.get(name, (0, 0))
                if name in BOUNDS_MS and not least <= ms(value) <= most:
                    found.append(f"{entity['Name']}.{name}: {value}")
    return found


def changed(**changes: Any) -> list[Topic]:
    """The topology, with the first subscription otherwise."""
    jobs, events = TOPOLOGY
    first, *others = jobs.subscriptions
    return [replace(jobs, subscriptions=(replace(first, **changes), *others)), events]


def first_of(document: dict[str, Any]) -> dict[str, Any]:
    """Its first subscription."""
    found = document["UserConfig"]["Namespaces"][0]["Topics"][0]["Subscriptions"][0]
    assert isinstance(found, dict)
    return found


def test_the_emulator_takes_the_topology():
    """All of it is there, in the forms and within the bounds of the emulator."""
    document = config(TOPOLOGY)
    assert problems(document) == []
    topics = document["UserConfig"]["Namespaces"][0]["Topics"]
    assert {(each["Name"], one["Name"]) for each in topics for one in each["Subscriptions"]} == {
        (topic.name, each.name) for topic in TOPOLOGY for each in topic.subscriptions
    }


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        ({"ttl_ms": DAY}, {"DefaultMessageTimeToLive": "PT1H"}),
        ({"lock_ms": 30 * SECOND}, {"LockDuration": "PT1M"}),
        ({"lock_ms": 90 * SECOND}, {"LockDuration": "PT1M30S"}),
        ({"max_delivery_count": 30}, {"MaxDeliveryCount": 10}),
    ],
)
def test_what_the_emulator_would_refuse_is_cut(changes: dict[str, Any], written: dict[str, Any]):
    """Times and counts beyond its bounds are the nearest that it takes."""
    document = config(changed(**changes))
    assert problems(document) == []
    assert first_of(document)["Properties"].items() >= written.items()


def test_a_correlation_filter_has_the_emulators_words():
    """Each property that it compares, the message's own beside those of people."""
    wanted = CorrelationFilter(label="note", session_id="s", properties={"channel": "email"})
    document = config(changed(rule=Rule(name="$Default", filter=wanted)))
    assert problems(document) == []
    assert first_of(document)["Rules"][0]["Properties"] == {
        "FilterType": "Correlation",
        "CorrelationFilter": {
            "Label": "note",
            "SessionId": "s",
            "Properties": {"channel": "email"},
        },
    }


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a filter's type that ARM has": ({"FilterType": "SqlFilter"}, "is not valid"),
    "a filter that is too long": ({"SqlFilter": {"SqlExpression": "x" * 1025}}, "is not valid"),
    "a property that ARM has": ({"compatibilityLevel": 20}, "is not valid"),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_check_can_fail(what: str):
    """Each of these is refused, or dropped without a word, by the emulator."""
    change, said = WRONG[what]
    document = config(TOPOLOGY)
    first_of(document)["Rules"][0]["Properties"] |= change
    assert any(said in each for each in problems(document)), problems(document)


def test_more_than_it_holds_is_found():
    """50 subscriptions of a topic, 70 SQL filters, and lives within its bounds."""
    one = TOPOLOGY[0].subscriptions[0]

    def with_many(number: int) -> list[Topic]:
        found: list[Subscription] = [replace(one, name=f"s{n}") for n in range(number)]
        return [replace(TOPOLOGY[0], subscriptions=tuple(found))]

    assert problems(config(with_many(50))) == []
    assert problems(config(with_many(51))) != []
    assert problems(config(changed(ttl_ms=4 * MINUTE))) == [
        f"{one.name}.DefaultMessageTimeToLive: PT4M"
    ]
    assert isinstance(one.rule.filter, SqlFilter)
