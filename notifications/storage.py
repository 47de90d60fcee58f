"""Where a hub keeps what it knows, and how its ledger and its bus belong together.

On one machine both are one SQLite file. With `HUNTAZE_DATABASE_URL` the ledger is a PostgreSQL
database that several hubs may share; the bus stays on the file of each, and the outbox between.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from notifications.bus.embedded import EmbeddedBus, EventsOutbox
from notifications.bus.topology import EVENTS_TOPIC, JOBS_TOPIC, TOPOLOGY
from notifications.database import Database, Transaction
from notifications.errors import ConfigurationError, StoreUnavailable
from notifications.owner import DataFolder
from notifications.ports import Clock, Dice
from notifications.postgres import PostgresDatabase
from notifications.settings import Settings
from notifications.sqlite_file import SqliteDatabase
from notifications.stores import codes, tables
from notifications.stores.ledger import SqlLedger
from notifications.stores.migrate import migrate, migrate_server
from notifications.stores.outbox import SqlOutbox
from notifications.timing import Numbers, SystemClock
from notifications.worker import Appetite

_PROCESSES = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """An open ledger and an open bus.

    Attributes:
        database: Holds the ledger, and all that is not the bus's.
        file: Holds the bus; the same as `database` on one machine.
        bus: Carries the messages of this process.
        ledger: The truth about events and deliveries.
        outbox: Between the two, where they do not share a commit; else None.
        within: Where a transaction of the database leaves its messages, on either.
        clock: The ledger's time.
        numbers: Different from every other process's on the same ledger.
    """

    database: Database
    file: SqliteDatabase
    bus: EmbeddedBus
    ledger: SqlLedger
    outbox: SqlOutbox | None
    within: SqlOutbox | EventsOutbox
    clock: Clock
    numbers: Numbers


@asynccontextmanager
async def open_storage(
    settings: Settings, folder: DataFolder, dice: Dice, appetites: Mapping[str, Appetite]
) -> AsyncIterator[Storage]:
    """Open what the settings say, brought to this release, until the block ends.

    Args:
        settings: What is configured.
        folder: Owned by this process.
        dice: Chance.
        appetites: The subscriptions that will be received from.

    Raises:
        ConfigurationError: The database cannot be used; names the setting.
    """
    migrate(folder.database)
    async with AsyncExitStack() as stack:
        if settings.database_url is None:
            yield await _one_file(stack, folder, dice, appetites)
        else:
            yield await _shared(stack, settings.database_url, folder, dice, appetites)


async def _one_file(
    stack: AsyncExitStack, folder: DataFolder, dice: Dice, appetites: Mapping[str, Appetite]
) -> Storage:
    clock = SystemClock()
    file, bus = await _bus(stack, folder, clock, appetites)
    numbers = Numbers(clock, dice)
    within = EventsOutbox(bus, EVENTS_TOPIC)
    ledger = SqlLedger(file, within, numbers, dice)
    await ledger.release_claims()
    return Storage(
        database=file,
        file=file,
        bus=bus,
        ledger=ledger,
        outbox=None,
        within=within,
        clock=clock,
        numbers=numbers,
    )


async def _shared(
    stack: AsyncExitStack,
    url: str,
    folder: DataFolder,
    dice: Dice,
    appetites: Mapping[str, Appetite],
) -> Storage:
    migrate_server(url)
    database = PostgresDatabase(url)
    stack.push_async_callback(database.close)
    try:
        await database.start()
    except StoreUnavailable as error:
        raise ConfigurationError(f"HUNTAZE_DATABASE_URL: {error}") from error
    clock = database.clock
    file, bus = await _bus(stack, folder, clock, appetites)
    numbers = Numbers(clock, dice, process=await database.write(_next_process))
    outbox = SqlOutbox(
        database,
        numbers,
        lambda messages: bus.publish(EVENTS_TOPIC, messages),
        {JOBS_TOPIC: lambda messages: bus.publish(JOBS_TOPIC, messages)},
    )
    outbox.start()
    stack.push_async_callback(outbox.close)
    return Storage(
        database=database,
        file=file,
        bus=bus,
        ledger=SqlLedger(database, outbox, numbers, dice),
        outbox=outbox,
        within=outbox,
        clock=clock,
        numbers=numbers,
    )


async def _bus(
    stack: AsyncExitStack, folder: DataFolder, clock: Clock, appetites: Mapping[str, Appetite]
) -> tuple[SqliteDatabase, EmbeddedBus]:
    file = SqliteDatabase(folder.database, clock)
    file.start()
    stack.push_async_callback(file.close)
    bus = EmbeddedBus(file, TOPOLOGY, clock)
    await bus.start(appetites)
    stack.push_async_callback(bus.close)
    return file, bus


def _next_process(tx: Transaction) -> int:
    """The number of a process: those of the last thousand that started are all different."""
    statement = codes.upsert(tx.connection, tables.marks)
    statement = statement.on_conflict_do_update(
        index_elements=["name"], set_={"value": tables.marks.c.value + 1}
    ).returning(tables.marks.c.value)
    started: int = tx.connection.execute(statement, {"name": "processes", "value": 1}).scalar_one()
    return started % _PROCESSES
