"""What a tenant may do and have: 429 with Retry-After beyond it, and nothing is stored."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hub_world import World, document, hub_world

PER_SECOND = 5
BURST = 50
MOST = 3


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A hub with low limits."""
    limits = {"limit_publishes": PER_SECOND, "limit_endpoints": MOST, "limit_keys": MOST}
    async with hub_world(tmp_path, **limits) as world:
        yield world


def batch(name: str, count: int, tenant: str = "acme") -> list[dict[str, Any]]:
    """Events of a tenant."""
    return [document(f"{name}-{number}", tenantid=tenant) for number in range(count)]


async def post(world: World, path: str, body: object, headers: Mapping[str, str]) -> httpx.Response:
    """POST a document."""
    return await world.http.post(path, json=body, headers=dict(headers))


async def test_what_is_over_the_rate_is_refused_whole(world: World) -> None:
    """After a burst the next batch is a 429 that says when to come back, and none of it is
    there."""
    headers = await world.tenant("acme")
    taken = await post(world, "/v1/events", batch("first", BURST), headers)

    refused = await post(world, "/v1/events", batch("second", BURST), headers)

    assert (taken.status_code, refused.status_code) == (202, 429)
    assert 1 <= int(refused.headers["retry-after"]) <= BURST / PER_SECOND
    assert refused.json()["type"] == "urn:huntaze:problem:too-many-requests"
    assert "Nothing was accepted" in refused.json()["detail"]
    listed = await world.http.get("/v1/events?limit=200", headers=dict(headers))
    assert {item["event"]["id"][:5] for item in listed.json()["items"]} == {"first"}


async def test_a_batch_that_can_never_fit_says_so(world: World) -> None:
    """More than a burst is no matter of waiting: 413, which names the most."""
    answer = await post(world, "/v1/events", batch("huge", BURST + 1), await world.tenant("acme"))

    assert answer.status_code == 413
    assert answer.json()["detail"].startswith("At most 50 events of a tenant at once")
    assert "retry-after" not in answer.headers


async def test_one_tenants_rate_is_no_others(world: World) -> None:
    """While one has to wait, another publishes."""
    await post(world, "/v1/events", batch("a", BURST), await world.tenant("acme"))

    other = await post(world, "/v1/events", batch("b", BURST, "other"), await world.tenant("other"))

    assert other.status_code == 202


async def test_the_admin_is_bound_by_the_tenants_it_publishes_for(world: World) -> None:
    """Where one tenant of the admin's batch has to wait, none of the batch is accepted."""
    await post(world, "/v1/events", batch("a", BURST), await world.tenant("acme"))
    mixed = [*batch("m", 1, "other"), *batch("m", BURST - 1)]

    refused = await post(world, "/v1/events", mixed, world.admin)
    other = await post(world, "/v1/events", batch("o", BURST, "other"), world.admin)

    assert refused.status_code == 429
    assert other.status_code == 202, "the refused batch cost the other tenant nothing"
    assert {item["duplicate"] for item in other.json()["items"]} == {False}


async def test_what_is_wrong_or_there_already_counts_too(world: World) -> None:
    """A tenant that sends nothing but nonsense has to wait as well."""
    headers = await world.tenant("acme")
    wrong = await post(world, "/v1/events", [{}] * BURST, headers)

    refused = await post(world, "/v1/events", batch("right", BURST), headers)

    assert (wrong.status_code, refused.status_code) == (422, 429)


async def test_a_test_of_an_endpoint_counts_as_an_event(world: World) -> None:
    """Testing endpoints is no way around the rate."""
    headers = await world.tenant("acme")
    made = await post(world, "/v1/webhook-endpoints", {"url": "http://127.0.0.1:9/"}, headers)
    path = f"/v1/webhook-endpoints/{made.json()['id']}/test"
    services = world.app.state.services
    services.publishes.spend({"acme": BURST})

    refused = await world.http.post(path, headers=dict(headers))

    assert refused.status_code == 429


@pytest.mark.parametrize(
    ("path", "body", "there"),
    [
        ("/v1/webhook-endpoints", {"url": "https://example.com/hook"}, 0),
        ("/v1/api-keys", {"name": "another"}, 1),
    ],
)
async def test_of_many_made_at_once_exactly_as_many_as_may_be_are(
    world: World, path: str, body: dict[str, str], there: int
) -> None:
    """Twenty at the same time: the limit is met to the one, and the others are told."""
    headers = await world.tenant("acme")

    answers = await asyncio.gather(*(post(world, path, body, headers) for _ in range(20)))

    statuses = sorted(each.status_code for each in answers)
    assert statuses == [201] * (MOST - there) + [429] * (20 - MOST + there)
    refused = next(each for each in answers if each.status_code == 429)
    assert f"at most {MOST}" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) >= 1
    listed = await world.http.get(path, headers=dict(headers))
    assert len(listed.json()["items"]) == MOST


async def test_what_is_deleted_makes_room(world: World) -> None:
    """At the limit, one endpoint less is room for one more; another tenant has its own."""
    headers = await world.tenant("acme")
    body = {"url": "https://example.com/hook"}
    made = [await post(world, "/v1/webhook-endpoints", body, headers) for _ in range(MOST)]
    other = await post(world, "/v1/webhook-endpoints", body, await world.tenant("other"))
    path = f"/v1/webhook-endpoints/{made[0].json()['id']}"

    full = await post(world, "/v1/webhook-endpoints", body, headers)
    await world.http.delete(path, headers=dict(headers))
    room = await post(world, "/v1/webhook-endpoints", body, headers)

    assert (other.status_code, full.status_code, room.status_code) == (201, 429, 201)
