"""The hub on one machine: the `huntaze` command."""

import io
import os
import sys

from notifications.cli.main import huntaze


def main() -> None:
    """Run the command that the arguments name, in this process's environment."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a letter shows another; it is no reason to end.
            stream.reconfigure(errors="replace")
    huntaze(prog_name="huntaze", obj=os.environ)


if __name__ == "__main__":
    main()
