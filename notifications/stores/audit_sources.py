"""Opening what the audit reads: a data folder's file, or a shared database and its hubs' files."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa

from notifications.postgres import driver_url
from notifications.retries import MINUTE
from notifications.stores.audit import AuditReport, Bus, Expectations, audit
from notifications.stores.on_bus import OnBus

SETTLED_MS = 2 * MINUTE
"""How old events are that a shared ledger is held against: younger ones are on their way."""


def run_audit(file: Path, expected: Expectations) -> AuditReport:
    """Audit a hub's file, opened read-only: bus and ledger in one snapshot.

    Raises:
        FileNotFoundError: There is no such file.
        sqlalchemy.exc.DBAPIError: It cannot be read.
    """
    with _file_snapshot(file) as connection:
        bus = OnBus(connection, expected.topic, expected.subscriptions)
        return audit(connection, bus, expected)


def run_shared_audit(
    url: str, files: Sequence[Path], expected: Expectations, shared: Bus | None = None
) -> AuditReport:
    """Audit a shared ledger: it, then the buses for what it lacks, then it once more.

    Args:
        url: The PostgreSQL database.
        files: The files of all hubs that share it; their buses are in them.
        expected: What the ledger is held against.
        shared: The bus that they share, where they do; what it raises is raised.

    Raises:
        FileNotFoundError: One of the files is not there.
        sqlalchemy.exc.DBAPIError: Something cannot be read.
    """
    engine = sa.create_engine(
        driver_url(url),
        poolclass=sa.NullPool,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
    )
    with ExitStack() as stack:
        opened = [stack.enter_context(_file_snapshot(file)) for file in files]
        buses: list[Bus] = [OnBus(each, expected.topic, expected.subscriptions) for each in opened]
        if shared is not None:
            buses.append(shared)
        ledger = stack.enter_context(engine.connect())
        bus = _OnTheWay(ledger, buses)
        return audit(ledger, bus, expected, settled_ms=SETTLED_MS, again=engine.connect)


class _OnTheWay:
    """The outbox of a shared ledger and the buses behind it. Implements `audit.Bus`."""

    def __init__(self, ledger: sa.Connection, buses: Sequence[Bus]) -> None:
        self._ledger = ledger
        self._buses = buses

    def where(self, name: str, consumer: str) -> str | None:
        """See `audit.Bus.where`."""
        if (name, None) in self._outbox or (name, consumer) in self._outbox:
            return "outbox"
        found = [where for bus in self._buses if (where := bus.where(name, consumer))]
        return min(found, default=None)  # "bus" rather than "deadLettered"

    @cached_property
    def _outbox(self) -> set[tuple[str, str | None]]:
        """Each event that is still to be sent, and the one consumer it is for, or None for all."""
        rows = self._ledger.execution_options(yield_per=1_000).execute(
            sa.text("SELECT properties, body FROM outbox")
        )
        return {(_event_of(row.body), _consumer_of(row.properties)) for row in rows}


def _event_of(body: bytes) -> str:
    document = json.loads(body)
    return f"{document.get('tenantid')}:{document.get('id')}"


def _consumer_of(properties: bytes) -> str | None:
    consumer: str | None = json.loads(properties).get("hubConsumer")
    return consumer


@contextmanager
def _file_snapshot(file: Path) -> Iterator[sa.Connection]:
    if not file.is_file():
        raise FileNotFoundError(f"no database at {file}")
    engine = sa.create_engine(
        f"sqlite:///file:{file}?mode=ro&uri=true",
        poolclass=sa.NullPool,
        connect_args={"isolation_level": None},
    )
    with engine.connect() as connection:
        # The driver itself begins none for reading: every statement would see another moment.
        connection.exec_driver_sql("BEGIN")
        yield connection
