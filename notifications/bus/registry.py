"""Which topics, subscriptions and rules there are behind the door, in memory. No I/O.

A hub's are those of its release. A door that runs alone begins with those in its file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from notifications.broker import NamedRule
from notifications.bus.filters import SqlFilter
from notifications.bus.rules import named
from notifications.bus.topology import DEFAULT_RULE, Rule, Subscription, Topic
from notifications.entities import Standing, SubscriptionEntity, TopicEntity
from notifications.errors import NotFound

SUBSCRIPTIONS, DEAD_LETTERS, RULES = "subscriptions", "$deadletterqueue", "rules"

_ALL = Rule(name=DEFAULT_RULE, filter=SqlFilter("1 = 1"))
"""Stands where a queue is given the filter of its rules."""


@dataclass(frozen=True, slots=True)
class Address:
    """What a path says.

    Attributes:
        topic: The topic's name in lower case.
        subscription: The subscription's path in lower case; None where it is the topic's.
        dead: Whether its dead letters are meant.
    """

    topic: str
    subscription: str | None = None
    dead: bool = False


@dataclass(slots=True)
class Listed:
    """A subscription.

    Attributes:
        standing: Its description.
        queue: Its name on the bus.
        rules: By name in lower case.
    """

    standing: Standing[SubscriptionEntity]
    queue: str
    rules: Mapping[str, NamedRule]


class Registry:
    """What there is, by path.

    Attributes:
        topics: By path; the values' order is that of their creation.
        subscriptions: By path; to be read.
    """

    def __init__(self) -> None:
        self.topics: dict[str, Standing[TopicEntity]] = {}
        self.subscriptions: dict[str, Listed] = {}
        self._of_topic: dict[str, dict[str, Listed]] = {}

    @classmethod
    def of_topology(cls, topology: Iterable[Topic], now: int) -> "Registry":
        """What a hub has: its own topology, as of now."""
        made = cls()
        for topic in topology:
            entity = TopicEntity(name=topic.name)
            made.topics[entity.path] = Standing(entity=entity, created_at=now, updated_at=now)
            for each in topic.subscriptions:
                described = SubscriptionEntity(
                    topic=topic.name,
                    name=each.name,
                    lock_ms=each.lock_ms,
                    ttl_ms=each.ttl_ms,
                    max_delivery_count=each.max_delivery_count,
                    dead_letter_expired=each.dead_letter_expired,
                )
                standing = Standing(entity=described, created_at=now, updated_at=now)
                rules = {each.rule.name.casefold(): named(each.rule)}
                made.put(Listed(standing=standing, queue=each.name, rules=rules))
        return made

    def topic(self, path: str) -> Standing[TopicEntity]:
        """The topic at a path.

        Raises:
            NotFound: There is none.
        """
        found = self.topics.get(path.casefold())
        if found is None:
            raise NotFound(f"there is no topic {path!r}")
        return found

    def subscription(self, path: str) -> Listed:
        """The subscription at a path.

        Raises:
            NotFound: There is none.
        """
        found = self.subscriptions.get(path.casefold())
        if found is None:
            raise NotFound(f"there is no subscription {path!r}")
        return found

    def put(self, listed: Listed) -> None:
        """Add a subscription."""
        entity = listed.standing.entity
        self.subscriptions[entity.path] = listed
        self._of_topic.setdefault(entity.topic.casefold(), {})[entity.path] = listed

    def drop(self, listed: Listed) -> None:
        """Take a subscription away."""
        entity = listed.standing.entity
        del self.subscriptions[entity.path]
        del self._of_topic[entity.topic.casefold()][entity.path]

    def of_topic(self, path: str) -> Sequence[Listed]:
        """A topic's subscriptions, by name."""
        found = self._of_topic.get(path.casefold(), {})
        return [found[each] for each in sorted(found)]

    def on_bus(self, entity: SubscriptionEntity) -> Subscription:
        """A subscription as the bus of a door that runs alone has it."""
        return Subscription(
            name=entity.path,
            topic=entity.topic.casefold(),
            rule=_ALL,
            max_delivery_count=entity.max_delivery_count,
            lock_ms=entity.lock_ms,
            ttl_ms=min(entity.ttl_ms, self.topic(entity.topic).entity.ttl_ms),
            dead_letter_expired=entity.dead_letter_expired,
        )

    def topology(self) -> list[Topic]:
        """All there is, as the bus of a door that runs alone has it."""
        return [
            Topic(
                name=path,
                subscriptions=tuple(
                    self.on_bus(each.standing.entity) for each in self.of_topic(path)
                ),
            )
            for path in self.topics
        ]


def address(path: str) -> Address:
    """What a path says, whatever is there.

    Raises:
        NotFound: It is no path of a topic, a subscription or dead letters.
    """
    parts = path.strip("/").casefold().split("/")
    dead = parts[-1] == DEAD_LETTERS
    if dead:
        parts.pop()
    if len(parts) == 1 and parts[0] and not dead:
        return Address(parts[0])
    if len(parts) == 3 and parts[1] == SUBSCRIPTIONS and all(parts):
        return Address(parts[0], "/".join(parts), dead)
    raise NotFound(f"there is nothing at {path!r}")
