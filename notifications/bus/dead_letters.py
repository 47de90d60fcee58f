"""Dead letters of the embedded bus: looking at them, sending them again, deleting them.

Each call looks at a bounded number of them, and what it changes is one commit: a letter that is
sent again is on the bus the moment it has left the dead letters, whatever dies in between.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import orjson
import sqlalchemy as sa

from notifications.bus import journal, tables
from notifications.bus.embedded import EmbeddedBus
from notifications.database import Database, Transaction
from notifications.dead_letters import Chosen, DeadMessage, Moved
from notifications.ports import Dice
from notifications.routing import replayed

log = logging.getLogger("huntaze")

SCAN = 2_000
"""Dead letters that one call looks at: what was chosen may be few of many."""

_ID_BYTES = 12

Move = Callable[[Transaction, str, Sequence[Any]], None]
"""Does something with rows of a subscription's dead letters."""


class GivenUp(Protocol):
    """Writes down in the ledger what nobody will deal with any more; `stores` does it."""

    def give_up(self, tx: Transaction, consumer: str, names: Collection[str]) -> None:
        """The last message of these events (`<tenant id>:<event id>`) for a consumer is gone."""
        ...


class EmbeddedDeadLetters:
    """Implements `dead_letters.DeadLetters`."""

    def __init__(
        self,
        database: Database,
        bus: EmbeddedBus,
        dice: Dice,
        given_up: GivenUp,
        *,
        consumers: Mapping[str, str],
        ledger: Database | None = None,
    ) -> None:
        """Put it together.

        Args:
            database: Holds the bus.
            bus: Sends what is replayed.
            dice: Makes ids of messages.
            given_up: Is told of events whose last message is purged.
            consumers: The subscription of each consumer, by the name that addressed messages bear.
            ledger: Where `given_up` writes, where that is not the bus's own database.
        """
        self._ledger = ledger
        self._database = database
        self._bus = bus
        self._dice = dice
        self._given_up = given_up
        self._subscriptions = consumers
        self._consumers = {name: consumer for consumer, name in consumers.items()}

    # ---------------------------------------------------------------- dead_letters.DeadLetters

    async def page(
        self, subscription: str | None, *, reason: str | None, after: tuple[str, int], limit: int
    ) -> tuple[Sequence[DeadMessage], tuple[str, int] | None]:
        """See `dead_letters.DeadLetters.page`."""
        if subscription is not None:
            self._bus.queue(subscription)  # raises where there is none

        def read(
            connection: sa.Connection,
        ) -> tuple[list[DeadMessage], tuple[str, int] | None]:
            keys = _keys(connection, subscription, after)
            found = [key for key in keys if reason in (None, key.reason)]
            whole = [_whole(connection, key) for key in found[:limit]]
            if len(found) > limit:
                return whole, (found[limit - 1].subscription, found[limit - 1].seq)
            return whole, (keys[-1].subscription, keys[-1].seq) if len(keys) == SCAN else None

        return await self._database.read(read)

    async def replay(self, chosen: Chosen, *, limit: int, dry_run: bool = False) -> Moved:
        """See `dead_letters.DeadLetters.replay`."""
        moved = await self._move(chosen, limit, None if dry_run else self._send)
        if not dry_run:
            log.info("dead_letters.replayed", extra=_told(chosen, moved))
        return moved

    async def purge(self, chosen: Chosen, *, limit: int, dry_run: bool = False) -> Moved:
        """See `dead_letters.DeadLetters.purge`."""
        if not dry_run and self._ledger is not None:
            chosen, limit, rest = await self._give_up_first(self._ledger, chosen, limit)
            moved = replace(await self._move(chosen, limit, self._bury), rest=rest)
        else:
            moved = await self._move(chosen, limit, None if dry_run else self._bury)
        if not dry_run:
            log.info("dead_letters.purged", extra=_told(chosen, moved))
        return moved

    async def of_event(self, event: str) -> Mapping[str, DeadMessage]:
        """See `dead_letters.DeadLetters.of_event`."""

        def read(connection: sa.Connection) -> dict[str, DeadMessage]:
            newest = connection.execute(_NEWEST_OF, {"event": event}).all()
            consumers = self._consumers
            return {
                consumers[key.subscription]: _whole(connection, key)
                for key in newest
                if key.subscription in consumers
            }

        return await self._database.read(read)

    async def _give_up_first(
        self, ledger: Database, chosen: Chosen, limit: int
    ) -> tuple[Chosen, int, Chosen | None]:
        """Have the ledger say of a page that it is given up, before it is deleted: with two
        databases a crash in between must leave nothing missing. The page, and what is left."""
        self._bus.queue(chosen.subscription)  # raises where there is none
        consumer = self._consumers.get(chosen.subscription)

        def read(connection: sa.Connection) -> tuple[list[int], Moved, set[str]]:
            keys, moved = _page(connection, chosen, limit)
            seqs = [key.seq for key in keys]
            names: set[str] = set()
            for page in _bites(seqs):
                asked = {"name": chosen.subscription, "seqs": page}
                names.update(connection.execute(_EVENTS, asked).scalars())
            if consumer is not None:
                names -= self._left(connection, consumer, names, beside=frozenset(seqs))
            return seqs, moved, names

        seqs, moved, names = await self._database.read(read)
        if consumer is not None and names:
            await ledger.write(lambda tx: self._given_up.give_up(tx, consumer, names))
        page = Chosen(subscription=chosen.subscription, numbers=frozenset(seqs), upto=moved.upto)
        return page, max(len(seqs), 1), moved.rest

    # ---------------------------------------------------------------- within a transaction

    async def _move(self, chosen: Chosen, limit: int, move: Move | None) -> Moved:
        self._bus.queue(chosen.subscription)  # raises where there is none
        if move is None:
            return await self._database.read(lambda connection: _page(connection, chosen, SCAN)[1])

        def run(tx: Transaction) -> Moved:
            keys, moved = _page(tx.connection, chosen, limit)
            seqs = [key.seq for key in keys]
            for page in _bites(seqs):
                move(tx, chosen.subscription, page)
            return moved

        return await self._database.write(run)

    def _send(self, tx: Transaction, subscription: str, seqs: Sequence[int]) -> None:
        rows = tx.connection.execute(_WHOLE, {"name": subscription, "seqs": seqs}).mappings()
        messages = [
            replayed(
                journal.message_of(row),
                self._consumers.get(subscription),
                message_id=f"replay-{self._dice.token(_ID_BYTES).hex()}",
            )
            for row in rows
        ]
        self._bus.put_to(tx, subscription, messages)
        tx.connection.execute(_DELETE, {"name": subscription, "seqs": seqs})

    def _bury(self, tx: Transaction, subscription: str, seqs: Sequence[int]) -> None:
        asked = {"name": subscription, "seqs": seqs}
        names = set(tx.connection.execute(_EVENTS, asked).scalars())
        tx.connection.execute(_DELETE, asked)
        consumer = self._consumers.get(subscription)
        if consumer is None or self._ledger is not None:
            return
        names -= self._left(tx.connection, consumer, names)
        if names:
            self._given_up.give_up(tx, consumer, names)

    def _left(
        self,
        connection: sa.Connection,
        consumer: str,
        names: Collection[str],
        *,
        beside: Collection[int] = frozenset(),
    ) -> set[str]:
        """Of these events, those that the consumer has another message of, waiting or dead,
        beside these dead letters."""
        asked = {"name": self._subscriptions[consumer], "events": sorted(names)}
        dead = connection.execute(_STILL_DEAD, asked)
        left = {row.event for row in dead if row.seq not in beside}
        left.update(connection.execute(_STILL_WAITING, asked).scalars())
        left.update(connection.execute(_STILL_DEFERRED, asked).scalars())
        for row in connection.execute(_STILL_SCHEDULED, asked):
            addressee = orjson.loads(row.properties).get("hubConsumer", consumer)
            if addressee == consumer or addressee not in self._subscriptions:
                left.add(row.event)
        return left


