"""Looking at the topology behind the door; and a hub's own, which nobody changes."""

from collections.abc import Sequence

from notifications.broker import NamedRule, Rules
from notifications.bus import entity_rows
from notifications.bus.brokering import FixedRules, fixed
from notifications.bus.embedded import EmbeddedBus
from notifications.bus.registry import Registry, address
from notifications.database import Database
from notifications.entities import (
    Entity,
    Holding,
    Standing,
    SubscriptionEntity,
    TopicEntity,
)


class Looking:
    """Implements `entities.Shown`."""

    def __init__(self, database: Database, bus: EmbeddedBus, registry: Registry) -> None:
        self._database = database
        self._bus = bus
        self._registry = registry

    def topics(self) -> Sequence[Standing[TopicEntity]]:
        """See `entities.Shown.topics`."""
        topics = self._registry.topics
        return [topics[path] for path in sorted(topics)]

    def subscriptions(self, topic: str) -> Sequence[Standing[SubscriptionEntity]]:
        """See `entities.Shown.subscriptions`."""
        self._registry.topic(topic)
        return [each.standing for each in self._registry.of_topic(topic)]

    def rules(self, path: str) -> Rules:
        """See `entities.Shown.rules`."""
        self._registry.subscription(path)
        return FixedRules(self._registry, path)

    async def holding(self, path: str) -> Holding:
        """See `entities.Shown.holding`."""
        found = address(path)
        if found.subscription is None:
            self._registry.topic(found.topic)
            return await self._database.read(
                lambda connection: entity_rows.holding_of_topic(connection, found.topic)
            )
        queue = self._bus.queue(self._registry.subscription(found.subscription).queue)
        name, mask = queue.subscription.name, queue.mask
        return await self._database.read(
            lambda connection: entity_rows.holding_of_queue(connection, name, found.topic, mask)
        )


class NoChanges:
    """Implements `entities.Changes` on a hub's own bus, whose topology is that of its release."""

    async def create(self, entity: Entity, rules: Sequence[NamedRule] | None = None) -> None:  # noqa: ARG002
        """See `entities.Changes.create`."""
        raise fixed(f"{entity.name!r} cannot be created")

    async def update(self, entity: Entity) -> None:
        """See `entities.Changes.update`."""
        raise fixed(f"{entity.name!r} cannot be changed")

    async def delete(self, path: str) -> None:
        """See `entities.Changes.delete`."""
        raise fixed(f"{path!r} cannot be deleted")

    async def replace(self, path: str, rule: NamedRule) -> None:  # noqa: ARG002
        """See `entities.Changes.replace`."""
        raise fixed(f"the rule {rule.name!r} cannot be changed")
