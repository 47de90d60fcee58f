"""The embedded bus under everything at once: what it hands out is held against a model of it."""

import asyncio
import gc
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from notifications.bus import tables
from notifications.bus.filters import SqlFilter
from notifications.bus.journal import PAGE_BYTES
from notifications.bus.queues import HOT_BYTES, HOT_LIMIT
from notifications.bus.topology import DEFAULT_RULE, Rule, Subscription, Topic
from notifications.database import Transaction
from notifications.errors import HuntazeError
from notifications.messages import Abandon, Complete, DeadLetter, Received
from tests.bus_worlds import (
    ALL,
    BIG,
    BRIEF,
    FEW,
    LOCK_MS,
    NEWS,
    TTL_MS,
    EmbeddedWorld,
    abandon,
    embedded_world,
    held,
    ids,
    message,
    messages,
    receive,
    receive_one,
    settle,
)

MOMENTS = range(14)
"""Turns of the event loop: a unit of work is waiting, running, being committed, or done."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[EmbeddedWorld]:
    """A bus with the sample topology."""
    async with embedded_world(tmp_path) as world:
        yield world


async def turns(number: int) -> None:
    """Let the event loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


def spoil(_tx: Transaction) -> None:
    """A unit of work that spoils its group."""
    raise ZeroDivisionError


async def is_empty(world: EmbeddedWorld) -> bool:
    """Whether nothing is left of any message, in the file or in memory."""
    gc.collect()
    left = [*await world.rows(tables.messages), *await world.rows(tables.redeliveries)]
    return not left and world.bus.in_memory == 0


class TestLockEnds:
    """A lock that ends in two ways at once."""

    @pytest.mark.parametrize("moment", MOMENTS)
    async def test_runs_out_while_completed(self, world: EmbeddedWorld, moment: int) -> None:
        """Once a settlement of a last delivery is answered, it is completed or dead for good."""
        await world.bus.publish(NEWS, [message(properties={"kind": "brief"})])
        await abandon(world, BRIEF, FEW - 1)
        last = await receive_one(world, BRIEF)
        world.clock.ms += LOCK_MS
        ticking = asyncio.create_task(world.clock.advance(1_000))
        await turns(moment)
        await world.bus.settle(last, Complete())
        dead = await world.rows(tables.dead_letters)
        await ticking

        assert await world.at_once(BRIEF) == []
        assert await world.rows(tables.dead_letters) == dead
        del last
        assert await is_empty(world)

    @pytest.mark.parametrize("moment", MOMENTS)
    async def test_abandoned_by_who_is_cancelled(self, world: EmbeddedWorld, moment: int) -> None:
        """A message whose settling is cancelled at any moment is not lost."""
        await world.bus.publish(NEWS, [message()])
        settling = asyncio.create_task(world.bus.settle(await receive_one(world), Abandon()))
        await turns(moment)
        settling.cancel()
        await asyncio.wait({settling})
        await world.pass_time(LOCK_MS + 2_000)

        assert (await receive_one(world)).delivery_count == 2

    @pytest.mark.parametrize("moment", MOMENTS)
    async def test_renewed_while_it_runs_out(self, world: EmbeddedWorld, moment: int) -> None:
        """A lock that is renewed as it runs out is either kept or lost, not both."""
        await world.bus.publish(NEWS, [message()])
        one = await receive_one(world)
        world.clock.ms += LOCK_MS
        ticking = asyncio.create_task(world.clock.advance(1_000))
        await turns(moment)
        await world.bus.renew(one)
        await ticking
        again = await world.at_once(ALL)
        await world.bus.settle(one, Complete())
        await settle(world, again)

        assert [other.delivery_count for other in again] in ([], [2])
        del one, again
        assert await is_empty(world)

    async def test_renewed_in_time(self, world: EmbeddedWorld) -> None:
        """A lock that is renewed before it could be written that it ran out is kept."""
        await world.bus.publish(NEWS, [message()])
        one = await receive_one(world)
        world.clock.ms += LOCK_MS
        with held(world.database.path):
            await world.clock.advance(1_000)
            await world.bus.renew(one)

        assert await world.at_once(ALL) == []


