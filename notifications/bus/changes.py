"""Changing the topology behind a door that runs alone.

Changes are made one at a time. Each is one commit, and what is in memory follows it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from notifications.broker import NamedRule, Rules
from notifications.bus import entity_rows
from notifications.bus.embedded import EmbeddedBus
from notifications.bus.looking import Looking
from notifications.bus.queues import Queue
from notifications.bus.registry import Address, Listed, Registry, address
from notifications.bus.rules import TAKES_ALL, check_rule, filter_of
from notifications.database import Database, Transaction
from notifications.entities import (
    MAX_RULES,
    Entity,
    Standing,
    SubscriptionEntity,
    TopicEntity,
    check,
)
from notifications.errors import Conflict, NotFound, OverLimit, Unavailable
from notifications.ports import Clock

MAX_TOPICS = 1_000

Rulebook = Mapping[str, NamedRule]


class LiveTopology(Looking):
    """Implements `entities.Shown` and `entities.Changes` for a door that runs alone."""

    def __init__(
        self, database: Database, bus: EmbeddedBus, registry: Registry, clock: Clock
    ) -> None:
        super().__init__(database, bus, registry)
        self._clock = clock
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Give the queues of a bus that has just started the filters of their rules."""
        for listed in self._registry.subscriptions.values():
            self._bus.queue(listed.queue).rule = filter_of(listed.rules.values())

    async def close(self) -> None:
        """Wait for changes that are under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def rules(self, path: str) -> Rules:
        """See `entities.Shown.rules`."""
        self._registry.subscription(path)
        return LiveRules(self, path)

    def listed(self, path: str) -> Listed:
        """The subscription at a path.

        Raises:
            NotFound: There is none.
        """
        return self._registry.subscription(path)

    # ---------------------------------------------------------------- entities.Changes

    async def create(self, entity: Entity, rules: Sequence[NamedRule] | None = None) -> None:
        """See `entities.Changes.create`."""
        check(entity)
        if isinstance(entity, TopicEntity):
            await self._whole(self._create_topic(entity))
        else:
            wanted = [TAKES_ALL] if rules is None else rules
            await self._whole(self._create_subscription(entity, wanted))

    async def update(self, entity: Entity) -> None:
        """See `entities.Changes.update`."""
        check(entity)
        await self._whole(self._update(entity))

    async def _update(self, entity: Entity) -> None:
        async with self._changing:
            if isinstance(entity, TopicEntity):
                before = self._registry.topic(entity.path)
                await self._database.write(lambda tx: entity_rows.write(tx, entity))
                self._registry.topics[entity.path] = self._standing(entity, before.created_at)
                for listed in self._registry.of_topic(entity.path):
                    self._configure(listed)
            else:
                listed = self._registry.subscription(entity.path)
                await self._database.write(lambda tx: entity_rows.write(tx, entity))
                listed.standing = self._standing(entity, listed.standing.created_at)
                self._configure(listed)

    async def delete(self, path: str) -> None:
        """See `entities.Changes.delete`."""
        await self._whole(self._delete(path))

    async def replace(self, path: str, rule: NamedRule) -> None:
        """See `entities.Changes.replace`."""
        check_rule(rule)

        def change(rules: Rulebook) -> Rulebook:
            if rule.name.casefold() not in rules:
                raise NotFound(f"the subscription {path!r} has no rule {rule.name!r}")
            return {**rules, rule.name.casefold(): rule}

        await self._whole(self._set_rules(path, change))

    # ---------------------------------------------------------------- rules

    async def add_rule(self, path: str, rule: NamedRule) -> None:
        """See `broker.Rules.add`."""
        check_rule(rule)

        def change(rules: Rulebook) -> Rulebook:
            if rule.name.casefold() in rules:
                raise Conflict(f"the subscription {path!r} has a rule {rule.name!r} already")
            if len(rules) >= MAX_RULES:
                raise _too_many_rules()
            return {**rules, rule.name.casefold(): rule}

        await self._whole(self._set_rules(path, change))

    async def remove_rule(self, path: str, name: str) -> None:
        """See `broker.Rules.remove`."""

        def change(rules: Rulebook) -> Rulebook:
            if name.casefold() not in rules:
                raise NotFound(f"the subscription {path!r} has no rule {name!r}")
            return {each: rule for each, rule in rules.items() if each != name.casefold()}

        await self._whole(self._set_rules(path, change))

    async def _set_rules(self, path: str, change: Callable[[Rulebook], Rulebook]) -> None:
        async with self._changing:
            listed = self._registry.subscription(path)
            rules = change(listed.rules)
            found, key = filter_of(rules.values()), listed.standing.entity.path
            await self._database.write(lambda tx: entity_rows.write_rules(tx, key, rules.values()))
            listed.rules = rules
            self._bus.queue(listed.queue).rule = found

    # ---------------------------------------------------------------- within

    async def _create_topic(self, entity: TopicEntity) -> None:
        async with self._changing:
            if entity.path in self._registry.topics:
                raise Conflict(f"there is a topic {entity.name!r} already")
            if len(self._registry.topics) >= MAX_TOPICS:
                raise OverLimit(f"there are at most {MAX_TOPICS:,} topics", retry_after=0.0)
            await self._database.write(lambda tx: entity_rows.write(tx, entity))
            self._registry.topics[entity.path] = self._standing(entity)
            self._bus.open_topic(entity.path)

    async def _create_subscription(
        self, entity: SubscriptionEntity, rules: Sequence[NamedRule]
    ) -> None:
        async with self._changing:
            self._registry.topic(entity.topic)
            if entity.path in self._registry.subscriptions:
                raise Conflict(f"there is a subscription {entity.name!r} of that topic already")
            if len(rules) > MAX_RULES:
                raise _too_many_rules()
            for rule in rules:
                check_rule(rule)
            found, on_bus = filter_of(rules), self._registry.on_bus(entity)

            def run(tx: Transaction) -> None:
                self._bus.add(tx, on_bus, found)
                entity_rows.write(tx, entity)
                entity_rows.write_rules(tx, entity.path, rules)

            try:
                await self._database.write(run)
            except BaseException:
                self._bus.detach(on_bus.name)
                raise
            by_name = {rule.name.casefold(): rule for rule in rules}
            listed = Listed(self._standing(entity), on_bus.name, by_name)
            self._registry.put(listed)

    async def _whole(self, change: Coroutine[Any, Any, None]) -> None:
        """Make a change to its end, whether or not whoever asked for it waits that long."""
        task = asyncio.get_running_loop().create_task(change, name="topology-change")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever waits; where nobody does any more, it is no news

    async def _delete(self, path: str) -> None:
        async with self._changing:
            found = address(path)
            if found.subscription is None:
                self._registry.topic(found.topic)
                going = list(self._registry.of_topic(found.topic))
            else:
                going = [self._registry.subscription(found.subscription)]
            queues = [self._bus.queue(listed.queue) for listed in going]
            await self._take_away(found, queues)
            for listed in going:
                self._registry.drop(listed)
            if found.subscription is None:
                del self._registry.topics[found.topic]
                self._bus.close_topic(found.topic)

    async def _take_away(self, found: Address, queues: Sequence[Queue]) -> None:
        # Before the transaction: what is sent after its units ran must not be for these.
        for queue in queues:
            self._bus.detach(queue.subscription.name)

        def sweep(tx: Transaction) -> None:
            entity_rows.remove_left(tx, found.topic, [one.subscription.name for one in queues])
            if found.subscription is None:
                entity_rows.remove_scheduled(tx, found.topic)

        def run(tx: Transaction) -> None:
            for queue in queues:
                self._bus.remove(tx, queue)
            entity_rows.remove(tx, found.subscription or found.topic)
            sweep(tx)

        try:
            await self._database.write(run)
        except BaseException:
            for queue in queues:
                self._bus.attach(queue)
            raise
        # Once more, for what was being settled in the same commit: nobody sees it, it only lies.
        with contextlib.suppress(Unavailable):
            await self._database.write(sweep)

    def _configure(self, listed: Listed) -> None:
        entity = listed.standing.entity
        self._bus.queue(listed.queue).configure(self._registry.on_bus(entity))

    def _standing(self, entity: Entity, created_at: int | None = None) -> Standing[Any]:
        now = self._clock.now()
        created = now if created_at is None else created_at
        return Standing(entity=entity, created_at=created, updated_at=now)


class LiveRules:
    """Implements `broker.Rules` for a subscription of a door that runs alone."""

    def __init__(self, topology: LiveTopology, path: str) -> None:
        self._topology = topology
        self._path = path

    async def add(self, rule: NamedRule) -> None:
        """See `broker.Rules.add`."""
        await self._topology.add_rule(self._path, rule)

    async def remove(self, name: str) -> None:
        """See `broker.Rules.remove`."""
        await self._topology.remove_rule(self._path, name)

    async def all(self) -> Sequence[NamedRule]:
        """See `broker.Rules.all`."""
        rules = self._topology.listed(self._path).rules
        return [rules[name] for name in sorted(rules)]


def _too_many_rules() -> OverLimit:
    return OverLimit(f"a subscription has at most {MAX_RULES:,} rules", retry_after=0.0)
