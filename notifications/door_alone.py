"""A broker of its own for a door that runs alone: bus and topology on one file, without a hub."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from notifications.bus import entity_rows
from notifications.bus.brokering import EmbeddedBroker
from notifications.bus.changes import LiveTopology
from notifications.bus.embedded import EmbeddedBus
from notifications.ports import Clock, Dice
from notifications.sqlite_file import SqliteDatabase
from notifications.stores.migrate import migrate

FILE = "door.db"
"""Not a hub's file: what is not in a door's topology is not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """What such a door opens on.

    Attributes:
        broker: Its messages.
        topology: Its topics, subscriptions and rules.
    """

    broker: EmbeddedBroker
    topology: LiveTopology


@asynccontextmanager
async def open_alone(path: Path, clock: Clock, dice: Dice) -> AsyncIterator[Alone]:
    """Open a file that this process owns, made where there is none, until the block ends.

    Raises:
        ConfigurationError: It cannot be used; says what to do.
    """
    migrate(path)
    database = SqliteDatabase(path, clock)
    database.start()
    try:
        registry = await database.read(entity_rows.load)
        # Those who receive are other processes: what they had in hand is not what this one died of.
        bus = EmbeddedBus(database, registry.topology(), clock, wary=False)
        await bus.start()
        topology = LiveTopology(database, bus, registry, clock)
        topology.begin()
        broker = EmbeddedBroker(
            database, bus, registry, clock=clock, dice=dice, rules=topology.rules
        )
        try:
            yield Alone(broker=broker, topology=topology)
        finally:
            await broker.close()
            await topology.close()
            await bus.close()
    finally:
        await database.close()
