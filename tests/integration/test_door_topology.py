"""A door that runs alone: its topics, subscriptions and rules come, change, go, and last."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from notifications.broker import Defer, NamedRule
from notifications.door.config_apply import apply
from notifications.door.config_file import Configured
from notifications.door_alone import Alone, open_alone
from notifications.entities import Holding, SubscriptionEntity, TopicEntity
from notifications.errors import Conflict, InvalidInput, NotFound, OverLimit
from notifications.messages import Complete, DeadLetter, Message
from notifications.testing import ManualClock, SeededDice
from tests.broker_worlds import end_lock

TOPIC = TopicEntity(name="Orders")
PARIS = "Orders/Subscriptions/Paris"


class World:
    """A door's file, opened as often as a test wants."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self._path = folder / "door.db"
        self._stack = AsyncExitStack()
        self.alone: Alone

    async def open(self) -> None:
        """Close it, open it (again)."""
        await self._stack.aclose()
        self.alone = await self._stack.enter_async_context(
            open_alone(self._path, self.clock, SeededDice())
        )

    async def close(self) -> None:
        """Close it."""
        await self._stack.aclose()

    async def subscribe(
        self, name: str = "Paris", *rules: NamedRule, **changes: Any
    ) -> SubscriptionEntity:
        """Create a subscription."""
        entity = SubscriptionEntity(topic="orders", name=name, **changes)
        await self.alone.topology.create(entity, rules or None)
        return entity

    async def send(self, *names: str, **changes: Any) -> None:
        """Send messages."""
        sent = [Message(id=n, body=b"x", properties={"n": n}, wire=b"w", **changes) for n in names]
        await self.alone.broker.inlet("orders").send(sent)

    async def drain(self, path: str = PARIS) -> list[str]:
        """Receive what is there, for good."""
        found = await self.alone.broker.outlet(path).receive(limit=100, wait=False, lock=False)
        return [one.message.id for one in found]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A door with one topic."""
    world = World(tmp_path)
    await world.open()
    await world.alone.topology.create(TOPIC)
    yield world
    await world.close()


def entities(found: Sequence[Any]) -> list[Any]:
    """Without since when they are."""
    return [each.entity for each in found]


async def test_is_there_after_a_restart(world: World) -> None:
    """Topics, subscriptions, rules and messages of an earlier run are there in the next."""
    made = await world.subscribe("Paris", NamedRule(name="Big", sql="size > 10"), lock_ms=30_000)
    correlation = NamedRule(
        name="c", correlation={"Label": "x"}, properties={"vip": True, "n": 1, "s": "1"}
    )
    await world.alone.broker.rules(PARIS).add(correlation)
    await world.send("a", subject="x")
    await world.alone.topology.update(TopicEntity(name="orders", metadata="mine"))
    await world.open()
    topology = world.alone.topology

    assert entities(topology.topics()) == [TopicEntity(name="orders", metadata="mine")]
    assert entities(topology.subscriptions("ORDERS")) == [made]
    assert await topology.rules(PARIS).all() == [
        NamedRule(name="Big", sql="size > 10"),
        correlation,
    ]


async def test_rules_count_from_when_they_are_made(world: World) -> None:
    """A subscription takes what one of its rules takes at the time it is sent."""
    await world.subscribe()
    rules = world.alone.broker.rules(PARIS)
    await world.send("all")
    await rules.remove("$default")
    await world.send("none")
    await rules.add(NamedRule(name="b", sql="n = 'b'"))
    await rules.add(NamedRule(name="c", correlation={"MessageId": "c"}))
    await world.send(*"abc")
    await world.alone.topology.replace(PARIS, NamedRule(name="B", sql="n = 'd'"))
    await world.send(*"bd")

    assert await world.drain() == ["all", "b", "c", "d"]


async def test_what_cannot_be(world: World) -> None:
    """What is there already, is not there, or is out of bounds is refused and changes nothing."""
    await world.subscribe()
    topology, rules = world.alone.topology, world.alone.broker.rules(PARIS)
    refused: list[tuple[type[Exception], Any]] = [
        (Conflict, topology.create(TopicEntity(name="ORDERS"))),
        (Conflict, topology.create(SubscriptionEntity(topic="orders", name="PARIS"))),
        (NotFound, topology.create(SubscriptionEntity(topic="none", name="x"))),
        (InvalidInput, topology.create(TopicEntity(name="a/b"))),
        (InvalidInput, topology.create(TopicEntity(name=""))),
        (InvalidInput, topology.create(SubscriptionEntity(topic="orders", name="x" * 51))),
        (
            InvalidInput,
            topology.update(SubscriptionEntity(topic="orders", name="Paris", lock_ms=1)),
        ),
        (NotFound, topology.update(TopicEntity(name="none"))),
        (NotFound, topology.delete("none")),
        (NotFound, topology.delete("orders/subscriptions/none")),
        (Conflict, rules.add(NamedRule(name="$DEFAULT", sql="1=1"))),
        (InvalidInput, rules.add(NamedRule(name="x", sql="n ="))),
        (InvalidInput, rules.add(NamedRule(name="x", correlation={"Colour": "red"}))),
        (NotFound, rules.remove("x")),
        (NotFound, topology.replace(PARIS, NamedRule(name="x", sql="1=1"))),
    ]
    for error, change in refused:
        with pytest.raises(error):
            await change
    await world.open()

    assert entities(world.alone.topology.topics()) == [TOPIC]
    assert len(world.alone.topology.subscriptions("orders")) == 1
    assert len(await world.alone.topology.rules(PARIS).all()) == 1


async def test_a_deleted_subscription_leaves_nothing(world: World) -> None:
    """Waiting, held, deferred and dead messages go with their subscription; one that is made in
    its place begins empty, and the neighbour keeps its own."""
    await world.subscribe()
    await world.subscribe("Lyon")
    await world.send(*"abcd")
    outlet = world.alone.broker.outlet(PARIS)
    held = await outlet.receive(limit=3, wait=False, lock=True)
    await end_lock(outlet, held[0].token, Defer())
    await end_lock(outlet, held[1].token, DeadLetter("no-good", "nobody can"))
    waiting = asyncio.create_task(
        world.alone.broker.outlet(f"{PARIS}/$DeadLetterQueue").receive(
            limit=9, wait=False, lock=True
        )
    )
    await waiting
    await world.alone.topology.delete(PARIS)
    for gone in (
        outlet.receive(limit=1, wait=True, lock=True),
        end_lock(outlet, held[2].token, Complete()),
    ):
        with pytest.raises(NotFound):
            await gone
    await world.subscribe()
    await world.send("e")

    assert await world.alone.topology.holding(PARIS) == Holding(active=1, size=1)
    assert await world.drain() == ["e"]
    assert await world.drain("orders/subscriptions/lyon") == list("abcde")
    assert (await world.alone.topology.holding("orders")).size == 0


async def test_who_waits_learns_that_it_is_deleted(world: World) -> None:
    """Deleting a topic ends waiting at its subscriptions."""
    await world.subscribe()
    waits = [
        asyncio.create_task(world.alone.broker.outlet(path).receive(limit=1, wait=True, lock=True))
        for path in (PARIS, f"{PARIS}/$DeadLetterQueue")
    ]
    await asyncio.sleep(0)
    await world.alone.topology.delete("orders")

    done, _ = await asyncio.wait(waits, timeout=5)
    assert [type(task.exception()) for task in done] == [NotFound, NotFound]
    with pytest.raises(NotFound):
        await world.send("a")


async def test_counts(world: World) -> None:
    """What is active, dead, deferred and scheduled is counted, each where it is."""
    await world.subscribe()
    await world.send(*"abcd")
    await world.send("e", due_at=world.clock.now() + 60_000)
    outlet = world.alone.broker.outlet(PARIS)
    held = await outlet.receive(limit=2, wait=False, lock=True)
    await end_lock(outlet, held[0].token, Defer())
    await end_lock(outlet, held[1].token, DeadLetter("no-good", "nobody can"))

    assert await world.alone.topology.holding(PARIS) == Holding(
        active=2, dead=1, deferred=1, size=4
    )
    assert (await world.alone.topology.holding("orders")).scheduled == 1


async def test_has_a_limit(world: World) -> None:
    """A topic has 63 subscriptions at most, and says so; one deleted makes room for another."""
    for number in range(63):
        await world.subscribe(f"s{number}")
    with pytest.raises(OverLimit, match="63 subscriptions"):
        await world.subscribe("more")
    await world.alone.topology.delete("orders/subscriptions/s7")
    await world.subscribe("more")
    await world.send("a")

    assert await world.drain("orders/subscriptions/more") == ["a"]


@pytest.mark.parametrize("kept", [True, False])
async def test_what_expires_is_kept_where_wanted(world: World, kept: bool) -> None:
    """What nobody received in time is a dead letter only where its subscription says so; a time
    that was made shorter counts for what waits already."""
    entity = await world.subscribe(dead_letter_expired=kept)
    await world.send("a")
    await world.open()
    for second in range(10):
        if second == 2:
            await world.alone.topology.update(replace(entity, ttl_ms=5_000))
        await world.clock.advance(1_000)
        await world.alone.broker.inlet("orders").cancel([])  # what was to be written is, by then

    found = await world.alone.topology.holding(PARIS)
    assert (found.active, found.dead) == (0, int(kept))


async def crashed(folder: Path, world: World) -> World:
    """What is in a door's files now, opened as if it had died here."""
    (folder / "dead").mkdir()
    for suffix in ("", "-wal"):
        shutil.copyfile(folder / f"door.db{suffix}", folder / "dead" / f"door.db{suffix}")
    await world.close()
    found = World(folder / "dead")
    await found.open()
    return found