def _told(chosen: Chosen, moved: Moved) -> Mapping[str, object]:
    return {"subscription": chosen.subscription, "messages": moved.count}


def _keys(
    connection: sa.Connection, subscription: str | None, after: tuple[str, int]
) -> Sequence[Any]:
    """The next dead letters, without what is in them."""
    if subscription is None:
        return connection.execute(_ALL_KEYS, {"name": after[0], "after": after[1]}).all()
    beyond = {"name": subscription, "after": after[1], "upto": _EVERYTHING}
    return connection.execute(_KEYS, beyond).all()


def _page(connection: sa.Connection, chosen: Chosen, limit: int) -> tuple[Sequence[Any], Moved]:
    """The next of those that were chosen, and what is to be said of them."""
    upto = chosen.upto
    if upto is None:
        upto = connection.execute(_LAST, {"name": chosen.subscription}).scalar() or 0
    asked: dict[str, Any] = {"name": chosen.subscription, "after": chosen.after, "upto": upto}
    if chosen.numbers is None:
        keys = connection.execute(_KEYS, asked).all()
    else:
        keys = connection.execute(_KEYS_AMONG, {**asked, "seqs": sorted(chosen.numbers)}).all()
    found = [
        key
        for key in keys
        if chosen.reason in (None, key.reason)
        and (chosen.before is None or key.dead_at < chosen.before)
    ]
    page = found[:limit]
    end = page[-1].seq if len(found) > limit else keys[-1].seq if len(keys) == SCAN else None
    rest = None if end is None else replace(chosen, after=end, upto=upto)
    return page, Moved(reasons=dict(Counter(key.reason for key in page)), upto=upto, rest=rest)


