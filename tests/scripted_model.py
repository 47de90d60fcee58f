"""A model that says what it was told to, in order."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ai_workers.ports import ModelFailed, Question, Reply, Usage

Line = str | ModelFailed | float
"""A reply, a failure, or seconds of silence."""


def usage_of(number: int) -> Usage:
    """What the n-th question took, from 1: told apart by its numbers."""
    return Usage(
        model="scripted", input_tokens=100 * number, output_tokens=number, cost_nano_usd=number
    )


@dataclass(slots=True)
class ScriptedModel:
    """Implements `ports.Model`.

    Attributes:
        lines: What it says to the 1st, 2nd, ... question; to the rest what it said last.
        asked: The questions so far.
    """

    lines: Sequence[Line]
    asked: list[Question] = field(default_factory=list)

    async def answer(
        self,
        question: Question,
        *,
        within_s: float,
        spent: Callable[[Usage], None] | None = None,
    ) -> Reply:
        """The next line; a silence that is cut short costs what the question does."""
        self.asked.append(question)
        line = self.lines[min(len(self.asked), len(self.lines)) - 1]
        if isinstance(line, ModelFailed):
            raise line
        if isinstance(line, float):
            try:
                await asyncio.sleep(line)
            except asyncio.CancelledError:
                if spent is not None:
                    spent(usage_of(len(self.asked)))
                raise
            line = "{}"
        return Reply(text=line, usage=usage_of(len(self.asked)))
