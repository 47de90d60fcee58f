"""How commands look: one console, one set of marks."""

from rich.console import Console
from rich.text import Text

RIGHT = Text("✓", style="green")
WRONG = Text("✗", style="red")
DOUBTFUL = Text("!", style="yellow")

_WIDTH_OF_A_FILE = 160


def terminal() -> Console:
    """Standard output: as wide as the terminal; wide where it is none, so that no table breaks."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_A_FILE)
