"""The bus of one machine: Service Bus's semantics on the hub's own SQLite file.

Locks are in memory, since there is one owner: a restart frees them at once. Because a crash may
have been one message's doing, what was in memory then counts as delivered once. The last delivery
before dead-lettering is different: a message that has come to it through crashes is handed out
alone, before everything else, so that the one that kills the process goes and its neighbours stay.

`put` and `complete` write inside somebody else's transaction: an event and its message, a delivery
and the end of its message, are one commit.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from functools import partial

from notifications.bus import door_journal, journal, recovery
from notifications.bus.filters import Filter
from notifications.bus.publishing import Publishing
from notifications.bus.queues import Entry, Queue, Tokens
from notifications.bus.reading import Reading
from notifications.bus.recovery import Suspects, leave, recover
from notifications.bus.settling import Settling
from notifications.bus.tidying import tidy
from notifications.bus.topology import Subscription, Topic
from notifications.database import Database, Transaction
from notifications.errors import NotFound, Unavailable
from notifications.messages import Complete, DeadLetter, Message, Received, Settlement
from notifications.ports import Clock
from notifications.timing import Alarm

log = logging.getLogger("huntaze")

_TICK_MS = 1_000


class EmbeddedBus:
    """Implements `ports.Bus`; `put` and `complete` do the same within somebody's transaction.

    Args:
        database: Holds it.
        topology: Its topics and subscriptions.
        clock: Says when locks run out and messages are due.
        wary: Whether those who receive are in this process, so that a crash may be the doing of
            what they had in hand; else it says nothing of any message.
    """

    def __init__(
        self, database: Database, topology: Sequence[Topic], clock: Clock, *, wary: bool = True
    ) -> None:
        self.database = database
        self._wary = wary
        self._topology = topology
        self._clock = clock
        self._queues: dict[str, Queue] = {}
        self._by_topic: dict[str, list[Queue]] = {topic.name: [] for topic in topology}
        self.tokens = Tokens()
        self._suspects = Suspects()
        self.settling = Settling(self._ended)
        self._reading = Reading(self.settling)
        self._publishing = Publishing(self._by_topic, self.settling, self._reading, wary=wary)
        self._alarm = Alarm(clock)
        self._tasks: list[asyncio.Task[None]] = []
        self._started = self._open = False

    async def start(self, consuming: Iterable[str] = ()) -> None:
        """Take up where the last run ended.

        Args:
            consuming: The subscriptions that will be received from.
        """
        names = frozenset(consuming)
        found = await self.database.write(
            lambda tx: recover(tx, self._topology, names, wary=self._wary)
        )
        self._publishing.next_seq = found.next_seq
        for subscription, bit, counts in found.subscriptions:
            queue = self._queue(subscription, subscription.rule.filter, bit, counts)
            queue.apart = frozenset(
                row[journal.SEQ] for name, row in found.suspects if name == subscription.name
            )
            self._queues[subscription.name] = queue
            self._by_topic[subscription.topic].append(queue)
        for name, row in found.suspects:
            self._suspects.add(self._queues[name], self._reading.entry(row))
        if found.suspects:
            log.warning("bus.crashed_before", extra={"suspects": len(found.suspects)})
        if found.next_due is not None:
            self._alarm.set(found.next_due)
        self._started = self._open = True
        self._tasks = [
            asyncio.create_task(self._activate_scheduled(), name="bus-scheduled"),
            asyncio.create_task(self._tick(), name="bus-tick"),
        ]

    def _queue(
        self, subscription: Subscription, rule: Filter, bit: int, counts: dict[int, int]
    ) -> Queue:
        return Queue(subscription, rule, bit, counts, wary=self._wary)

    async def close(self) -> None:
        """Stop; what is locked comes again after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self._open:
            return
        self._open = False
        self._wake_all()
        queues = self._queues.values()
        try:
            next_seq = self._publishing.next_seq
            await self.database.write(lambda tx: leave(tx, queues, self._suspects, next_seq))
        except Unavailable as error:
            log.warning("bus.close_failed", extra={"detail": str(error)})

    @property
    def in_memory(self) -> int:
        """How many messages are in memory, those in somebody's hands among them."""
        return len(self._reading)

    # ---------------------------------------------------------------- ports.Bus

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """See `ports.Bus.publish`."""
        await self.database.write(lambda tx: self.put(tx, topic, messages))

    async def receive(self, subscription: str, *, limit: int) -> Sequence[Received]:
        """See `ports.Bus.receive`."""
        while True:
            taken = await self.at_once(subscription, limit=limit)
            if taken:
                return taken
            await self._queues[subscription].changed.wait()

    async def at_once(self, subscription: str, *, limit: int) -> Sequence[Received]:
        """Lock what there is without waiting for more to come, up to `limit`; maybe nothing.

        Raises:
            Unavailable: The bus is closed.
            NotFound: There is no such subscription any more.
        """
        if not self._open:
            raise Unavailable("the bus is closed")
        queue = self.queue(subscription)
        queue.active = True
        queue.changed.clear()
        if self._suspects:
            return await self._take_suspect(queue)
        return await self._take(queue, limit)

    async def settle(self, received: Received, settlement: Settlement) -> None:
        """See `ports.Bus.settle`.

        Raises:
            Unavailable: It is not settled; the lock stays until it runs out.
        """
        queue, token = self._queues[received.subscription], received.token
        if token is None or self.over(received):
            return
        settling = self.settling
        if isinstance(settlement, Complete):
            await self.database.write(lambda tx: settling.complete(tx, [(queue, token)]))
        elif isinstance(settlement, DeadLetter):
            await self.database.write(lambda tx: settling.reject(tx, queue, token, settlement))
        else:
            await self.database.write(lambda tx: settling.give_back(tx, queue, token))

    def over(self, received: Received) -> bool:
        """Whether its lock has ended: there is nothing left to settle."""
        return received.token not in self._queues[received.subscription].locks

    async def renew(self, received: Received) -> None:
        """See `ports.Bus.renew`."""
        queue = self._queues[received.subscription]
        lock = queue.locks.get(received.token or 0)
        if lock is not None:
            lock.until = self._clock.now() + queue.subscription.lock_ms

    # ---------------------------------------------------------------- dead_letters.Peek

    async def peek(self, subscription: str, *, after: int, limit: int) -> Sequence[Received]:
        """See `dead_letters.Peek.peek`."""
        queue = self.queue(subscription)
        topic, mask = queue.subscription.topic, queue.mask
        entries = await self.database.read(
            lambda connection: journal.waiting(connection, topic, mask, after=after, limit=limit)
        )
        return [
            Received(
                message=entry.message,
                subscription=subscription,
                sequence_number=entry.seq,
                delivery_count=queue.deliveries(entry.seq),
                enqueued_at=entry.enqueued_at,
                ours=entry.message.wire is None,
            )
            for entry in entries
        ]

    # ---------------------------------------------------------------- within a transaction

    def queue(self, subscription: str) -> Queue:
        """A subscription's queue.

        Raises:
            Unavailable: The bus has not started.
            NotFound: There is no such subscription.
        """
        if not self._started:
            raise Unavailable("the bus has not started")
        if subscription not in self._queues:
            there = ", ".join(self._queues)
            raise NotFound(f"no subscription {subscription!r}; there are {there}")
        return self._queues[subscription]

    def put(self, tx: Transaction, topic: str, messages: Sequence[Message]) -> Sequence[int]:
        """Put messages on a topic within `tx`; their sequence numbers.

        Raises:
            Unavailable: The bus has not started.
            NotFound: There is no such topic.
            InvalidInput: A property is a number that is none.
        """
        if not self._started:
            raise Unavailable("the bus has not started")
        if topic not in self._by_topic:
            raise NotFound(f"there is no topic {topic!r}")
        later = [m for m in messages if m.due_at is not None and m.due_at > tx.now]
        if not later:
            return self._publishing.enqueue(tx, topic, messages)
        scheduled = iter(self._publishing.schedule(tx, topic, later))
        first = min(message.due_at or 0 for message in later)
        tx.after_commit(lambda: self._alarm.set(first))
        at_once = [m for m in messages if m.due_at is None or m.due_at <= tx.now]
        enqueued = iter(self._publishing.enqueue(tx, topic, at_once))
        late = {id(message) for message in later}
        return [next(scheduled if id(message) in late else enqueued) for message in messages]

    def put_to(self, tx: Transaction, subscription: str, messages: Sequence[Message]) -> None:
        """Put messages on one subscription alone within `tx`, past the rules.

        Raises:
            Unavailable: The bus has not started.
            NotFound: There is no such subscription.
        """
        self._publishing.enqueue_for(tx, self.queue(subscription), messages)

    def complete(self, tx: Transaction, received: Sequence[Received]) -> None:
        """Complete messages within `tx`; those whose lock is lost stay."""
        held = [(self._queues[r.subscription], r.token) for r in received if r.token is not None]
        self.settling.complete(tx, held)

    # ---------------------------------------------------------------- a topology that changes

    def open_topic(self, topic: str) -> None:
        """Take messages for a topic from now on."""
        self._by_topic.setdefault(topic, [])

    def close_topic(self, topic: str) -> None:
        """Take none any more; its subscriptions are removed before."""
        self._by_topic.pop(topic, None)

    def add(self, tx: Transaction, subscription: Subscription, rule: Filter) -> None:
        """Add a subscription within `tx`; what is sent from now on is for it, too.

        Raises:
            OverLimit: Its topic has as many as it can have.
        """
        queue = self._queue(subscription, rule, recovery.add(tx, subscription), {})
        queue.loaded, queue.behind = self._publishing.next_seq - 1, False
        self.detach(subscription.name)  # of a transaction that was tried before
        self.attach(queue)

    def attach(self, queue: Queue) -> None:
        """Let a subscription take messages."""
        queue.gone = False
        self._queues[queue.subscription.name] = queue
        self._by_topic[queue.subscription.topic].append(queue)

    def detach(self, name: str) -> None:
        """Let a subscription take no more messages, and hand out none."""
        queue = self._queues.pop(name, None)
        if queue is not None:
            queue.gone = True
            topic = queue.subscription.topic
            self._by_topic[topic] = [one for one in self._by_topic[topic] if one is not queue]
            queue.changed.set()
            self.settling.buried(name)  # who waits for its dead letters learns of it

    def remove(self, tx: Transaction, queue: Queue) -> None:
        """Remove what a detached subscription has not dealt with, within `tx`."""
        name, topic, mask = queue.subscription.name, queue.subscription.topic, queue.mask
        known = self._reading.among(door_journal.seqs(tx, topic, mask))
        recovery.remove(tx, topic, name, mask)
        tx.after_commit(lambda: self._reading.forget(known, mask))

    # ---------------------------------------------------------------- scheduled messages

    async def _activate_scheduled(self) -> None:
        while True:
            await self._alarm.ring()
            try:
                next_due = await self.database.write(self._publishing.activate_due)
            except Exception as error:
                log.exception("bus.activation_failed", extra={"detail": str(error)})
                next_due = self._clock.now() + _TICK_MS
            if next_due is not None:
                self._alarm.set(next_due)

    # ---------------------------------------------------------------- receiving

    async def _take(self, queue: Queue, limit: int) -> list[Received]:
        while True:
            if queue.starves():
                async with queue.loading:
                    if queue.starves():  # nobody else loaded meanwhile
                        await self.database.write(lambda tx: self._reading.load(tx, queue))
            taken = queue.take(limit, self._clock.now(), self.tokens)
            if taken or not queue.behind:
                return taken

    async def _take_suspect(self, queue: Queue) -> list[Received]:
        """Lock the next message suspected of crashes, its last delivery written down before."""
        async with queue.loading:
            entry = self._suspects.first(queue)
            if entry is None:
                return []
            if queue.outlived(entry, self._clock.now()):
                queue.overdue.append(entry)
                self._suspects.drop()
                self._wake_all()
                return []
            if self._suspects.marked is None:
                await self.database.write(lambda tx: self._mark(tx, queue, entry))
            now = self._clock.now()
            received = queue.lock(entry, now, self.tokens)
            self._suspects.hand_out(received.token, now + queue.subscription.lock_ms)
            return [received]

    def _mark(self, tx: Transaction, queue: Queue, entry: Entry) -> None:
        subscription = queue.subscription
        journal.count(tx, [(subscription.name, entry.seq, subscription.max_delivery_count)])
        tx.after_commit(lambda: self._suspects.mark(entry))

    def _ended(self, token: int) -> None:
        if self._suspects.settled(token):
            self._wake_all()

    def _wake_all(self) -> None:
        for queue in self._queues.values():
            queue.changed.set()

    # ---------------------------------------------------------------- what time brings

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + _TICK_MS)
            try:
                await self._tidy()
            except Unavailable as error:
                log.warning("bus.tick_failed", extra={"detail": str(error)})
            except Exception:
                log.exception("bus.tick_failed")

    async def _tidy(self) -> None:
        """Free the locks that ran out; bury what outlived its time."""
        now = self._clock.now()
        if self._suspects.survived(now):
            self._wake_all()
        for queue in list(self._queues.values()):  # some may come or go meanwhile
            queue.shed(now)
            while queue.overdue or queue.expired_locks(now):
                await tidy(self.database, self.settling, queue, now)
            if not queue.active and queue.look_at <= now:
                await self.database.write(partial(self._reading.look_through, queue=queue))


class EventsOutbox:
    """The embedded bus as the ledger's outbox: what a transaction sends is on the bus with it."""

    def __init__(self, bus: EmbeddedBus, topic: str) -> None:
        self._bus = bus
        self._topic = topic

    def put(
        self, tx: Transaction, messages: Sequence[Message], *, topic: str | None = None
    ) -> None:
        """Put messages on the events topic, or the one that is named, within `tx`."""
        self._bus.put(tx, topic or self._topic, messages)

    def complete(self, tx: Transaction, received: Sequence[Received]) -> None:
        """Complete messages within `tx`."""
        self._bus.complete(tx, received)
