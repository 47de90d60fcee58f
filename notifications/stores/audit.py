"""The audit: proves that nothing is lost and no row says what is not so (design 6).

Reads snapshots (`audit_sources` opens them), beside running hubs or of stopped ones, and changes
nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

import sqlalchemy as sa

from notifications.events import Channel
from notifications.ids import public_number
from notifications.lanes import LAST_PROBE
from notifications.retries import MINUTE, NOTIFICATIONS, RetryTable
from notifications.stores.codes import BITS
from notifications.stores.standing import InForce, read_standing
from notifications.timing import Numbers

STALE_MS = 10 * MINUTE
"""How long past its time something pending may be before it counts as stuck."""

COLUMNS = (
    "delivered",
    "skipped",
    "pending",
    "parked",
    "exhausted",
    "outbox",
    "bus",
    "deadLettered",
    "missing",
)

METRICS = "metrics"
"""The consumer that counts every event, beside the channels."""

_EVERYTHING = (1 << 63) - 1

_SHOWN = 1_000
"""Violations that are spelled out; the others are counted."""


@dataclass(slots=True, kw_only=True)
class AuditReport:
    """What the audit found.

    Attributes:
        tenants: By tenant and channel, how many deliveries there are in each state, and events
            that are still in the outbox, on the bus, in its dead letters, or nowhere.
        missing: Events x channels that are nowhere: lost.
        violations: One sentence each, about a row that says what is not so.
        as_of: The time that rows were held against, ms since the epoch: the ledger's own, as its
            last sweep or its end left it.
    """

    tenants: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    missing: int = 0
    violations: list[str] = field(default_factory=list)
    unsaid: int = 0
    as_of: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is missing or wrong."""
        return not self.missing and not self.violations

    def count(self, tenant_id: str, channel: str, what: str, number: int = 1) -> None:
        """Add to a figure."""
        channels = self.tenants.setdefault(tenant_id, {})
        channels.setdefault(channel, Counter(dict.fromkeys(COLUMNS, 0)))[what] += number

    def wrong(self, sentence: str) -> None:
        """Add a violation."""
        if len(self.violations) < _SHOWN:
            self.violations.append(sentence)
        else:
            self.unsaid += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What the ledger is held against.

    Attributes:
        now: The time, ms since the epoch; counts where the ledger does not say its own.
        table: The retries; count where the ledger does not say which were in force.
        topic: The topic of events.
        subscriptions: The subscription of each consumer: of each channel, and of `metrics`.
    """

    now: int
    table: RetryTable = NOTIFICATIONS
    topic: str
    subscriptions: Mapping[str, str]


class Bus(Protocol):
    """Where an event may be that has nothing to show yet."""

    def where(self, name: str, consumer: str) -> str | None:
        """`outbox`, `bus`, `deadLettered`, or None; `name` is `<tenant id>:<event id>`."""
        ...


def audit(
    connection: sa.Connection,
    bus: Bus,
    expected: Expectations,
    *,
    settled_ms: int = 0,
    again: Callable[[], AbstractContextManager[sa.Connection]] | None = None,
) -> AuditReport:
    """Audit the snapshot that a connection sees.

    Args:
        connection: The ledger.
        bus: What is on its way.
        expected: What the ledger is held against.
        settled_ms: Events younger than this are left out: where ledger and bus are not seen in one
            moment, they may be anywhere between.
        again: Opens the ledger once more, for a second look at what is in neither: it may have
            moved from one to the other between the looks. None where both are one snapshot.
    """
    standing = read_standing(connection)
    if standing.at is not None:
        expected = replace(expected, now=standing.at)
    in_force = standing.in_force or [InForce(attempts=expected.table.attempts, until=None)]
    report = AuditReport(as_of=expected.now)
    below = Numbers.at(expected.now - settled_ms) if settled_ms else _EVERYTHING
    _count_states(connection, report)
    suspects = list(_incomplete_events(connection, below))
    nowhere = [event for event in suspects if not _is_on_its_way(event, bus, report)]
    for event in _still(nowhere, again):
        _missing(event, report)
    uncounted = _uncounted(connection, bus, below)
    for event in _still(uncounted, again):
        report.wrong(
            f"event {event.id} of tenant {event.tenant_id}: not counted by metrics,"
            " and no message of it is on its way there"
        )
    for sentence in _exhausted(connection, expected, in_force):
        report.wrong(sentence)
    for check in (_delivered, _pending) if standing.resumed else (_delivered, _parked, _pending):
        for sentence in check(connection, expected):
            report.wrong(sentence)
    return report


def _count_states(connection: sa.Connection, report: AuditReport) -> None:
    rows = connection.execute(
        sa.text(
            "SELECT tenant_id, channel, state, count(*) AS number FROM deliveries"
            " GROUP BY tenant_id, channel, state"
        )
    )
    for row in rows:
        report.count(row.tenant_id, row.channel, row.state, row.number)


@dataclass(frozen=True, slots=True)
class _Event:
    """An event and one of its consumers."""

    key: int
    tenant_id: str
    id: str
    consumer: str
    rows: int
    routed: int

    @property
    def name(self) -> str:
        return f"{self.tenant_id}:{self.id}"


def _incomplete_events(connection: sa.Connection, below: int) -> Iterator[_Event]:
    """Events x channels whose deliveries are not all there."""
    for channel, bit in BITS.items():
        query = {"channel": channel.value, "bit": bit, "below": below}
        yield from _incomplete(connection, channel, "e.key < :below", query)


def _incomplete(
    connection: sa.Connection, channel: Channel, where: str, query: Mapping[str, object]
) -> Iterator[_Event]:
    rows = connection.execution_options(yield_per=1000).execute(
        sa.text(
            "SELECT e.key, e.tenant_id, e.id, count(d.id) AS number, coalesce(max(d.routed), 0)"  # noqa: S608 - constant
            " AS routed FROM events e LEFT JOIN deliveries d"
            " ON d.event_key = e.key AND d.channel = :channel"
            f" WHERE (e.channels & :bit) <> 0 AND {where} GROUP BY e.key, e.tenant_id, e.id"
            " HAVING count(d.id) = 0 OR count(d.id) < max(d.routed)"
        ),
        dict(query),
    )
    for row in rows:
        yield _Event(row.key, row.tenant_id, row.id, channel.value, row.number, row.routed)


def _is_on_its_way(event: _Event, bus: Bus, report: AuditReport) -> bool:
    if event.rows:
        return False  # they are written together: the others will not come
    where = bus.where(event.name, event.consumer)
    if where is None:
        return False
    report.count(event.tenant_id, event.consumer, where)
    return True


def _still(
    events: Sequence[_Event], again: Callable[[], AbstractContextManager[sa.Connection]] | None
) -> Sequence[_Event]:
    """Those that have nothing to show at a second look either."""
    if again is None or not events:
        return events
    with again() as connection:
        return [event for event in events if _has_nothing(connection, event)]


def _has_nothing(connection: sa.Connection, event: _Event) -> bool:
    if event.consumer not in frozenset(Channel):
        uncounted = sa.text("SELECT 1 FROM events WHERE key = :key AND counted = 0")
        return connection.execute(uncounted, {"key": event.key}).first() is not None
    channel = Channel(event.consumer)
    query = {"channel": channel.value, "bit": BITS[channel], "key": event.key}
    return bool(list(_incomplete(connection, channel, "e.key = :key", query)))


def _missing(event: _Event, report: AuditReport) -> None:
    report.missing += 1
    report.count(event.tenant_id, event.consumer, "missing")
    if event.rows:
        report.wrong(
            f"event {event.id} of tenant {event.tenant_id}: {event.rows} of"
            f" {event.routed} {event.consumer} deliveries are there"
        )
    else:
        report.wrong(
            f"event {event.id} of tenant {event.tenant_id}: no {event.consumer} delivery,"
            " and no message on the bus or in its dead letters"
        )


def _uncounted(connection: sa.Connection, bus: Bus, below: int) -> list[_Event]:
    """Events that metrics has not counted and will not."""
    rows = connection.execute(
        sa.text("SELECT key, tenant_id, id FROM events WHERE counted = 0 AND key < :below"),
        {"below": below},
    )
    events = (_Event(row.key, row.tenant_id, row.id, METRICS, 0, 0) for row in rows)
    return [event for event in events if bus.where(event.name, METRICS) is None]


def _sentences(
    connection: sa.Connection, what: str, where: str, parameters: Mapping[str, object]
) -> Iterator[str]:
    rows = connection.execution_options(yield_per=1000).execute(
        sa.text(f"SELECT d.tenant_id, d.id FROM deliveries d WHERE {where}"),  # noqa: S608 - constant
        dict(parameters),
    )
    for row in rows:
        yield f"delivery {public_number(row.id)} of tenant {row.tenant_id}: {what}"


_HAS = (
    "(coalesce(d.first_outcome, '') = {0} OR EXISTS (SELECT 1 FROM attempts a WHERE"
    " a.tenant_id = d.tenant_id AND a.delivery_id = d.id AND a.outcome = {0}))"
)
"""There was an attempt with that outcome."""


def _delivered(connection: sa.Connection, _expected: Expectations) -> Iterator[str]:
    yield from _sentences(
        connection,
        "is delivered, but no attempt succeeded",
        "d.state = 'delivered' AND NOT " + _HAS.format("'delivered'"),
        {},
    )


def _exhausted(
    connection: sa.Connection, expected: Expectations, in_force: Sequence[InForce]
) -> Iterator[str]:
    # An attempt that ended it names the reason; what ends it otherwise is named here. Attempts
    # are held against the tables that were in force when it ended.
    used = " OR ".join(
        f"d.attempt >= {each.attempts:d}"
        + ("" if each.until is None else f" AND d.updated_at <= {each.until + STALE_MS:d}")
        for each in in_force
    )
    yield from _sentences(
        connection,
        "is exhausted, but has attempts and time left and met no final refusal",
        "d.state = 'exhausted' AND NOT coalesce(CASE d.reason"
        f" WHEN 'attempts-used' THEN {used} OR d.deadline <= :now"
        " WHEN 'deadline' THEN d.updated_at >= d.deadline - :slack"
        " WHEN 'parked-too-long' THEN TRUE WHEN 'purged' THEN TRUE"
        # What a report says of a mail that was taken.
        " WHEN 'bounced' THEN TRUE WHEN 'complained' THEN TRUE WHEN 'undelivered' THEN TRUE"
        f" ELSE {_HAS.format('d.reason')} END, FALSE)",
        {"now": expected.now, "slack": MINUTE},
    )


def _parked(connection: sa.Connection, expected: Expectations) -> Iterator[str]:
    yield from _sentences(
        connection,
        "is parked, but no paused or disabled endpoint holds it",
        "d.state = 'parked' AND NOT EXISTS (SELECT 1 FROM endpoints e WHERE"
        " e.tenant_id = d.tenant_id AND e.id = d.target AND e.state IN ('paused', 'disabled'))"
        " AND d.updated_at < :late",
        {"late": expected.now - STALE_MS},
    )


def _pending(connection: sa.Connection, expected: Expectations) -> Iterator[str]:
    # What waits behind others in its lane is past due and yet on its way: a drain is scheduled.
    yield from _sentences(
        connection,
        "is pending, but due more than ten minutes ago and no drain of its lane is on its way",
        "d.state = 'pending' AND coalesce(d.due_at, 0) < :late AND NOT EXISTS (SELECT 1 FROM"
        " lanes l WHERE l.lane = d.lane AND l.drain_at BETWEEN :late AND :soon)",
        {"late": expected.now - STALE_MS, "soon": expected.now + LAST_PROBE + MINUTE},
    )


def figures(report: AuditReport) -> Mapping[str, object]:
    """The report as the contract's JSON."""
    tenants: Sequence[object] = [
        {"tenantId": tenant_id, "channels": {name: dict(c) for name, c in channels.items()}}
        for tenant_id, channels in sorted(report.tenants.items())
    ]
    return {
        "tenants": tenants,
        "missing": report.missing,
        "violations": report.violations,
        "asOf": datetime.fromtimestamp(report.as_of / 1000, UTC).isoformat(timespec="milliseconds"),
    }
