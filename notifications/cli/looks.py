"""How commands look: one console, one set of marks."""

import os
import sys

from rich.console import Console
from rich.text import Text

RIGHT = Text("✓", style="green")
WRONG = Text("✗", style="red")
DOUBTFUL = Text("!", style="yellow")

_WIDTH_OF_A_FILE = 160


class _Output(Console):
    """A console whose reader may leave: what is said then is said to nobody."""

    def on_broken_pipe(self) -> None:
        """Go on in silence. The library would end the process, which within a task ends nothing."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def terminal() -> Console:
    """Standard output: as wide as the terminal; wide where it is none, so that no table breaks."""
    console = _Output()
    return console if console.is_terminal else _Output(width=_WIDTH_OF_A_FILE)
