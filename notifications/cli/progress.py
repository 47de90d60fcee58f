"""How far a command is, for whoever watches."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_PATIENCE_S = 1.0
"""How long it may take before it shows how far it is."""


class ProgressBar:
    """A bar on stderr, once it takes long; none where nobody watches."""

    def __init__(self, bar: Progress, what: str, total: int | None) -> None:
        self._bar = bar
        self._what = what
        self._total = total
        self._task: TaskID | None = None
        self._started = bar.get_time()

    def say(self, text: str) -> None:
        """Say something above the bar."""
        self._bar.console.print(Text(f"huntaze: {text}"), soft_wrap=True)

    def print(self, lines: str) -> None:
        """Print to stdout; where that is the bar's own terminal, above the bar."""
        if self._task is not None and sys.stdout.isatty():
            self._bar.console.print(Text(lines), soft_wrap=True)
        else:
            click.echo(lines)

    def close(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bar.stop()

    def show(self, position: int) -> None:
        """Show how far it is."""
        watched = self._bar.console.is_terminal  # else stopping it would leave a line end behind
        if self._task is None and watched and self._bar.get_time() - self._started > _PATIENCE_S:
            self._task = self._bar.add_task(self._what, total=self._total)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=position)


@contextmanager
def progress_bar(what: str, total: int | None, count: ProgressColumn) -> Iterator[ProgressBar]:
    """A bar, taken away at the end.

    Args:
        what: What is being done.
        total: How much there is to do; None where that is not known.
        count: Shows how much of it is done.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        count,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    progress = ProgressBar(bar, what, total)
    try:
        yield progress
    finally:
        progress.close()
