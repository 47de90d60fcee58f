"""What the workers have in common that ask about text; schemas are everybody's."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from ai_workers.ports import Question, Run
from ai_workers.prompts import Told, shipped_prompts
from notifications.ports import Dice
from notifications.shipped import SCHEMAS
from notifications.timing import SystemDice


def result_schema(job_type: str) -> dict[str, Any]:
    """The schema of a job type's results, as a copy that may be changed."""
    path = SCHEMAS / "jobs" / job_type / "v1.result.json"
    schema: dict[str, Any] = orjson.loads(path.read_bytes())
    return schema


def part_of(schema: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """The schema of an answer that has these fields of a result, all of them."""
    return {
        "type": "object",
        "properties": {name: copy.deepcopy(schema["properties"][name]) for name in fields},
        "required": list(fields),
        "additionalProperties": False,
    }


class TextWorker:
    """What a worker is that asks about text; what it does with a run is its own.

    Attributes:
        JOB_TYPE: e.g. `chat.suggest`.
        ANSWERED: The fields of a result that a model is asked for.
        MOST_TOKENS: The longest answer that is wanted.
    """

    JOB_TYPE: ClassVar[str]
    ANSWERED: ClassVar[Sequence[str]]
    MOST_TOKENS: ClassVar[int]

    def __init__(self, *, dice: Dice | None = None) -> None:
        """Be ready; `dice` makes what nobody can guess, by default the machine's."""
        self._dice = dice or SystemDice()
        self._schema = self._answers(result_schema(self.JOB_TYPE))

    @property
    def job_type(self) -> str:
        """See `ports.JobWorker.job_type`."""
        return self.JOB_TYPE

    def _answers(self, result: dict[str, Any]) -> dict[str, Any]:
        """The schema of answers, made of that of results."""
        return part_of(result, self.ANSWERED)

    def question(
        self,
        run: Run,
        *,
        told: Mapping[str, Told],
        material: Mapping[str, Any],
        found: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> Question:
        """A question about text.

        Args:
            run: The run that asks.
            told: Values for the instructions.
            material: What people wrote, and what is known of it: what the model gets to see.
            found: What was computed, for a model that computes its answer from values.
            schema: Of the answer, where it is this run's alone.
        """
        schema = schema or self._schema
        prompt = shipped_prompts(self.JOB_TYPE).render(
            run.locale, told=told, material=material, schema=schema, dice=self._dice
        )
        return Question(
            job_type=self.JOB_TYPE,
            locale=run.locale,
            system=prompt.system,
            user=prompt.user,
            material={"input": run.input, **(found or {})},
            schema=schema,
            most_tokens=self.MOST_TOKENS,
        )
