"""The Service Bus door's ports, whichever command opens them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from notifications.errors import ConfigurationError

if TYPE_CHECKING:
    from notifications.bootstrap import OpenHub
    from notifications.door.admin.listener import AdminDoor
    from notifications.door.listener import Door
    from notifications.owner import DataFolder

PORT = click.IntRange(0, 65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where a door listens; 0 takes a free port, None leaves it closed."""

    amqp: int | None
    http: int | None
    https: int | None


async def open_doors(
    stack: AsyncExitStack, wire: "Door", admin: "AdminDoor", host: str, ports: Ports
) -> list[str]:
    """Listen at every port, until the stack is closed; the addresses.

    Raises:
        ConfigurationError: A port is taken; names its option.
    """
    shown = "localhost" if host in ("127.0.0.1", "::1", "localhost") else host
    stack.push_async_callback(admin.stop)
    stack.push_async_callback(wire.stop)
    addresses = []
    for scheme, port in (("sb", ports.amqp), ("http", ports.http), ("https", ports.https)):
        if port is None:
            continue
        try:
            if scheme == "sb":
                found = await wire.start(host, port)
            else:
                found = await admin.start(host, port, secure=scheme == "https")
        except OSError as error:
            raise ConfigurationError(
                f"the door cannot listen on {host}:{port} ({error.strerror}): give another port"
            ) from error
        addresses.append(f"{scheme}://{shown}:{found}")
    return addresses


@asynccontextmanager
async def hub_doors(
    hub: "OpenHub", folder: "DataFolder", host: str, ports: Ports
) -> AsyncIterator[list[str]]:
    """Open the door in front of a hub's own bus until the block ends; its addresses.

    Raises:
        ConfigurationError: A port is taken, or the bus is none of this machine's.
    """
    # Loaded for those who open it: a hub without a door starts sooner.
    from notifications.bus.brokering import EmbeddedBroker
    from notifications.bus.embedded import EmbeddedBus
    from notifications.bus.looking import Looking, NoChanges
    from notifications.bus.registry import Registry
    from notifications.bus.topology import TOPOLOGY
    from notifications.door.admin.listener import AdminDoor
    from notifications.door.listener import Door

    bus, clock, keys = hub.bus, hub.clock, dict(hub.settings.servicebus_keys)
    if not isinstance(bus, EmbeddedBus):
        raise ConfigurationError(
            "--service-bus-port opens the hub's embedded bus, and HUNTAZE_BUS says that it has"
            " none: leave the option out, or HUNTAZE_BUS"
        )
    registry = Registry.of_topology(TOPOLOGY, clock.now())
    broker = EmbeddedBroker(bus.database, bus, registry, clock=clock, dice=hub.dice)
    wire = Door(broker, clock=clock, dice=hub.dice, keys=keys, own_bus=True)
    shown = Looking(bus.database, bus, registry)
    admin = AdminDoor(shown, NoChanges(), clock=clock, keys=keys, folder=folder.path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(broker.close)
        yield await open_doors(stack, wire, admin, host, ports)
