"""Seeing which events Service Bus still holds, for the sweep and for the audit.

It has no index by event: what waits is looked through in pages. Messages that are scheduled on a
topic cannot be seen at all; what is sent again because of that is a double, which is harmless.
"""

import asyncio
from collections.abc import Mapping, Sequence

from notifications.bus.servicebus import wire
from notifications.bus.servicebus.bus import ServiceBus, open_service_bus
from notifications.bus.servicebus.peeking import AT_ONCE, Peeker
from notifications.bus.topology import Topic
from notifications.ports import Clock
from notifications.routing import event_carried
from notifications.service_bus_address import ServiceBusAddress

SCAN = 5_000
"""Messages that a look goes over, of those that wait and of the dead letters each."""

_EVERYTHING = 2**63 - 1


class ServiceBusLook:
    """Implements the look at the bus that the sweep needs to find lost events (`BusLook`).

    Args:
        bus: What is looked at.
        subscriptions: The subscription of each consumer.
    """

    def __init__(self, bus: ServiceBus, subscriptions: Mapping[str, str]) -> None:
        self._bus = bus
        self._subscriptions = subscriptions

    async def waiting_since(self, consumer: str) -> int | None:
        """When the oldest message that waits for a consumer became visible; None where none does.

        Raises:
            Unavailable: The bus is away.
        """
        peeker = self._bus.peeker(self._subscriptions[consumer])
        page = await peeker.page(after=0, limit=1)
        return wire.milliseconds(page[0].enqueued_time_utc) if page else None

    async def copies_of(self, names: Sequence[str], consumer: str) -> set[str]:
        """Of events, by `<tenant id>:<event id>`, those a consumer has a message or dead letter of.

        Raises:
            Unavailable: The bus is away.
        """
        if not names:
            return set()
        subscription, asked = self._subscriptions[consumer], frozenset(names)
        found: set[str] = set()
        for dead in (False, True):
            carried = await carried_by(self._bus.peeker(subscription, dead=dead), most=SCAN)
            found |= asked & carried.keys()
        return found


async def carried_by(peeker: Peeker, *, most: int | None = None) -> Mapping[str, int]:
    """The events that messages carry, by `<tenant id>:<event id>`, and how many messages each.

    Args:
        peeker: Looks at them.
        most: Messages that are looked at; None is all.
    """
    found: dict[str, int] = {}
    after = looked = 0
    while page := await peeker.page(after=after, limit=AT_ONCE):
        for one in page:
            name = event_carried(wire.incoming(one))
            found[name] = found.get(name, 0) + 1
        after, looked = page[-1].sequence_number or _EVERYTHING, looked + len(page)
        if most is not None and looked >= most:
            break
    found.pop("", None)
    return found


class ServiceBusAudit:
    """Where an event may be that has nothing to show yet: what the audit asks of a bus.

    Looks through a consumer's messages when it is first asked of it. For a program that runs no
    event loop.

    Args:
        address: The namespace.
        topology: What is there.
        clock: The time.
        subscriptions: The subscription of each consumer.
    """

    def __init__(
        self,
        address: ServiceBusAddress,
        topology: Sequence[Topic],
        clock: Clock,
        subscriptions: Mapping[str, str],
    ) -> None:
        self._address = address
        self._topology = topology
        self._clock = clock
        self._subscriptions = subscriptions
        self._seen: dict[str, tuple[Mapping[str, int], Mapping[str, int]]] = {}

    def where(self, name: str, consumer: str) -> str | None:
        """`bus`, `deadLettered`, or None where the event is neither.

        Raises:
            Unavailable: The bus is away.
        """
        if consumer not in self._seen:
            self._seen[consumer] = asyncio.run(self._look(self._subscriptions[consumer]))
        waiting, dead = self._seen[consumer]
        if name in waiting:
            return "bus"
        return "deadLettered" if name in dead else None

    async def _look(self, subscription: str) -> tuple[Mapping[str, int], Mapping[str, int]]:
        async with open_service_bus(self._address, self._topology, self._clock) as bus:
            waiting, dead = await asyncio.gather(
                carried_by(bus.peeker(subscription)),
                carried_by(bus.peeker(subscription, dead=True)),
            )
            return waiting, dead
