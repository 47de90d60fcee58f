"""`huntaze migrate`: brings a database to this release."""

from pathlib import Path

import click

from notifications.cli.access import data_option, read_settings
from notifications.owner import own
from notifications.stores.migrate import migrate as migrate_file
from notifications.stores.migrate import migrate_server


@click.command()
@data_option
@click.pass_context
def migrate(context: click.Context, data: Path) -> None:
    """Bring the database to this release.

    `huntaze up` does it itself; this is for whoever does it beforehand, as a deployment does. It
    migrates the database of HUNTAZE_DATABASE_URL where that is set, else the one in the data
    folder, which no hub may be running on.
    """
    settings = read_settings(context)
    if settings.database_url is not None:
        migrate_server(settings.database_url)
        click.echo("the database of HUNTAZE_DATABASE_URL is at this release")
        return
    with own(data) as folder:
        migrate_file(folder.database)
        click.echo(f"{folder.database} is at this release")
