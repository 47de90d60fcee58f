"""What a command says to a person who can do something about it."""

from typing import IO, Any

import click

from notifications.errors import ConfigurationError, HuntazeError, Unavailable


class Complaint(click.ClickException):
    """The answer is no: one line each on stderr, without a traceback."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to stderr."""
        for line in self.message.splitlines():
            click.echo(f"huntaze: {line}", file=file, err=True)


class Hindrance(Complaint):
    """What the command needs is wrong, missing or away."""

    exit_code = 2


def complaint(error: HuntazeError) -> Complaint:
    """What to say when an error ends a command."""
    hindered = isinstance(error, ConfigurationError | Unavailable)
    return Hindrance(str(error)) if hindered else Complaint(str(error))
