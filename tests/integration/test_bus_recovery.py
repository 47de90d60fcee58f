"""What the embedded bus makes of crashes: the message that kills the process goes, others stay."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from notifications.bus import tables
from notifications.bus.embedded import EmbeddedBus
from notifications.bus.queues import HOT_LIMIT
from notifications.bus.topology import (
    EVENTS_TOPIC,
    JOBS_TOPIC,
    METRICS,
    TOPOLOGY,
    VIDEO_ANALYSIS,
    Topic,
)
from notifications.database import Transaction
from notifications.errors import NotFound, Unavailable
from notifications.messages import Abandon, Complete, DeadLetter, Message, Received, Settlement
from tests.bus_worlds import (
    ALL,
    BIG,
    BRIEF,
    FEW,
    LOCK_MS,
    MANY,
    NEWS,
    TTL_MS,
    EmbeddedWorld,
    abandon,
    drain,
    embedded_world,
    held,
    ids,
    message,
    messages,
    receive,
    receive_one,
    settle,
)

BRIEFLY = {"kind": "brief"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[EmbeddedWorld]:
    """A bus with the sample topology."""
    async with embedded_world(tmp_path) as world:
        yield world


def brief(name: str) -> Message:
    """A message with few deliveries."""
    return message(name, properties=BRIEFLY)


async def suspected(world: EmbeddedWorld, *names: str) -> None:
    """Have the process die with these in hand until each has one delivery left."""
    await world.bus.publish(NEWS, [brief(name) for name in names])
    for _ in range(FEW - 1):
        found: list[Received] = []
        while len(found) < len(names):
            found += await receive(world, BRIEF)
        await world.crash()


class TestCounting:
    """What counts as delivered after a crash."""

    async def test_what_was_in_memory(self, world: EmbeddedWorld) -> None:
        """After a crash what was in hand or ready to be is counted once, what is done is gone."""
        assert await world.at_once(ALL) == []
        await world.bus.publish(NEWS, messages("abc"))
        done, _ = await receive(world, limit=2)
        await world.bus.settle(done, Complete())
        await world.crash()

        found = [(one.message.id, one.delivery_count) for one in await receive(world)]
        assert found == [("b", 2), ("c", 2)]

    async def test_what_was_not_in_memory(self, world: EmbeddedWorld) -> None:
        """After a crash what had never left the file is neither lost nor counted."""
        assert await world.at_once(ALL) == []
        await world.bus.publish(NEWS, messages(range(HOT_LIMIT + 500)))
        await world.crash()
        counts = {one.message.id: one.delivery_count for one in await drain(world)}

        assert set(counts) == {str(number) for number in range(HOT_LIMIT + 500)}
        once_more = {name for name, count in counts.items() if count == 2}
        assert once_more == {str(number) for number in range(HOT_LIMIT)}

    async def test_what_nobody_receives(self, world: EmbeddedWorld) -> None:
        """After a crash what no receiver had come for is not counted."""
        await world.bus.publish(NEWS, messages("ab"))
        await world.crash()

        assert [one.delivery_count for one in await receive(world)] == [1, 1]

    async def test_in_hand_at_each_crash(self, world: EmbeddedWorld) -> None:
        """Each crash counts a delivery, up to the one before the last."""
        await world.bus.publish(NEWS, [message()])
        counts = []
        for _ in range(MANY - 1):
            counts.append((await receive_one(world)).delivery_count)
            await world.crash()

        assert counts == list(range(1, MANY))
        assert [row["delivery_count"] for row in await world.rows(tables.redeliveries)] == [9]

    async def test_few_are_in_memory_with_few_lives(self, world: EmbeddedWorld) -> None:
        """Of messages that take few crashes only few are counted by one."""
        await world.bus.publish(NEWS, messages(range(300), properties=BRIEFLY))
        for _ in range(FEW - 1):
            await receive(world, BRIEF, limit=2)
            await world.crash()
        counted = Counter(row["delivery_count"] for row in await world.rows(tables.redeliveries))

        assert counted == {1: 7, 2: 1}
        assert len(await drain(world, BRIEF)) == 300

    async def test_in_hand_at_its_last_but_one(self, world: EmbeddedWorld) -> None:
        """A crash leaves one delivery even to what others gave back until one was left."""
        await world.bus.publish(NEWS, [brief("m")])
        await abandon(world, BRIEF, FEW - 1)
        assert (await receive_one(world, BRIEF)).delivery_count == FEW
        await world.crash()

        assert (await receive_one(world, BRIEF)).delivery_count == FEW

    async def test_nothing_is_left_of_what_was_settled(self, world: EmbeddedWorld) -> None:
        """What was given back and then completed leaves no count behind."""
        await world.bus.publish(NEWS, messages("abc"))
        await abandon(world, ALL, 3)
        await world.crash()
        await drain(world)
        await world.crash()

        assert await world.rows(tables.redeliveries) == []
        assert await world.rows(tables.messages) == []

    async def test_settled_after_the_end(self, world: EmbeddedWorld) -> None:
        """What is completed when the bus is closed already is done, and leaves no count."""
        await world.bus.publish(NEWS, messages("ab"))
        late, _ = await receive(world)
        await world.bus.close()
        await world.bus.settle(late, Complete())
        await world.reopen()

        assert [row["seq"] for row in await world.rows(tables.redeliveries)] == [2]
        assert ids(await receive(world)) == ["b"]


class TestSuspects:
    """Messages that have one delivery left after crashes."""

    async def test_come_alone(self, world: EmbeddedWorld) -> None:
        """A suspect is handed out alone, before everything else, on the whole bus."""
        await suspected(world, "killer")
        await world.bus.publish(NEWS, [message("older"), brief("neighbour")])
        assert await world.at_once(ALL) == []
        suspect = await receive_one(world, BRIEF)
        await world.bus.publish(NEWS, [message("newer")])

        assert (suspect.message.id, suspect.delivery_count) == ("killer", FEW)
        assert await world.at_once(ALL) == []
        assert await world.at_once(BRIEF) == []

    async def test_one_after_the_other(self, world: EmbeddedWorld) -> None:
        """Of several suspects each is handed out when the one before is settled."""
        await suspected(world, "a", "b")
        await world.bus.publish(NEWS, [brief("c")])
        alone = []
        for _ in range(2):
            page = await receive(world, BRIEF)
            alone.append(ids(page))
            assert await world.at_once(BRIEF) == []
            await settle(world, page)

        assert alone == [["a"], ["b"]]
        assert ids(await receive(world, BRIEF)) == ["c"]

    async def test_the_killer_goes_its_neighbours_stay(self, world: EmbeddedWorld) -> None:
        """A suspect the process dies of alone is dead; what was with it before is delivered."""
        await suspected(world, "neighbour", "killer")
        await world.bus.publish(NEWS, [message("bystander")])
        await world.bus.settle(await receive_one(world, BRIEF), Complete())
        assert ids([await receive_one(world, BRIEF)]) == ["killer"]
        await world.crash()

        assert ids(await receive(world, ALL)) == ["bystander"]
        assert await world.at_once(BRIEF) == []
        (dead,) = await world.dead_letters(BRIEF)
        assert (dead.message.id, dead.delivery_count) == ("killer", FEW)
        assert dead.reason == "MaxDeliveryCountExceeded"
        assert "no other in hand" in dead.description

    async def test_the_others_are_still_suspects(self, world: EmbeddedWorld) -> None:
        """After a suspect killed the process the next one is handed out alone again."""
        await suspected(world, "killer", "suspect")
        await world.bus.publish(NEWS, [brief("other")])
        await receive_one(world, BRIEF)
        await world.crash()

        assert ids(await receive(world, BRIEF)) == ["suspect"]
        assert await world.at_once(BRIEF) == []

    @pytest.mark.parametrize("end", [Complete(), Abandon(), DeadLetter("no", "no")])
    async def test_everybody_goes_on(self, world: EmbeddedWorld, end: Settlement) -> None:
        """Receivers that wait for a suspect to be settled get their messages then."""
        await suspected(world, "suspect")
        await world.bus.publish(NEWS, [message(), brief("other")])
        suspect = await receive_one(world, BRIEF)
        waiting = [asyncio.create_task(receive(world, name)) for name in (ALL, BRIEF)]
        await world.rest()
        assert not any(task.done() for task in waiting)
        await world.bus.settle(suspect, end)

        assert [ids(page) for page in await asyncio.gather(*waiting)] == [["m"], ["other"]]
        dead = [one.message.id for one in await world.dead_letters(BRIEF)]
        assert dead == ([] if end == Complete() else ["suspect"])

    async def test_one_that_is_survived(self, world: EmbeddedWorld) -> None:
        """A suspect in hand for as long as a lock lasts holds up nobody any longer."""
        await suspected(world, "slow")
        await world.bus.publish(NEWS, [message(), brief("other")])
        slow = await receive_one(world, BRIEF)
        await world.pass_time(LOCK_MS // 2)
        await world.bus.renew(slow)
        assert await world.at_once(ALL) == []
        await world.pass_time(LOCK_MS // 2 + 1_000)

        assert ids(await receive(world, ALL)) == ["m"]
        assert ids(await receive(world, BRIEF)) == ["other"]
        await world.bus.settle(slow, Complete())
        assert await world.dead_letters(BRIEF) == []

    @pytest.mark.parametrize("moment", range(1, 12))
    async def test_cancelled_receivers(self, world: EmbeddedWorld, moment: int) -> None:
        """Receivers that are cancelled at any moment lose no suspect, and spare none."""
        await suspected(world, "suspect", "killer")
        receivers = []
        for turns in (moment, 1, moment):
            receivers.append(asyncio.create_task(world.bus.receive(BRIEF, limit=1)))
            for _ in range(turns):
                await asyncio.sleep(0)
            receivers[-1].cancel()
        await asyncio.wait(receivers)
        page = [task.result() for task in receivers if not task.cancelled()]
        (found,) = page or [await receive(world, BRIEF)]
        await settle(world, found)
        killers = await receive(world, BRIEF)
        await world.crash()

        assert ids([*found, *killers]) == ["suspect", "killer"]
        assert [one.message.id for one in await world.dead_letters(BRIEF)] == ["killer"]

    async def test_written_twice(self, world: EmbeddedWorld) -> None:
        """Of two receivers that both write a suspect down the second one spares nobody else."""
        await suspected(world, "suspect", "killer")
        path, later = world.database.path, ExitStack()

        def hold_up_the_second(tx: Transaction) -> None:
            tx.after_commit(lambda: later.enter_context(held(path)))

        with held(path):
            first = asyncio.create_task(world.bus.receive(BRIEF, limit=1))
            written = asyncio.create_task(world.database.write(hold_up_the_second))
            await world.clock.advance(0)
            first.cancel()
            second = asyncio.create_task(world.bus.receive(BRIEF, limit=1))
            await world.clock.advance(0)
        await written
        second.cancel()
        found = await receive(world, BRIEF)
        later.close()
        await asyncio.wait({first, second})
        await settle(world, found)
        found = [*found, *await receive(world, BRIEF)]
        await world.crash()

        assert ids(found) == ["suspect", "killer"]
        assert [one.message.id for one in await world.dead_letters(BRIEF)] == ["killer"]

    async def test_one_that_outlived_its_time(self, world: EmbeddedWorld) -> None:
        """A suspect past its time to live is dead-lettered for that and holds up nothing."""
        await suspected(world, "old")
        await world.pass_time(TTL_MS)
        await world.bus.publish(NEWS, [message(), brief("other")])
        waiting = asyncio.create_task(receive(world, ALL))
        assert ids(await receive(world, BRIEF)) == ["other"]
        assert ids(await waiting) == ["m"]
        await world.pass_time(2_000)

        assert [one.reason for one in await world.dead_letters(BRIEF)] == ["TTLExpiredException"]

    async def test_one_that_nobody_receives(self, tmp_path: Path) -> None:
        """A suspect of a subscription without a consumer in this run holds up nothing."""
        async with embedded_world(tmp_path) as world:
            await suspected(world, "suspect")
            world.consuming = (ALL,)
            await world.crash()
            await world.bus.publish(NEWS, [message()])

            assert ids(await receive(world, ALL)) == ["m"]

    async def test_the_database_is_away(self, world: EmbeddedWorld) -> None:
        """A suspect whose delivery cannot be written down is not handed out, and comes later."""
        world.patience_s = 0.1
        await suspected(world, "suspect")
        with held(world.database.path), pytest.raises(Unavailable):
            await world.bus.receive(BRIEF, limit=1)
        assert ids(await receive(world, BRIEF)) == ["suspect"]
        await world.crash()

        assert [one.message.id for one in await world.dead_letters(BRIEF)] == ["suspect"]


class TestGoodOrder:
    """Ending in good order is no crash."""

    async def test_makes_no_suspects(self, tmp_path: Path) -> None:
        """A job that two stops of the hub interrupted holds up nobody's events."""
        consuming = [VIDEO_ANALYSIS, METRICS]
        async with embedded_world(tmp_path, TOPOLOGY, consuming) as world:
            job = message("job", properties={"jobType": "video.analysis"})
            await world.bus.publish(JOBS_TOPIC, [job])
            for _ in range(2):
                await receive_one(world, VIDEO_ANALYSIS)
                await world.reopen()
            await world.bus.publish(EVENTS_TOPIC, [message("event")])

            assert ids(await receive(world, METRICS)) == ["event"]
            assert (await receive_one(world, VIDEO_ANALYSIS)).delivery_count == 3

    async def test_does_not_convict(self, world: EmbeddedWorld) -> None:
        """A suspect in hand when the hub stops is no killer: it comes again, alone."""
        await suspected(world, "suspect")
        await world.bus.publish(NEWS, [brief("other")])
        await receive_one(world, BRIEF)
        await world.reopen()

        assert ids(await receive(world, BRIEF)) == ["suspect"]
        assert await world.dead_letters(BRIEF) == []

    @pytest.mark.parametrize("moment", range(1, 12))
    async def test_spares_who_was_not_handed_out(self, world: EmbeddedWorld, moment: int) -> None:
        """A suspect whose receiver was cancelled, at any moment, survives the end of the run."""
        await suspected(world, "suspect")
        receiving = asyncio.create_task(world.bus.receive(BRIEF, limit=1))
        for _ in range(moment):
            await asyncio.sleep(0)
        receiving.cancel()
        await asyncio.wait({receiving})
        await world.reopen()

        assert ids(await receive(world, BRIEF)) == ["suspect"]

    async def test_counts_only_what_is_in_hand(self, world: EmbeddedWorld) -> None:
        """What only waited in memory is not counted."""
        assert await world.at_once(BIG) == []
        await world.bus.publish(NEWS, messages(range(5), properties={"size": 11}))
        await receive(world, BIG, limit=2)
        await world.reopen()

        counts = [one.delivery_count for one in await receive(world, BIG)]
        assert counts == [2, 2, 1, 1, 1]

    async def test_closed_is_closed(self, world: EmbeddedWorld) -> None:
        """A bus that is closed hands out nothing more, and says so."""
        await world.bus.publish(NEWS, [message()])
        await world.bus.close()

        with pytest.raises(Unavailable):
            await world.bus.receive(ALL, limit=1)

    async def test_tells_who_waits(self, world: EmbeddedWorld) -> None:
        """Who waits for a message when the bus closes is told that none will come."""
        waiting = asyncio.create_task(world.bus.receive(ALL, limit=1))
        await world.rest()
        await world.bus.close()

        with pytest.raises(Unavailable):
            await asyncio.wait_for(waiting, 10)

    async def test_not_started(self, world: EmbeddedWorld) -> None:
        """A bus that has not started takes nothing, instead of losing it."""
        bus = EmbeddedBus(world.database, world.topology, world.clock)

        with pytest.raises(Unavailable):
            await bus.publish(NEWS, [message()])
        await bus.close()


