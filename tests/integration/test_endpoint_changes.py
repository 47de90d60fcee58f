"""Changes to one endpoint at the same time: none undoes another."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hub_world import World, hub_world

URL = "http://127.0.0.1:9/hook"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A hub and its API."""
    async with hub_world(tmp_path) as world:
        yield world


async def made(world: World) -> tuple[str, dict[str, str]]:
    headers = dict(await world.tenant("acme"))
    answer = await world.http.post("/v1/webhook-endpoints", json={"url": URL}, headers=headers)
    assert answer.status_code == 201, answer.text
    return f"/v1/webhook-endpoints/{answer.json()['id']}", headers


async def test_a_change_does_not_undo_a_rotation(world: World) -> None:
    """The secret that a rotation showed signs on, though a description changed meanwhile."""
    path, headers = await made(world)
    rotated, _ = await asyncio.gather(
        world.http.post(f"{path}/rotate-secret", headers=headers),
        world.http.patch(path, json={"description": "changed"}, headers=headers),
    )
    now = (await world.http.get(path, headers=headers)).json()
    assert now["publicKey"] == rotated.json()["publicKey"]
    assert now["description"] == "changed"


async def test_a_change_does_not_bring_a_deleted_endpoint_back(world: World) -> None:
    """An endpoint that was deleted while it was being changed stays away."""
    path, headers = await made(world)
    await asyncio.gather(
        world.http.delete(path, headers=headers),
        world.http.patch(path, json={"description": "changed"}, headers=headers),
    )
    assert (await world.http.get(path, headers=headers)).status_code == 404


async def test_a_change_does_not_enable_a_disabled_endpoint(world: World) -> None:
    """An endpoint that was disabled after the change began, and before it ended, stays disabled."""
    path, headers = await made(world)
    await world.hub.directory.endpoints("acme")  # the change begins with what is remembered
    await world.hub.database.write(
        lambda tx: tx.connection.exec_driver_sql("UPDATE endpoints SET state = 'disabled'")
    )
    await world.http.patch(path, json={"description": "changed"}, headers=headers)
    now = (await world.http.get(path, headers=headers)).json()
    assert (now["state"], now["description"]) == ("disabled", "changed")
