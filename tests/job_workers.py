"""Small workers for tests: they do what they are told, and ask a model that costs something."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from ai_workers.extension import AiWorkers
from ai_workers.ports import Answered, Asking, Question, Run, Usage
from notifications.extensions import Parts

CHAT, VIDEO = "chat.suggest", "video.analysis"
TYPES = (CHAT, VIDEO)

INPUT: Mapping[str, Any] = {
    "type": "object",
    "required": ["text"],
    "additionalProperties": False,
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 100_000},
        "title": {"type": "string", "maxLength": 200},
        "locale": {"enum": ["fr", "en"]},
        "language": {"enum": ["fr", "en"]},
        "sleepMs": {"type": "integer", "minimum": 0, "maximum": 600_000},
    },
}
RESULT: Mapping[str, Any] = {
    "type": "object",
    "required": ["summary", "words"],
    "additionalProperties": False,
    "properties": {"summary": {"type": "string"}, "words": {"type": "integer"}},
}

COST = 1_234_567
"""What one question costs, in billionths of a dollar."""

Act = Callable[[Run], Awaitable[Mapping[str, Any]]]


def schemas(folder: Path) -> Path:
    """The schemas of the workers' job types, written to a folder."""
    for name in TYPES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "v1.json").write_bytes(orjson.dumps(INPUT))
        (folder / name / "v1.result.json").write_bytes(orjson.dumps(RESULT))
    return folder


def question(run: Run) -> Question:
    """What the workers ask."""
    return Question(
        job_type=CHAT,
        locale=run.locale,
        system="Count.",
        user="",
        material=run.input,
        schema=RESULT,
    )


async def count_words(run: Run) -> Mapping[str, Any]:
    """Read, ask, answer: what a worker does where nothing goes wrong."""
    await run.progress(30, "reading")
    await asyncio.sleep(run.input.get("sleepMs", 0) / 1000)
    return await run.ask(question(run))


class Obedient:
    """Implements `ports.JobWorker`: does the acts of its script in turn, then counts words.

    Attributes:
        script: What its next runs do.
        runs: The inputs of the runs it began.
    """

    def __init__(self, job_type: str) -> None:
        self._job_type = job_type
        self.script: deque[Act] = deque()
        self.runs: list[Mapping[str, Any]] = []

    @property
    def job_type(self) -> str:
        """See `ports.JobWorker`."""
        return self._job_type

    async def run(self, run: Run) -> Mapping[str, Any]:
        """See `ports.JobWorker`."""
        self.runs.append(run.input)
        act = self.script.popleft() if self.script else count_words
        return await act(run)


class Counting:
    """Implements `ports.Asking`: counts the words of the material, for money."""

    async def ask(
        self,
        question: Question,
        *,
        within_s: float,
        spent: Callable[[Usage], None] | None = None,
    ) -> Answered:
        """See `ports.Asking`."""
        assert within_s > 0
        text = question.material["text"]
        words = len(text.split())
        took = usage(words)
        if spent is not None:
            spent(took)
        result = {"summary": f"{words} words in {question.locale}", "words": words}
        return Answered(result=result, usage=[took])


def usage(tokens: int = 1) -> Usage:
    """What one question takes."""
    return Usage(model="counting-1", input_tokens=tokens, output_tokens=2, cost_nano_usd=COST)


@asynccontextmanager
async def counting(_parts: Parts) -> AsyncIterator[Asking]:
    """Opens what the workers ask."""
    yield Counting()


def extension(folder: Path, workers: Sequence[Obedient] | None = None) -> AiWorkers:
    """The workers as a hub runs them; their schemas are written to a folder."""
    made = [Obedient(name) for name in TYPES] if workers is None else workers
    return AiWorkers(made, schemas(folder), counting)
