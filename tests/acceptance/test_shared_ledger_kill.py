"""Two hubs share a PostgreSQL database; both are killed -9 in turn, and nothing is lost."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from tests.hub_process import HubProcess, hub_process, run_huntaze
from tests.kill_load import SETTINGS, Receiver, make_endpoint, publish_one_by_one
from tests.postgres_server import new_database

EVENTS = 600
WITHIN_S = 75
"""How long what a killed hub had claimed may take: a claim lasts 31 s with this time limit."""

SECRETS = {
    "HUNTAZE_ADMIN_KEY": "an-admin-key-that-both-hubs-share-0001",
    "HUNTAZE_ENCRYPTION_KEYS": "c2FtcGxlLXNhbXBsZS1zYW1wbGUtc2FtcGxlLTAwMDE=",
    "HUNTAZE_USER_TOKEN_SECRET": "a-user-token-secret-that-both-hubs-share",
}


async def kill_in_turn(
    hubs: list[HubProcess], publishing: "asyncio.Task[None]", answered: set[str]
) -> None:
    """Kill one after the other under load, each started again before the next is killed."""
    for number, hub in enumerate(hubs):
        point = EVENTS * (number + 1) / 4
        while len(answered) < point and not publishing.done():
            await asyncio.sleep(0.005)
        assert not publishing.done(), "all was published before the last kill"
        await asyncio.to_thread(hub.kill)
        await asyncio.to_thread(hub.start)


def delivered(url: str) -> Counter[str]:
    """How many deliveries of each event the ledger has as delivered to an endpoint."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT e.id, count(*) FROM deliveries d JOIN events e ON e.key = d.event_key"
            " WHERE d.channel = 'webhook' AND d.state = 'delivered' GROUP BY e.id"
        ).fetchall()
    return Counter(dict(rows))


@pytest.mark.long
@pytest.mark.fault("two hubs that share a database are killed -9", "ourselves")
async def test_hubs_that_share_a_database_lose_nothing_when_both_are_killed(tmp_path: Path) -> None:
    """Each of two hubs is killed -9 under load: every answered event is delivered, audit clean."""
    url = new_database()
    settings = {
        **SETTINGS,
        **SECRETS,
        "HUNTAZE_DATABASE_URL": url,
        "HUNTAZE_WEBHOOK_TIMEOUT": "1s",
    }
    receiver = Receiver()
    runner, target = await receiver.start()
    answered: set[str] = set()
    folders = [tmp_path / "a", tmp_path / "b"]
    with hub_process(folders[0], settings) as first, hub_process(folders[1], settings) as second:
        headers = await asyncio.to_thread(first.tenant_headers, "t1")
        await make_endpoint(second, headers, target)
        publishing = asyncio.create_task(
            publish_one_by_one([first, second], headers, answered, count=EVENTS)
        )
        await kill_in_turn([first, second], publishing, answered)
        await publishing
        began = time.monotonic()
        # Not when the receiver has all: what was sent and not yet recorded is sent once more.
        while set(delivered(url)) != answered and time.monotonic() - began < WITHIN_S:
            await asyncio.sleep(0.2)
        folder_options = [word for folder in folders for word in ("--data", str(folder))]
        audit = await asyncio.to_thread(run_huntaze, ["audit", *folder_options], settings)
    await runner.cleanup()

    assert len(answered) == EVENTS
    assert answered <= receiver.taken
    assert {len(ids) for ids in receiver.webhook_ids.values()} == {1}
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert delivered(url) == Counter(dict.fromkeys(answered, 1))
