"""The hub is killed -9 exactly between two steps, wherever there are two."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from notifications.crashpoints import Point
from tests.crash_world import crash_world, die_at, event, reconcile
from tests.postgres_server import new_database

COSTLIEST = ((Point.RECORD_BEGINS, 2), (Point.SCHEDULE_NOTED, 1), (Point.JOB_ENDS, 1))
"""Sent and not written down; a retry that nobody wakes; a result that is paid for and not kept."""

CHANNELS = 3
"""A batch of events is first written down so many times, once by each."""

BESIDE_OTHERS = (
    Point.RELAY_BEGINS,
    Point.RELAY_SENT,
    Point.RELAY_FORGOTTEN,
    Point.ROUTE_CLAIMS,
    Point.ROUTE_CLAIMED,
    Point.SETTLE_BEGINS,
    Point.SETTLE_ENDS,
)
"""Passed where ledger and bus do not share a commit."""

WHERE_COMMITS_DIFFER = (Point.ATTEMPT_ENDS, Point.RECORD_ENDS, Point.CLAIM_ENDS)
"""Sent and claimed in a row, written down and not settled, claimed and not begun: on PostgreSQL
these are other statements, in other commits. Each waits for claims of half a minute to run out."""

SWEEP_STEPS = range(2, 5)
"""Those after the first, which resumes: ending what is over, waking, and what comes after that."""

WHILE_SLOW = (Point.RENEW_BEGINS, Point.RENEW_ENDS)
"""Passed while a message is in hand for longer than twenty seconds: a job's, here."""

WHEN_ANSWERING_FAILS = (Point.RESEND_BEGINS, Point.RESEND_ENDS)
"""Passed when a handler comes to what no rule knows."""

OTHERS = [
    each for each in Point if each not in (*BESIDE_OTHERS, *WHILE_SLOW, *WHEN_ANSWERING_FAILS)
]


@contextmanager
def without_deliveries(data: Path) -> Iterator[None]:
    """The ledger's table of deliveries is somewhere else: no rule knows such a failure."""

    def rename(name: str, to: str) -> None:
        with closing(sqlite3.connect(data / "hub.db", timeout=30)) as database:
            database.execute(f"ALTER TABLE {name} RENAME TO {to}")

    rename("deliveries", "elsewhere")
    try:
        yield
    finally:
        rename("elsewhere", "deliveries")


def on_postgresql() -> dict[str, str]:
    """The settings of a hub whose ledger is there."""
    return {"HUNTAZE_DATABASE_URL": new_database(), "HUNTAZE_WEBHOOK_TIMEOUT": "1s"}


async def killed_once(folder: Path, point: Point, nth: int = 1, **world_of: Any) -> None:
    """A world's hub dies when it is at a point for the nth time; all is done once all the same."""
    async with crash_world(folder / "data", **world_of) as world:
        await die_at(world, (point, nth))
        await reconcile(world)
    assert world.deaths == 1


@pytest.mark.long
@pytest.mark.fault("the hub is killed -9 where it costs most", "ourselves")
async def test_killed_between_two_steps_everything_is_done_once(tmp_path: Path) -> None:
    """Killed after a send that nobody noted, before a retry's wake-up, and with a job's result in
    hand: nothing is lost, each effect is there once by its id, and the audit is clean."""
    async with crash_world(tmp_path / "data") as world:
        await die_at(world, *COSTLIEST)
        await reconcile(world)
    assert world.deaths == len(COSTLIEST)


@pytest.mark.chaos
@pytest.mark.fault("the hub is killed -9 between any two of its steps", "ourselves")
@pytest.mark.parametrize("point", OTHERS, ids=str)
async def test_killed_at_any_point_everything_is_done_once(tmp_path: Path, point: Point) -> None:
    """Nothing is lost, each effect is there once by its id, and the audit is clean."""
    await killed_once(tmp_path, point)


@pytest.mark.chaos
@pytest.mark.fault(
    "the hub is killed -9 when a channel's targets have what nobody noted", "ourselves"
)
@pytest.mark.parametrize("channel", range(1, CHANNELS + 1))
async def test_killed_before_what_was_sent_is_written_down(tmp_path: Path, channel: int) -> None:
    """What is sent once more is the same: one mail, one inbox entry, one webhook by its id."""
    await killed_once(tmp_path, Point.RECORD_BEGINS, channel)


@pytest.mark.chaos
@pytest.mark.fault("the hub is killed -9 between its database and its bus", "ourselves")
@pytest.mark.parametrize("point", BESIDE_OTHERS, ids=str)
async def test_killed_between_database_and_bus(tmp_path: Path, point: Point) -> None:
    """What is committed and not sent, or sent and not crossed out, is neither lost nor doubled."""
    await killed_once(tmp_path, point, settings=on_postgresql())


@pytest.mark.chaos
@pytest.mark.fault("the hub is killed -9 while its ledger is on PostgreSQL", "ourselves")
@pytest.mark.parametrize("point", WHERE_COMMITS_DIFFER, ids=str)
async def test_killed_on_a_database_of_its_own(tmp_path: Path, point: Point) -> None:
    """What was claimed, sent or written down before is done once by its id by the next process."""
    await killed_once(tmp_path, point, settings=on_postgresql())


@pytest.mark.chaos
@pytest.mark.fault("the hub is killed -9 within a sweep", "ourselves")
@pytest.mark.parametrize("step", SWEEP_STEPS)
async def test_killed_between_two_steps_of_a_sweep(tmp_path: Path, step: int) -> None:
    """What the sweep had moved is moved once, and what it had not comes to its turn."""
    await killed_once(tmp_path, Point.SWEEP_STEP_ENDS, step)


@pytest.mark.chaos
@pytest.mark.fault("the hub is killed -9 while it holds on to a long job's message", "ourselves")
@pytest.mark.parametrize("point", WHILE_SLOW, ids=str)
async def test_killed_while_a_lock_is_renewed(tmp_path: Path, point: Point) -> None:
    """The job is done by the next process, and ends once."""
    await killed_once(tmp_path, point, model_s=22)


@pytest.mark.chaos
@pytest.mark.fault("the hub is killed -9 while it puts off what it failed at", "ourselves")
@pytest.mark.parametrize("point", WHEN_ANSWERING_FAILS, ids=str)
async def test_killed_while_a_message_is_sent_again(tmp_path: Path, point: Point) -> None:
    """Whether the copy is on the bus or not, the event is delivered, and once."""
    async with crash_world(tmp_path / "data") as world:
        with without_deliveries(world.hub.data):
            await world.arm(point)
            status, _ = await world.call("POST", "/v1/events", [event("put-off")])
            assert status == 202
            world.answered.add("put-off")
            await world.die()
        await world.rise()
        await world.work(0)
        await reconcile(world)
    assert world.deaths == 1
