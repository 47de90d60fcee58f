"""The ledger in SQL. One adapter for SQLite and PostgreSQL; implements `ports.Ledger`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

from notifications.database import Batch, Database, Transaction
from notifications.deliveries import Delivery
from notifications.events import Channel, Event, decode_stored
from notifications.lanes import Health
from notifications.ports import (
    Accepted,
    Claim,
    Dice,
    Known,
    Message,
    Placed,
    Received,
    Record,
    Result,
)
from notifications.routing import drain_message, event_message
from notifications.stores import codes, tables
from notifications.stores.placing import place
from notifications.timing import Numbers

_Offer = tuple[Event, frozenset[Channel], bool]

_LOST_DRAIN_MS = 60_000
"""A drain that should have come so long ago is taken for lost."""

_IN_LIST = 400
"""Values in one IN list or multi-row INSERT."""


class Outbox(Protocol):
    """Where a transaction leaves its messages. The embedded bus is one: same file, same commit."""

    def put(self, tx: Transaction, messages: Sequence[Message]) -> None:
        """Send messages to the events topic once `tx` is committed."""
        ...

    def complete(self, tx: Transaction, received: Sequence[Received]) -> None:
        """Complete messages with `tx`, where the bus shares the commit."""
        ...


class SqlLedger:
    """Implements `ports.Ledger` and `ports.Counts`."""

    def __init__(self, database: Database, outbox: Outbox, numbers: Numbers, dice: Dice) -> None:
        self._database = database
        self._outbox = outbox
        self._numbers = numbers
        self._dice = dice
        self._accepting: Batch[_Offer, Accepted] = Batch(self._accept)
        self._recording: Batch[Record, Sequence[Placed | None]] = Batch(self._record)

    async def release_claims(self) -> None:
        """At the start of a process that alone owns the database: no attempt is under way."""
        await self._database.write(
            lambda tx: tx.connection.execute(
                sa.update(tables.deliveries)
                .where(_d.state == "pending", _d.claimed == 1)
                .values(claimed=0, due_at=tx.now)
            )
        )

    # ---------------------------------------------------------------- accept

    async def accept(
        self, events: Sequence[Event], channels: Sequence[frozenset[Channel]], *, send: bool = True
    ) -> Sequence[Accepted]:
        """See `ports.Ledger.accept`."""
        offers = [(event, carried, send) for event, carried in zip(events, channels, strict=True)]
        return await self._database.submit(self._accepting, offers)

    def _accept(self, tx: Transaction, offers: Sequence[_Offer]) -> list[Accepted]:
        prints = [event.fingerprint() for event, _, _ in offers]
        first: dict[tuple[str, str], int] = {}
        for index, (event, _, _) in enumerate(offers):
            first.setdefault((event.tenant_id, event.id), index)
        inserted = self._insert(tx, offers, prints, list(first.values()))
        kept = {name: (key, prints[first[name]]) for name, key in inserted.items()}
        missing = [name for name in first if name not in kept]
        kept.update(_stored_prints(tx, missing))
        answers = []
        for index, (event, _, _) in enumerate(offers):
            name = (event.tenant_id, event.id)
            key, stored = kept[name]
            new = name in inserted and first[name] == index
            same = stored == prints[index]
            answers.append(Accepted(key=key, duplicate=same and not new, conflict=not same))
        return answers

    def _insert(
        self,
        tx: Transaction,
        offers: Sequence[_Offer],
        prints: Sequence[bytes],
        indexes: Sequence[int],
    ) -> dict[tuple[str, str], int]:
        """Insert those that are new, with their messages; the new ones' numbers."""
        inserted: dict[tuple[str, str], int] = {}
        messages: list[Message] = []
        statement = (
            codes.upsert(tx.connection, tables.events)
            .on_conflict_do_nothing(index_elements=["tenant_id", "id"])
            .returning(_e.tenant_id, _e.id, _e.key)
        )
        rows = [
            {
                "key": self._numbers.next(),
                "tenant_id": offers[index][0].tenant_id,
                "id": offers[index][0].id,
                "type": offers[index][0].type,
                "user_id": offers[index][0].user_id,
                "channels": codes.channels_code(offers[index][1]),
                "counted": 0,
                "accepted_at": tx.now,
                "fingerprint": prints[index],
                "body": offers[index][0].body,
            }
            for index in indexes
        ]
        for row in tx.connection.execute(statement, rows):
            inserted[(row.tenant_id, row.id)] = row.key
        for index in indexes:
            event, channels, send = offers[index]
            key = inserted.get((event.tenant_id, event.id))
            if key is not None and send:
                known = Known(key=key, event=event, channels=channels)
                messages.append(event_message(event, decoded=known))
        if messages:
            self._outbox.put(tx, messages)
        return inserted

    # ---------------------------------------------------------------- look

    async def look(
        self, messages: Sequence[tuple[str, str]], channel: Channel
    ) -> Mapping[tuple[str, str], Known]:
        """See `ports.Ledger.look`."""
        return self._database.read_here(lambda connection: _look(connection, messages, channel))

    # ---------------------------------------------------------------- record

    async def record(self, record: Record) -> Sequence[Placed | None]:
        """See `ports.Ledger.record`."""
        (placed,) = await self._database.submit(self._recording, (record,))
        return placed

    def _record(self, tx: Transaction, records: Sequence[Record]) -> list[Sequence[Placed | None]]:
        results = [result for record in records for result in record.results]
        _insert_new(tx, [result for result in results if result.before is None])
        _update_known(tx, [result for result in results if result.before is not None])
        placed = iter(place(tx, results))
        answers: list[Sequence[Placed | None]] = [
            [next(placed) for _ in record.results] for record in records
        ]
        for record in records:
            _write_health(tx, record.health)
            if record.drained:
                _end_drain(tx, *record.drained)
        self.wake(tx, _earliest(records))
        completes = [received for record in records for received in record.completes]
        if completes:
            self._outbox.complete(tx, completes)
        return answers

    def wake(self, tx: Transaction, wakes: Mapping[str, int]) -> None:
        """Schedule drains, save where an earlier one is on its way."""
        if not wakes:
            return
        statement = codes.upsert(tx.connection, tables.lanes)
        statement = statement.on_conflict_do_update(
            index_elements=["lane"],
            set_={"drain_at": statement.excluded.drain_at},
            where=_l.drain_at.is_(None)
            | (_l.drain_at > statement.excluded.drain_at)
            | (_l.drain_at < tx.now - _LOST_DRAIN_MS),
        ).returning(_l.lane, _l.drain_at)
        rows = [{"lane": lane, "drain_at": at, "timeouts": 0} for lane, at in wakes.items()]
        scheduled = tx.connection.execute(statement, rows).all()
        messages = [
            drain_message(
                row.lane, message_id=f"drain-{self._dice.token(12).hex()}", due_at=row.drain_at
            )
            for row in scheduled
        ]
        if messages:
            self._outbox.put(tx, messages)

    # ---------------------------------------------------------------- claim

    async def claim(self, lane: str, *, limit: int, until: int) -> Claim:
        """See `ports.Ledger.claim`."""
        return await self._database.write(lambda tx: _claim(tx, lane, limit, until))

    # ---------------------------------------------------------------- count

    async def count(self, keys: Sequence[int], completes: Sequence[Received]) -> int:
        """See `ports.Counts.count`."""

        def count(tx: Transaction) -> int:
            counted = _count(tx, sorted(set(keys)))
            self._outbox.complete(tx, completes)
            return counted

        return await self._database.write(count)


