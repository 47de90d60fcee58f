"""The bus of one machine: Service Bus's semantics on the hub's own SQLite file.

Locks are in memory, since there is one owner: a restart frees them at once. Because the crash may
have been one message's doing, what was in memory then counts as delivered once. The last delivery
before dead-lettering is different: a message that has come to it through crashes is handed out
alone, before everything else, so that the one that kills the process goes and its neighbours stay.

`put` and `complete` write inside somebody else's transaction: an event and its message, a delivery
and the end of its message, are one commit.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from weakref import WeakValueDictionary

import orjson
import sqlalchemy as sa

from notifications.bus import tables
from notifications.bus.filters import FilterError, MessageView, SqlFilter
from notifications.bus.queues import Entry, Queue, Tokens
from notifications.bus.recovery import recover
from notifications.bus.topology import Topic
from notifications.database import Database, Transaction
from notifications.errors import HuntazeError, Unavailable
from notifications.ports import Clock, Complete, DeadLetter, Message, Received, Settlement
from notifications.timing import Alarm

log = logging.getLogger("huntaze")

PAGE = 500
"""Messages read from the database at once."""

_TICK_MS = 1_000

EXPIRED = DeadLetter("TTLExpiredException", "The message expired and was dead lettered.")


def delivered_too_often(times: int) -> DeadLetter:
    """The reason Service Bus gives."""
    return DeadLetter(
        "MaxDeliveryCountExceeded",
        f"Message could not be consumed after {times} delivery attempts.",
    )


class EmbeddedBus:
    """Implements `ports.Bus`; `put` and `complete` do the same within somebody's transaction."""

    def __init__(self, database: Database, topology: Sequence[Topic], clock: Clock) -> None:
        self._database = database
        self._topology = topology
        self._clock = clock
        self._queues: dict[str, Queue] = {}
        self._by_topic: dict[str, list[Queue]] = {topic.name: [] for topic in topology}
        self._entries: WeakValueDictionary[int, Entry] = WeakValueDictionary()
        self._tokens = Tokens()
        self._next_seq = 1
        self._suspects: list[tuple[Queue, Entry]] = []
        self._suspect_token: int | None = None
        self._alarm = Alarm(clock)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, consuming: Iterable[str] = ()) -> None:
        """Take up where the last run ended.

        Args:
            consuming: The subscriptions that will be received from.
        """
        names = frozenset(consuming)
        found = await self._database.write(lambda tx: recover(tx, self._topology, names))
        self._next_seq = found.next_seq
        for subscription, bit, counts in found.subscriptions:
            queue = Queue(subscription, SqlFilter(subscription.rule.expression), bit, counts)
            self._queues[subscription.name] = queue
            self._by_topic[subscription.topic].append(queue)
        for name, row in found.suspects:
            self._suspects.append((self._queues[name], self._entry(row)))
        if found.next_due is not None:
            self._alarm.set(found.next_due)
        self._tasks = [
            asyncio.create_task(self._activate_scheduled(), name="bus-scheduled"),
            asyncio.create_task(self._tick(), name="bus-locks"),
        ]

    async def close(self) -> None:
        """Stop; what is locked comes again after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---------------------------------------------------------------- ports.Bus

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """See `ports.Bus.publish`."""
        await self._database.write(lambda tx: self.put(tx, topic, messages))

    async def receive(self, subscription: str, *, limit: int) -> Sequence[Received]:
        """See `ports.Bus.receive`."""
        queue = self._queues[subscription]
        queue.active = True
        while True:
            queue.changed.clear()
            if self._suspects or self._suspect_token is not None:
                if (suspect := await self._next_suspect(queue)) is not None:
                    return [suspect]
            else:
                async with queue.loading:
                    if queue.behind and not len(queue):
                        await self._load(queue)
                taken, expired = queue.take(limit, self._clock.now(), self._tokens)
                if expired:
                    await self._bury([(queue, entry, EXPIRED) for entry in expired])
                if taken:
                    return taken
            await queue.changed.wait()

    async def settle(self, received: Received, settlement: Settlement) -> None:
        """See `ports.Bus.settle`."""
        queue = self._queues[received.subscription]
        lock = queue.locks.get(received.token or 0)
        if lock is None:
            return
        if isinstance(settlement, Complete):
            await self._database.write(lambda tx: self.complete(tx, [received]))
        elif isinstance(settlement, DeadLetter):
            await self._bury([(queue, lock.entry, settlement)])
            queue.locks.pop(received.token or 0, None)
        else:
            await self._return(queue, received.token or 0)
        self._suspect_settled(received.token)

    async def renew(self, received: Received) -> None:
        """See `ports.Bus.renew`."""
        queue = self._queues[received.subscription]
        lock = queue.locks.get(received.token or 0)
        if lock is not None:
            lock.until = self._clock.now() + queue.subscription.lock_ms

    # ---------------------------------------------------------------- within a transaction

    def put(self, tx: Transaction, topic: str, messages: Sequence[Message]) -> None:
        """Put messages on a topic within `tx`."""
        later = [m for m in messages if m.due_at is not None and m.due_at > tx.now]
        if later:
            self._schedule(tx, topic, later)
        at_once = [m for m in messages if m.due_at is None or m.due_at <= tx.now]
        if at_once:
            self._enqueue(tx, topic, at_once)

    def complete(self, tx: Transaction, received: Sequence[Received]) -> None:
        """Complete messages within `tx`; those whose lock is lost stay."""
        for one in received:
            queue = self._queues[one.subscription]
            lock = queue.locks.get(one.token or 0)
            if lock is not None:
                tx.collect(self._write_done, (queue, lock.entry, one.token))

    # ---------------------------------------------------------------- publishing

    def _enqueue(self, tx: Transaction, topic: str, messages: Sequence[Message]) -> None:
        entries = []
        for message in messages:
            pending = self._matches(topic, message)
            if pending:
                entry = Entry(self._next_seq, message, tx.now, pending)
                self._next_seq += 1
                entries.append(entry)
        if not entries:
            return
        tx.connection.execute(
            sa.insert(tables.messages),
            [
                {**_columns(topic, e.seq, e.message), "enqueued_at": tx.now, "pending": e.pending}
                for e in entries
            ],
        )
        tx.collect(self._write_loaded, (topic, entries[-1].seq))
        tx.after_commit(lambda: self._arrived(topic, entries))

    def _matches(self, topic: str, message: Message) -> int:
        view = MessageView(properties=message.properties, system=_system(message))
        pending = 0
        for queue in self._by_topic[topic]:
            try:
                if queue.rule.matches(view):
                    pending |= queue.mask
            except FilterError as error:
                log.warning(
                    "bus.filter_failed",
                    extra={"subscription": queue.subscription.name, "detail": str(error)},
                )
        return pending

    def _arrived(self, topic: str, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._entries[entry.seq] = entry
            for queue in self._by_topic[topic]:
                if entry.pending & queue.mask:
                    queue.arrive(entry)
        for queue in self._by_topic[topic]:
            if queue.behind:
                queue.changed.set()

    def _write_loaded(self, tx: Transaction, items: list[tuple[str, int]]) -> None:
        rows = [
            {"b_name": queue.subscription.name, "b_loaded": seq}
            for topic, seq in dict(sorted(items)).items()
            for queue in self._by_topic[topic]
            if queue.active and not queue.behind
        ]
        if rows:
            tx.connection.execute(_SET_LOADED, rows)

    def _schedule(self, tx: Transaction, topic: str, messages: Sequence[Message]) -> None:
        rows = []
        for message in messages:
            rows.append({**_columns(topic, self._next_seq, message), "due_at": message.due_at})
            self._next_seq += 1
        tx.connection.execute(sa.insert(tables.scheduled), rows)
        first = min(message.due_at or 0 for message in messages)
        tx.after_commit(lambda: self._alarm.set(first))

    async def _activate_scheduled(self) -> None:
        while True:
            await self._alarm.ring()
            try:
                next_due = await self._database.write(self._activate_due)
            except HuntazeError as error:
                log.warning("bus.activation_failed", extra={"detail": str(error)})
                next_due = self._clock.now() + _TICK_MS
            if next_due is not None:
                self._alarm.set(next_due)

    def _activate_due(self, tx: Transaction) -> int | None:
        """Make what is due visible, as if it were published now; say when the next is due."""
        rows = tx.connection.execute(_SELECT_DUE, {"now": tx.now}).mappings().all()
        by_topic: dict[str, list[Message]] = {}
        for row in rows:
            by_topic.setdefault(row["topic"], []).append(_message(row))
        for topic, messages in by_topic.items():
            self._enqueue(tx, topic, messages)
        if rows:
            tx.connection.execute(_DELETE_SCHEDULED, [{"b_seq": row["seq"]} for row in rows])
        due: int | None = tx.connection.execute(_NEXT_DUE).scalar()
        return due

    # ---------------------------------------------------------------- receiving

    async def _load(self, queue: Queue) -> None:
        def load(tx: Transaction) -> None:
            rows = (
                tx.connection.execute(
                    _SELECT_PAGE,
                    {"topic": queue.subscription.topic, "after": queue.loaded, "mask": queue.mask},
                )
                .mappings()
                .all()
            )
            if rows:
                tx.connection.execute(
                    _SET_LOADED, [{"b_name": queue.subscription.name, "b_loaded": rows[-1]["seq"]}]
                )
            tx.after_commit(lambda: loaded(rows))

        def loaded(rows: Sequence[sa.RowMapping]) -> None:
            for row in rows:
                queue.append(self._entry(row))
            queue.behind = len(rows) == PAGE

        await self._database.write(load)

    def _entry(self, row: sa.RowMapping) -> Entry:
        entry = self._entries.get(row["seq"])
        if entry is None:
            entry = Entry(row["seq"], _message(row), row["enqueued_at"], row["pending"])
            self._entries[entry.seq] = entry
        return entry

    async def _next_suspect(self, queue: Queue) -> Received | None:
        """Hand out the next message suspected of crashes, alone, its last delivery written down."""
        if self._suspect_token is not None or self._suspects[0][0] is not queue:
            return None
        _, entry = self._suspects.pop(0)
        limit = queue.subscription.max_delivery_count
        self._suspect_token = -1
        queue.counts[entry.seq] = limit
        try:
            await self._write_count(queue, entry)
        except Unavailable:
            self._suspects.insert(0, (queue, entry))
            self._suspect_token = None
            raise
        queue.counts[entry.seq] = limit - 1
        received = queue.lock(entry, self._clock.now(), self._tokens)
        self._suspect_token = received.token
        return received

    def _suspect_settled(self, token: int | None) -> None:
        if token is None or token != self._suspect_token:
            return
        self._suspect_token = None
        for queue in self._queues.values():
            queue.changed.set()

    # ---------------------------------------------------------------- settling

    def _write_done(self, tx: Transaction, items: list[tuple[Queue, Entry, int]]) -> None:
        """Clear the bits; a message nobody waits for is deleted."""
        done: dict[int, int] = {}
        pending: dict[int, int] = {}
        counted = []
        for queue, entry, _token in items:
            done[entry.seq] = done.get(entry.seq, 0) | queue.mask
            pending[entry.seq] = entry.pending
            if entry.seq in queue.counts:
                counted.append({"b_name": queue.subscription.name, "b_seq": entry.seq})
        left = [{"b_seq": s, "b_keep": ~bits} for s, bits in done.items() if pending[s] & ~bits]
        gone = [{"b_seq": s} for s, bits in done.items() if not pending[s] & ~bits]
        if left:
            tx.connection.execute(_CLEAR_BITS, left)
        if gone:
            tx.connection.execute(_DELETE_MESSAGE, gone)
        if counted:
            tx.connection.execute(_FORGET_COUNT, counted)
        tx.after_commit(lambda: self._done(items))

    def _done(self, items: list[tuple[Queue, Entry, int]]) -> None:
        for queue, entry, token in items:
            queue.done(entry, token)
            self._suspect_settled(token)

    async def _bury(self, dead: Sequence[tuple[Queue, Entry, DeadLetter]]) -> None:
        """Move messages to their subscriptions' dead letters."""

        def bury(tx: Transaction) -> None:
            rows = [
                {
                    **_columns(queue.subscription.topic, entry.seq, entry.message),
                    "subscription": queue.subscription.name,
                    "enqueued_at": entry.enqueued_at,
                    "delivery_count": queue.counts.get(entry.seq, 0),
                    "reason": why.reason[:4096],
                    "description": why.description[:4096],
                    "dead_at": tx.now,
                }
                for queue, entry, why in dead
            ]
            tx.connection.execute(sa.insert(tables.dead_letters).prefix_with("OR REPLACE"), rows)
            for queue, entry, _ in dead:
                tx.collect(self._write_done, (queue, entry, 0))

        await self._database.write(bury)
        for queue, entry, why in dead:
            log.warning(
                "bus.dead_lettered",
                extra={
                    "subscription": queue.subscription.name,
                    "messageId": entry.message.id,
                    "reason": why.reason,
                    "detail": why.description,
                },
            )

    async def _return(self, queue: Queue, token: int) -> None:
        """An abandoned message, or one whose lock ran out: again, or to the dead letters."""
        lock = queue.locks.pop(token, None)
        if lock is None:
            return
        entry = lock.entry
        queue.counts[entry.seq] = queue.counts.get(entry.seq, 0) + 1
        try:
            if queue.counts[entry.seq] >= queue.subscription.max_delivery_count:
                why = delivered_too_often(queue.subscription.max_delivery_count)
                await self._bury([(queue, entry, why)])
                return
            await self._write_count(queue, entry)
        except Unavailable:
            # With the database away nothing can be counted, and it is not the message's fault.
            queue.counts[entry.seq] -= 1
        queue.give_back(entry)

    async def _write_count(self, queue: Queue, entry: Entry) -> None:
        row = {
            "subscription": queue.subscription.name,
            "seq": entry.seq,
            "delivery_count": queue.counts[entry.seq],
        }
        await self._database.write(
            lambda tx: tx.connection.execute(
                sa.insert(tables.redeliveries).prefix_with("OR REPLACE"), [row]
            )
        )

    async def _tick(self) -> None:
        """Free the locks that ran out; bury what expired where nobody receives."""
        while True:
            await self._clock.sleep_until(self._clock.now() + _TICK_MS)
            now = self._clock.now()
            for queue in self._queues.values():
                for token in queue.expired_locks(now):
                    await self._return(queue, token)
                    self._suspect_settled(token)

    async def expire(self) -> int:
        """Dead-letter what outlived its time where nobody receives; how many it was."""
        count = 0
        for queue in self._queues.values():
            if queue.active:
                continue
            bound = self._clock.now() - queue.subscription.ttl_ms
            query = {"topic": queue.subscription.topic, "mask": queue.mask, "bound": bound}
            rows = await self._database.read(
                lambda connection, query=query: (  # type: ignore[misc]
                    connection.execute(_SELECT_EXPIRED, query).mappings().all()
                )
            )
            if rows:
                await self._bury([(queue, self._entry(row), EXPIRED) for row in rows])
                count += len(rows)
        return count


