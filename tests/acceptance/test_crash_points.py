"""The hub is killed -9 exactly between two steps, wherever there are two."""

import asyncio
from pathlib import Path

import pytest

from notifications.crashpoints import Point
from tests.crash_world import CrashWorld, crash_world, die_at, reconcile
from tests.hub_process import run_huntaze

COSTLIEST = (Point.ATTEMPT_ENDS, Point.SCHEDULE_NOTED, Point.JOB_ENDS)
"""Sent and not known; a retry that nobody wakes; a result that is paid for and not kept."""

BESIDE_OTHERS = frozenset(
    {
        Point.RELAY_BEGINS,
        Point.RELAY_SENT,
        Point.RELAY_FORGOTTEN,
        Point.ROUTE_CLAIMS,
        Point.ROUTE_CLAIMED,
    }
)
"""Passed where ledger and bus do not share a commit."""

ALONE = [each for each in Point if each not in BESIDE_OTHERS]


async def audited(world: CrashWorld) -> None:
    """The audit, beside the hub, finds no remainder."""
    audit = await asyncio.to_thread(run_huntaze, ["audit", "--data", str(world.hub.data)])
    assert audit.returncode == 0, audit.stdout + audit.stderr


@pytest.mark.long
async def test_killed_between_two_steps_everything_is_done_once(tmp_path: Path) -> None:
    """Killed after a send that nobody noted, before a retry's wake-up, and with a job's result in
    hand: nothing is lost, each effect is there once by its id, and the audit is clean."""
    async with crash_world(tmp_path / "data") as world:
        await die_at(world, COSTLIEST)
        await reconcile(world)
        await audited(world)
    assert world.deaths == len(COSTLIEST)


@pytest.mark.chaos
@pytest.mark.parametrize("point", ALONE, ids=str)
async def test_killed_at_any_point_everything_is_done_once(tmp_path: Path, point: Point) -> None:
    """Killed at that point, whichever: nothing is lost, each effect is there once by its id, and
    the audit is clean."""
    async with crash_world(tmp_path / "data") as world:
        await die_at(world, [point])
        await reconcile(world)
        await audited(world)
    assert world.deaths == 1