async def test_a_crash_says_nothing_of_a_message(tmp_path: Path) -> None:
    """Those who receive are other processes: what one had in hand when the door died comes again
    as it was, however few deliveries it has, and holds nobody else up."""
    world = World(tmp_path)
    await world.open()
    await world.alone.topology.create(TOPIC)
    await world.subscribe(max_delivery_count=1)
    await world.send("a", "b")
    held = await world.alone.broker.outlet(PARIS).receive(limit=1, wait=False, lock=True)
    world = await crashed(tmp_path, world)
    again = await world.alone.broker.outlet(PARIS).receive(limit=9, wait=False, lock=True)

    assert [one.message.id for one in held] == ["a"]
    assert [(one.message.id, one.delivery_count) for one in again] == [("a", 0), ("b", 0)]
    await world.close()


async def test_numbers_do_not_come_again_after_a_crash(tmp_path: Path) -> None:
    """A message that came and went leaves nothing behind; its number is not given again."""
    world = World(tmp_path)
    await world.open()
    await world.alone.topology.create(TOPIC)
    await world.subscribe()
    await world.send("a", "b")
    assert await world.drain() == ["a", "b"]
    world = await crashed(tmp_path, world)
    await world.send("c")
    (found,) = await world.alone.broker.outlet(PARIS).receive(limit=1, wait=False, lock=False)

    assert found.sequence_number > 2
    await world.close()