class EventsOutbox:
    """The embedded bus as the ledger's outbox: what a transaction sends is on the bus with it."""

    def __init__(self, bus: EmbeddedBus, topic: str) -> None:
        self._bus = bus
        self._topic = topic

    def put(self, tx: Transaction, messages: Sequence[Message]) -> None:
        """Put messages on the events topic within `tx`."""
        self._bus.put(tx, self._topic, messages)

    def complete(self, tx: Transaction, received: Sequence[Received]) -> None:
        """Complete messages within `tx`."""
        self._bus.complete(tx, received)


def _columns(topic: str, seq: int, message: Message) -> dict[str, object]:
    return {
        "seq": seq,
        "topic": topic,
        "message_id": message.id,
        "body": message.body,
        "properties": orjson.dumps(message.properties),
        "subject": message.subject,
        "content_type": message.content_type,
    }


def _message(row: sa.RowMapping) -> Message:
    return Message(
        id=row["message_id"],
        body=row["body"],
        properties=orjson.loads(row["properties"]),
        subject=row["subject"],
        content_type=row["content_type"],
    )


def _system(message: Message) -> dict[str, object]:
    return {
        "MessageId": message.id,
        "Label": message.subject,
        "ContentType": message.content_type,
    }


_m, _s = tables.messages.c, tables.scheduled.c

