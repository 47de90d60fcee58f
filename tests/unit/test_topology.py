"""The topology is the design's table, and every message lands where the design says."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifications.bus.filters import MAX_CHARACTERS, MessageView, SqlFilter
from notifications.bus.topology import (
    CHANNEL_SUBSCRIPTIONS,
    CONSUMERS,
    DEAD_LETTERS_ON_EXPIRY,
    DUPLICATE_DETECTION,
    EVENTS_TOPIC,
    JOB_SUBSCRIPTIONS,
    JOBS_TOPIC,
    METRICS,
    NOTIFY_EMAIL,
    NOTIFY_SIGNALR,
    NOTIFY_WEBHOOK,
    TOPOLOGY,
    UNROUTABLE,
    Subscription,
    subscription,
)
from notifications.errors import NotFound
from notifications.events import Channel

MINUTES, DAYS = 60_000, 86_400_000
EVERYBODY = "hubConsumer IS NULL OR hubConsumer"
THE_FOUR = "('video.analysis', 'chat.suggest', 'content.suggest', 'content.analyze')"
TABLE = [
    # topic, subscription, rule, max delivery, lock, time to live
    ("huntaze-jobs", "video-analysis", "jobType = 'video.analysis'", 3, 2 * MINUTES, 30 * MINUTES),
    ("huntaze-jobs", "chat-suggestions", "jobType = 'chat.suggest'", 5, MINUTES, 10 * MINUTES),
    (
        "huntaze-jobs",
        "content-suggestions",
        "jobType = 'content.suggest'",
        5,
        MINUTES,
        10 * MINUTES,
    ),
    ("huntaze-jobs", "content-analysis", "jobType = 'content.analyze'", 5, MINUTES, 10 * MINUTES),
    (
        "huntaze-jobs",
        "unroutable",
        f"jobType IS NULL OR jobType NOT IN {THE_FOUR}",
        10,
        MINUTES,
        DAYS,
    ),
    ("huntaze-events", "notify-signalr", f"{EVERYBODY} = 'realtime'", 10, MINUTES, DAYS),
    ("huntaze-events", "notify-email", f"{EVERYBODY} = 'email'", 10, MINUTES, DAYS),
    ("huntaze-events", "notify-webhook", f"{EVERYBODY} = 'webhook'", 10, MINUTES, DAYS),
    (
        "huntaze-events",
        "metrics",
        f"{EVERYBODY} NOT IN ('realtime', 'email', 'webhook')",
        10,
        MINUTES,
        DAYS,
    ),
]
SUBSCRIPTIONS = [found for topic in TOPOLOGY for found in topic.subscriptions]

EVENT = {"type": "job.succeeded", "tenantId": "t1", "userId": "u1", "jobType": "chat.suggest"}


def takers(topic: str, properties: dict) -> set[str]:
    """The subscriptions of a topic that take a message with these properties."""
    view = MessageView(properties=properties, system={"MessageId": "m", "Label": "a"})
    return {
        found.name
        for found in SUBSCRIPTIONS
        if found.topic == topic and found.rule.filter.matches(view)
    }


def test_the_topology_is_the_table():
    """Topics, subscriptions, rules, deliveries, locks and times to live are the design's."""
    assert [
        (s.topic, s.name, s.rule.filter, s.max_delivery_count, s.lock_ms, s.ttl_ms)
        for s in SUBSCRIPTIONS
    ] == [(topic, name, SqlFilter(rule), *rest) for topic, name, rule, *rest in TABLE]
    assert [topic.name for topic in TOPOLOGY] == [JOBS_TOPIC, EVENTS_TOPIC]
    assert all(s.topic == topic.name for topic in TOPOLOGY for s in topic.subscriptions)


def test_only_unroutable_has_no_consumer():
    """Everything is received somewhere but what no worker is there for."""
    assert [s.name for s in SUBSCRIPTIONS if not s.consumer] == [UNROUTABLE]


def test_nothing_expires_or_is_dropped_unseen():
    """Expired messages are kept, and a message sent again is not taken for a duplicate."""
    assert DEAD_LETTERS_ON_EXPIRY is True
    assert DUPLICATE_DETECTION is False


@pytest.mark.parametrize("found", SUBSCRIPTIONS, ids=lambda found: found.name)
def test_service_bus_would_take_each_subscription(found: Subscription):
    """Names, filters, locks and delivery counts are within Service Bus's limits."""
    assert 1 <= len(found.name) <= 50
    assert 1 <= len(found.topic) <= 260
    assert len(found.rule.filter.expression) <= MAX_CHARACTERS
    assert found.lock_ms <= 5 * MINUTES
    assert 1 <= found.max_delivery_count <= 10


@pytest.mark.parametrize("found", SUBSCRIPTIONS, ids=lambda found: found.name)
def test_each_first_rule_takes_the_place_of_the_catch_all(found: Subscription):
    """A rule named $Default replaces the one that would take every message."""
    assert found.rule.name == "$Default"


