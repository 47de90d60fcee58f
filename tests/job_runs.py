"""A run of a job without a hub around it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from ai_workers.asking import PatientAsking
from ai_workers.compiling import validator_of
from ai_workers.models.offline import OfflineModel
from ai_workers.ports import Model, Question, Usage
from notifications.shipped import SCHEMAS
from notifications.testing import SeededDice
from notifications.timing import SystemClock


def schema_of(job_type: str, name: str = "v1") -> Any:
    """A job type's file: `v1`, `v1.example`, `v1.result`, `v1.result.example`."""
    return orjson.loads((SCHEMAS / "jobs" / job_type / f"{name}.json").read_bytes())


def is_valid(value: object, job_type: str, name: str = "v1") -> bool:
    """Whether a schema of the job type takes it."""
    return validator_of(schema_of(job_type, name)).is_valid(value)


@dataclass(slots=True)
class LoneRun:
    """Implements `ports.Run`.

    Attributes:
        input: The job's input.
        locale: The reader's language.
        model: Who answers.
        steps: How far it said it was.
        asked: What it asked.
        usage: What that took.
    """

    input: Mapping[str, Any]
    locale: str = "en"
    model: Model = field(default_factory=OfflineModel)
    steps: list[tuple[int, str]] = field(default_factory=list)
    asked: list[Question] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)

    async def progress(self, percent: int, step: str) -> None:
        """Note it."""
        self.steps.append((percent, step))

    async def ask(self, question: Question) -> Mapping[str, Any]:
        """Ask with patience."""
        self.asked.append(question)
        asking = PatientAsking(self.model, clock=SystemClock(), dice=SeededDice())
        answered = await asking.ask(question, within_s=60)
        self.usage += answered.usage
        return answered.result
