"""The contract of `broker.Broker`, held against the embedded bus."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from notifications.broker import Defer, End, NamedRule, Release, State
from notifications.errors import InvalidInput, NotAllowed, NotFound
from notifications.messages import Abandon, Complete, DeadLetter
from tests.broker_worlds import BrokerWorld, broker_world, end_lock, names, path, sample
from tests.bus_worlds import ALL, BRIEF, FEW, LOCK_MS, NEWS, PATIENCE_S, TTL_MS

WHY = DeadLetter("no-good", "nobody can")
ENDS: list[End] = [Complete(), Abandon(), WHY, Defer(), Release()]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[BrokerWorld]:
    """A broker with the sample topology."""
    async with broker_world(tmp_path) as world:
        yield world


class TestReceiving:
    """What is handed out."""

    async def test_comes_as_it_was_written(self, world: BrokerWorld) -> None:
        """Wire form, system properties and number come back, also from the file."""
        sent = [*await world.send("a"), *await world.send("b")]
        await world.reopen()
        found = await world.take(ALL)

        assert [one.message for one in found] == [sample("a"), sample("b")]
        assert [one.sequence_number for one in found] == sent
        assert [one.delivery_count for one in found] == [0, 0]
        assert all(one.locked_until == world.clock.now() + LOCK_MS for one in found)

    async def test_waits_and_takes_nothing_when_cancelled(self, world: BrokerWorld) -> None:
        """Who waits gets what comes; who stopped waiting before leaves it to the others."""
        outlet = world.outlet(ALL)
        for waiting in [outlet, outlet]:
            task = asyncio.create_task(waiting.receive(limit=1, wait=True, lock=True))
            await asyncio.sleep(0)
            task.cancel()
        task = asyncio.create_task(outlet.receive(limit=1, wait=True, lock=True))
        await world.send("a")

        assert names(await asyncio.wait_for(task, PATIENCE_S)) == ["a"]

    async def test_for_good_is_gone(self, world: BrokerWorld) -> None:
        """Received without a lock, a message never comes again."""
        await world.send("a")
        (found,) = await world.take(ALL, lock=False)
        assert found.token is None
        await world.crash()

        assert await world.take(ALL) == []

    async def test_for_good_and_cancelled_comes_again(self, world: BrokerWorld) -> None:
        """Cancelled while it is being deleted, a message is there for the next one."""
        await world.send("a")
        outlet = world.outlet(ALL)
        task = asyncio.create_task(outlet.receive(limit=1, wait=True, lock=False))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        await world.broker.close()

        assert task.cancelled()
        assert names(await world.take(ALL)) == ["a"]

    async def test_what_matches_nothing_is_dropped(self, world: BrokerWorld) -> None:
        """A message that no rule takes is accepted, has a number, and is nowhere."""
        (number,) = await world.send("a", properties={"kind": "unknown"})

        assert number > 0
        for name in (ALL, BRIEF):
            assert await world.broker.peekable(path(name)).peek(after=0, limit=9) == []

    async def test_unknown_paths(self, world: BrokerWorld) -> None:
        """What is not there is said to be so, whatever is asked of it; case does not count."""
        for wrong in ("nothing", f"{NEWS}/subscriptions/none", f"{NEWS}/x/{ALL}", "", "a/b"):
            for ask in (world.broker.outlet, world.broker.inlet, world.broker.peekable):
                with pytest.raises(NotFound):
                    ask(wrong)
        world.broker.outlet(path(ALL).upper())
        world.broker.inlet(NEWS.upper())


class TestSettling:
    """How a lock ends."""

    @pytest.mark.parametrize("end", ENDS)
    async def test_once(self, world: BrokerWorld, end: End) -> None:
        """A lock is ended once; another time, after it ran out, or by a name of an earlier run,
        nothing happens."""
        await world.send("a")
        outlet = world.outlet(ALL)
        (first,) = await world.take(ALL)
        assert await end_lock(outlet, first.token, end)
        assert not await end_lock(outlet, first.token, end)
        assert not await end_lock(outlet, UUID(int=1), end)

        await world.send("b")
        (late,) = [one for one in await world.take(ALL) if one.message.id == "b"]
        await world.pass_time(LOCK_MS + 2_000)
        assert not await end_lock(outlet, late.token, end)
        assert await outlet.renew(late.token) is None

    async def test_counts_what_came_to_nothing(self, world: BrokerWorld) -> None:
        """Abandoning and a lock that runs out count, releasing does not."""
        await world.send("a")
        outlet = world.outlet(ALL)
        counts = []
        for end in (Release(), Abandon(), Release(), None):
            (found,) = await world.take(ALL)
            counts.append(found.delivery_count)
            if end is None:
                await world.pass_time(LOCK_MS + 2_000)
            else:
                await end_lock(outlet, found.token, end)
        (last,) = await world.take(ALL)

        assert [*counts, last.delivery_count] == [0, 0, 1, 1, 2]

    async def test_too_often_is_dead(self, world: BrokerWorld) -> None:
        """A message abandoned as often as its subscription allows is a dead letter."""
        await world.send("a", properties={"kind": "brief"})
        for _ in range(FEW):
            (found,) = await world.take(BRIEF)
            await end_lock(world.outlet(BRIEF), found.token, Abandon())
        (dead,) = await world.take(BRIEF, dead=True)

        assert dead.dead is not None
        assert dead.dead.reason == "MaxDeliveryCountExceeded"

    async def test_renewed_locks_last(self, world: BrokerWorld) -> None:
        """A renewed lock holds for another lock duration from then on."""
        await world.send("a")
        (found,) = await world.take(ALL)
        await world.pass_time(LOCK_MS - 1_000)
        until = await world.outlet(ALL).renew(found.token)
        assert until == world.clock.now() + LOCK_MS
        await world.pass_time(LOCK_MS - 1_000)

        assert await world.take(ALL) == []
        assert await end_lock(world.outlet(ALL), found.token, Complete())

    async def test_outlives_its_own_time(self, world: BrokerWorld) -> None:
        """A message whose sender gave it less time than its subscription dies by that."""
        await world.send("a", system={"TimeToLive": 3_000})
        await world.send("b")
        await world.pass_time(4_000)

        assert names(await world.take(ALL)) == ["b"]
        await world.pass_time(1_000)
        (dead,) = await world.take(ALL, dead=True)
        assert dead.dead is not None
        assert dead.dead.reason == "TTLExpiredException"


class TestDeferred:
    """What is put aside."""

    async def test_comes_by_its_number_alone(self, world: BrokerWorld) -> None:
        """A deferred message is not received but by its number, under a lock, also after a
        restart; it is still there when it is given back."""
        (number, _) = await world.send("a", "b")
        first, second = await world.take(ALL)
        await end_lock(world.outlet(ALL), first.token, Defer())
        await end_lock(world.outlet(ALL), second.token, Complete())
        await world.reopen()
        assert await world.take(ALL) == []
        outlet = world.outlet(ALL)

        (found,) = await outlet.deferred([number], lock=True)
        assert (found.message, found.state) == (sample("a"), State.DEFERRED)
        assert found.delivery_count == 1
        with pytest.raises(NotFound):
            await outlet.deferred([number], lock=True)
        assert await outlet.renew(found.token) == world.clock.now() + LOCK_MS
        assert await end_lock(outlet, found.token, Abandon())
        (again,) = await outlet.deferred([number], lock=True)
        assert again.delivery_count == 2
        assert await end_lock(outlet, again.token, Complete())
        assert not await end_lock(outlet, again.token, Complete())
        with pytest.raises(NotFound):
            await outlet.deferred([number], lock=True)

    async def test_all_or_none(self, world: BrokerWorld) -> None:
        """Asked for one that is not there beside one that is, none is locked."""
        (number,) = await world.send("a")
        (found,) = await world.take(ALL)
        outlet = world.outlet(ALL)
        await end_lock(outlet, found.token, Defer())
        with pytest.raises(NotFound):
            await outlet.deferred([number, number + 7], lock=False)
        with pytest.raises(InvalidInput, match="at most 250"):
            await outlet.deferred(range(251), lock=False)

        assert names(await outlet.deferred([number], lock=False)) == ["a"]
        with pytest.raises(NotFound):
            await outlet.deferred([number], lock=False)

    async def test_can_be_dead_lettered(self, world: BrokerWorld) -> None:
        """A deferred message that is rejected is a dead letter, and not deferred any more."""
        (number,) = await world.send("a")
        (found,) = await world.take(ALL)
        outlet = world.outlet(ALL)
        await end_lock(outlet, found.token, Defer())
        (found,) = await outlet.deferred([number], lock=True)
        assert await end_lock(outlet, found.token, WHY)

        (dead,) = await world.take(ALL, dead=True)
        assert (dead.message, dead.dead) == (sample("a"), WHY)
        with pytest.raises(NotFound):
            await outlet.deferred([number], lock=True)

    async def test_lock_runs_out(self, world: BrokerWorld) -> None:
        """A lock on a deferred message that ran out is no lock, and counts as a delivery."""
        (number,) = await world.send("a")
        (found,) = await world.take(ALL)
        outlet = world.outlet(ALL)
        await end_lock(outlet, found.token, Defer())
        (found,) = await outlet.deferred([number], lock=True)
        await world.pass_time(LOCK_MS)
        assert not await end_lock(outlet, found.token, Complete())

        (again,) = await outlet.deferred([number], lock=True)
        assert again.delivery_count == 2


class TestDeadLetters:
    """Dead letters are received like other messages."""

    async def _dead(self, world: BrokerWorld, *sent: str) -> None:
        await world.send(*sent)
        for one in await world.take(ALL):
            assert await end_lock(world.outlet(ALL), one.token, WHY)

    async def test_say_why(self, world: BrokerWorld) -> None:
        """A dead letter says why and where it died, also after a restart."""
        await self._dead(world, "a")
        await world.reopen()
        (found,) = await world.take(ALL, dead=True)

        assert found.message == sample("a")
        assert found.dead == WHY
        assert found.source == f"{NEWS}/subscriptions/{ALL}"

    @pytest.mark.parametrize(
        ("end", "left"), [(Complete(), None), (Abandon(), 2), (Release(), 1), (Defer(), None)]
    )
    async def test_end(self, world: BrokerWorld, end: End, left: int | None) -> None:
        """Completed or deferred it is not received again; given back it is."""
        await self._dead(world, "a")
        outlet = world.outlet(ALL, dead=True)
        (found,) = await world.take(ALL, dead=True)
        assert await world.take(ALL, dead=True) == []
        assert await end_lock(outlet, found.token, end)
        assert not await end_lock(outlet, found.token, end)

        counts = [one.delivery_count for one in await world.take(ALL, dead=True)]
        assert counts == ([] if left is None else [left])
        if isinstance(end, Defer):
            await world.reopen()
            number = [found.sequence_number]
            assert names(await world.outlet(ALL, dead=True).deferred(number, lock=True)) == ["a"]

    async def test_cannot_die_twice(self, world: BrokerWorld) -> None:
        """A dead letter that is dead-lettered is refused, and stays locked."""
        await self._dead(world, "a")
        (found,) = await world.take(ALL, dead=True)
        outlet = world.outlet(ALL, dead=True)
        with pytest.raises(InvalidInput):
            await end_lock(outlet, found.token, WHY)

        assert await end_lock(outlet, found.token, Complete())

    async def test_are_waited_for(self, world: BrokerWorld) -> None:
        """Who waits for a dead letter gets the next, and one whose lock ran out."""
        outlet = world.outlet(ALL, dead=True)
        for _ in range(2):
            waiting = asyncio.create_task(outlet.receive(limit=9, wait=True, lock=True))
            if _ == 0:
                await self._dead(world, "a")
            else:
                await world.pass_time(LOCK_MS)
            assert names(await asyncio.wait_for(waiting, PATIENCE_S)) == ["a"]

    async def test_for_good(self, world: BrokerWorld) -> None:
        """Received without a lock a dead letter is gone."""
        await self._dead(world, "a", "b")
        assert names(await world.take(ALL, dead=True, lock=False)) == ["a", "b"]
        await world.reopen()

        assert await world.take(ALL, dead=True) == []


class TestScheduled:
    """What becomes visible later."""

    async def test_in_time(self, world: BrokerWorld) -> None:
        """A scheduled message is seen on its topic until its time, and received from then on."""
        due = world.clock.now() + 5_000
        (now, later) = await world.broker.inlet(NEWS).send(
            [sample("now"), sample("later", due_at=due)]
        )
        assert now != later
        (seen,) = await world.broker.peekable(NEWS).peek(after=0, limit=9)
        assert (seen.sequence_number, seen.state) == (later, State.SCHEDULED)
        assert names(await world.take(ALL)) == ["now"]
        await world.pass_time(6_000)

        assert names(await world.take(ALL)) == ["later"]
        assert await world.broker.peekable(NEWS).peek(after=0, limit=9) == []

    async def test_cancelled(self, world: BrokerWorld) -> None:
        """Cancelled by their numbers, all or none, scheduled messages never come."""
        inlet = world.broker.inlet(NEWS)
        due = world.clock.now() + 5_000
        numbers = await inlet.send([sample(name, due_at=due) for name in "ab"])
        with pytest.raises(NotFound):
            await inlet.cancel([*numbers, numbers[-1] + 1])
        await inlet.cancel([numbers[0]])
        await world.pass_time(6_000)

        assert names(await world.take(ALL)) == ["b"]
        with pytest.raises(NotFound):
            await inlet.cancel([numbers[1]])


class TestPeeking:
    """Looking without taking."""

    async def test_everything_in_order(self, world: BrokerWorld) -> None:
        """Waiting, held and deferred messages are seen by their numbers, a page at a time."""
        numbers = await world.send(*"abcd")
        outlet = world.outlet(ALL)
        held = await outlet.receive(limit=2, wait=False, lock=True)
        await end_lock(outlet, held[0].token, Defer())
        peekable = world.broker.peekable(path(ALL))
        first = await peekable.peek(after=0, limit=2)
        rest = await peekable.peek(after=first[-1].sequence_number, limit=9)

        assert [one.sequence_number for one in [*first, *rest]] == list(numbers)
        assert [one.state for one in first] == [State.DEFERRED, State.ACTIVE]
        assert all(one.token is None for one in [*first, *rest])

    async def test_expired_are_not_lost(self, world: BrokerWorld) -> None:
        """What nobody received in time is seen among the dead letters, without a lock."""
        await world.send("a")
        await world.pass_time(TTL_MS + 2_000)
        (seen,) = await world.broker.peekable(path(ALL, dead=True)).peek(after=0, limit=9)

        assert seen.dead is not None
        assert (seen.message.id, seen.token) == ("a", None)


class TestRules:
    """The rules of a hub's own topology."""

    async def test_are_shown_and_stay(self, world: BrokerWorld) -> None:
        """They can be read, and every change is refused with the reason."""
        rules = world.broker.rules(path(BRIEF))
        assert await rules.all() == [NamedRule(name="$Default", sql="kind = 'brief'")]
        with pytest.raises(NotAllowed, match="the hub's own"):
            await rules.add(NamedRule(name="more", sql="1=1"))
        with pytest.raises(NotAllowed, match="the hub's own"):
            await rules.remove("$Default")
