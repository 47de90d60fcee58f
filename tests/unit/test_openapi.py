"""The OpenAPI document."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from ai_workers.extension import ROUTERS as OF_JOBS
from notifications.http.app import ROUTERS
from notifications.http.routing import KeyRoute
from tests.openapi_calls import CATALOGUE, DOCUMENT

OPEN = {"GET /healthz", "GET /readyz", "GET /metrics"}
"""What anybody may ask."""


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation, as `METHOD path` and what is said of it."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def references(value: object) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_it_is_openapi_3_1() -> None:
    """Tools read the version first."""
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_every_reference_leads_somewhere() -> None:
    """Each `$ref` points at a part of the document that is there."""
    for reference in set(references(DOCUMENT)):
        place = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def test_every_schema_is_one() -> None:
    """Each component compiles as JSON Schema 2020-12."""
    for name in DOCUMENT["components"]["schemas"]:
        whole = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
        assert jsonschema_rs.Draft202012Validator(whole), name


def test_every_operation_says_what_it_does() -> None:
    """Each has a summary, a description, one known tag, and an id of its own."""
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    ids = [operation["operationId"] for _, operation in operations()]

    assert len(set(ids)) == len(ids)
    for name, operation in operations():
        assert operation["summary"], name
        assert operation["description"], name
        assert len(operation["tags"]) == 1, name
        assert set(operation["tags"]) <= tags, name


def test_a_key_is_asked_for_wherever_the_gate_asks() -> None:
    """Guarded operations name their security; the others are known and few."""
    gated = {
        f"{method} {route.path_format}"
        for router in (*ROUTERS, *OF_JOBS)
        for route in router.routes
        if isinstance(route, KeyRoute)
        for method in route.methods
    }
    secured = {name for name, operation in operations() if operation.get("security")}

    assert secured == gated
    assert {name for name, _ in operations()} - secured == OPEN


def test_every_guarded_operation_documents_its_problems() -> None:
    """401, 404, 422, 500 and 503 are problem documents wherever there is a key to be shown."""
    for name, operation in operations():
        if name in OPEN:
            continue
        for status in ("401", "404", "422", "500", "503"):
            content = operation["responses"][status]["content"]
            assert "application/problem+json" in content, (name, status)


@pytest.mark.parametrize("name", [each.name for each in CATALOGUE.types()])
def test_an_event_of_every_type_is_right_by_the_document(name: str) -> None:
    """Each type's example is a CloudEvent by the schema, and is none with another type's data."""
    whole = {"$ref": "#/components/schemas/CloudEvent", "components": DOCUMENT["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole)
    (found,) = [each for each in CATALOGUE.types() if each.name == name]
    event = {**found.example, "id": "sample-1", "tenantid": "acme"}

    assert validator.is_valid(event)
    assert not validator.is_valid({**event, "data": {"nothing": "of the kind"}})
    assert not validator.is_valid({**event, "type": "job.exploded"})
