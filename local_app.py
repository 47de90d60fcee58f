"""The hub on one machine: the `huntaze` command."""

import os

from notifications.cli.main import huntaze


def main() -> None:
    """Run the command that the arguments name, in this process's environment."""
    huntaze(prog_name="huntaze", obj=os.environ)


if __name__ == "__main__":
    main()
