"""What a host lets a hub run that the hub itself does not know, such as the AI job workers.

The hub hands over its parts; what it gets back is consumed, swept and served beside its own.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import FastAPI

from notifications.catalogue import Catalogue
from notifications.database import Database, Transaction
from notifications.dead_letters import DeadLetters
from notifications.events import Channel, Event
from notifications.messages import Message, Received
from notifications.ports import Bus, Clock, Dice, Directory
from notifications.records import Accepted
from notifications.settings import Settings
from notifications.sweep import Step
from notifications.timing import Numbers
from notifications.worker import Appetite, Guard


class EventsWithin(Protocol):
    """The ledger, to somebody who writes in the same database."""

    def accept_within(
        self, tx: Transaction, offers: Sequence[tuple[Event, frozenset[Channel], bool]]
    ) -> Sequence[Accepted]:
        """Store events within `tx`, with their bus messages where the last of the three says so.

        One answer each, in order. Own rows are locked before.
        """
        ...


class OutboxWithin(Protocol):
    """Where a transaction leaves its messages."""

    def put(
        self, tx: Transaction, messages: Sequence[Message], *, topic: str | None = None
    ) -> None:
        """Send messages to a topic, the events' where none is named, once `tx` is committed."""
        ...

    def complete(self, tx: Transaction, received: Sequence[Received]) -> None:
        """Complete messages with `tx`, where the bus shares the commit; else nothing happens."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a hub is made of, as far as others build on it.

    Attributes:
        settings: What is configured.
        catalogue: The event types.
        database: Holds the ledger.
        shared: Whether other processes write to it, too.
        ledger: Takes events within a transaction.
        outbox: Takes messages within a transaction.
        bus: Carries messages.
        dead_letters: Those of the bus.
        directory: The users.
        clock: The ledger's time.
        dice: Chance.
        numbers: Grow with time.
    """

    settings: Settings
    catalogue: Catalogue
    database: Database
    shared: bool
    ledger: EventsWithin
    outbox: OutboxWithin
    bus: Bus
    dead_letters: DeadLetters
    directory: Directory
    clock: Clock
    dice: Dice
    numbers: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What an extension has a hub do.

    Attributes:
        guards: By subscription: handles its messages.
        steps: Taken in each sweep, after the hub's own, by what was done.
        tidying: The same for what is removed, which may come less often.
        mount: Adds what it serves to the API.
    """

    guards: Mapping[str, Guard] = field(default_factory=dict)
    steps: Mapping[str, Step] = field(default_factory=dict)
    tidying: Mapping[str, Step] = field(default_factory=dict)
    mount: Callable[[FastAPI], None] = lambda _app: None


class Extension(Protocol):
    """What a host adds to a hub."""

    def appetites(self, settings: Settings) -> Mapping[str, Appetite]:
        """The subscriptions that it receives from, and how much of each it takes on."""
        ...

    def open(self, parts: Parts) -> AbstractAsyncContextManager[Running]:
        """Go to work until the block ends; its messages have been let go of by then."""
        ...