def test_names_are_unique():
    """A subscription's name alone says which one it is, over both topics."""
    assert len({found.name for found in SUBSCRIPTIONS}) == len(SUBSCRIPTIONS)


@pytest.mark.parametrize("found", SUBSCRIPTIONS, ids=lambda found: found.name)
def test_subscriptions_are_found_by_name(found: Subscription):
    """The look-up gives the subscription of that name."""
    assert subscription(found.name) is found


def test_an_unknown_name_is_not_found():
    """A name that no subscription has raises NotFound, which lists those there are."""
    with pytest.raises(NotFound, match="notify-email"):
        subscription("notify-fax")


# --------------------------------------------------------------------------- where messages land


def test_an_ordinary_event_goes_to_the_four():
    """An event addressed to nobody goes to each consumer of events, once."""
    assert takers(EVENTS_TOPIC, EVENT) == {NOTIFY_SIGNALR, NOTIFY_EMAIL, NOTIFY_WEBHOOK, METRICS}


@pytest.mark.parametrize(
    ("consumer", "name"),
    [
        ("realtime", "notify-signalr"),
        ("email", "notify-email"),
        ("webhook", "notify-webhook"),
        ("metrics", "metrics"),
    ],
)
def test_an_addressed_event_goes_to_one(consumer: str, name: str):
    """An event addressed to one consumer goes to it alone, and the map says so too."""
    assert takers(EVENTS_TOPIC, {**EVENT, "hubConsumer": consumer, "hubKind": "drain"}) == {name}
    assert CONSUMERS[consumer] == name


@pytest.mark.parametrize("consumer", ["fax", "", "Realtime", " email", 5, True])
def test_an_unknown_consumer_goes_to_metrics(consumer: object):
    """An event addressed to somebody who does not exist is counted, not dropped."""
    assert takers(EVENTS_TOPIC, {**EVENT, "hubConsumer": consumer}) == {METRICS}


@pytest.mark.parametrize(
    ("job_type", "name"),
    [
        ("video.analysis", "video-analysis"),
        ("chat.suggest", "chat-suggestions"),
        ("content.suggest", "content-suggestions"),
        ("content.analyze", "content-analysis"),
    ],
)
def test_a_job_goes_to_its_worker(job_type: str, name: str):
    """A job goes to the one subscription of its type, and the map says so too."""
    assert takers(JOBS_TOPIC, {"jobType": job_type}) == {name}
    assert JOB_SUBSCRIPTIONS[job_type] == name


@pytest.mark.parametrize(
    "properties", [{"jobType": "audio.mix"}, {"jobType": "Chat.Suggest"}, {"jobType": 1}, {}]
)
def test_a_job_that_no_worker_does_is_unroutable(properties: dict):
    """A job of an unknown type, or of none, goes to unroutable alone."""
    assert takers(JOBS_TOPIC, properties) == {UNROUTABLE}


anything = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12))


@given(st.one_of(anything, st.sampled_from(sorted(CONSUMERS))))
@example("metrics")
def test_no_event_is_dropped(consumer: object):
    """Whatever an event is addressed to, exactly one takes it, or all four where it is to all."""
    expected = 4 if consumer is None else 1
    assert len(takers(EVENTS_TOPIC, {**EVENT, "hubConsumer": consumer})) == expected


@given(st.one_of(anything, st.sampled_from(sorted(JOB_SUBSCRIPTIONS))))
def test_no_job_is_dropped(job_type: object):
    """Whatever the type of a job, exactly one subscription takes it."""
    assert len(takers(JOBS_TOPIC, {"jobType": job_type})) == 1


# --------------------------------------------------------------------------- the maps


def test_every_channel_has_its_subscription():
    """Each channel's events come from the subscription that its addressed events go to."""
    assert set(CHANNEL_SUBSCRIPTIONS) == set(Channel)
    assert dict(CHANNEL_SUBSCRIPTIONS) == {
        Channel.REALTIME: "notify-signalr",
        Channel.EMAIL: "notify-email",
        Channel.WEBHOOK: "notify-webhook",
    }
    assert all(CONSUMERS[channel.value] == CHANNEL_SUBSCRIPTIONS[channel] for channel in Channel)


def test_consumers_are_those_of_the_events_topic():
    """The consumers are the subscriptions of the events topic, each under one value."""
    events = {found.name for found in SUBSCRIPTIONS if found.topic == EVENTS_TOPIC}
    assert set(CONSUMERS.values()) == events
    assert len(CONSUMERS) == len(events)


def test_the_topology_cannot_be_changed():
    """Neither a subscription nor a map can be changed by who reads it."""
    with pytest.raises(AttributeError):
        subscription(METRICS).ttl_ms = 1
    with pytest.raises(TypeError):
        CONSUMERS["fax"] = METRICS
