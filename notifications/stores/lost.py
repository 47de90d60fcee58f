"""Finding events that no wake-up tells of any more. Implements `sweep.LostEvents`.

An event that the ledger has, without deliveries on a channel that carries it and without a message
on the bus or in its dead letters, would lie there for ever: its message is sent again, to the one
consumer that did not deal with it. Each consumer has a mark of how far was looked.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import sqlalchemy as sa

from notifications.database import Database, Transaction
from notifications.events import Channel, Event, decode_stored
from notifications.ports import Clock
from notifications.retries import MINUTE
from notifications.stores import codes, tables
from notifications.stores.marks import write_marks
from notifications.timing import Numbers

SETTLED_MS = 2 * MINUTE
"""An event younger than this may be anywhere on its way."""

LOOKED_AT = 20_000
"""Events that one look goes over: what a reader's thread does in a tenth of a second."""

LOOKS = 4
"""How many looks one call takes for each consumer; the next sweep goes on."""


class BusLook(Protocol):
    """What can be seen of the bus without taking anything off it."""

    async def waiting_since(self, consumer: str) -> int | None:
        """When the oldest message that waits for a consumer became visible, or earlier; ms.

        None where none waits.
        """
        ...

    async def copies_of(self, names: Sequence[str], consumer: str) -> set[str]:
        """Of events, by `<tenant id>:<event id>`, those a consumer has a copy or dead letter of.

        A copy is any message but the one that the hub sent when it accepted the event.
        """
        ...


class Sender(Protocol):
    """Sends events again within a transaction; the ledger does it."""

    def send_again(self, tx: Transaction, events: Sequence[Event], consumer: str) -> None:
        """Send each to one consumer alone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What a look over events found: those with nothing to show, and how far it came."""

    events: Mapping[str, int]  # numbers by `<tenant id>:<event id>`
    mark: int
    done: bool


class SqlLostEvents:
    """Looks after events whose message was lost.

    Bus and ledger are not looked at in the same moment, and need not be: what is sent again without
    need is a double, which changes nothing.
    """

    def __init__(
        self,
        database: Database,
        bus: BusLook,
        sender: Sender,
        clock: Clock,
        *,
        consumers: Collection[str],
    ) -> None:
        """Put it together.

        Args:
            database: Holds the ledger.
            bus: Holds what is on its way.
            sender: Sends what is lost.
            clock: Says how old events are.
            consumers: Each channel, and `metrics`.
        """
        self._database = database
        self._bus = bus
        self._sender = sender
        self._clock = clock
        self._consumers = consumers

    async def resend(self, *, limit: int) -> int:
        """See `sweep.LostEvents.resend`."""
        sent = 0
        for consumer in self._consumers:
            since = await self._bus.waiting_since(consumer)
            for _ in range(LOOKS):
                look = await self._database.read(partial(self._look, consumer, since, limit))
                held = await self._bus.copies_of(list(look.events), consumer)
                lost = [key for name, key in look.events.items() if name not in held]
                sent += await self._send(consumer, lost, look.mark)
                if look.done or sent >= limit:
                    break
        return sent

    def _look(
        self, consumer: str, since: int | None, limit: int, connection: sa.Connection
    ) -> _Look:
        mark = connection.execute(_MARK, {"name": _mark_name(consumer)}).scalar() or 0
        bound = self._bound(connection, since)
        window = {"after": mark, "below": bound, "skip": LOOKED_AT - 1}
        end: int | None = connection.execute(_END, window).scalar()
        done = end is None
        query = {"after": mark, "upto": bound - 1 if end is None else end, "limit": limit}
        rows = connection.execute(_lost(consumer, _NAMES, *_IN_WINDOW).limit(limit), query).all()
        if len(rows) == limit:
            query["upto"], done = rows[-1].key, False
        events = {f"{row.tenant_id}:{row.id}": row.key for row in rows}
        return _Look(events=events, mark=max(query["upto"], mark), done=done)

    def _bound(self, connection: sa.Connection, since: int | None) -> int:
        """Before which number whoever has a message waiting, or in the outbox, cannot be."""
        bounds = [self._clock.now() - SETTLED_MS]
        if since is not None:
            bounds.append(since)
        unsent: int | None = connection.execute(_UNSENT).scalar()
        if unsent is not None:
            bounds.append(Numbers.time_of(unsent) - SETTLED_MS)
        return Numbers.at(min(bounds))

    async def _send(self, consumer: str, lost: Sequence[int], mark_at: int) -> int:
        def send(tx: Transaction) -> int:
            write_marks(tx, {_mark_name(consumer): mark_at})
            bodies = _lost(consumer, (_e.body,), _AMONG)
            events = [
                decode_stored(row.body)
                for keys in codes.pages(lost)
                for row in tx.connection.execute(bodies, {"keys": keys})
            ]
            if events:
                self._sender.send_again(tx, events, consumer)
            return len(events)

        return await self._database.write(send)


def _mark_name(consumer: str) -> str:
    return f"lost:{consumer}"


def _lost(
    consumer: str, columns: Sequence[sa.ColumnElement[Any]], *conditions: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    """Events that a consumer has nothing to show for."""
    query = sa.select(*columns).where(*conditions).order_by(_e.key)
    if consumer not in frozenset(Channel):
        return query.where(_e.counted == 0)
    return query.where(
        _e.channels.op("&")(codes.BITS[Channel(consumer)]) != 0,
        ~sa.exists().where(_d.event_key == _e.key, _d.channel == consumer),
    )


_e, _d, _m = tables.events.c, tables.deliveries.c, tables.marks.c
_UNSENT = sa.select(sa.func.min(tables.outbox.c.id)).where(tables.outbox.c.rejected.is_(None))
_b = sa.bindparam
_MARK = sa.select(_m.value).where(_m.name == _b("name"))
_NAMES = (_e.key, _e.tenant_id, _e.id)
_IN_WINDOW = (_e.key > _b("after"), _e.key <= _b("upto"))
_AMONG = _e.key.in_(_b("keys", expanding=True))
_END = (
    sa.select(_e.key)
    .where(_e.key > _b("after"), _e.key < _b("below"))
    .order_by(_e.key)
    .limit(1)
    .offset(_b("skip"))
)
