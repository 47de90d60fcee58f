"""The embedded bus as the door's broker: the same queues, locks and journal as the hub's own.

A lock is named by a GUID: eight bytes of this process's own, eight of the bus's number for it. So
a token of an earlier run names nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from notifications.broker import Item, NamedRule, Rules, State
from notifications.bus import door_journal, journal, tables
from notifications.bus.dead_letter_outlet import DeadLetterOutlet
from notifications.bus.embedded import EmbeddedBus
from notifications.bus.handing import Around
from notifications.bus.outlets import SubscriptionOutlet
from notifications.bus.registry import Address, Registry, address
from notifications.database import Database
from notifications.errors import NotAllowed, NotFound
from notifications.messages import Message
from notifications.ports import Clock, Dice

log = logging.getLogger("huntaze")

_OURS = 8

_PEEKED = 250
"""Messages that one look shows at most, as in Service Bus."""


class EmbeddedBroker:
    """Implements `broker.Broker`.

    Args:
        database: Holds the bus.
        bus: Carries the messages.
        registry: Says what there is.
        rules: The rules of the subscription at a path, where they can change; None where they are
            the hub's own.
        clock: The bus's.
        dice: Makes the process's part of the tokens.
    """

    def __init__(
        self,
        database: Database,
        bus: EmbeddedBus,
        registry: Registry,
        *,
        clock: Clock,
        dice: Dice,
        rules: Callable[[str], Rules] | None = None,
    ) -> None:
        self._registry = registry
        self._rules = rules
        prefix = dice.token(_OURS)
        self._around = Around(
            database=database,
            bus=bus,
            clock=clock,
            token=lambda: UUID(bytes=prefix + bus.tokens.next().to_bytes(_OURS)),
            lock_name=lambda number: UUID(bytes=prefix + number.to_bytes(_OURS)),
            lock_number=lambda token: (
                int.from_bytes(token.bytes[_OURS:]) if token.bytes[:_OURS] == prefix else 0
            ),
            later=self._later,
        )
        self._outlets: dict[str, tuple[object, SubscriptionOutlet, DeadLetterOutlet]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        bus.settling.buried = self._buried

    async def close(self) -> None:
        """Wait for what goes on in the background."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---------------------------------------------------------------- broker.Broker

    def inlet(self, path: str) -> "TopicInlet":
        """See `broker.Broker.inlet`."""
        found = address(path)
        if found.subscription is not None:
            raise NotFound(f"{path!r} is no topic")
        self._registry.topic(found.topic)
        return TopicInlet(self._around, self._registry, found.topic)

    def outlet(self, path: str) -> SubscriptionOutlet | DeadLetterOutlet:
        """See `broker.Broker.outlet`."""
        found = address(path)
        if found.subscription is None:
            raise NotFound(f"{path!r} is a topic: messages are received from its subscriptions")
        return self._outlet(found, found.subscription)

    def peekable(self, path: str) -> "TopicInlet | SubscriptionOutlet | DeadLetterOutlet":
        """See `broker.Broker.peekable`."""
        found = address(path)
        if found.subscription is None:
            return self.inlet(path)
        return self._outlet(found, found.subscription)

    def rules(self, path: str) -> Rules:
        """See `broker.Broker.rules`."""
        found = address(path)
        if found.subscription is None or found.dead:
            raise NotFound(f"{path!r} is no subscription")
        self._registry.subscription(found.subscription)
        if self._rules is not None:
            return self._rules(found.subscription)
        return FixedRules(self._registry, found.subscription)

    # ---------------------------------------------------------------- within

    def _outlet(self, found: Address, path: str) -> SubscriptionOutlet | DeadLetterOutlet:
        listed = self._registry.subscription(path)
        queue = self._around.bus.queue(listed.queue)
        known = self._outlets.get(listed.queue)
        if known is None or known[0] is not queue:  # deleted meanwhile, and made anew
            dead = DeadLetterOutlet(self._around, queue, path)
            known = (queue, SubscriptionOutlet(self._around, queue, path), dead)
            self._outlets[listed.queue] = known
        return known[2] if found.dead else known[1]

    def _buried(self, subscription: str) -> None:
        known = self._outlets.get(subscription)
        if known is None:
            return
        known[2].changed.set()
        try:
            self._around.bus.queue(subscription)
        except NotFound:  # it was deleted: what it had in memory goes with it
            del self._outlets[subscription]

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="broker-later")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("broker.put_back_failed", extra={"detail": str(error)})


class TopicInlet:
    """Implements `broker.Inlet` and `broker.Peekable`."""

    def __init__(self, around: Around, registry: Registry, path: str) -> None:
        self._around = around
        self._registry = registry
        self._path = path

    async def send(self, messages: Sequence[Message]) -> Sequence[int]:
        """See `broker.Inlet.send`."""
        bus, topic = self._around.bus, self._topic()
        return await self._around.database.write(lambda tx: bus.put(tx, topic, messages))

    async def cancel(self, numbers: Sequence[int]) -> None:
        """See `broker.Inlet.cancel`."""
        topic, wanted = self._topic(), set(numbers)
        gone = await self._around.database.write(
            lambda tx: door_journal.cancel_scheduled(tx, topic, wanted)
        )
        if not gone:
            raise NotFound("one of the messages does not wait for its time any more")

    async def peek(self, *, after: int, limit: int) -> Sequence[Item]:
        """See `broker.Inlet.peek`."""
        s, topic = tables.scheduled.c, self._topic()
        query = (
            sa.select(tables.scheduled)
            .where(s.topic == topic, s.seq > after)
            .order_by(s.seq)
            .limit(min(limit, _PEEKED))
        )

        def run(connection: sa.Connection) -> list[Item]:
            rows = connection.execute(query).mappings()
            return [
                Item(
                    message=journal.message_of(row),
                    sequence_number=row["seq"],
                    enqueued_at=row["due_at"],
                    delivery_count=0,
                    state=State.SCHEDULED,
                )
                for row in door_journal.one_answer(rows)
            ]

        return await self._around.database.read(run)

    def _topic(self) -> str:
        self._registry.topic(self._path)  # raises where it was deleted meanwhile
        return self._path


class FixedRules:
    """Implements `broker.Rules` for a hub's own subscription, whose rules do not change."""

    def __init__(self, registry: Registry, path: str) -> None:
        self._registry = registry
        self._path = path

    async def add(self, rule: NamedRule) -> None:
        """See `broker.Rules.add`."""
        raise fixed(f"the rule {rule.name!r} cannot be added")

    async def remove(self, name: str) -> None:
        """See `broker.Rules.remove`."""
        raise fixed(f"the rule {name!r} cannot be removed")

    async def all(self) -> Sequence[NamedRule]:
        """See `broker.Rules.all`."""
        rules = self._registry.subscription(self._path).rules
        return [rules[name] for name in sorted(rules)]


def fixed(what: str) -> NotAllowed:
    """Why a hub's own topology stays as it is."""
    return NotAllowed(
        f"{what}: topics, subscriptions and rules are the hub's own, and part of its release;"
        " `huntaze door` runs one of yours"
    )
