"""The emulator's Config.json: what is read from it, and what is said of one that is wrong."""

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.broker import NamedRule
from notifications.door import durations
from notifications.door.config_file import Configured, read
from notifications.entities import NEVER, SubscriptionEntity, TopicEntity
from notifications.errors import InvalidInput

SAMPLE = b"""{
  // as in Microsoft's own sample
  "UserConfig": {
    "Namespaces": [ { "Name": "sbemulatorns", "Queues": [],
      "Topics": [ {
        "Name": "jobs.1",
        "Properties": { "DefaultMessageTimeToLive": "PT1H", /* the longest there */
          "DuplicateDetectionHistoryTimeWindow": "PT20S", "RequiresDuplicateDetection": false },
        "Subscriptions": [
          { "Name": "all // of them", "Properties": {} },
          { "Name": "video",
            "Properties": { "DeadLetteringOnMessageExpiration": true, "LockDuration": "PT2M",
              "DefaultMessageTimeToLive": "PT30M", "MaxDeliveryCount": 5, "ForwardTo": "",
              "ForwardDeadLetteredMessagesTo": "", "RequiresSession": false },
            "Rules": [
              { "Name": "sql", "Properties": { "FilterType": "Sql",
                "SqlFilter": { "SqlExpression": "a = '//'" } } },
              { "Name": "same", "Properties": { "FilterType": "Correlation",
                "CorrelationFilter": { "Label": "x", "Properties": { "n": 1, "s": "1" } } } }
            ] } ] } ] } ],
    "Logging": { "Type": "File" } } }"""

TOPIC = "/UserConfig/Namespaces/0/Topics/0"


def document(**topic: Any) -> bytes:
    """A file with one topic."""
    whole = {"Name": "t", "Subscriptions": [], **topic}
    return orjson.dumps({"UserConfig": {"Namespaces": [{"Name": "n", "Topics": [whole]}]}})


def subscription(**changes: Any) -> bytes:
    """A file with one subscription."""
    return document(Subscriptions=[{"Name": "s", **changes}])


def rule(**properties: Any) -> bytes:
    """A file with one rule."""
    return subscription(Rules=[{"Name": "r", "Properties": properties}])


def test_reads_what_the_emulator_reads():
    """Topics, subscriptions and rules with their properties; what is not said is the emulator's
    default, and comments are no matter."""
    found = read(SAMPLE.replace(b"all // of them", b"all"))
    hour = 3_600_000
    assert [each.entity for each in found] == [
        TopicEntity(name="jobs.1", ttl_ms=hour),
        SubscriptionEntity(topic="jobs.1", name="all", ttl_ms=hour, max_delivery_count=3),
        SubscriptionEntity(
            topic="jobs.1",
            name="video",
            lock_ms=120_000,
            ttl_ms=1_800_000,
            max_delivery_count=5,
            dead_letter_expired=True,
        ),
    ]
    assert [each.rules for each in found] == [
        None,
        None,
        [
            NamedRule(name="sql", sql="a = '//'"),
            NamedRule(name="same", correlation={"Label": "x"}, properties={"n": 1, "s": "1"}),
        ],
    ]


SUB = f"{TOPIC}/Subscriptions/0"
RULE = f"{SUB}/Rules/0/Properties"
SQL = {"SqlExpression": "a = 1"}
TTL = "DefaultMessageTimeToLive"


def namespaces(*found: Any) -> bytes:
    """A file of these."""
    return orjson.dumps({"UserConfig": {"Namespaces": found}})


def of_topic(**properties: Any) -> bytes:
    """A file with one topic of these properties."""
    return document(Properties=properties)


