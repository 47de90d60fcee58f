"""`huntaze audit`: proves the ledger. The proof itself is `notifications.stores.audit`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import DBAPIError

from notifications.auditing import expectations, service_bus_seen
from notifications.cli.access import DEFAULT_DATA, read_settings
from notifications.cli.complaints import Hindrance
from notifications.cli.looks import RIGHT, WRONG, terminal
from notifications.cli.resting import check_at_rest
from notifications.errors import Unavailable
from notifications.owner import DataFolder
from notifications.retries import MINUTE
from notifications.settings import Settings
from notifications.stores.audit import COLUMNS, AuditReport, figures
from notifications.stores.audit_sources import run_audit, run_shared_audit
from notifications.timing import SystemClock

_HEADINGS = {"deadLettered": "dead letters"}

_WORTH_SAYING_MS = 5 * MINUTE
"""A hub at work looks after its data every minute."""


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=(DEFAULT_DATA,),
    multiple=True,
    show_default=True,
    help="The data folder; of each hub, where several share the database of HUNTAZE_DATABASE_URL.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def audit(context: click.Context, data: Sequence[Path], as_json: bool) -> None:
    """Prove that no event was lost and no row says what is not so.

    Reads the data folder, or the database of HUNTAZE_DATABASE_URL and the buses beside it, and
    changes nothing; a hub may run on them meanwhile. Prints deliveries by state, and what is
    wrong. Exits with 1 if anything is missing or wrong, and with 2 if the data could not be read.
    """
    report = _audit(data, read_settings(context))
    if as_json:
        click.echo(orjson.dumps(figures(report), option=orjson.OPT_INDENT_2))
    else:
        _print(report)
    if not report.clean:
        context.exit(1)


def _audit(folders: Sequence[Path], settings: Settings) -> AuditReport:
    url = settings.database_url
    files = [DataFolder(folder).database for folder in folders]
    for folder in folders:
        check_at_rest(DataFolder(folder))
    expected = expectations(SystemClock().now())
    try:
        if url is not None and settings.service_bus is not None and settings.bus == "servicebus":
            bus = service_bus_seen(settings.service_bus)
            return run_shared_audit(url, (), expected, bus)
        if url is not None:
            return run_shared_audit(url, files, expected)
        if len(files) > 1:
            raise Hindrance(
                "several data folders belong together only where their hubs share a database:"
                " set HUNTAZE_DATABASE_URL, or audit each folder by itself"
            )
        return run_audit(files[0], expected)
    except FileNotFoundError as error:
        raise Hindrance(
            f"there is no hub's data ({error}): point --data at a hub's data folder"
        ) from None
    except Unavailable as error:
        raise Hindrance(str(error)) from error
    except DBAPIError as error:
        what = "the database of HUNTAZE_DATABASE_URL" if url is not None else files[0]
        raise Hindrance(f"{what} cannot be read: {error.orig}") from error


def _print(report: AuditReport) -> None:
    console = terminal()
    if report.tenants:
        console.print(_table(report))
    else:
        console.print("no deliveries yet")
    for violation in report.violations:
        console.print(WRONG, Text(violation), soft_wrap=True)
    if report.unsaid:
        console.print(WRONG, f"… and {report.unsaid} more", highlight=False)
    if SystemClock().now() - report.as_of > _WORTH_SAYING_MS:
        at = datetime.fromtimestamp(report.as_of / 1000, UTC)
        console.print(
            f"as of {at:%Y-%m-%d %H:%M} UTC, when a hub last looked after it", highlight=False
        )
    if report.clean:
        console.print(RIGHT, "nothing is missing, nothing is wrong")
    else:
        wrong = len(report.violations) + report.unsaid
        console.print(WRONG, f"{report.missing} missing, {wrong} wrong in all", highlight=False)


def _table(report: AuditReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("tenant", overflow="fold")
    table.add_column("channel")
    for column in COLUMNS:
        table.add_column(_HEADINGS.get(column, column), justify="right")
    for tenant_id, channels in sorted(report.tenants.items()):
        for channel, counts in sorted(channels.items()):
            shown = (str(counts[column]) if counts[column] else "·" for column in COLUMNS)
            table.add_row(tenant_id, channel, *shown)
    return table
