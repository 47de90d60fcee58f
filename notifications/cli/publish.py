"""`huntaze publish`: the events of a file to the hub."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click
from rich.progress import DownloadColumn

from notifications.cli.access import Access, find_hub, hub_options, read_settings
from notifications.cli.batches import Answer, batches, publish_batch
from notifications.cli.calls import open_hub
from notifications.cli.complaints import Complaint, Hindrance
from notifications.cli.event_files import Entry, UnreadableFile, read_entries, with_attributes
from notifications.cli.progress import progress_bar
from notifications.errors import Unavailable
from notifications.events import is_tenant_id

_AGAIN = "the rest was not sent: {} publish it again, what the hub has already is a duplicate"


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--tenant", help="The tenant of events that name none.")
@click.option("--id", "event_id", help="The id of the event, where a file with one has none.")
@hub_options
@click.pass_context
def publish(
    context: click.Context,
    file: BinaryIO,
    tenant: str | None,
    event_id: str | None,
    url: str | None,
    key: str | None,
    data: Path,
) -> None:
    """Publish the events of FILE: one event, an array, or JSON lines; - is stdin.

    Prints each event's id and what became of it: accepted, duplicate, or refused and why.
    Sending a file again is harmless: what the hub has already is a duplicate.

    Exits with 1 if any event was refused, and with 2 if the file could not be read to its end or
    the hub did not answer.
    """
    if tenant is not None and not is_tenant_id(tenant):
        raise click.BadParameter("1-36 characters of A-Z a-z 0-9 _ -", param_hint="--tenant")
    access = find_hub(read_settings(context), url=url, key=key, data=data)
    tally = Tally()
    try:
        entries = with_attributes(read_entries(file), tenant_id=tenant, event_id=event_id)
        asyncio.run(_publish(access, entries, file, tally))
    except UnreadableFile as error:
        raise Hindrance(f"{error}\n{tally}; {_AGAIN.format('correct the file and')}") from error
    except Unavailable as error:
        raise Hindrance(f"{error}\n{tally}; {_AGAIN.format('to go on,')}") from error
    if not tally.answered:
        raise Hindrance(f"there is no event in {file.name}")
    if tally.refused:
        raise Complaint(str(tally))


class Tally:
    """How many events were sent, and how they fared."""

    def __init__(self) -> None:
        self.answered = 0
        self.refused = 0

    def add(self, answers: Sequence[Answer]) -> None:
        """Count them."""
        self.answered += len(answers)
        self.refused += sum(answer.refused is not None for answer in answers)

    def __str__(self) -> str:
        return f"with the hub: {self.answered - self.refused}; refused: {self.refused}"


async def _publish(access: Access, entries: Iterator[Entry], file: BinaryIO, tally: Tally) -> None:
    with progress_bar("publishing", _size(file), DownloadColumn()) as progress:
        async with open_hub(access, progress.say) as hub:
            for batch in batches(entries):
                answers = await publish_batch(hub, batch)
                tally.add(answers)
                progress.show(batch[-1].position)
                progress.print("\n".join(map(str, answers)))


def _size(file: BinaryIO) -> int | None:
    """Bytes in the file; None where it has no end that is known."""
    if not file.seekable():
        return None
    try:
        return Path(file.name).stat().st_size
    except (OSError, TypeError):
        return None
