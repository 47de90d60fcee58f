"""The hub on one machine: the `huntaze` command."""

import io
import os
import sys
from typing import TYPE_CHECKING

from ai_workers.loading import load_ai_workers
from notifications.cli.host import Host, uncollected
from notifications.cli.main import huntaze

if TYPE_CHECKING:
    from notifications.extensions import Extension


def main() -> None:
    """Run the command that the arguments name, in this process's environment."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a letter shows another; it is no reason to end.
            stream.reconfigure(errors="replace")
    huntaze(prog_name="huntaze", obj=Host(variables=os.environ, extension=_ai_workers))


def _ai_workers() -> "Extension":
    """What the hub of one machine runs beside its own."""
    with uncollected():
        return load_ai_workers()


if __name__ == "__main__":
    main()
