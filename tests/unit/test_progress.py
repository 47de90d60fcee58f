"""How far a command is, for whoever watches."""

import pytest
from rich.progress import MofNCompleteColumn

from notifications.cli import progress


def test_where_nobody_watches_nothing_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes, a log file gets what is said and not a character of the bar."""
    monkeypatch.setattr(progress, "_PATIENCE_S", -1.0)
    with progress.progress_bar("sending", 2, MofNCompleteColumn()) as bar:
        for position in (1, 2):
            bar.show(position)
        bar.print("done")

    said = capsys.readouterr()
    assert (said.out, said.err) == ("done\n", "")
