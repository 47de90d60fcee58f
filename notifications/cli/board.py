"""What the demo shows: each thing that lands, how long it took, and what has not landed yet."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

_STYLES: Mapping[str, str] = {
    "toast": "cyan",
    "mail": "magenta",
    "webhook": "green",
    "result": "bold blue",
}
_MOST_EARLY = 1_000


class Expected(NamedTuple):
    """Something that is to land."""

    event_id: str
    what: str
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """Something that landed.

    Attributes:
        event_id: Of which event, or of which job.
        what: `toast`, `mail`, `webhook`, or a job's `result`.
        who: Who got it.
        text: What it says.
        problem: Why it does not count, or None.
        at: When, by the board's clock, where it was not just now.
    """

    event_id: str
    what: str
    who: str
    text: str
    problem: str | None = None
    at: float | None = None


class Board:
    """Keeps what is expected, prints what lands."""

    def __init__(self, console: Console, now: Callable[[], float]) -> None:
        """Start empty.

        Args:
            console: Where to print.
            now: Seconds, monotonic.
        """
        self._console = console
        self.now = now
        self._published: dict[str, float] = {}
        self._types: dict[str, str] = {}
        self._missing: dict[Expected, None] = {}
        self._early: deque[Expected] = deque(maxlen=_MOST_EARLY)
        self._changed = asyncio.Event()
        self.count = 0
        """How many have landed."""

    def publishing(
        self,
        event_id: str,
        event_type: str,
        expected: Iterable[Expected],
        *,
        at: float | None = None,
    ) -> None:
        """An event's request begins now; latencies count from here.

        Args:
            event_id: The event, or a job: its events' ids begin with its own and a dot.
            event_type: Its type.
            expected: What is to land, or has landed already.
            at: When the request began, where it was not just now.
        """
        self._missing.update(dict.fromkeys(each for each in expected if each not in self._early))
        self._published[event_id] = self.now() if at is None else at
        self._types[event_id] = event_type
        self._print(Text.assemble((f"→ {event_type}  {event_id}", "bold")))

    def land(self, landing: Landing) -> None:
        """It has landed."""
        begun = self._published.get(self._known(landing.event_id))
        at = self.now() if landing.at is None else landing.at
        took = "" if begun is None else f"{(at - begun) * 1000:.0f} ms"
        style = "bold red" if landing.problem else _STYLES[landing.what]
        self._print(
            _line(took, (landing.what, style), landing.who, landing.problem or landing.text)
        )
        if landing.problem is None:
            self.count += 1
            landed = Expected(landing.event_id, landing.what, landing.who)
            self._missing.pop(landed, None)
            if begun is None:
                self._early.append(landed)  # the hub is quicker than its answer to who publishes
            self._changed.set()

    def _known(self, event_id: str) -> str:
        """The event itself, or the job that it tells of."""
        return event_id if event_id in self._published else event_id.partition(".")[0]

    def note(self, text: str) -> None:
        """Say something in between."""
        self._print(Text(" " * 11 + text, style="dim"))

    def _print(self, line: Text) -> None:
        self._console.print(line, no_wrap=True, overflow="ellipsis")

    def missing(self) -> list[str]:
        """What has not landed, one line each."""
        return [
            f"the {what} of {self._types.get(self._known(event_id), '?')} ({event_id}) for {who}"
            " did not land"
            for event_id, what, who in self._missing
        ]

    async def landed(self, awaited: Sequence[Expected] | None = None) -> None:
        """Wait until these have landed, or everything that is expected."""
        while any(awaited is None or each in awaited for each in self._missing):
            self._changed.clear()
            await self._changed.wait()


def _line(took: str, what: tuple[str, str], who: str, text: str) -> Text:
    name, style = what
    return Text.assemble((f"{took:>9}", "bold"), "  ", (f"{name:<8}", style), f" {who:<9} ", text)
