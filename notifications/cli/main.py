"""The `huntaze` command: one module per command group, loaded when the group is used.

Exit codes: 0 done; 1 no, with the reason on stderr; 2 a setting or an argument is wrong, or what
the command needs cannot be read or reached.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import click

from notifications.cli.complaints import complaint
from notifications.cli.host import uncollected
from notifications.errors import HuntazeError

COMMANDS: Mapping[str, str] = {
    "up": "Run the whole hub in one process.",
    "door": "Run a Service Bus of your own for clients that have no Azure.",
    "demo": "See it work: a hub, a sample tenant, and what lands where.",
    "publish": "Publish the events of a file.",
    "dead-letters": "List, replay and purge what nobody could deal with.",
    "replay": "Send a range of events to an endpoint once more.",
    "webhooks": "Try webhooks: listen for them, or verify a receiver of yours.",
    "mails": "Look at the mails.",
    "audit": "Prove that nothing was lost.",
    "doctor": "Check what is configured and what answers.",
    "migrate": "Bring the database to this release.",
    "cost": "Say what the hub costs on Azure.",
    "topology": "Show the bus's topics, or make a namespace have them.",
}
"""What each command does, in the order of the help. It stands here so that the help of them all
loads none of them."""


class Commands(click.Group):
    """Loads a command's module when the command runs, and turns errors into complaints."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        name = cmd_name.replace("-", "_")
        with uncollected():
            found = getattr(importlib.import_module(f"notifications.cli.{name}"), name)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except HuntazeError as error:
            raise complaint(error) from error


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    # Here, since it takes as long to load as everything else that the help needs.
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("huntaze-notifications")
    except PackageNotFoundError:
        found = "(not installed)"
    click.echo(f"huntaze {found}")
    ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def huntaze() -> None:
    """Publish an event once: toasts, mails and signed webhooks, retried for a day, never lost."""
