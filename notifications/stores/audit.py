"""The audit: proves that nothing is lost and no row says what is not so (design 6).

Reads one snapshot of the database file, beside a running hub or of a stopped one, and changes
nothing. On one machine bus and ledger are one file, so the snapshot holds both.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from notifications.events import Channel
from notifications.ids import public_number
from notifications.lanes import LAST_PROBE
from notifications.retries import MINUTE, NOTIFICATIONS, RetryTable
from notifications.stores.codes import BITS
from notifications.stores.on_bus import OnBus
from notifications.stores.standing import InForce, read_standing

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


def run_audit(database: Path, expected: Expectations) -> AuditReport:
    """Audit a database file, opened read-only.

    Raises:
        FileNotFoundError: There is no such file.
        sqlalchemy.exc.DBAPIError: It cannot be read.
    """
    if not database.is_file():
        raise FileNotFoundError(f"no database at {database}")
    engine = sa.create_engine(
        f"sqlite:///file:{database}?mode=ro&uri=true",
        poolclass=sa.NullPool,
        connect_args={"isolation_level": None},
    )
    with engine.connect() as connection:
        # The driver itself begins none for reading: every statement would see another moment.
        connection.exec_driver_sql("BEGIN")
        return audit(connection, expected)


def audit(connection: sa.Connection, expected: Expectations) -> AuditReport:
    """Audit the snapshot that a connection sees."""
    standing = read_standing(connection)
    if standing.at is not None:
        expected = replace(expected, now=standing.at)
    in_force = standing.in_force or [InForce(attempts=expected.table.attempts, until=None)]
    report = AuditReport(as_of=expected.now)
    bus = OnBus(connection, expected.topic, expected.subscriptions)
    _count_states(connection, report)
    for event in _incomplete_events(connection):
        _check_event(event, bus, report)
    _check_uncounted(connection, bus, report)
    for sentence in _exhausted(connection, expected, in_force):
        report.wrong(sentence)
    for check in (_delivered, _parked, _pending):
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
    tenant_id: str
    id: str
    channel: Channel
    rows: int
    routed: int


def _incomplete_events(connection: sa.Connection) -> Iterator[_Event]:
    """Events x channels whose deliveries are not all there."""
    for channel, bit in BITS.items():
        rows = connection.execution_options(yield_per=1000).execute(
            sa.text(
                "SELECT e.tenant_id, e.id, count(d.id) AS number, coalesce(max(d.routed), 0)"
                " AS routed FROM events e LEFT JOIN deliveries d"
                " ON d.event_key = e.key AND d.channel = :channel"
                " WHERE e.channels & :bit GROUP BY e.key HAVING number = 0 OR number < routed"
            ),
            {"channel": channel.value, "bit": bit},
        )
        for row in rows:
            yield _Event(row.tenant_id, row.id, channel, row.number, row.routed)


def _check_event(event: _Event, bus: OnBus, report: AuditReport) -> None:
    channel = event.channel
    if event.rows:
        report.missing += 1
        report.count(event.tenant_id, channel.value, "missing")
        report.wrong(
            f"event {event.id} of tenant {event.tenant_id}: {event.rows} of"
            f" {event.routed} {channel} deliveries are there"
        )
        return
    message_id = f"{event.tenant_id}:{event.id}"
    where = bus.where(message_id, channel.value) or "missing"
    report.count(event.tenant_id, channel.value, where)
    if where == "missing":
        report.missing += 1
        report.wrong(
            f"event {event.id} of tenant {event.tenant_id}: no {channel} delivery,"
            " and no message on the bus or in its dead letters"
        )


def _check_uncounted(connection: sa.Connection, bus: OnBus, report: AuditReport) -> None:
    rows = connection.execute(sa.text("SELECT tenant_id, id FROM events WHERE counted = 0"))
    for row in rows:
        if bus.where(f"{row.tenant_id}:{row.id}", "metrics") is None:
            report.wrong(
                f"event {row.id} of tenant {row.tenant_id}: not counted by metrics,"
                " and no message of it is on its way there"
            )


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
        " WHEN 'parked-too-long' THEN 1 WHEN 'bounced' THEN 1 WHEN 'purged' THEN 1"
        f" ELSE {_HAS.format('d.reason')} END, 0)",
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
