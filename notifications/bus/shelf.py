"""Messages that are handed out from a table of their own: dead letters, and what was deferred.

The table says what is there; the locks are in memory, since there is one owner: a restart frees
them. Looking is done where the event loop runs, so that nothing changes between finding a message
free and locking it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from notifications.broker import Item, State
from notifications.bus import journal, tables
from notifications.bus.door_journal import bites
from notifications.bus.journal import PAGE_BYTES
from notifications.database import Database, Transaction
from notifications.errors import FieldError, InvalidInput
from notifications.messages import DeadLetter
from notifications.ports import Clock

_LOOKED_AT = 250
"""Messages that one request gets at most."""

_MOST_BYTES = 16 * 1024 * 1024
"""As much of messages that are asked for by their numbers, which come all or none."""


@dataclass(slots=True, eq=False)
class Held:
    """A message in somebody's hands.

    Attributes:
        seq: Its sequence number.
        until: When the lock runs out.
        ended_by: The transaction that last ended it; if that was committed, the lock is gone.
    """

    seq: int
    until: int
    ended_by: object = None


class Shelf:
    """One subscription's messages in such a table.

    Args:
        database: The file.
        clock: Says when locks run out.
        table: `tables.dead_letters` or `tables.deferred`.
        subscription: The subscription's name on the bus.
        source: Its path, for those who ask where a dead letter died.
        lock_ms: How long a lock lasts.
        token: Makes the names of locks.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        table: sa.Table,
        subscription: str,
        *,
        source: str,
        lock_ms: Callable[[], int],
        token: Callable[[], UUID],
    ) -> None:
        self._database = database
        self._clock = clock
        self._table = table
        self._name = subscription
        self._source = source
        self._lock_ms = lock_ms
        self._token = token
        self._held: dict[UUID, Held] = {}
        self._by_seq: dict[int, UUID] = {}

    # ---------------------------------------------------------------- locks

    def holds(self, token: UUID) -> bool:
        """Whether there is such a lock, and it has not run out."""
        held = self._held.get(token)
        return held is not None and held.until > self._clock.now()

    def renew(self, token: UUID) -> int | None:
        """Hold a lock for another lock duration: until when; None where there is none."""
        if not self.holds(token):
            return None
        self._held[token].until = until = self._clock.now() + self._lock_ms()
        return until

    def end(self, tx: Transaction, token: UUID) -> int | None:
        """End a lock within `tx`: its message's number; None where there is none any more."""
        held = self._held.get(token)
        if held is None or held.ended_by is tx or held.until <= tx.now:
            return None
        held.ended_by = tx
        tx.after_commit(lambda: self._let_go(token))
        return held.seq

    def next_end(self) -> int | None:
        """When the next lock runs out."""
        return min((held.until for held in self._held.values()), default=None)

    async def free_expired(self) -> None:
        """Count what ran out of its lock as delivered once more, and let go of it."""
        now = self._clock.now()
        late = {token: held for token, held in self._held.items() if held.until <= now}
        if not late:
            return

        def run(tx: Transaction) -> None:
            # Of those that nobody renewed meanwhile.
            ended = {token: held for token, held in late.items() if held.until <= now}
            self.count(tx, [held.seq for held in ended.values()])

            def committed() -> None:
                for token in ended:
                    self._let_go(token)

            tx.after_commit(committed)

        await self._database.write(run)

    def _let_go(self, token: UUID) -> None:
        held = self._held.pop(token, None)
        if held is not None and self._by_seq.get(held.seq) == token:
            del self._by_seq[held.seq]

    def _lock(self, item: Item) -> Item:
        token, until = self._token(), self._clock.now() + self._lock_ms()
        self._held[token] = Held(item.sequence_number, until)
        self._by_seq[item.sequence_number] = token
        return replace(item, token=token, locked_until=until)

    # ---------------------------------------------------------------- handing out

    async def take(self, limit: int) -> list[Item]:
        """Lock the first `limit` messages that nobody holds and nobody put aside."""
        await self.free_expired()

        def query(connection: sa.Connection) -> list[Item]:
            asked = {"name": self._name, "limit": min(limit, _LOOKED_AT) + len(self._held)}
            keys = connection.execute(self._keys(ready=True), asked).all()
            free = [key for key in keys if key.seq not in self._by_seq]
            return self._items(connection, _fitting(free[:limit]))

        return [self._lock(item) for item in await self._database.look(query)]

    async def take_numbers(self, seqs: Sequence[int]) -> list[Item] | None:
        """Lock messages that were put aside, all or none; None where one is not to be had.

        Raises:
            InvalidInput: They are more than one answer holds.
        """
        if len(seqs) > _LOOKED_AT:
            raise InvalidInput([FieldError("", f"at most {_LOOKED_AT} messages at once")])
        await self.free_expired()

        def query(connection: sa.Connection) -> list[Item]:
            mine = sa.select(self._size).where(self._mine, self._c.seq.in_(seqs))
            if sum(connection.execute(mine).scalars()) > _MOST_BYTES:
                raise InvalidInput([FieldError("", "over 16 MB together: ask for fewer")])
            return self._items(connection, seqs, aside=True)

        if any(seq in self._by_seq for seq in seqs):
            return None
        items = await self._database.look(query)
        if len(items) != len(set(seqs)):
            return None
        return [self._lock(item) for item in items]

    async def peek(self, after: int, limit: int) -> tuple[list[Item], bool]:
        """What is there beyond the number `after`, in anybody's hands or not; and whether there
        may be more."""

        def query(connection: sa.Connection) -> tuple[list[Item], bool]:
            asked = {"name": self._name, "after": after, "limit": limit}
            keys = connection.execute(self._keys(ready=False), asked).all()
            fitting = _fitting(keys)
            return self._items(connection, fitting), len(fitting) < len(keys) or len(keys) == limit

        return await self._database.read(query)

    # ---------------------------------------------------------------- within a transaction

    def delete(self, tx: Transaction, seqs: Sequence[int]) -> int:
        """They are dealt with; how many there were."""
        done = 0
        for page in bites(seqs):
            statement = sa.delete(self._table).where(self._mine, self._c.seq.in_(page))
            done += tx.connection.execute(statement).rowcount
        return done

    def count(self, tx: Transaction, seqs: Sequence[int]) -> None:
        """They were delivered once more, and that came to nothing."""
        more = {"delivery_count": self._c.delivery_count + 1}
        for page in bites(seqs):
            statement = sa.update(self._table).where(self._mine, self._c.seq.in_(page))
            tx.connection.execute(statement.values(more))

    def put_aside(self, tx: Transaction, seq: int) -> None:
        """A dead letter waits until somebody asks for it by its number."""
        statement = sa.update(self._table).where(self._mine, self._c.seq == seq)
        values = {"deferred_at": tx.now, "delivery_count": self._c.delivery_count + 1}
        tx.connection.execute(statement.values(values))

    def rows(self, tx: Transaction, seqs: Sequence[int]) -> list[dict[str, Any]]:
        """Messages as they are written."""
        query = sa.select(self._table).where(self._mine, self._c.seq.in_(seqs))
        return [dict(row) for row in tx.connection.execute(query).mappings()]

    def put_back(self, tx: Transaction, rows: Sequence[dict[str, Any]]) -> None:
        """Write messages that were taken away and never reached anybody."""
        if rows:
            tx.connection.execute(sa.insert(self._table).prefix_with("OR IGNORE"), rows)

    # ---------------------------------------------------------------- reading

    @property
    def _c(self) -> Any:
        return self._table.c

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        found: sa.ColumnElement[bool] = self._c.subscription == self._name
        return found

    @property
    def _size(self) -> sa.ColumnElement[Any]:
        wire = sa.func.coalesce(sa.func.length(self._c.wire), 0)
        size: sa.ColumnElement[Any] = (sa.func.length(self._c.body) + wire).label("size")
        return size

    @property
    def _dead(self) -> bool:
        return self._table is tables.dead_letters

    def _keys(self, *, ready: bool) -> sa.Select[Any]:
        c = self._c
        query = sa.select(c.seq, self._size).where(c.subscription == sa.bindparam("name"))
        if ready:
            query = query.where(c.deferred_at.is_(None))
        else:
            query = query.where(c.seq > sa.bindparam("after"))
        return query.order_by(c.seq).limit(sa.bindparam("limit"))

    def _items(
        self, connection: sa.Connection, seqs: Iterable[int], *, aside: bool = False
    ) -> list[Item]:
        items: list[Item] = []
        for page in bites(list(seqs)):
            query = sa.select(self._table).where(self._mine, self._c.seq.in_(page))
            if aside and self._dead:
                query = query.where(self._c.deferred_at.is_not(None))
            rows = connection.execute(query.order_by(self._c.seq)).mappings()
            items += [self._item(row) for row in rows]
        return items

    def _item(self, row: sa.RowMapping) -> Item:
        deferred = not self._dead or row["deferred_at"] is not None
        return Item(
            message=journal.message_of(row),
            sequence_number=row["seq"],
            enqueued_at=row["enqueued_at"],
            delivery_count=row["delivery_count"],
            state=State.DEFERRED if deferred else State.ACTIVE,
            dead=DeadLetter(row["reason"], row["description"]) if self._dead else None,
            source=self._source if self._dead else None,
        )


def _fitting(keys: Sequence[Any]) -> list[int]:
    """As many as make one answer: the first in any case."""
    size = 0
    fitting: list[int] = []
    for key in keys:
        size += key.size
        if fitting and size > PAGE_BYTES:
            break
        fitting.append(key.seq)
    return fitting
