"""`huntaze doctor` on Service Bus, where that is the bus. Takes no message and sends none."""

import asyncio
from collections.abc import Iterator

from notifications.bus.topology import TOPOLOGY
from notifications.cli.findings import Finding, Mark
from notifications.errors import HuntazeError
from notifications.service_bus_address import ServiceBusAddress
from notifications.settings import Settings
from notifications.timing import SystemClock

_PATIENCE_S = 30.0


def examine_bus(settings: Settings) -> Iterator[Finding]:
    """Whether the namespace answers, and has every subscription; nothing where there is none."""
    if settings.bus != "servicebus" or settings.service_bus is None:
        return
    address = settings.service_bus
    try:
        seen = asyncio.run(asyncio.wait_for(_look(address), _PATIENCE_S))
    except TimeoutError:
        detail = f"Service Bus at {address.host} does not answer"
        yield Finding(Mark.WRONG, "bus", detail, f"check {address.setting}, and the network")
    except HuntazeError as error:
        advice = f"correct {address.setting}, or run `huntaze topology apply`"
        yield Finding(Mark.WRONG, "bus", str(error), advice)
    else:
        yield Finding(Mark.RIGHT, "bus", f"{address.host} answers: {seen} subscriptions")


async def _look(address: ServiceBusAddress) -> int:
    # Loaded where it is wanted: Microsoft's SDK takes a third of a second.
    from notifications.bus.servicebus.bus import open_service_bus

    async with open_service_bus(address, TOPOLOGY, SystemClock()) as bus:
        names = list(bus.subscriptions)
        await asyncio.gather(*(bus.peeker(name).page(after=0, limit=1) for name in names))
    return len(names)