async def test_a_configuration_is_made_so(world: World) -> None:
    """What the file names is added or brought up to date, also the second time; what it does not
    name stays; a rule that is none is told with its place."""
    await world.subscribe("Mine")
    topology = world.alone.topology
    sql = [NamedRule(name="a", sql="n = 'a'"), NamedRule(name="b", sql="n = 'b'")]
    for lock_ms, rules in ((30_000, sql[:1]), (60_000, sql), (60_000, sql[1:])):
        entity = SubscriptionEntity(topic="Orders", name="Paris", lock_ms=lock_ms)
        wanted = [
            Configured(entity=TOPIC, place="/0"),
            Configured(entity=entity, rules=rules, place="/1"),
        ]
        await apply(wanted, topology, topology)
        assert await topology.rules(PARIS).all() == rules
        found = {each.entity.name: each.entity for each in topology.subscriptions("orders")}
        assert found["Paris"] == entity
        assert "Mine" in found
    wrong = replace(wanted[1], rules=[NamedRule(name="c", sql="n =")])
    with pytest.raises(InvalidInput, match="/1/sqlExpression: expected"):
        await apply([wrong], topology, topology)


async def test_comes_and_goes_under_load(world: World) -> None:
    """While subscriptions are made, received from and deleted, what is sent meanwhile reaches a
    neighbour whole and in order, and nothing of those that are gone stays."""
    await world.subscribe("Lyon")
    names = [f"{number}" for number in range(300)]

    async def send() -> None:
        for name in names:
            await world.send(name)

    async def come_and_go() -> None:
        for _ in range(15):
            await world.subscribe()
            outlet = world.alone.broker.outlet(PARIS)
            held = await outlet.receive(limit=3, wait=True, lock=True)
            ends = [Complete(), Defer(), DeadLetter("no-good", "nobody can")]
            settling = [
                asyncio.create_task(end_lock(outlet, one.token, end))
                for one, end in zip(held, ends, strict=False)
            ]
            await world.alone.topology.delete(PARIS)
            await asyncio.gather(*settling, return_exceptions=True)

    sending = asyncio.create_task(send())
    going = asyncio.create_task(come_and_go())
    await sending
    while not going.done():  # whoever waits for a message gets one
        names.append(f"{len(names)}")
        await world.send(names[-1])
    await going
    found: list[str] = []
    while page := await world.drain("orders/subscriptions/lyon"):
        found += page

    assert found == names
    assert await world.alone.topology.holding("orders") == Holding()
    await world.subscribe()
    assert await world.alone.topology.holding(PARIS) == Holding()
