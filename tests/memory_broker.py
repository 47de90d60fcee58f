"""A broker in memory: the whole protocol of `notifications.broker`, and nothing else.

It is real in what clients can tell: locks run out, deliveries are counted, dead letters are kept.
It has no rules' evaluation but "all" and "none", and forgets everything.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

from notifications.broker import Defer, End, Item, NamedRule, Release, State
from notifications.errors import Conflict, FieldError, InvalidInput, NotFound
from notifications.messages import Complete, DeadLetter, Message

DEAD = "/$deadletterqueue"
_BETWEEN = "/subscriptions/"


def _now() -> int:
    return int(time.time() * 1000)


@dataclass(slots=True)
class Kept:
    item: Item
    deliveries: int = 0


@dataclass(slots=True, eq=False)
class Queue:
    """A subscription's messages, or its dead letters."""

    path: str
    lock_ms: int
    most: int
    dead: "Queue | None" = None
    ready: dict[int, Kept] = field(default_factory=dict)
    deferred_: dict[int, Kept] = field(default_factory=dict)
    locked: dict[UUID, Kept] = field(default_factory=dict)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    rules_: dict[str, NamedRule] = field(
        default_factory=lambda: {"$Default": NamedRule(name="$Default", sql="1=1")}
    )

    def put(self, item: Item, deliveries: int = 0) -> None:
        self.ready[item.sequence_number] = Kept(item, deliveries)
        self.came.set()

    # ------------------------------------------------------------- Outlet

    async def receive(self, *, limit: int, wait: bool, lock: bool) -> Sequence[Item]:
        while True:
            self._expire()
            if self.ready or not wait:
                break
            self.came.clear()
            first = next(iter(self.locked.values()), None)
            soonest = first.item.locked_until if first else None
            timeout = max(soonest - _now(), 1) / 1000 if soonest else None
            try:
                async with asyncio.timeout(timeout):
                    await self.came.wait()
            except TimeoutError:
                continue
        # The order is kept by number; only what came back can be out of it.
        numbers = list(self.ready)[:limit]
        if numbers and next(iter(self.ready)) > min(self.ready):
            self.ready = dict(sorted(self.ready.items()))
            numbers = list(self.ready)[:limit]
        return [self._give(self.ready.pop(number), lock=lock) for number in numbers]

    async def settle(self, ends: Sequence[tuple[UUID, End]]) -> Sequence[bool]:
        if self.dead is None and any(isinstance(end, DeadLetter) for _, end in ends):
            raise InvalidInput([FieldError("", "it is a dead letter already")])
        return [self._settle(token, end) for token, end in ends]

    def _settle(self, token: UUID, end: End) -> bool:
        self._expire()
        kept = self.locked.pop(token, None)
        if kept is None:
            return False
        plain = replace(kept.item, token=None, locked_until=None)
        if isinstance(end, Complete):
            return True
        if isinstance(end, DeadLetter) and self.dead is not None:
            self.dead.put(replace(plain, dead=end, source=self.path, delivery_count=0))
        elif isinstance(end, Defer):
            self.deferred_[plain.sequence_number] = Kept(
                replace(plain, state=State.DEFERRED), kept.deliveries + 1
            )
        else:
            self._back(kept, counts=not isinstance(end, Release))
        return True

    async def renew(self, token: UUID) -> int | None:
        self._expire()
        kept = self.locked.pop(token, None)
        if kept is None:
            return None
        self.locked[token] = kept
        until = _now() + self.lock_ms
        kept.item = replace(kept.item, locked_until=until)
        return until

    async def deferred(self, numbers: Sequence[int], *, lock: bool) -> Sequence[Item]:
        if any(number not in self.deferred_ for number in numbers):
            raise NotFound("a message is not among the deferred")
        return [self._give(self.deferred_.pop(number), lock=lock) for number in numbers]

    async def peek(self, *, after: int, limit: int) -> Sequence[Item]:
        self._expire()
        there = [*self.ready.values(), *self.deferred_.values(), *self.locked.values()]
        shown = sorted((kept.item for kept in there), key=lambda item: item.sequence_number)
        return [
            replace(item, token=None, locked_until=None)
            for item in shown
            if item.sequence_number > after
        ][:limit]

    # ------------------------------------------------------------- Rules

    async def add(self, rule: NamedRule) -> None:
        if rule.name in self.rules_:
            raise Conflict(f"there is a rule {rule.name}")
        if rule.sql == "=":
            raise InvalidInput([FieldError("/sql", "is no expression")])
        self.rules_[rule.name] = rule

    async def remove(self, name: str) -> None:
        if self.rules_.pop(name, None) is None:
            raise NotFound(f"there is no rule {name}")

    async def all(self) -> Sequence[NamedRule]:
        return [self.rules_[name] for name in sorted(self.rules_)]

    # ------------------------------------------------------------- inside

    def _give(self, kept: Kept, *, lock: bool) -> Item:
        item = replace(kept.item, delivery_count=kept.deliveries)
        if lock:
            token = uuid4()
            item = replace(item, token=token, locked_until=_now() + self.lock_ms)
            kept.item = item
            self.locked[token] = kept
        return item

    def _expire(self) -> None:
        # Locks are in the order in which they run out: a renewed one is the last again.
        now = _now()
        while self.locked:
            token, kept = next(iter(self.locked.items()))
            if (kept.item.locked_until or 0) > now:
                return
            del self.locked[token]
            self._back(kept, counts=True)

    def _back(self, kept: Kept, *, counts: bool) -> None:
        item = replace(kept.item, token=None, locked_until=None)
        kept = Kept(item, kept.deliveries + counts)
        if item.state is State.DEFERRED:
            self.deferred_[item.sequence_number] = kept
        elif kept.deliveries >= self.most and self.dead is not None:
            why = DeadLetter("MaxDeliveryCountExceeded", f"not consumed in {self.most} deliveries")
            self.dead.put(replace(item, dead=why, source=self.path, delivery_count=0))
        else:
            self.ready[item.sequence_number] = kept
            self.came.set()


