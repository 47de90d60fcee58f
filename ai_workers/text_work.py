"""What the workers have in common that ask about text; schemas are everybody's."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ai_workers.ports import Question, Run
from ai_workers.prompts import LOCALES, Told, shipped_prompts
from notifications.ports import Dice
from notifications.shipped import SCHEMAS


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


def language_of(run: Run) -> str:
    """The language to write in: the one asked for, else the reader's, else English."""
    wanted = str(run.input.get("language", run.locale))
    return wanted if wanted in LOCALES else LOCALES[0]


def question_of(
    run: Run,
    job_type: str,
    *,
    told: Mapping[str, Told],
    material: Mapping[str, Any],
    found: Mapping[str, Any] | None = None,
    schema: Mapping[str, Any],
    most_tokens: int,
    dice: Dice,
) -> Question:
    """A question about text.

    Args:
        run: The run that asks.
        job_type: Whose prompts are used.
        told: Values for the instructions.
        material: What people wrote, and what is known of it: what the model gets to see.
        found: What was computed, for a model that computes its answer from values.
        schema: Of the answer.
        most_tokens: The longest answer that is wanted.
        dice: Makes the fence.
    """
    locale = language_of(run)
    prompt = shipped_prompts(job_type).render(
        locale, told=told, material=material, schema=schema, dice=dice
    )
    return Question(
        job_type=job_type,
        locale=locale,
        system=prompt.system,
        user=prompt.user,
        material={"input": run.input, **(found or {})},
        schema=schema,
        most_tokens=most_tokens,
    )
