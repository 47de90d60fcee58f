"""Where a hub keeps what it knows, and how its ledger and its bus belong together.

On one machine both are one SQLite file. With `HUNTAZE_DATABASE_URL` the ledger is a PostgreSQL
database that several hubs may share; the bus stays on the file of each, and the outbox between.
With `HUNTAZE_BUS=servicebus` they share the bus, too, and there is no file.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from notifications.bus.dead_letters import EmbeddedDeadLetters
from notifications.bus.embedded import EmbeddedBus, EventsOutbox
from notifications.bus.topology import CONSUMERS, EVENTS_TOPIC, JOBS_TOPIC, TOPOLOGY
from notifications.database import Database, Transaction
from notifications.dead_letters import DeadLetters, Rejections
from notifications.errors import ConfigurationError, StoreUnavailable
from notifications.messages import Received
from notifications.owner import DataFolder
from notifications.policies import keeping
from notifications.ports import Bus, Clock, Dice
from notifications.postgres import PostgresDatabase
from notifications.settings import Settings
from notifications.sqlite_file import SqliteDatabase
from notifications.stores import codes, tables
from notifications.stores.given_up import SqlGivenUp
from notifications.stores.ledger import SqlLedger
from notifications.stores.lost import BusLook
from notifications.stores.migrate import migrate, migrate_server
from notifications.stores.on_bus import EmbeddedBusLook
from notifications.stores.outbox import SqlOutbox
from notifications.stores.rejections import SqlRejections
from notifications.sweep import Step
from notifications.timing import Numbers, SystemClock
from notifications.worker import Appetite

_PROCESSES = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """An open bus, and what there is beside it.

    Attributes:
        bus: Carries the messages of this process.
        dead_letters: What nobody could deal with.
        look: Sees what is on its way.
        file: Holds it, where it is the embedded one; else None.
        tidying: What the sweep removes of it.
        rejections: Where it stands why messages were given back for good, which the bus cannot be
            told by who only handles them; None where nobody handles them so.
        over: Whether a message is settled already, by a commit that the bus shares.
    """

    bus: Bus
    dead_letters: DeadLetters
    look: BusLook
    file: SqliteDatabase | None = None
    tidying: Mapping[str, Step] = field(default_factory=dict)
    rejections: Rejections | None = None
    over: Callable[[Received], bool] = field(default=lambda _: False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """An open ledger and an open bus.

    Attributes:
        database: Holds the ledger, and all that is not the bus's.
        carrier: The bus.
        ledger: The truth about events and deliveries.
        outbox: Between the two, where they do not share a commit; else None.
        within: Where a transaction of the database leaves its messages, on either.
        clock: The ledger's time.
        numbers: Different from every other process's on the same ledger.
    """

    database: Database
    carrier: Carrier
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
    async with AsyncExitStack() as stack:
        if settings.database_url is None:
            yield await _one_file(stack, folder, dice, appetites)
        else:
            yield await _shared(stack, settings, folder, dice, appetites)


async def _one_file(
    stack: AsyncExitStack, folder: DataFolder, dice: Dice, appetites: Mapping[str, Appetite]
) -> Storage:
    clock = SystemClock()
    file, bus = await _embedded(stack, folder, clock, appetites)
    numbers = Numbers(clock, dice)
    within = EventsOutbox(bus, EVENTS_TOPIC)
    ledger = SqlLedger(file, within, numbers, dice)
    await ledger.release_claims()
    return Storage(
        database=file,
        carrier=_on_file(file, bus, dice, numbers),
        ledger=ledger,
        outbox=None,
        within=within,
        clock=clock,
        numbers=numbers,
    )


async def _shared(
    stack: AsyncExitStack,
    settings: Settings,
    folder: DataFolder,
    dice: Dice,
    appetites: Mapping[str, Appetite],
) -> Storage:
    database = await _server(stack, settings.database_url or "")
    clock = database.clock
    numbers = Numbers(clock, dice, process=await database.write(_next_process))
    if settings.bus == "servicebus":
        carrier = await _service_bus(stack, settings, database, dice, numbers)
    else:
        file, embedded = await _embedded(stack, folder, clock, appetites)
        carrier = _on_file(file, embedded, dice, numbers, ledger=database)
    bus = carrier.bus
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
        carrier=carrier,
        ledger=SqlLedger(database, outbox, numbers, dice),
        outbox=outbox,
        within=outbox,
        clock=clock,
        numbers=numbers,
    )


async def _server(stack: AsyncExitStack, url: str) -> PostgresDatabase:
    # Elsewhere: a server that does not answer must not hold up those who ask whether this one does.
    await asyncio.to_thread(migrate_server, url)
    database = PostgresDatabase(url)
    stack.push_async_callback(database.close)
    try:
        await database.start()
    except StoreUnavailable as error:
        raise ConfigurationError(f"HUNTAZE_DATABASE_URL: {error}") from error
    return database


async def _embedded(
    stack: AsyncExitStack, folder: DataFolder, clock: Clock, appetites: Mapping[str, Appetite]
) -> tuple[SqliteDatabase, EmbeddedBus]:
    migrate(folder.database)
    file = SqliteDatabase(folder.database, clock)
    file.start()
    stack.push_async_callback(file.close)
    bus = EmbeddedBus(file, TOPOLOGY, clock)
    await bus.start(appetites)
    stack.push_async_callback(bus.close)
    return file, bus


def _on_file(
    file: SqliteDatabase,
    bus: EmbeddedBus,
    dice: Dice,
    numbers: Numbers,
    *,
    ledger: Database | None = None,
) -> Carrier:
    dead_letters = EmbeddedDeadLetters(
        file, bus, dice, SqlGivenUp(numbers), consumers=CONSUMERS, ledger=ledger
    )
    look = EmbeddedBusLook(file, CONSUMERS)
    return Carrier(bus=bus, dead_letters=dead_letters, look=look, file=file, over=bus.over)


async def _service_bus(
    stack: AsyncExitStack,
    settings: Settings,
    database: PostgresDatabase,
    dice: Dice,
    numbers: Numbers,
) -> Carrier:
    # Loaded where it is wanted: Microsoft's SDK takes a third of a second.
    from notifications.bus.servicebus.bus import open_service_bus
    from notifications.bus.servicebus.dead_letters import Keeping, ServiceBusDeadLetters
    from notifications.bus.servicebus.look import ServiceBusLook

    assert settings.service_bus is not None, "the settings are checked when they are read"
    clock = database.clock
    bus = await stack.enter_async_context(
        open_service_bus(settings.service_bus, TOPOLOGY, clock, sending=settings.service_bus_send)
    )
    keep = keeping(settings).events
    rejections = SqlRejections(database, keep=keep)
    dead_letters = ServiceBusDeadLetters(
        bus,
        Keeping(
            ledger=database,
            given_up=SqlGivenUp(numbers),
            rejections=rejections,
            consumers=CONSUMERS,
        ),
        dice,
        clock,
        keep=keep,
    )
    return Carrier(
        bus=bus,
        dead_letters=dead_letters,
        look=ServiceBusLook(bus, CONSUMERS),
        tidying={"buried": dead_letters.tidy, "unexplained": rejections.tidy},
        rejections=rejections,
    )


def _next_process(tx: Transaction) -> int:
    """The number of a process: those of the last thousand that started are all different."""
    statement = codes.upsert(tx.connection, tables.marks)
    statement = statement.on_conflict_do_update(
        index_elements=["name"], set_={"value": tables.marks.c.value + 1}
    ).returning(tables.marks.c.value)
    started: int = tx.connection.execute(statement, {"name": "processes", "value": 1}).scalar_one()
    return started % _PROCESSES
