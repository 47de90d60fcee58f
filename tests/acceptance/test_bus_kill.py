"""The embedded bus in a process that is killed with SIGKILL, again and again."""

import asyncio
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from notifications.messages import Complete
from tests.bus_process import BATCH, SUBSCRIPTIONS, batch, open_bus

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
KILLS = 6


@dataclass(slots=True)
class Told:
    """What a process said before it died.

    Attributes:
        published: Batches.
        taking: Messages whose completion was asked for, by subscription.
        completed: Messages whose completion was answered, by subscription.
    """

    published: set[str] = field(default_factory=set)
    taking: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    completed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def hear(self, line: bytes) -> None:
        """Take in a line; one that was cut off says nothing."""
        if not line.endswith(b"\n"):
            return
        match line.decode().split():
            case ["published", name]:
                self.published.add(name)
            case ["taking", subscription, name]:
                self.taking[subscription].add(name)
            case ["completed", subscription, name]:
                self.completed[subscription][name] += 1
            case other:
                pytest.fail(f"the process said {other}")


async def run_and_kill(path: Path, run: int, lines: int, told: Told) -> None:
    """Have a process work on the file until it has said so much, then kill it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bus_process", path, str(run),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(lines):
            told.hear(await process.stdout.readline())
        process.kill()
        async for line in process.stdout:
            told.hear(line)
        assert await process.wait() == -9


async def what_is_left(path: Path) -> dict[str, list[str]]:
    """Everything that still comes, by subscription."""
    database, bus = await open_bus(path)
    left: dict[str, list[str]] = {name: [] for name in SUBSCRIPTIONS}

    async def empty(subscription: str) -> None:
        while True:
            page = await bus.receive(subscription, limit=500)
            left[subscription] += [one.message.id for one in page]
            await asyncio.gather(*(bus.settle(one, Complete()) for one in page))

    receiving = [asyncio.create_task(empty(name)) for name in SUBSCRIPTIONS]
    async with asyncio.timeout(PATIENCE_S):
        while await database.read(_messages) > 0:
            await asyncio.sleep(0.01)
    for task in receiving:
        task.cancel()
    await asyncio.wait(receiving)
    await bus.close()
    await database.close()
    return left


def _messages(connection: sa.Connection) -> int:
    query = "SELECT (SELECT count(*) FROM bus_messages) + (SELECT count(*) FROM bus_scheduled)"
    return int(connection.exec_driver_sql(query).scalar() or 0)


def torn(names: Iterable[str]) -> set[str]:
    """Batches of which some messages are there and some are not."""
    there = Counter(name.rpartition(".")[0] for name in names)
    return {name for name, number in there.items() if number != BATCH}


@pytest.mark.fault("the bus is killed -9, again and again", "ourselves")
async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Killed at any moment, the bus keeps what it said is published, and what it said is done."""
    path, told, dice = tmp_path / "hub.db", Told(), random.Random()
    for run in range(KILLS):
        await run_and_kill(path, run, dice.randint(20, 1_500), told)
    left = await what_is_left(path)

    published = {one for name in told.published for one in batch(name)}
    assert len(told.published) > KILLS
    for subscription in SUBSCRIPTIONS:
        taken, completed = told.taking[subscription], told.completed[subscription]
        assert published - taken - set(left[subscription]) == set(), "lost"
        assert set(completed) & set(left[subscription]) == set(), "came back"
        assert max(Counter(left[subscription]).values(), default=1) == 1, "doubled"
        assert max(completed.values()) == 1, "completed twice"
        assert torn(taken | set(left[subscription])) == set(), "published by halves"
