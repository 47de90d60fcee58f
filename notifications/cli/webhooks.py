"""`huntaze webhooks`: for those who build receivers."""

import click

from notifications.cli.webhooks_listen import listen
from notifications.cli.webhooks_verify import verify


@click.group()
def webhooks() -> None:
    """Try webhooks: listen for them, or verify a receiver of yours."""


webhooks.add_command(listen)
webhooks.add_command(verify)
