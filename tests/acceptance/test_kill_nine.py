"""The hub is killed -9 while it works, and nothing that it answered for is lost.

`KILL_EVENTS` and `KILLS` say how many of each, `KILL_SEEDS` when: `make soak` and `make chaos` do.
"""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from tests.hub_process import hub_process, run_huntaze
from tests.kill_load import SETTINGS, Receiver, make_endpoint, publish_one_by_one

EVENTS = int(os.environ.get("KILL_EVENTS", "2000"))
KILLS = int(os.environ.get("KILLS", "3"))
WITHIN_S = max(60, EVENTS // 500)


@pytest.mark.long
@pytest.mark.fault("the hub is killed -9 under load, at random", "ourselves")
@pytest.mark.parametrize(
    "seed", [int(each) for each in os.environ.get("KILL_SEEDS", "20261123").split()]
)
async def test_every_answered_event_is_delivered_though_the_hub_is_killed(
    tmp_path: Path, seed: int
) -> None:
    """Kills -9 under load lose no answered event, invent none, and leave a clean audit."""
    dice = random.Random(seed)
    receiver = Receiver()
    runner, url = await receiver.start()
    answered: set[str] = set()
    with hub_process(tmp_path, SETTINGS) as hub:
        headers = await asyncio.to_thread(hub.tenant_headers, "t1")
        await make_endpoint(hub, headers, url)
        publishing = asyncio.create_task(publish_one_by_one([hub], headers, answered, count=EVENTS))
        for kill in range(KILLS):
            point = EVENTS * (kill + dice.random()) / (KILLS + 0.5)
            while len(answered) < point and not publishing.done():
                await asyncio.sleep(0.005)
            assert not publishing.done(), "all was published before the last kill"
            await asyncio.to_thread(hub.kill)
            await asyncio.to_thread(hub.start)
        await publishing
        last_restart = time.monotonic()

        assert len(answered) == EVENTS
        while answered - receiver.taken and time.monotonic() - last_restart < WITHIN_S:
            await asyncio.sleep(0.1)
        audit = await asyncio.to_thread(run_huntaze, ["audit", "--data", str(tmp_path)], SETTINGS)
        took = time.monotonic() - last_restart
    await runner.cleanup()

    assert answered <= receiver.taken
    assert receiver.taken <= {f"event-{number}" for number in range(EVENTS)}
    assert {len(ids) for ids in receiver.webhook_ids.values()} == {1}
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert took < WITHIN_S