def _stored_prints(
    tx: Transaction, names: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, bytes]]:
    found: dict[tuple[str, str], tuple[int, bytes]] = {}
    for tenant_id, event_id in names:
        row = tx.connection.execute(_PRINT, {"tenant": tenant_id, "id": event_id}).one()
        found[(tenant_id, event_id)] = (row.key, row.fingerprint)
    return found


def _look(
    connection: sa.Connection, names: Sequence[tuple[str, str]], channel: Channel
) -> dict[tuple[str, str], Known]:
    # By tenant: SQLite finds no index for (tenant, id) IN a list of pairs.
    by_tenant: dict[str, list[str]] = {}
    for tenant_id, event_id in names:
        by_tenant.setdefault(tenant_id, []).append(event_id)
    rows: list[Any] = []
    for tenant_id, ids in by_tenant.items():
        for start in range(0, len(ids), _IN_LIST):
            page = {"tenant": tenant_id, "ids": ids[start : start + _IN_LIST]}
            rows += connection.execute(_EVENTS, page)
    targets: dict[int, set[str]] = {row.key: set() for row in rows}
    keys = list(targets)
    for start in range(0, len(keys), _IN_LIST):
        asked = {"keys": keys[start : start + _IN_LIST], "channel": channel.value}
        for row in connection.execute(_TARGETS, asked):
            targets[row.event_key].add(row.target)
    return {
        (row.tenant_id, row.id): Known(
            key=row.key,
            event=decode_stored(row.body),
            channels=codes.channels_of(row.channels),
            routed=frozenset(targets[row.key]),
        )
        for row in rows
    }