class TestTopologyChanges:
    """A release with other subscriptions."""

    async def test_one_less_and_one_more(self, world: EmbeddedWorld) -> None:
        """A removed subscription's messages go, a new one starts empty, the others keep theirs."""
        await world.bus.publish(NEWS, [message("kept"), brief("gone")])
        await abandon(world, BRIEF, 1)
        (topic,) = world.topology
        fresh = replace(topic.subscriptions[0], name="fresh")
        without = [one for one in topic.subscriptions if one.name != BRIEF]
        world.topology = [Topic(name=NEWS, subscriptions=(*without, fresh))]
        world.consuming = (ALL, "fresh")
        await world.reopen()
        assert await world.at_once("fresh") == []
        await world.bus.publish(NEWS, [message("later")])

        assert ids(await receive(world, "fresh")) == ["later"]
        assert ids(await receive(world, ALL)) == ["kept", "later"]
        assert [row["message_id"] for row in await world.rows(tables.messages)] == ["kept", "later"]
        assert await world.rows(tables.redeliveries) == []

    async def test_another_topic(self, world: EmbeddedWorld) -> None:
        """A topic that is gone takes its messages along, and its scheduled ones hold up none."""
        (topic,) = world.topology
        old = replace(topic.subscriptions[0], name="old", topic="old")
        world.topology = [topic, Topic(name="old", subscriptions=(old,))]
        await world.reopen()
        soon = world.clock.now() + 5_000
        await world.bus.publish("old", [message("gone"), message("never", due_at=soon)])
        await world.bus.publish(NEWS, [message("kept", due_at=soon)])
        world.topology = [topic]
        await world.reopen()
        await world.pass_time(6_000)

        assert ids(await receive(world)) == ["kept"]
        assert [row["message_id"] for row in await world.rows(tables.messages)] == ["kept"]
        with pytest.raises(NotFound):
            await world.bus.publish("old", [message()])
