"""What the demo shows: what is missing, and since when latencies count."""

import io

from rich.console import Console

from notifications.cli.board import Board, Expected, Landing

JOB = "job_1"


def board(now: float = 10.0, printed: io.StringIO | None = None) -> Board:
    """A board at a time, and where it prints."""
    return Board(Console(width=120, file=printed or io.StringIO()), lambda: now)


def landing(event_id: str, what: str = "webhook", **changes: str) -> Landing:
    """Something that landed."""
    return Landing(event_id=event_id, what=what, who="ada", text="it says", **changes)


def test_what_landed_before_its_request_was_answered_is_not_missing() -> None:
    """A job's id is known once the hub has answered; its first events may be quicker."""
    shown = board()
    shown.land(landing(f"{JOB}.queued"))
    awaited = [Expected(f"{JOB}.{each}", "webhook", "ada") for each in ("queued", "end")]
    shown.publishing(JOB, "chat.suggest", awaited)

    assert shown.missing() == [f"the webhook of chat.suggest ({JOB}.end) for ada did not land"]
    shown.land(landing(f"{JOB}.end"))
    assert shown.missing() == []


def test_a_jobs_events_count_from_its_request() -> None:
    """Not from when the hub answered it."""
    printed = io.StringIO()
    shown = board(10.5, printed)
    shown.publishing(JOB, "chat.suggest", [], at=10.0)
    shown.land(landing(f"{JOB}.progress.1.1"))

    assert "500 ms  webhook" in printed.getvalue()


def test_what_landed_wrong_is_still_missing() -> None:
    """A result that is a failure does not count."""
    shown = board()
    shown.publishing(JOB, "chat.suggest", [Expected(JOB, "result", "ada")])
    shown.land(landing(JOB, "result", problem="chat.suggest failed: no model"))

    assert len(shown.missing()) == 1