def _insert_new(tx: Transaction, results: Sequence[Result]) -> None:
    if not results:
        return
    statement = codes.upsert(tx.connection, tables.deliveries).on_conflict_do_nothing()
    rows = [
        {**codes.delivery_row(result.after, tx.now), **codes.first_columns(result.attempt)}
        for result in results
    ]
    tx.connection.execute(statement, rows)


def _update_known(tx: Transaction, results: Sequence[Result]) -> None:
    if not results:
        return
    later: list[dict[str, Any]] = []
    firsts: list[dict[str, Any]] = []
    updates: list[dict[str, Any]] = []
    for result in results:
        before, after, attempt = result.before, result.after, result.attempt
        assert before is not None
        updates.append(_update_row(before, after, tx.now))
        if attempt is None:
            continue
        key = {"b_tenant": after.tenant_id, "b_id": after.id}
        if attempt.round == 1 and attempt.number == 1:
            firsts.append({**key, **codes.first_columns(attempt)})
        else:
            outcome, status, detail = codes.outcome_columns(attempt.outcome)
            later.append(
                {
                    "tenant_id": after.tenant_id,
                    "delivery_id": after.id,
                    "round": attempt.round,
                    "number": attempt.number,
                    "at": attempt.at,
                    "duration_ms": attempt.duration_ms,
                    "outcome": outcome,
                    "status": status,
                    "detail": detail,
                }
            )
    tx.connection.execute(_UPDATE, updates)
    if firsts:
        tx.connection.execute(_FIRST, firsts)
    if later:
        statement = codes.upsert(tx.connection, tables.attempts).on_conflict_do_nothing()
        tx.connection.execute(statement, later)


def _update_row(before: Delivery, after: Delivery, now: int) -> dict[str, Any]:
    return {
        "b_tenant": after.tenant_id,
        "b_id": after.id,
        "b_round": before.round,
        "b_attempt": before.attempt,
        "b_state": before.state.value,
        "state": after.state.value,
        "reason": after.reason,
        "round": after.round,
        "attempt": after.attempt,
        "due_at": after.due_at,
        "claimed": int(after.claimed),
        "deadline": after.deadline,
        "updated_at": now,
    }


def _write_health(tx: Transaction, changed: Sequence[Health]) -> None:
    if not changed:
        return
    statement = codes.upsert(tx.connection, tables.lanes)
    statement = statement.on_conflict_do_update(
        index_elements=["lane"],
        set_={
            "timeouts": statement.excluded.timeouts,
            "probe_at": statement.excluded.probe_at,
            "probe_delay": statement.excluded.probe_delay,
        },
    )
    rows = {
        health.lane: {
            "lane": health.lane,
            "timeouts": health.timeouts,
            "probe_at": health.probe_at,
            "probe_delay": health.probe_delay,
        }
        for health in changed
    }
    tx.connection.execute(statement, list(rows.values()))


def _end_drain(tx: Transaction, lane: str, until: int) -> None:
    tx.connection.execute(
        sa.update(tables.lanes).where(_l.lane == lane, _l.drain_at == until).values(drain_at=None)
    )


def _earliest(records: Sequence[Record]) -> dict[str, int]:
    wakes: dict[str, int] = {}
    for record in records:
        for lane, at in record.wakes.items():
            wakes[lane] = min(at, wakes.get(lane, at))
    return wakes


