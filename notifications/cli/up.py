"""`huntaze up`: the whole hub in one process."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from notifications.bootstrap import OpenHub
from notifications.cli.access import data_option, read_settings
from notifications.cli.doors import PORT, Ports, hub_doors
from notifications.cli.host import host_of
from notifications.cli.logs import set_up_logging
from notifications.cli.running import run, stop_signals
from notifications.cli.serving import Place, first_of, serve_local_hub
from notifications.extensions import Extension
from notifications.owner import DataFolder, own
from notifications.settings import Secrets, Settings, load_or_create_secrets

log = logging.getLogger("huntaze")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=PORT, default=8080, show_default=True, help="The port; 0 takes a free one."
)
@data_option
@click.option(
    "--service-bus-port",
    type=PORT,
    default=0,
    show_default=True,
    help="Open the bus to Service Bus clients at this AMQP port; 0 does not.",
)
@click.option(
    "--service-bus-admin-port",
    type=click.IntRange(0, 65534),
    default=0,
    show_default=True,
    help="The door's management API over http, and over https at the next port; 0 does not.",
)
@click.pass_context
def up(
    context: click.Context,
    host: str,
    port: int,
    data: Path,
    service_bus_port: int,
    service_bus_admin_port: int,
) -> None:
    """Run the whole hub in one process, on the data folder.

    When all is up it prints `ready` and its address, and writes them to hub.json in the folder.
    SIGTERM and Ctrl-C finish what is in hand, for at most HUNTAZE_DRAIN_SECONDS; whatever is not
    done then is done at the next start.
    """
    settings = read_settings(context)
    set_up_logging(settings)
    with own(data) as folder:
        secrets = load_or_create_secrets(folder.path, settings)
        extension = host_of(context).extension()
        ports = Ports(
            amqp=service_bus_port or None,
            http=service_bus_admin_port or None,
            https=service_bus_admin_port + 1 if service_bus_admin_port else None,
        )
        place = Place(host=host, port=port)
        run(_up(settings, secrets, folder, place, extension, ports))


async def _up(
    settings: Settings,
    secrets: Secrets,
    folder: DataFolder,
    place: Place,
    extension: Extension | None,
    ports: Ports,
) -> None:
    with stop_signals(settings.drain_seconds) as stop:
        async with (
            serve_local_hub(settings, secrets, folder, place, extension=extension) as served,
            _doors(served.hub, folder, place.host, ports) as addresses,
        ):
            folder.announce(served.url)
            click.echo(f"ready {served.url}")
            if addresses:
                click.echo(f"door {' '.join(addresses)}")
            log.info("hub.ready", extra={"url": served.url, "data": str(folder.path)})
            await first_of(stop, served.serving)
            folder.withdraw()
            log.info("hub.stopping", extra={"atMostSeconds": settings.drain_seconds})
    log.info("hub.stopped")


@asynccontextmanager
async def _doors(
    hub: OpenHub, folder: DataFolder, host: str, ports: Ports
) -> AsyncIterator[list[str]]:
    """The Service Bus door, where it was asked for; its addresses."""
    if ports == Ports(amqp=None, http=None, https=None):
        yield []
        return
    async with hub_doors(hub, folder, host, ports) as addresses:
        yield addresses
