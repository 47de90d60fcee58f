"""What `huntaze webhooks verify` tells of a receiver: a common cause first, each reason once."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from notifications.cli.looks import DOUBTFUL, RIGHT, WRONG
from notifications.cli.webhook_verifier import Judged, Verdict

_MARKS = {Verdict.RIGHT: RIGHT, Verdict.DOUBTFUL: DOUBTFUL, Verdict.WRONG: WRONG}
_NAMED = 3
_SECRET = "is this the secret it verifies with?"  # noqa: S105 - a question
_URL = "is the URL right?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Something wrong or doubtful, and all that it was found by.

    Attributes:
        verdict: Which of the two.
        why: In words.
        sent: The names of the checks, in the order in which they were sent.
    """

    verdict: Verdict
    why: str
    sent: Sequence[str]

    def __str__(self) -> str:
        # One more than are named is named, too: it takes no more room than saying so.
        if len(self.sent) <= _NAMED + 1:
            return f"{', '.join(self.sent)}: {self.why}"
        more = len(self.sent) - _NAMED
        return f"{', '.join(self.sent[:_NAMED])} and {more} more: {self.why}"


def likely_cause(judged: Sequence[Judged]) -> str:
    """What is behind all answers at once; empty where nothing is.

    Args:
        judged: All checks; the first is a plain, valid webhook.
    """
    status = _status_of_all(judged)
    if status is None:
        if judged[0].verdict is Verdict.WRONG:
            return f"a valid webhook is answered {judged[0].answer}: {_SECRET}"
        return ""
    alike = f"everything is answered {status}"
    if 200 <= status < 300:
        return f"{alike}, valid or not: does it verify at all?"
    if 300 <= status < 400:
        return f"{alike}: {_URL} No redirect is followed"
    if status in (404, 405, 410):
        return f"{alike}: {_URL}"
    if status in (401, 403):
        return f"{alike}: {_SECRET} Or does something before it ask who calls?"
    if status >= 500:
        return f"{alike}: is it running as it should? Its own log says why"
    return f"{alike}: {_SECRET}"


def reasons(judged: Sequence[Judged]) -> list[Reason]:
    """What is wrong or doubtful, each thing once, in the order in which it was found.

    Where everything is refused alike, that is the one reason, which `likely_cause` tells: what
    would follow for each check is left out.
    """
    status = _status_of_all(judged)
    refused = status is not None and not 200 <= status < 300
    found: dict[tuple[Verdict, str], list[str]] = {}
    for each in judged:
        if each.why and not (refused and each.answer.status == status):
            found.setdefault((each.verdict, each.why), []).append(each.check.name)
    return [
        Reason(verdict=verdict, why=why, sent=tuple(sent)) for (verdict, why), sent in found.items()
    ]


def show(console: Console, url: str, judged: Sequence[Judged]) -> None:
    """Print the report.

    Args:
        console: Where.
        url: The receiver.
        judged: All checks.
    """
    wrong = sum(each.verdict is Verdict.WRONG for each in judged)
    if cause := likely_cause(judged):
        console.print(WRONG, Text(cause))
        console.print()
    console.print(_table(judged))
    console.print()
    for each in reasons(judged):
        console.print(_MARKS[each.verdict], Text(str(each)))
    if wrong:
        console.print(WRONG, Text(f"{wrong} of {len(judged)} are not as they should be"))
    else:
        console.print(RIGHT, Text(f"{url} accepts what it should, and nothing else"))


def _table(judged: Sequence[Judged]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "sent", "should be", "answered", "ms"):
        table.add_column(heading, justify="right" if heading == "ms" else "left")
    for each in judged:
        table.add_row(
            _MARKS[each.verdict],
            Text(each.check.name),
            "accepted" if each.check.accept else "refused",
            Text(str(each.answer)),
            str(each.answer.duration_ms),
        )
    return table


def _status_of_all(judged: Sequence[Judged]) -> int | None:
    """The one status of all answers, if there is one."""
    # What is too large does not count: a server or a proxy may cut it off before the receiver.
    statuses = {each.answer.status for each in judged if not each.check.advice}
    return statuses.pop() if len(statuses) == 1 else None
