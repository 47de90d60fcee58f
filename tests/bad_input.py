"""Rows of bad input, and how each is held against its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from tests.hub_world import World, document

KINDS: Mapping[int, str] = {
    400: "not-json",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    409: "conflict",
    413: "too-large",
    415: "unsupported-media-type",
    422: "invalid",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is sent, and what must be answered.

    Attributes:
        name: What it is.
        body: A document, or bytes as they are; None for none.
        status: The answer's.
        pointer: Where something is wrong; None where the problem names no place.
        word: The detail, or that of an error, contains it.
        method: How it is sent.
        path: Where to.
        headers: Sent instead of, or beside, the usual ones; None takes one away.
    """

    name: str
    status: int
    word: str
    body: Any = None
    pointer: str | None = None
    method: str = "POST"
    path: str = "/v1/events"
    headers: Mapping[str, str | None] = field(default_factory=dict)


async def send(world: World, row: Row) -> httpx.Response:
    """Send a row as tenant acme."""
    content = row.body if isinstance(row.body, bytes | None) else orjson.dumps(row.body)
    usual: dict[str, str | None] = dict(await world.tenant("acme"))
    if content is not None:
        usual["content-type"] = "application/json"
    headers = {name: value for name, value in (usual | row.headers).items() if value is not None}
    return await world.http.request(row.method, row.path, content=content, headers=headers)


def assert_refused(answer: httpx.Response, row: Row) -> None:
    """It is the problem that the row says, whole and small, with its place and its word."""
    assert answer.status_code == row.status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:huntaze:problem:{KINDS[row.status]}"
    assert problem["status"] == row.status
    assert problem["instance"] == row.path.partition("?")[0]
    errors = problem.get("errors", [])
    if row.pointer is None:
        assert row.word in problem["detail"]
    else:
        fitting = [each["detail"] for each in errors if each["pointer"] == row.pointer]
        assert any(row.word in each for each in fitting), errors
    assert len(answer.content) < 10_000


async def assert_goes_on(world: World, event_id: str) -> None:
    """The hub accepts a good event, and it is there."""
    taken = await world.http.post(
        "/v1/events", json=document(event_id), headers=dict(await world.tenant("acme"))
    )
    assert taken.status_code == 202, taken.text
    assert taken.json()["duplicate"] is False
    found = await world.http.get(
        f"/v1/events/{event_id}", headers=dict(world.admin | {}), params={"tenantId": "acme"}
    )
    assert found.json()["event"]["id"] == event_id
