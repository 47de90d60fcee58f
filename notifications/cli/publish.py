"""`huntaze publish`: the events of a file to the hub."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from notifications.cli.access import Access, find_hub, hub_options, read_settings
from notifications.cli.batches import Answer, Publisher, batches, new_client
from notifications.cli.complaints import Complaint, Hindrance
from notifications.cli.event_files import Entry, UnreadableFile, read_entries, with_attributes
from notifications.errors import Unavailable
from notifications.events import is_tenant_id

_PATIENCE_S = 1.0
"""How long it may take before it shows how far it is."""

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
    async with new_client() as client:
        with _progress(file) as progress:
            publisher = Publisher(access, client, progress.say)
            for batch in batches(entries):
                answers = await publisher.publish(batch)
                tally.add(answers)
                progress.show(batch[-1].position)
                progress.print("\n".join(map(str, answers)))


class _Progress:
    """A bar on stderr, once it takes long; none where nobody watches."""

    def __init__(self, bar: Progress, total: int | None) -> None:
        self._bar = bar
        self._total = total
        self._task: TaskID | None = None
        self._started = bar.get_time()

    def say(self, text: str) -> None:
        """Say something above the bar."""
        self._bar.console.print(Text(f"huntaze: {text}"), soft_wrap=True)

    def print(self, lines: str) -> None:
        """Print to stdout; where that is the bar's own terminal, above the bar."""
        if self._task is not None and self._bar.console.is_terminal and sys.stdout.isatty():
            self._bar.console.print(Text(lines), soft_wrap=True)
        else:
            click.echo(lines)

    def close(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bar.stop()

    def show(self, position: int) -> None:
        """Show how far it is, in bytes."""
        if self._task is None and self._bar.get_time() - self._started > _PATIENCE_S:
            self._task = self._bar.add_task("publishing", total=self._total)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=position)


@contextmanager
def _progress(file: BinaryIO) -> Iterator[_Progress]:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    progress = _Progress(bar, _size(file))
    try:
        yield progress
    finally:
        progress.close()


def _size(file: BinaryIO) -> int | None:
    """Bytes in the file; None where it has no end that is known."""
    if not file.seekable():
        return None
    try:
        return Path(file.name).stat().st_size
    except (OSError, TypeError):
        return None