def _whole(connection: sa.Connection, key: Any) -> DeadMessage:
    asked = {"name": key.subscription, "seqs": [key.seq]}
    row = connection.execute(_WHOLE, asked).mappings().one()
    return DeadMessage(
        message=journal.message_of(row),
        subscription=row["subscription"],
        sequence_number=row["seq"],
        reason=row["reason"],
        description=row["description"],
        dead_at=row["dead_at"],
        enqueued_at=row["enqueued_at"],
        delivery_count=row["delivery_count"],
    )


def _bites(seqs: Sequence[int]) -> list[Sequence[int]]:
    """In pieces that an IN list can hold."""
    return [seqs[start : start + _IN_LIST] for start in range(0, len(seqs), _IN_LIST)]


_IN_LIST = 400
_EVERYTHING = 2**63 - 1

_d, _m, _s, _n = (
    tables.dead_letters.c,
    tables.messages.c,
    tables.scheduled.c,
    tables.subscriptions.c,
)
_a = tables.deferred.c
_b = sa.bindparam
_among = _d.seq.in_(_b("seqs", expanding=True))
_mine = _d.subscription == _b("name")
_key = sa.select(_d.subscription, _d.seq, _d.reason, _d.dead_at)

_ALL_KEYS = (
    _key.where(sa.tuple_(_d.subscription, _d.seq) > sa.tuple_(_b("name"), _b("after")))
    .order_by(_d.subscription, _d.seq)
    .limit(SCAN)
)
_KEYS = _key.where(_mine, _d.seq > _b("after"), _d.seq <= _b("upto")).order_by(_d.seq).limit(SCAN)
_KEYS_AMONG = _KEYS.where(_among)
_LAST = sa.select(sa.func.max(_d.seq)).where(_mine)
_WHOLE = sa.select(tables.dead_letters).where(_mine, _among).order_by(_d.seq)
_DELETE = sa.delete(tables.dead_letters).where(_mine, _among)
# Said for the planner: the indexes by event leave out what carries none.
_named: sa.ColumnElement[str] = sa.literal_column("''")
_events: sa.BindParameter[Any] = _b("events", expanding=True)
_EVENTS = sa.select(_d.event).where(_mine, _among, _d.event != _named)
_STILL_DEAD = sa.select(_d.event, _d.seq).where(_mine, _d.event.in_(_events), _d.event != _named)
_NEWEST_OF = (
    sa.select(_d.subscription, sa.func.max(_d.seq).label("seq"))
    .where(_d.event == _b("event"), _d.event != _named)
    .group_by(_d.subscription)
)
_STILL_WAITING = (
    sa.select(_m.event)
    .join_from(tables.messages, tables.subscriptions, _n.topic == _m.topic)
    .where(
        _n.name == _b("name"),
        _m.event.in_(_events),
        _m.event != _named,
        _m.pending.op("&")(sa.literal_column("1").op("<<")(_n.bit)) != 0,
    )
)
_STILL_DEFERRED = sa.select(_a.event).where(
    _a.subscription == _b("name"), _a.event.in_(_events), _a.event != _named
)
_STILL_SCHEDULED = sa.select(_s.event, _s.properties).where(
    _s.event.in_(_events), _s.event != _named
)