class TestReading:
    """Messages that are read from the file while others arrive."""

    @pytest.mark.parametrize("moment", MOMENTS)
    async def test_first_come(self, world: EmbeddedWorld, moment: int) -> None:
        """What is published while the first receiver reads comes once, in order."""
        await world.bus.publish(NEWS, messages(range(3)))
        receiving = asyncio.create_task(receive(world))
        await turns(moment)
        publishing = [
            asyncio.create_task(world.bus.publish(NEWS, messages([number])))
            for number in range(3, 6)
        ]
        await asyncio.gather(*publishing)
        found = [*await receiving]
        while page := await world.at_once(ALL):
            found += page

        assert ids(found) == ["0", "1", "2", "3", "4", "5"]

    @pytest.mark.parametrize("moment", MOMENTS)
    async def test_in_one_commit(self, world: EmbeddedWorld, moment: int) -> None:
        """Reading and publishing in one commit, with a unit that spoils it, loses nothing."""
        units: list[Coroutine[Any, Any, Any]] = [
            world.bus.publish(NEWS, messages("ab")),
            world.database.write(spoil),
            world.bus.publish(NEWS, messages("cd", properties={"size": 11})),
        ]
        tasks = [asyncio.create_task(unit) for unit in units]
        await turns(moment)
        receivers = [asyncio.create_task(receive(world, name)) for name in (ALL, BIG, ALL)]
        done = await asyncio.gather(*tasks, return_exceptions=True)
        await world.rest()
        found = [one for task in receivers if task.done() for one in task.result()]
        for task in receivers:
            task.cancel()
        await asyncio.wait(receivers)
        for name in (ALL, BIG):
            while page := await world.at_once(name):
                found += page

        assert [type(one) for one in done] == [type(None), ZeroDivisionError, type(None)]
        assert Counter(ids(found)) == Counter(["a", "b", "c", "d", "c", "d"])
        await settle(world, found)
        found.clear()
        del receivers, task, tasks, done  # an exception keeps the frames it came through
        assert await is_empty(world)

    @pytest.mark.parametrize("moment", MOMENTS)
    async def test_shared_by_a_slow_one(self, world: EmbeddedWorld, moment: int) -> None:
        """A message that one has completed while another only now reads it is gone after both."""
        await world.bus.publish(NEWS, messages(range(20), properties={"size": 11}))
        quick = await receive(world, ALL)
        completing = asyncio.create_task(settle(world, quick))
        await turns(moment)
        slow = await receive(world, BIG)
        await completing
        await settle(world, slow)
        del quick, slow, completing

        assert await is_empty(world)

    async def test_memory_outlived(self, world: EmbeddedWorld) -> None:
        """Where all that is in memory is too old, what is young enough is read at once."""
        await world.bus.publish(NEWS, messages(range(600)))
        assert len(await receive(world, limit=2)) == 2
        world.clock.ms += TTL_MS
        await world.bus.publish(NEWS, [message("young")])

        assert ids(await receive(world)) == ["young"]

    async def test_memory_is_bounded(self, world: EmbeddedWorld) -> None:
        """However long the backlog, memory holds the hot ones and those in somebody's hands."""
        assert await world.at_once(ALL) == []
        most = 0
        for start in range(0, 20_000, 500):
            await world.bus.publish(NEWS, messages(range(start, start + 500)))
            most = max(most, world.bus.in_memory)
        assert most == HOT_LIMIT
        left = 20_000
        while left:
            page = await receive(world, limit=300)
            assert world.bus.in_memory <= HOT_LIMIT + len(page)
            await settle(world, page)
            left -= len(page)
        del page

        assert await is_empty(world)

    async def test_memory_is_bounded_for_long_messages_too(self, world: EmbeddedWorld) -> None:
        """Of messages as long as can be only so many are in memory as their bytes allow, those
        that were just published and those that come from the file."""
        assert await world.at_once(ALL) == []
        body = b"x" * 150_000
        count = 2 * HOT_BYTES // len(body)
        for number in range(count):
            await world.bus.publish(NEWS, [message(str(number), body=body)])
        assert world.bus.in_memory == HOT_BYTES // len(body)
        await world.reopen()
        found = []
        while len(found) < count:
            page = await receive(world, limit=5)
            found += ids(page)
            assert world.bus.in_memory * len(body) <= PAGE_BYTES + 64 * len(body)
            await settle(world, page)
        del page

        assert found == [str(number) for number in range(count)]
        assert await is_empty(world)

    async def test_others_backlog(self, world: EmbeddedWorld) -> None:
        """A subscription finds its few messages among many that wait for others."""
        few, many = {"size": 11, "kind": "brief"}, {"kind": "nobody"}
        await world.bus.publish(NEWS, messages(range(4_100), properties=many))
        await world.bus.publish(NEWS, messages("a", properties=few))
        await world.bus.publish(NEWS, messages(range(4_100), properties=many))
        await world.bus.publish(NEWS, messages("b", properties=few))

        assert ids(await receive(world, BIG)) == ["a"]
        assert ids(await receive(world, BIG)) == ["b"]


LASTING = (
    Topic(
        name=NEWS,
        subscriptions=tuple(
            Subscription(
                name=name,
                topic=NEWS,
                rule=Rule(name=DEFAULT_RULE, filter=SqlFilter(expression)),
                max_delivery_count=200,
                lock_ms=LOCK_MS,
                ttl_ms=10**9,
            )
            for name, expression in ((ALL, "1 = 1"), (BIG, "size > 10"))
        ),
    ),
)
"""Subscriptions that share messages and never tire of them."""


