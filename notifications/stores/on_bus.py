"""Which events the embedded bus still holds, read from its tables.

Adapters do not import each other, but on one machine bus and ledger are one file, and only one
snapshot of both can tell what is lost. Plain SQL, since the tables are the bus's.

`event` names the event that a message carries, `<tenant id>:<event id>`; it is NULL where the
message's own id says that, and empty where the message carries none.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import orjson
import sqlalchemy as sa

from notifications.database import Database
from notifications.stores import codes


class OnBus:
    """The events that are on the bus or in its dead letters, by the consumer they wait for.

    Reads all of them, once, when it is first asked: for whoever asks for many.
    """

    def __init__(
        self, connection: sa.Connection, topic: str, subscriptions: Mapping[str, str]
    ) -> None:
        """Say where from.

        Args:
            connection: A snapshot.
            topic: The topic of events.
            subscriptions: The subscription of each consumer: of each channel, and of `metrics`.
        """
        self._connection = connection
        self._topic = {"topic": topic}
        self._subscriptions = subscriptions

    def where(self, name: str, consumer: str) -> str | None:
        """`bus`, `deadLettered`, or None where the event is neither."""
        subscription = self._subscriptions[consumer]
        waits = self._waiting.get(name, 0) & self._bits.get(subscription, 0)
        if waits or (name, subscription) in self._later:
            return "bus"
        return "deadLettered" if (name, subscription) in self._dead else None

    @cached_property
    def _bits(self) -> Mapping[str, int]:
        rows = self._connection.execute(sa.text("SELECT name, bit FROM bus_subscriptions"))
        return {row.name: 1 << row.bit for row in rows}

    @cached_property
    def _waiting(self) -> Mapping[str, int]:
        """By event, the bits of the subscriptions that have not dealt with it."""
        waiting: dict[str, int] = defaultdict(int)
        # A page of rows at a time: the statement's own objects would be many times the map's size.
        rows = self._connection.execution_options(yield_per=1_000).execute(
            sa.text(
                "SELECT coalesce(event, message_id), pending FROM bus_messages"
                " WHERE topic = :topic AND (event IS NULL OR event <> '')"
            ),
            self._topic,
        )
        for name, pending in rows:
            waiting[name] |= pending
        return waiting

    @cached_property
    def _scheduled(self) -> set[tuple[str, str]]:
        """Events that are sent again later, each to its own consumer."""
        rows = self._connection.execute(
            sa.text(
                "SELECT event, properties FROM bus_scheduled WHERE topic = :topic AND event <> ''"
            ),
            self._topic,
        )
        return {(row.event, _addressee(row.properties, self._subscriptions)) for row in rows}

    @cached_property
    def _later(self) -> set[tuple[str, str]]:
        return self._scheduled | self._deferred

    @cached_property
    def _deferred(self) -> set[tuple[str, str]]:
        """What a client of the door put aside, to ask for it later."""
        rows = self._connection.execute(
            sa.text(
                "SELECT event, subscription FROM bus_deferred WHERE topic = :topic AND event <> ''"
            ),
            self._topic,
        )
        return {(row.event, row.subscription) for row in rows}

    @cached_property
    def _dead(self) -> set[tuple[str, str]]:
        rows = self._connection.execute(
            sa.text(
                "SELECT event, subscription FROM bus_dead_letters"
                " WHERE topic = :topic AND event <> ''"
            ),
            self._topic,
        )
        return {(row.event, row.subscription) for row in rows}


PASSED = 100_000
"""Messages of others that one look walks past, to the first that waits for a consumer: what a
reader's thread does in a tenth of a second."""


class EmbeddedBusLook:
    """Implements `lost.BusLook` on the file of the embedded bus.

    Args:
        database: The file.
        subscriptions: The subscription of each consumer: of each channel, and of `metrics`.
    """

    def __init__(self, database: Database, subscriptions: Mapping[str, str]) -> None:
        self._database = database
        self._subscriptions = subscriptions
        self._passed = Passed()

    async def waiting_since(self, consumer: str) -> int | None:
        """See `lost.BusLook.waiting_since`."""
        subscription = self._subscriptions[consumer]
        return await self._database.read(
            lambda connection: self._passed.waiting_since(connection, subscription, scan=PASSED)
        )

    async def copies_of(self, names: Sequence[str], consumer: str) -> set[str]:
        """See `lost.BusLook.copies_of`."""
        if not names:
            return set()
        return await self._database.read(
            lambda connection: copies_of(connection, names, consumer, self._subscriptions)
        )