@dataclass(slots=True)
class Topic:
    """A topic with its subscriptions."""

    queues: dict[str, Queue]
    numbers: int = 0
    scheduled: dict[int, Item] = field(default_factory=dict)
    timers: dict[int, asyncio.TimerHandle] = field(default_factory=dict)

    async def send(self, messages: Sequence[Message]) -> Sequence[int]:
        await asyncio.sleep(0)  # as one that has to write first
        if any("refuse" in message.properties for message in messages):
            raise InvalidInput([FieldError("/properties", "a message cannot be carried")])
        return [self._put(message) for message in messages]

    async def cancel(self, numbers: Sequence[int]) -> None:
        if any(number not in self.scheduled for number in numbers):
            raise NotFound("a message is not scheduled")
        for number in numbers:
            del self.scheduled[number]
            self.timers.pop(number).cancel()

    async def peek(self, *, after: int, limit: int) -> Sequence[Item]:
        return [item for number, item in sorted(self.scheduled.items()) if number > after][:limit]

    def _put(self, message: Message) -> int:
        self.numbers += 1
        number, now = self.numbers, _now()
        item = Item(message=message, sequence_number=number, enqueued_at=now, delivery_count=0)
        if message.due_at is not None and message.due_at > now:
            self.scheduled[number] = replace(item, state=State.SCHEDULED)
            loop = asyncio.get_running_loop()
            delay = (message.due_at - now) / 1000
            self.timers[number] = loop.call_later(delay, self._due, number)
        else:
            self._enqueue(item)
        return number

    def _due(self, number: int) -> None:
        del self.timers[number]
        item = self.scheduled.pop(number)
        self._enqueue(replace(item, state=State.ACTIVE, enqueued_at=_now()))

    def _enqueue(self, item: Item) -> None:
        for queue in self.queues.values():
            if any(rule.sql != "1=0" for rule in queue.rules_.values()):
                queue.put(item)


class MemoryBroker:
    """Topics with subscriptions, as they are given: `{"topic": ["subscription", ...]}`."""

    def __init__(
        self, topics: dict[str, list[str]], *, lock_ms: int = 30_000, most: int = 3
    ) -> None:
        self._topics: dict[str, Topic] = {}
        for topic, subscriptions in topics.items():
            queues = {}
            for name in subscriptions:
                path = f"{topic}/Subscriptions/{name}"
                dead = Queue(path + "/$DeadLetterQueue", lock_ms, 1_000_000)
                queues[name.casefold()] = Queue(path, lock_ms, most, dead)
            self._topics[topic.casefold()] = Topic(queues)

    def inlet(self, path: str) -> Topic:
        try:
            return self._topics[path.casefold()]
        except KeyError:
            raise NotFound(f"The messaging entity '{path}' could not be found.") from None

    def outlet(self, path: str) -> Queue:
        plain = path.casefold()
        is_dead = plain.endswith(DEAD)
        topic, _, name = plain.removesuffix(DEAD).partition(_BETWEEN)
        try:
            queue = self._topics[topic].queues[name]
        except KeyError:
            raise NotFound(f"The messaging entity '{path}' could not be found.") from None
        if not is_dead:
            return queue
        assert queue.dead
        return queue.dead

    def peekable(self, path: str) -> Topic | Queue:
        return self.outlet(path) if _BETWEEN in path.casefold() else self.inlet(path)

    def rules(self, path: str) -> Queue:
        return self.outlet(path)
