"""What the program that runs a command tells it. Loads nothing: the help needs it, too."""

from collections.abc import Callable, Mapping
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