def of_subscription(**properties: Any) -> bytes:
    """A file with one subscription of these properties."""
    return subscription(Properties=properties)


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        (b"", "/", "no JSON"),
        (b"[]", "/", "an object"),
        (b"{}", "/UserConfig", "is missing"),
        (
            namespaces({"Topics": [], "Queues": [{"Name": "q"}]}),
            "/UserConfig/Namespaces/0/Queues",
            "no queues",
        ),
        (namespaces({"Topics": []}, {}), "/UserConfig/Namespaces", "one namespace"),
        (document(Name="a/b"), f"{TOPIC}/Name", "letters"),
        (document(Nmae="x"), f"{TOPIC}/Nmae", "not known; there are Name, Properties"),
        (
            of_topic(RequiresDuplicateDetection=True),
            f"{TOPIC}/Properties/RequiresDuplicateDetection",
            "no duplicate detection",
        ),
        (of_topic(**{TTL: "1h"}), f"{TOPIC}/Properties/{TTL}", "PT1M30S"),
        (of_topic(**{TTL: 5}), f"{TOPIC}/Properties/{TTL}", "PT1M30S"),
        (SAMPLE, f"{SUB}/Name", "letters"),
        (
            of_subscription(RequiresSession=True),
            f"{SUB}/Properties/RequiresSession",
            "no sessions",
        ),
        (of_subscription(ForwardTo="x"), f"{SUB}/Properties/ForwardTo", "no forwarding"),
        (
            of_subscription(MaxDeliveryCount="3"),
            f"{SUB}/Properties/MaxDeliveryCount",
            "a whole number",
        ),
        (
            of_subscription(LockDuration="PT6M"),
            f"{SUB}/Properties/LockDuration",
            "from 5,000 to 300,000",
        ),
        (
            document(Subscriptions=[{"Name": "s"}, {"Name": "S"}]),
            f"{TOPIC}/Subscriptions/1/Name",
            "another 'S'",
        ),
        (rule(FilterType="SqlFilter"), f"{RULE}/FilterType", "Sql or Correlation"),
        (rule(SqlFilter=SQL), f"{RULE}/FilterType", "is missing"),
        (rule(FilterType="Sql"), f"{RULE}/SqlFilter/SqlExpression", "is missing"),
        (
            rule(FilterType="Sql", SqlFilter=SQL, Action={"SqlExpression": "SET a = 1"}),
            f"{RULE}/Action",
            "no rule actions",
        ),
        (
            rule(FilterType="Correlation", CorrelationFilter={"Colour": "x"}),
            f"{RULE}/CorrelationFilter/Colour",
            "not known",
        ),
        (
            rule(FilterType="Correlation", CorrelationFilter={}),
            f"{RULE}/CorrelationFilter",
            "one property at least",
        ),
        (b" " * 1_048_577, "/", "over 1,048,576 bytes"),
    ],
)
def test_says_what_is_wrong_and_where(text: bytes, place: str, why: str):
    """Each thing that is wrong is named with its place; nothing is dropped without a word."""
    with pytest.raises(InvalidInput) as caught:
        read(text)
    assert [each.pointer or "/" for each in caught.value.errors] == [place]
    assert why in caught.value.errors[0].detail


def test_says_everything_at_once():
    """Who has made three mistakes learns of all of them."""
    wrong = document(Name=7, Properties={"Status": "Disabled"}, Subscriptions=[{}])
    with pytest.raises(InvalidInput) as caught:
        read(wrong)
    assert len(caught.value.errors) == 3


def test_a_file_without_topics_asks_for_nothing():
    """An empty namespace is one."""
    assert read(b'{"UserConfig":{"Namespaces":[{"Name":"n","Topics":[]}]}}') == []
    assert read(b'{"UserConfig":{"Namespaces":[{"Name":"sbemulatorns"}],"Logging":{}}}') == []
    assert Configured(entity=TopicEntity(name="t"), place="").rules is None


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("PT1M30S", 90_000),
        ("P14D", 1_209_600_000),
        ("P1DT2H3M4.5S", 93_784_500),
        ("PT0.25S", 250),
        ("PT0S", 0),
        (durations.FOREVER, NEVER),
    ],
)
def test_durations_are_read_and_written(text: str, ms: int):
    """A duration is read, and written as it was."""
    assert durations.read(text) == ms
    assert durations.written(ms) == text


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "1h", "P1Y", "P1M", "-PT1S", "PT1S" * 30])
def test_what_is_no_duration(text: str):
    """Years and months have no length that is known; others are none at all."""
    with pytest.raises(ValueError, match="PT1M30S"):
        durations.read(text)


WORDS = st.sampled_from(
    [
        *("UserConfig", "Namespaces", "Topics", "Name", "Properties", "Subscriptions", "Rules"),
        *("FilterType", "Sql", "Correlation", "SqlFilter", "SqlExpression", "CorrelationFilter"),
        *("LockDuration", "PT1M", "MaxDeliveryCount", "RequiresSession", "x", "", "\x00"),
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(inner=ANYTHING, depth=st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_nothing_that_anybody_writes_is_worse_than_refused(inner: Any, depth: int):
    """Whatever stands where, it is read or refused with a place; nothing else happens."""
    for place in ("Topics", "Namespaces", "UserConfig", "Subscriptions")[:depth]:
        inner = {place: inner if place == "UserConfig" else [inner]}
    with contextlib.suppress(InvalidInput):
        read(orjson.dumps(inner))
