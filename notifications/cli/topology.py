"""`huntaze topology`: the topics and subscriptions, for people, for the emulator, for Azure."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import orjson
from rich.table import Table
from rich.text import Text

from notifications.bus.emulator_config import emulator_config
from notifications.bus.filters import SqlFilter
from notifications.bus.topology import TOPOLOGY
from notifications.cli.access import read_settings
from notifications.cli.complaints import Hindrance
from notifications.cli.looks import RIGHT, terminal
from notifications.errors import Unavailable
from notifications.service_bus_address import CONNECTION, ServiceBusAddress
from notifications.setting_forms import in_words

if TYPE_CHECKING:
    from notifications.bus.servicebus.applying import Change

_LEFT = {"-": "kept: --prune removes it", "!": "cannot be changed"}


@click.group()
@click.pass_context
def topology(context: click.Context) -> None:
    """Show the bus's topics and subscriptions, or make a namespace have them."""
    read_settings(context)


@topology.command()
def show() -> None:
    """Print the topics, their subscriptions and what each takes."""
    console = terminal()
    for topic in TOPOLOGY:
        table = Table(title=topic.name, title_justify="left", box=None, pad_edge=False)
        table.add_column("subscription")
        for name in ("deliveries", "lock", "lives"):
            table.add_column(name, justify="right")
        table.add_column("takes", overflow="fold")
        for each in topic.subscriptions:
            takes = each.rule.filter
            table.add_row(
                each.name,
                str(each.max_delivery_count),
                in_words(each.lock_ms),
                in_words(each.ttl_ms),
                takes.expression if isinstance(takes, SqlFilter) else str(takes),
            )
        console.print(table)
        console.print()


@topology.command("emulator-config")
def emulator_config_command() -> None:
    """Print the Config.json of Microsoft's Service Bus emulator.

    Messages live an hour there at most, where the hub's live for up to a day.
    """
    click.echo(orjson.dumps(emulator_config(TOPOLOGY), option=orjson.OPT_INDENT_2))


@topology.command()
@click.option("--prune", is_flag=True, help="Remove what is too much, with the messages in it.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--admin-port",
    type=click.IntRange(1, 65535),
    help="Where a door or an emulator is managed over http.  [default: 5300]",
)
@click.pass_context
def apply(context: click.Context, prune: bool, dry_run: bool, admin_port: int | None) -> None:
    """Make the namespace of SERVICEBUS_CONNECTION have the hub's topics and subscriptions.

    Adds what is missing and updates what is different (+ and ~). What is too much in the hub's
    own topics (-) is only said, unless --prune is given; other topics are not looked at. Doing it
    again changes nothing. Exits with 1 if something cannot be changed (!).
    """
    address = read_settings(context).service_bus
    if address is None:
        raise Hindrance(f"{CONNECTION} is not set: it says which namespace is meant")
    try:
        changes = asyncio.run(_apply(address, admin_port, prune=prune, dry_run=dry_run))
    except Unavailable as error:
        raise Hindrance(str(error)) from error
    console = terminal()
    for change in changes:
        left = _LEFT.get(change.mark) if change.mark == "!" or not prune else None
        console.print(Text(f"{change.mark} {change.what}" + (f" ({left})" if left else "")))
    if not changes:
        console.print(RIGHT, f"{address.host} has it all already", highlight=False)
    if any(change.mark == "!" for change in changes):
        context.exit(1)


async def _apply(
    address: ServiceBusAddress, admin_port: int | None, *, prune: bool, dry_run: bool
) -> Sequence["Change"]:
    # Loaded where it is wanted: Microsoft's SDK takes a third of a second.
    from notifications.bus.servicebus.applying import differences, mend, open_admin

    async with open_admin(address, admin_port=admin_port) as client:
        changes = await differences(client, TOPOLOGY)
        if not dry_run:
            await mend(changes, prune=prune)
    return changes
