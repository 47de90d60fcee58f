"""What the program that runs a command tells it. Loads nothing: the help needs it, too."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from notifications.extensions import Extension


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The program that a command runs in: what it knows and the command does not.

    Attributes:
        variables: The environment.
        extension: Loads what a hub runs beside its own, or says that there is nothing; only a
            command that runs a hub asks, since that takes time.
    """

    variables: Mapping[str, str] = field(repr=False)
    extension: Callable[[], "Extension | None"] = lambda: None


def host_of(context: click.Context) -> Host:
    """The program that the command runs in."""
    host = context.find_root().obj
    assert isinstance(host, Host)
    return host


@contextmanager
def uncollected() -> Iterator[None]:
    """Load modules without looking for garbage: what is loaded stays, and looking for some
    meanwhile takes a sixth of the time to a start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
