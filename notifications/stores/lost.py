"""Finding events that no wake-up tells of any more. Implements `sweep.LostEvents`.

An event that the ledger has, without deliveries on a channel that carries it and without a message
on the bus or in its dead letters, would lie there for ever: its message is sent again, to the one
consumer that did not deal with it. Each consumer has a mark of how far was looked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from notifications.database import Database, Transaction
from notifications.events import Channel, Event, decode_stored
from notifications.ports import Clock
from notifications.retries import MINUTE
from notifications.stores import codes, tables
from notifications.stores.on_bus import Passed, copies_of
from notifications.timing import Numbers

SETTLED_MS = 2 * MINUTE
"""An event younger than this may be anywhere on its way."""

LOOKED_AT = 20_000
"""Events that one look goes over: what a reader's thread does in a tenth of a second."""

PASSED = 100_000
"""Messages of others that one look walks past, likewise, to the first that waits for a consumer."""

LOOKS = 4
"""How many looks one call takes for each consumer; the next sweep goes on."""


class Sender(Protocol):
    """Sends events again within a transaction; the ledger does it."""

    def send_again(self, tx: Transaction, events: Sequence[Event], consumer: str) -> None:
        """Send each to one consumer alone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What a look over events found: the lost ones' numbers, and how far it came."""

    lost: Sequence[int]
    mark: int
    done: bool


class SqlLostEvents:
    """Looks after events whose message was lost."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        clock: Clock,
        *,
        subscriptions: Mapping[str, str],
    ) -> None:
        """Put it together.

        Args:
            database: Holds the ledger and the bus.
            sender: Sends what is lost.
            clock: Says how old events are.
            subscriptions: The subscription of each consumer: of each channel, and of `metrics`.
        """
        self._database = database
        self._sender = sender
        self._clock = clock
        self._subscriptions = subscriptions
        self._passed = Passed()

    async def resend(self, *, limit: int) -> int:
        """See `sweep.LostEvents.resend`."""
        sent = 0
        for consumer in self._subscriptions:
            for _ in range(LOOKS):
                look = await self._database.read(
                    lambda connection, consumer=consumer: self._look(connection, consumer, limit)  # type: ignore[misc]
                )
                sent += await self._send(consumer, look)
                if look.done or sent >= limit:
                    break
        return sent

    def _look(self, connection: sa.Connection, consumer: str, limit: int) -> _Look:
        mark = connection.execute(_MARK, {"name": _mark_name(consumer)}).scalar() or 0
        bound = self._bound(connection, consumer)
        window = {"after": mark, "below": bound, "skip": LOOKED_AT - 1}
        end: int | None = connection.execute(_END, window).scalar()
        done = end is None
        query = {"after": mark, "upto": bound - 1 if end is None else end, "limit": limit}
        rows = connection.execute(_lost(consumer, _NAMES, *_IN_WINDOW).limit(limit), query).all()
        if len(rows) == limit:
            query["upto"], done = rows[-1].key, False
        lost = self._off_bus(connection, consumer, rows)
        return _Look(lost=lost, mark=max(query["upto"], mark), done=done)

    def _bound(self, connection: sa.Connection, consumer: str) -> int:
        """Before which number whoever has a message waiting cannot be."""
        settled = self._clock.now() - SETTLED_MS
        since = self._passed.waiting_since(connection, self._subscriptions[consumer], scan=PASSED)
        return Numbers.at(settled if since is None else min(settled, since))

    def _off_bus(self, connection: sa.Connection, consumer: str, rows: Sequence[Any]) -> list[int]:
        """Those that are not sent again already, and not in the dead letters."""
        names = [f"{row.tenant_id}:{row.id}" for row in rows]
        held = copies_of(connection, names, consumer, self._subscriptions)
        return [row.key for row, name in zip(rows, names, strict=True) if name not in held]

    async def _send(self, consumer: str, look: _Look) -> int:
        def send(tx: Transaction) -> int:
            mark = codes.upsert(tx.connection, tables.marks)
            tx.connection.execute(
                mark.on_conflict_do_update(
                    index_elements=["name"], set_={"value": mark.excluded.value}
                ),
                {"name": _mark_name(consumer), "value": look.mark},
            )
            bodies = _lost(consumer, (_e.body,), _AMONG)
            events = [
                decode_stored(row.body)
                for keys in codes.pages(look.lost)
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
        _e.channels.op("&")(codes.channels_code([Channel(consumer)])) != 0,
        ~sa.exists().where(_d.event_key == _e.key, _d.channel == consumer),
    )


_e, _d, _m = tables.events.c, tables.deliveries.c, tables.marks.c
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
