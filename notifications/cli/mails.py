"""`huntaze mails`: what the mails look like."""

from pathlib import Path

import click

from notifications.cli.access import read_settings
from notifications.cli.complaints import Hindrance
from notifications.cli.mail_previews import previews, write
from notifications.timing import SystemClock


@click.group()
def mails() -> None:
    """Look at the mails."""


@mails.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("mail-preview"),
    show_default=True,
    help="The folder to write to; it is made, and files of the same names are replaced.",
)
@click.pass_context
def preview(context: click.Context, out: Path) -> None:
    """Write every mail in every language to a folder, and a page that shows them all.

    The mails are those of the examples of the event types. For each there is a folder with
    subject.txt, body.html and body.txt; index.html shows them at the width of a phone and of a
    desktop, with the plain text beside.
    """
    settings = read_settings(context)
    found = previews(settings.app_url, SystemClock().wall())
    try:
        index = write(found, out)
    except OSError as error:
        raise Hindrance(f"cannot write to {out} ({error.strerror}): give another --out") from error
    click.echo(f"{len(found)} mails; open {index}")
