"""A fault of ours that keeps an attempt from being made costs the customer nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from notifications.deliveries import POSTPONED_FOR, Postponed
from notifications.errors import Unavailable
from notifications.lanes import Health, after
from tests.heart_world import HeartWorld, heart_world, sample_event


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A heart that carries everything by webhook."""
    async with heart_world(tmp_path) as world:
        yield world


async def test_a_fault_of_ours_costs_no_attempt(world: HeartWorld) -> None:
    """Where we are out of something, the delivery waits five seconds and is then tried first."""
    world.webhooks.script("ep_1", Unavailable("no file descriptor left"))
    await world.publish(sample_event())
    await world.until_states(pending=1)
    ((attempt, due_at, first),) = world.rows(
        "SELECT attempt, due_at, first_outcome FROM deliveries"
    )
    assert (attempt, first) == (0, None)
    assert due_at <= world.clock.now() + POSTPONED_FOR
    await world.pass_to_next_drain()
    await world.until_states(delivered=1)
    assert world.rows("SELECT attempt, first_outcome FROM deliveries") == [(1, "delivered")]


def test_a_fault_of_ours_says_nothing_of_the_lane() -> None:
    """A postponed attempt neither heals a lane nor makes it sick."""
    sick = Health(lane="webhook/t1/ep_1", timeouts=5, probe_at=1_000, probe_delay=5_000)
    assert after(sick, Postponed(reason="stopping"), began=2_000, now=3_000) == sick