_SET_LOADED = (
    sa.update(tables.subscriptions)
    .where(tables.subscriptions.c.name == sa.bindparam("b_name"))
    .values(loaded=sa.bindparam("b_loaded"))
)
_SELECT_PAGE = (
    sa.select(tables.messages)
    .where(
        _m.topic == sa.bindparam("topic"),
        _m.seq > sa.bindparam("after"),
        _m.pending.op("&")(sa.bindparam("mask")) != 0,
    )
    .order_by(_m.seq)
    .limit(PAGE)
)
_SELECT_EXPIRED = (
    sa.select(tables.messages)
    .where(
        _m.topic == sa.bindparam("topic"),
        _m.pending.op("&")(sa.bindparam("mask")) != 0,
        _m.enqueued_at <= sa.bindparam("bound"),
    )
    .order_by(_m.seq)
    .limit(PAGE)
)
_CLEAR_BITS = (
    sa.update(tables.messages)
    .where(_m.seq == sa.bindparam("b_seq"))
    .values(pending=_m.pending.op("&")(sa.bindparam("b_keep")))
)
_DELETE_MESSAGE = sa.delete(tables.messages).where(_m.seq == sa.bindparam("b_seq"))
_FORGET_COUNT = sa.delete(tables.redeliveries).where(
    tables.redeliveries.c.subscription == sa.bindparam("b_name"),
    tables.redeliveries.c.seq == sa.bindparam("b_seq"),
)
_SELECT_DUE = (
    sa.select(tables.scheduled)
    .where(_s.due_at <= sa.bindparam("now"))
    .order_by(_s.due_at, _s.seq)
    .limit(PAGE)
)
_DELETE_SCHEDULED = sa.delete(tables.scheduled).where(_s.seq == sa.bindparam("b_seq"))
_NEXT_DUE = sa.select(sa.func.min(_s.due_at))