def copies_of(
    connection: sa.Connection,
    names: Sequence[str],
    consumer: str,
    subscriptions: Mapping[str, str],
) -> set[str]:
    """Of these events, those that one consumer has a copy of, or a dead letter.

    Costs what the events cost, however much is on the bus. A copy is any message but the one that
    the hub sent when it accepted the event; see `waiting_since` for that.
    """
    subscription = subscriptions[consumer]
    found: set[str] = set()
    for page in codes.pages(names):
        asked = {"names": page, "name": subscription}
        found.update(connection.execute(_WAITING, asked).scalars())
        found.update(connection.execute(_DEAD, asked).scalars())
        found.update(connection.execute(_DEFERRED, asked).scalars())
        for row in connection.execute(_SCHEDULED, {"names": page}):
            if _addressee(row.properties, subscriptions) == subscription:
                found.add(row.event)
    return found


def _addressee(properties: bytes, subscriptions: Mapping[str, str]) -> str:
    """The subscription of the one consumer that a message is for, as the topic's rules have it."""
    consumer: object = orjson.loads(properties).get("hubConsumer")
    return subscriptions.get(str(consumer), subscriptions["metrics"])


class Passed:
    """How far the bus has nothing any more that waits for a subscription.

    What is behind stays behind: messages come with growing numbers, and none gets a consumer back.
    So nobody walks twice through what others have not dealt with.
    """

    def __init__(self) -> None:
        self._upto: dict[str, int] = {}

    def waiting_since(
        self, connection: sa.Connection, subscription: str, *, scan: int
    ) -> int | None:
        """When the oldest message that waits for a subscription became visible.

        None where none waits. Where none is among the next `scan` messages, the last of these
        stands for it: nothing older waits, and it goes on from there when it is asked again.
        """
        asked: dict[str, Any] = {"name": subscription, "after": self._upto.get(subscription, 0)}
        end = connection.execute(_END, {**asked, "skip": scan - 1}).first()
        asked["upto"] = _EVERYTHING if end is None else end.seq
        found = connection.execute(_OLDEST, asked).first()
        if found is not None:
            self._upto[subscription] = found.seq - 1
            since: int = found.enqueued_at
            return since
        if end is None:
            return None
        self._upto[subscription] = end.seq
        return int(end.enqueued_at)


def _among(names: Collection[str] = ()) -> sa.BindParameter[Any]:
    return sa.bindparam("names", list(names), expanding=True)


_EVERYTHING = 2**63 - 1
# `event <> ''` is said for the planner: the index by event leaves the others out.
_WAITING = sa.text(
    "SELECT m.event FROM bus_subscriptions s JOIN bus_messages m"
    " ON m.topic = s.topic AND m.pending & (1 << s.bit) <> 0"
    " WHERE s.name = :name AND m.event IN :names AND m.event <> ''"
).bindparams(_among())
_SCHEDULED = sa.text(
    "SELECT event, properties FROM bus_scheduled WHERE event IN :names AND event <> ''"
).bindparams(_among())
_DEAD = sa.text(
    "SELECT event FROM bus_dead_letters"
    " WHERE event IN :names AND event <> '' AND subscription = :name"
).bindparams(_among())
_DEFERRED = sa.text(
    "SELECT event FROM bus_deferred WHERE event IN :names AND event <> '' AND subscription = :name"
).bindparams(_among())
_END = sa.text(
    "SELECT m.seq, m.enqueued_at FROM bus_messages m WHERE m.seq > :after"
    " ORDER BY m.seq LIMIT 1 OFFSET :skip"
)
_OLDEST = sa.text(
    "SELECT m.seq, m.enqueued_at FROM bus_subscriptions s CROSS JOIN bus_messages m"
    " WHERE s.name = :name AND m.seq > :after AND m.seq <= :upto"
    " AND m.topic = s.topic AND m.pending & (1 << s.bit) <> 0 ORDER BY m.seq LIMIT 1"
)