@dataclass(slots=True)
class Model:
    """What one subscription must look like from outside."""

    counts: dict[str, int] = field(default_factory=dict)
    held: dict[str, Received] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    crashes: Counter[str] = field(default_factory=Counter)

    def published(self, name: str) -> None:
        """It is waiting."""
        self.counts[name] = 0

    def received(self, one: Received) -> None:
        """It was handed out: once at a time, counted right, never after its end."""
        name = one.message.id
        assert name in self.counts, f"{name} was never published"
        assert name not in self.gone, f"{name} was settled for good"
        assert name not in self.held, f"{name} is in somebody's hands"
        extra = one.delivery_count - self.counts[name] - 1
        # It may have been in memory at some crash without having been in anybody's hands.
        assert 0 <= extra <= self.crashes.pop(name, 0), f"{name} has {extra} deliveries too many"
        self.counts[name] = one.delivery_count
        self.held[name] = one

    def lost_all(self) -> None:
        """Its locks ran out, or the bus was closed."""
        self.held.clear()

    def crash(self) -> None:
        """The process died."""
        self.lost_all()
        self.crashes.update(name for name in self.counts if name not in self.gone)


class Walk:
    """A random walk over a bus and its models."""

    def __init__(self, world: EmbeddedWorld, seed: int) -> None:
        self.world = world
        self.dice = random.Random(seed)
        self.models = {ALL: Model(), BIG: Model()}
        self.names = 0

    async def step(self) -> None:
        """Do a few things at once, or one that ends others."""
        if self.dice.random() < 0.12:
            await self.dice.choice([self.reopen, self.crash, self.locks_run_out])()
            return
        deeds = [self.publish, self.refused, self.spoil, self.settle, self.receive, self.cancel]
        weights = [4, 1, 1, 5, 5, 2]
        chosen = self.dice.choices(deeds, weights, k=self.dice.randint(1, 4))
        await asyncio.gather(*(deed() for deed in chosen))

    async def publish(self) -> None:
        size = self.dice.choice([1, 3, 40, 700])
        named = [str(self.names + number) for number in range(size)]
        self.names += size
        big = self.dice.random() < 0.5
        for model in [self.models[ALL], *([self.models[BIG]] if big else [])]:
            for name in named:
                model.published(name)
        properties = {"size": 11} if big else {}
        await self.world.bus.publish(NEWS, messages(named, properties=properties))

    async def refused(self) -> None:
        refused = self.world.features.refuses
        assert refused is not None
        with pytest.raises(HuntazeError):
            await self.world.bus.publish(NEWS, [message("never"), refused])

    async def spoil(self) -> None:
        with pytest.raises(ZeroDivisionError):
            await self.world.database.write(spoil)

    async def receive(self) -> None:
        name = self.dice.choice([ALL, BIG])
        limit = self.dice.choice([1, 10, 300])
        for one in await self.world.at_once(name, limit=limit):
            self.models[name].received(one)

    async def cancel(self) -> None:
        name = self.dice.choice([ALL, BIG])
        receiving = asyncio.create_task(self.world.bus.receive(name, limit=5))
        await turns(self.dice.randint(0, 12))
        receiving.cancel()
        await asyncio.wait({receiving})
        if not receiving.cancelled():
            for one in receiving.result():
                self.models[name].received(one)

    async def settle(self) -> None:
        model = self.models[self.dice.choice([ALL, BIG])]
        held = list(model.held)
        chosen = self.dice.sample(held, self.dice.randint(0, len(held)))
        ends = [self.end(model, name, model.held.pop(name)) for name in chosen]
        await asyncio.gather(*ends)

    async def end(self, model: Model, name: str, one: Received) -> None:
        kind = self.dice.choices([Complete(), Abandon(), DeadLetter("r", "d")], [6, 2, 1])[0]
        if not isinstance(kind, Abandon):
            model.gone.add(name)
        await self.world.bus.settle(one, kind)

    async def reopen(self) -> None:
        await self.world.reopen()
        for model in self.models.values():
            model.lost_all()

    async def crash(self) -> None:
        await self.world.crash()
        for model in self.models.values():
            model.crash()

    async def locks_run_out(self) -> None:
        await self.world.pass_time(LOCK_MS + 2_000)
        for model in self.models.values():
            model.lost_all()

    async def finish(self) -> None:
        """Everything that is left comes, once."""
        await self.locks_run_out()
        for name, model in self.models.items():
            while page := await self.world.at_once(name, limit=1_000):
                for one in page:
                    model.received(one)
                await settle(self.world, page)
                model.gone.update(ids(page))
            assert model.gone == set(model.counts), "some never came"


@pytest.mark.parametrize("seed", range(int(os.environ.get("WALKS", "4"))))
async def test_any_walk(tmp_path: Path, seed: int) -> None:
    """Whatever happens in whatever order, nothing is lost, doubled or counted wrongly."""
    async with embedded_world(tmp_path, LASTING, (ALL, BIG)) as world:
        walk = Walk(world, seed)
        for _ in range(80):
            await walk.step()
        await walk.finish()
        for model in walk.models.values():
            model.held.clear()

        assert walk.names > 1_000
        assert await is_empty(world)