def _claim(tx: Transaction, lane: str, limit: int, until: int) -> Claim:
    rows = tx.connection.execute(_DUE, {"lane": lane, "now": tx.now, "limit": limit}).all()
    if rows:
        claims = [{"b_tenant": row.tenant_id, "b_id": row.id, "b_until": until} for row in rows]
        tx.connection.execute(_CLAIM, claims)
    keys = [row.event_key for row in rows]
    bodies: dict[int, Event] = {}
    for start in range(0, len(keys), _IN_LIST):
        page = tx.connection.execute(_BODIES, {"keys": keys[start : start + _IN_LIST]})
        bodies.update((row.key, decode_stored(row.body)) for row in page)
    _hold_lane(tx, lane, until)
    found = tx.connection.execute(_HEALTH, {"lane": lane}).one()
    next_due: int | None = tx.connection.execute(_NEXT_DUE, {"lane": lane}).scalar()
    return Claim(
        deliveries=[(codes.delivery_of(row), bodies[row.event_key]) for row in rows],
        health=Health(
            lane=lane,
            timeouts=found.timeouts,
            probe_at=found.probe_at,
            probe_delay=found.probe_delay,
        ),
        next_due=next_due,
    )


def _hold_lane(tx: Transaction, lane: str, until: int) -> None:
    statement = codes.upsert(tx.connection, tables.lanes).on_conflict_do_update(
        index_elements=["lane"], set_={"drain_at": until}
    )
    tx.connection.execute(statement, {"lane": lane, "drain_at": until, "timeouts": 0})


def _count(tx: Transaction, keys: Sequence[int]) -> int:
    new: dict[tuple[str, str, str], int] = {}
    for start in range(0, len(keys), _IN_LIST):
        rows = tx.connection.execute(_COUNT_NEW, {"keys": keys[start : start + _IN_LIST]})
        for row in rows:
            day = codes.day_of(row.accepted_at)
            new[(row.tenant_id, day, row.type)] = new.get((row.tenant_id, day, row.type), 0) + 1
    if new:
        statement = codes.upsert(tx.connection, tables.event_counts)
        statement = statement.on_conflict_do_update(
            index_elements=["tenant_id", "day", "type"],
            set_={"count": tables.event_counts.c.count + statement.excluded.count},
        )
        tx.connection.execute(
            statement,
            [
                {"tenant_id": tenant, "day": day, "type": kind, "count": count}
                for (tenant, day, kind), count in sorted(new.items())
            ],
        )
    return sum(new.values())


_e, _d, _l = tables.events.c, tables.deliveries.c, tables.lanes.c
_b = sa.bindparam

_PRINT = sa.select(_e.key, _e.fingerprint).where(_e.tenant_id == _b("tenant"), _e.id == _b("id"))
_EVENTS = sa.select(_e.tenant_id, _e.id, _e.key, _e.channels, _e.body).where(
    _e.tenant_id == _b("tenant"), _e.id.in_(_b("ids", expanding=True))
)
_TARGETS = sa.select(_d.event_key, _d.target).where(
    _d.event_key.in_(_b("keys", expanding=True)), _d.channel == _b("channel")
)
_UPDATE = (
    sa.update(tables.deliveries)
    .where(
        _d.tenant_id == _b("b_tenant"),
        _d.id == _b("b_id"),
        _d.round == _b("b_round"),
        _d.attempt == _b("b_attempt"),
        _d.state == _b("b_state"),
    )
    .values(
        {
            name: _b(name)
            for name in (
                "state",
                "reason",
                "round",
                "attempt",
                "due_at",
                "claimed",
                "deadline",
                "updated_at",
            )
        }
    )
)
_FIRST = (
    sa.update(tables.deliveries)
    .where(_d.tenant_id == _b("b_tenant"), _d.id == _b("b_id"))
    .values({name: _b(name) for name in codes.NO_FIRST})
)
_DUE = (
    sa.select(tables.deliveries)
    .where(_d.lane == _b("lane"), _d.state == "pending", _d.due_at <= _b("now"))
    .order_by(_d.due_at)
    .limit(_b("limit"))
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    sa.update(tables.deliveries)
    .where(_d.tenant_id == _b("b_tenant"), _d.id == _b("b_id"))
    .values(claimed=1, due_at=_b("b_until"))
)
_BODIES = sa.select(_e.key, _e.body).where(_e.key.in_(_b("keys", expanding=True)))
_HEALTH = sa.select(_l.timeouts, _l.probe_at, _l.probe_delay).where(_l.lane == _b("lane"))
_NEXT_DUE = sa.select(sa.func.min(_d.due_at)).where(
    _d.lane == _b("lane"), _d.state == "pending", _d.claimed == 0
)
_COUNT_NEW = (
    sa.update(tables.events)
    .where(_e.key.in_(_b("keys", expanding=True)), _e.counted == 0)
    .values(counted=1)
    .returning(_e.tenant_id, _e.type, _e.accepted_at)
)
