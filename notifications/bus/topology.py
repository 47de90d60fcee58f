"""The topics, subscriptions and rules, declared once. Pure.

The embedded bus, the Service Bus emulator's configuration, the deployment and the tests are all
made from `TOPOLOGY`. A message that matches no rule would be dropped without a word, so the last
subscription of each topic also takes what nobody else does.

A new job type is one line in `_JOBS`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from notifications.bus.filters import CorrelationFilter, SqlFilter
from notifications.errors import NotFound
from notifications.events import Channel
from notifications.messages import EVENTS_TOPIC as EVENTS_TOPIC
from notifications.messages import JOBS_TOPIC as JOBS_TOPIC
from notifications.retries import DAY, MINUTE

VIDEO_ANALYSIS = "video-analysis"
CHAT_SUGGESTIONS = "chat-suggestions"
CONTENT_SUGGESTIONS = "content-suggestions"
CONTENT_ANALYSIS = "content-analysis"
UNROUTABLE = "unroutable"

NOTIFY_SIGNALR = "notify-signalr"
NOTIFY_EMAIL = "notify-email"
NOTIFY_WEBHOOK = "notify-webhook"
METRICS = "metrics"

JOB_TYPE = "jobType"
"""The property that says which worker a job is for."""

HUB_CONSUMER = "hubConsumer"
"""The property of a message that is for one consumer alone; the others do not see it."""

DEFAULT_RULE = "$Default"
"""The first rule's name: it takes the place of the one that takes every message."""

DEAD_LETTERS_ON_EXPIRY = True
"""Of every subscription: what nobody received in time is kept and can be looked at."""

DUPLICATE_DETECTION = False
"""Of every topic: it would report a message that is sent again as accepted, and drop it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a subscription takes.

    Attributes:
        name: At most 50 characters.
        filter: Which messages match.
    """

    name: str
    filter: SqlFilter | CorrelationFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A queue of a topic's messages.

    Attributes:
        name: At most 50 characters; unique over all topics.
        topic: The topic's name.
        rule: Which of its messages.
        max_delivery_count: Deliveries before a message goes to the dead letters.
        lock_ms: How long a receiver holds a message, unless it renews the lock.
        ttl_ms: How long a message waits before it goes to the dead letters.
        consumer: Whether anything receives here; else it is for people to look at.
        dead_letter_expired: Whether what nobody received in time is kept at all.
        channel: Whose consumer receives here, where it is a channel's. On one machine it is spared
            the events that its channel does not carry; elsewhere it completes them unread.
    """

    name: str
    topic: str
    rule: Rule
    max_delivery_count: int
    lock_ms: int
    ttl_ms: int
    consumer: bool = True
    dead_letter_expired: bool = DEAD_LETTERS_ON_EXPIRY
    channel: Channel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Where messages are published; each subscription gets its own copy of those it takes."""

    name: str
    subscriptions: tuple[Subscription, ...]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _list(values: Iterable[str]) -> str:
    return "(" + ", ".join(_text(value) for value in values) + ")"


def _job(
    job_type: str, name: str, *, deliveries: int, lock: int, ttl: int
) -> tuple[str, Subscription]:
    return job_type, Subscription(
        name=name,
        topic=JOBS_TOPIC,
        rule=Rule(name=DEFAULT_RULE, filter=SqlFilter(f"{JOB_TYPE} = {_text(job_type)}")),
        max_delivery_count=deliveries,
        lock_ms=lock,
        ttl_ms=ttl,
    )


def _of_a_day(
    topic: str,
    name: str,
    expression: str,
    *,
    consumer: bool = True,
    channel: Channel | None = None,
) -> Subscription:
    return Subscription(
        name=name,
        topic=topic,
        rule=Rule(name=DEFAULT_RULE, filter=SqlFilter(expression)),
        max_delivery_count=10,
        lock_ms=MINUTE,
        ttl_ms=DAY,
        consumer=consumer,
        channel=channel,
    )


_JOBS = (
    _job("video.analysis", VIDEO_ANALYSIS, deliveries=3, lock=2 * MINUTE, ttl=30 * MINUTE),
    _job("chat.suggest", CHAT_SUGGESTIONS, deliveries=5, lock=MINUTE, ttl=10 * MINUTE),
    _job("content.suggest", CONTENT_SUGGESTIONS, deliveries=5, lock=MINUTE, ttl=10 * MINUTE),
    _job("content.analyze", CONTENT_ANALYSIS, deliveries=5, lock=MINUTE, ttl=10 * MINUTE),
)

JOB_SUBSCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {job_type: subscription.name for job_type, subscription in _JOBS}
)
"""Job type to the subscription of its worker."""

CHANNEL_SUBSCRIPTIONS: Mapping[Channel, str] = MappingProxyType(
    {
        Channel.REALTIME: NOTIFY_SIGNALR,
        Channel.EMAIL: NOTIFY_EMAIL,
        Channel.WEBHOOK: NOTIFY_WEBHOOK,
    }
)
"""Channel to the subscription its events come from."""

CONSUMERS: Mapping[str, str] = MappingProxyType(
    {**{channel.value: name for channel, name in CHANNEL_SUBSCRIPTIONS.items()}, METRICS: METRICS}
)
"""Value of `hubConsumer` to the one subscription that takes the message."""


def _jobs_topic() -> Topic:
    known = _list(JOB_SUBSCRIPTIONS)
    rest = f"{JOB_TYPE} IS NULL OR {JOB_TYPE} NOT IN {known}"
    unroutable = _of_a_day(JOBS_TOPIC, UNROUTABLE, rest, consumer=False)
    workers = tuple(subscription for _, subscription in _JOBS)
    return Topic(name=JOBS_TOPIC, subscriptions=(*workers, unroutable))


def _events_topic() -> Topic:
    everybody = f"{HUB_CONSUMER} IS NULL OR {HUB_CONSUMER}"
    channels = tuple(
        _of_a_day(EVENTS_TOPIC, name, f"{everybody} = {_text(channel)}", channel=channel)
        for channel, name in CHANNEL_SUBSCRIPTIONS.items()
    )
    rest = f"{everybody} NOT IN {_list(CHANNEL_SUBSCRIPTIONS)}"
    return Topic(
        name=EVENTS_TOPIC, subscriptions=(*channels, _of_a_day(EVENTS_TOPIC, METRICS, rest))
    )


TOPOLOGY: tuple[Topic, ...] = (_jobs_topic(), _events_topic())
"""All there is."""

TOPICS: Mapping[str, str] = MappingProxyType(
    {found.name: topic.name for topic in TOPOLOGY for found in topic.subscriptions}
)
"""Each subscription's topic."""

_BY_NAME = {found.name: found for topic in TOPOLOGY for found in topic.subscriptions}


def subscription(name: str) -> Subscription:
    """The subscription of that name.

    Raises:
        NotFound: There is none.
    """
    if name not in _BY_NAME:
        raise NotFound(f"no subscription {name!r}; there are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]
