"""ATOM entries: what is written is read again, and nothing that anybody writes does harm."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.broker import NamedRule
from notifications.door.admin import reading, writing, xml
from notifications.entities import (
    CORRELATION,
    NEVER,
    Holding,
    Standing,
    SubscriptionEntity,
    TopicEntity,
)
from notifications.errors import InvalidInput

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(
    lambda text: text == text.strip()
)
MILLISECONDS = st.integers(1, 10**12) | st.just(NEVER)
VALUES = st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS
RULES = st.builds(NamedRule, name=st.just("r"), sql=TEXTS) | st.builds(
    NamedRule,
    name=st.just("r"),
    correlation=st.dictionaries(st.sampled_from(CORRELATION), TEXTS, min_size=1),
    properties=st.dictionaries(TEXTS, VALUES, max_size=3),
)


def again(content: str, kind: str) -> xml.Element:
    """A description that was written, read."""
    entry = writing.entry_xml("https://localhost/x", "x", content, 0)
    return reading.description(xml.read(entry.encode()), kind)


def standing(entity: Any) -> Standing[Any]:
    """An entity, since then."""
    return Standing(entity=entity, created_at=0, updated_at=1)


@given(ttl=MILLISECONDS, metadata=TEXTS)
@settings(max_examples=50, deadline=None)
def test_a_topic_is_read_as_it_was_written(ttl: int, metadata: str):
    """Who reads a topic and writes it back changes nothing."""
    topic = TopicEntity(name="t", ttl_ms=ttl, metadata=metadata)
    found = again(writing.topic_xml(standing(topic), Holding(), 0), "TopicDescription")
    assert reading.topic("t", found) == topic


@given(ttl=MILLISECONDS, lock=MILLISECONDS, deliveries=st.integers(1, 2_000), dead=st.booleans())
@settings(max_examples=50, deadline=None)
def test_a_subscription_is_read_as_it_was_written(ttl: int, lock: int, deliveries: int, dead: bool):
    """Who reads a subscription and writes it back changes nothing."""
    subscription = SubscriptionEntity(
        topic="t",
        name="s",
        ttl_ms=ttl,
        lock_ms=lock,
        max_delivery_count=deliveries,
        dead_letter_expired=dead,
    )
    written = writing.subscription_xml(standing(subscription), Holding(active=1))
    assert reading.subscription("t", "s", again(written, "SubscriptionDescription")) == subscription


@given(rule=RULES)
@settings(max_examples=100, deadline=None)
def test_a_rule_is_read_as_it_was_written(rule: NamedRule):
    """Expressions, names and values of every kind come back as they were."""
    assert reading.rule("r", again(writing.rule_xml(rule, 0), "RuleDescription")) == rule


def test_what_xml_cannot_say_is_not_written():
    """A rule that came over AMQP may have a character that XML has not: the answer stays XML."""
    found = again(writing.rule_xml(NamedRule(name="r", sql="a = '\x00\x1f'"), 0), "RuleDescription")
    assert reading.rule("r", found).sql == "a = '\ufffd\ufffd'"


SAMPLE = writing.entry_xml(
    "https://localhost/x",
    "x",
    writing.rule_xml(NamedRule(name="r", correlation={"Label": "x"}, properties={"n": 1}), 0),
    0,
).encode()


@given(cuts=st.lists(st.tuples(st.integers(0, len(SAMPLE)), st.binary(max_size=6)), max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_broken_entry_is_refused(cuts: list[tuple[int, bytes]]):
    """Whatever bytes stand in an entry, it is read or it is bad input; nothing else happens."""
    document = SAMPLE
    for place, bytes_ in cuts:
        document = document[:place] + bytes_ + document[place + len(bytes_) :]
    with contextlib.suppress(InvalidInput):
        reading.rule("r", reading.description(xml.read(document), "RuleDescription"))


@pytest.mark.parametrize("kind", ["QueueDescription", "TopicDescription"])
def test_another_description_is_refused(kind: str):
    """A description of something else stands for nothing."""
    document = SAMPLE.replace(b"RuleDescription", kind.encode())
    with pytest.raises(InvalidInput, match="RuleDescription"):
        reading.description(xml.read(document), "RuleDescription")
