"""What jobs take and give: the files of `schemas/jobs`, of every type there is."""

from collections.abc import Iterator
from typing import Any

import pytest

from ai_workers.compiling import validator_of
from notifications.shipped import SCHEMAS
from tests.job_runs import schema_of

TYPES = sorted(path.name for path in (SCHEMAS / "jobs").iterdir() if path.is_dir())
FILES = [(job_type, name) for job_type in TYPES for name in ("v1", "v1.result")]
NEEDED = {
    "string": ({"enum"}, {"maxLength"}),
    "integer": ({"enum"}, {"minimum", "maximum"}),
    "number": ({"enum"}, {"minimum", "maximum"}),
    "array": ({"maxItems", "items"},),
    "object": ({"additionalProperties", "properties"},),
}


def parts(schema: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within a schema that says a type, with its place."""
    if isinstance(schema, dict):
        if "type" in schema and not isinstance(schema["type"], dict):
            yield at or "/", schema
        for name, inner in schema.items():
            yield from parts(inner, f"{at}/{name}")
    elif isinstance(schema, list):
        for place, inner in enumerate(schema):
            yield from parts(inner, f"{at}/{place}")


def kinds(schema: dict[str, Any]) -> list[str]:
    """The types it takes."""
    given = schema["type"]
    return [given] if isinstance(given, str) else list(given)


@pytest.mark.parametrize(("job_type", "name"), FILES)
def test_the_example_is_right(job_type: str, name: str) -> None:
    """What documentation shows is what is taken and given."""
    validator = validator_of(schema_of(job_type, name))
    assert list(validator.iter_errors(schema_of(job_type, f"{name}.example"))) == []


@pytest.mark.parametrize(("job_type", "name"), FILES)
def test_everything_is_bounded(job_type: str, name: str) -> None:
    """No text, number or list is without an end, and no object takes unknown fields."""
    unbounded = [
        at
        for at, schema in parts(schema_of(job_type, name))
        for kind in kinds(schema)
        if kind in NEEDED and not any(each <= schema.keys() for each in NEEDED[kind])
    ]
    assert unbounded == []


@pytest.mark.parametrize(("job_type", "name"), FILES)
def test_everything_is_explained(job_type: str, name: str) -> None:
    """Every field has a description, and every pattern says what would be right. Choices of a
    list are explained by the list."""
    silent = [
        at
        for at, schema in parts(schema_of(job_type, name))
        if ("description" not in schema and not (at.endswith("/items") and "enum" in schema))
        or ("pattern" in schema and "errorMessage" not in schema)
    ]
    assert silent == []


@pytest.mark.parametrize("job_type", TYPES)
def test_every_result_says_what_it_is_in_short(job_type: str) -> None:
    """The event that tells of a result shows its summary."""
    assert "summary" in schema_of(job_type, "v1.result")["required"]
