"""Three hubs share a Service Bus door and a PostgreSQL database and are killed -9 under load."""

import asyncio
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import psycopg
import pytest

from notifications.bus.emulator_config import emulator_config
from notifications.bus.topology import TOPOLOGY
from tests import forked
from tests.hub_process import (
    END_WITHIN_S,
    HubProcess,
    environment,
    hub_process,
    huntaze,
    run_huntaze,
)
from tests.kill_load import SETTINGS, Gate, Receiver, make_endpoint, publish_one_by_one
from tests.postgres_server import new_database
from tests.service_bus_world import connection_string

SEEDS = os.environ.get("KILL_SEEDS", "").split()
EVENTS = 3_000 if SEEDS or os.environ.get("CHAOS") else 240
"""`make soak` says seeds, and means longer; `make chaos` kills more often."""

LOCK = "PT10S"
"""The locks of the dead: as on Azure they run out, but nobody has a minute here."""

WITHIN_S = 90
"""How long what a killed hub had claimed may take: a claim lasts 31 s with this time limit, and
then a sweep finds it."""

SECRETS = {
    "HUNTAZE_ADMIN_KEY": "an-admin-key-that-all-hubs-share-00001",
    "HUNTAZE_ENCRYPTION_KEYS": "c2FtcGxlLXNhbXBsZS1zYW1wbGUtc2FtcGxlLTAwMDE=",
    "HUNTAZE_USER_TOKEN_SECRET": "a-user-token-secret-that-all-hubs-share",
}


@contextmanager
def door_process(folder: Path) -> Iterator[int]:
    """`huntaze door` with the hub's topology, durable; its port."""
    config = folder / "Config.json"
    text = orjson.dumps(emulator_config(TOPOLOGY)).decode()
    config.write_text(text.replace('"LockDuration":"PT1M"', f'"LockDuration":"{LOCK}"'))
    ports = ["--port", "0", "--admin-port", "0", "--admin-tls-port", "0"]
    command = [*huntaze(), "door", "--config", str(config), *ports, "--data", str(folder / "door")]
    quiet = environment({"HUNTAZE_LOG": "warning"})
    process = forked.start(command, quiet, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        ready = process.stdout.readline()
        assert ready.startswith("ready sb://localhost:"), ready
        yield int(ready.split()[1].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(END_WITHIN_S)
        if process.stdout:
            process.stdout.close()


MANY = 30


@dataclass(slots=True)
class Load:
    """Events that are being published.

    Attributes:
        publishing: Done when all are answered.
        answered: The ids of those that are.
        gate: Lets them through.
    """

    publishing: "asyncio.Task[None]"
    answered: set[str]
    gate: Gate

    async def until(self, count: float) -> None:
        """Wait until so many are answered, and more are on their way."""
        while len(self.answered) < count and not self.publishing.done():
            await asyncio.sleep(0.005)
        assert not self.publishing.done(), "all was published before the last kill"


Killing = Callable[[list[HubProcess], Load], Awaitable[None]]
"""Kills hubs while events are published."""


async def kill_two(hubs: list[HubProcess], load: Load) -> None:
    """Kill two under load, one after the other, for good: the third has to do."""
    load.gate.limit = EVENTS
    for number, hub in enumerate(hubs[:2]):
        await load.until(EVENTS * (number + 1) / 3)
        await asyncio.to_thread(hub.kill)


async def kill_many(hubs: list[HubProcess], load: Load) -> None:
    """Kill one or the other under load, each started again before the next is killed."""
    dice, some = random.Random(20261126), EVENTS // (MANY + 1)
    for kill in range(MANY):
        load.gate.limit = some * (kill + 1)
        await load.until(some * (kill + dice.random() * 0.8))
        hub = dice.choice(hubs)
        await asyncio.to_thread(hub.kill)
        await asyncio.to_thread(hub.start)
    load.gate.limit = EVENTS


def delivered(url: str) -> Counter[str]:
    """How many deliveries of each event the ledger has as delivered to an endpoint."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT e.id, count(*) FROM deliveries d JOIN events e ON e.key = d.event_key"
            " WHERE d.channel = 'webhook' AND d.state = 'delivered' GROUP BY e.id"
        ).fetchall()
    return Counter(dict(rows))


async def lose_nothing(tmp_path: Path, killing: Killing) -> None:
    """Have hubs killed, and see to it that each answered event is delivered once, with the audit
    clean."""
    url = new_database()
    receiver = Receiver()
    runner, target = await receiver.start()
    answered: set[str] = set()
    with ExitStack() as stack:
        port = stack.enter_context(door_process(tmp_path))
        settings = {
            **SETTINGS,
            **SECRETS,
            "HUNTAZE_DATABASE_URL": url,
            "HUNTAZE_BUS": "servicebus",
            "SERVICEBUS_CONNECTION": connection_string(port),
            "HUNTAZE_WEBHOOK_TIMEOUT": "1s",
        }
        hubs = [stack.enter_context(hub_process(tmp_path / name, settings)) for name in "abc"]
        headers = await asyncio.to_thread(hubs[2].tenant_headers, "t1")
        await make_endpoint(hubs[2], headers, target)
        gate = Gate(0)
        publishing = asyncio.create_task(
            publish_one_by_one(hubs, headers, answered, count=EVENTS, gate=gate)
        )
        await killing(hubs, Load(publishing, answered, gate))
        await publishing
        began = time.monotonic()
        # Not when the receiver has all: what was sent and not yet recorded is sent once more.
        while set(delivered(url)) != answered and time.monotonic() - began < WITHIN_S:
            await asyncio.sleep(0.2)
        audit = await asyncio.to_thread(run_huntaze, ["audit"], settings)
    await runner.cleanup()

    assert len(answered) == EVENTS
    assert answered <= receiver.taken
    assert {len(ids) for ids in receiver.webhook_ids.values()} == {1}
    assert delivered(url) == Counter(dict.fromkeys(answered, 1))
    assert audit.returncode == 0, audit.stdout + audit.stderr


@pytest.mark.long
@pytest.mark.fault("two of three hubs on one bus are killed -9 and stay dead", "ourselves")
async def test_two_of_three_hubs_die_and_nothing_is_lost(tmp_path: Path) -> None:
    """Of three hubs on one bus and one database two are killed -9 under load and stay dead: every
    answered event is delivered once by the ledger's account, and the audit is clean."""
    await lose_nothing(tmp_path, kill_two)


@pytest.mark.long
@pytest.mark.chaos
@pytest.mark.fault(
    "hubs that share PostgreSQL and Service Bus are killed thirty times", "ourselves"
)
async def test_hubs_on_one_bus_are_killed_again_and_again(tmp_path: Path) -> None:
    """Every answered event is delivered once by the ledger's account, and the audit is clean."""
    await lose_nothing(tmp_path, kill_many)
