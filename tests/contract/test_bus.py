"""The contract of `ports.Bus`, held against every adapter in `bus_worlds.WORLDS`."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from notifications.bus import topology
from notifications.errors import HuntazeError
from notifications.messages import Abandon, Complete, DeadLetter, Message, Settlement
from tests.bus_worlds import (
    ALL,
    BIG,
    BRIEF,
    FEW,
    LABELLED,
    LOCK_MS,
    MANY,
    NEWS,
    NOBODY,
    PATIENCE_S,
    TTL_MS,
    WORLDS,
    BusWorld,
    OpenWorld,
    abandon,
    drain,
    ids,
    message,
    messages,
    receive,
    receive_number,
    receive_one,
    settle,
)

EVENTS = [*topology.CHANNEL_SUBSCRIPTIONS.values(), topology.METRICS]
JOBS = [*topology.JOB_SUBSCRIPTIONS.values(), topology.UNROUTABLE]
SETTLEMENTS: list[Settlement] = [Complete(), Abandon(), DeadLetter("no-good", "nobody can")]


@pytest.fixture(params=WORLDS)
def open_world(request: pytest.FixtureRequest) -> OpenWorld:
    """Opens a bus on a folder."""
    return request.param


@pytest.fixture
async def world(open_world: OpenWorld, tmp_path: Path) -> AsyncIterator[BusWorld]:
    """A bus with the sample topology."""
    async with open_world(tmp_path) as world:
        yield world


class TestPublishing:
    """What is put on a topic."""

    async def test_is_durable(self, world: BusWorld) -> None:
        """What was published is received after the bus was opened again."""
        if not world.features.durable:
            pytest.skip("keeps nothing")
        await world.bus.publish(NEWS, messages(range(3)))
        await world.reopen()

        assert ids(await receive_number(world, 3)) == ["0", "1", "2"]

    async def test_is_all_or_none(self, world: BusWorld) -> None:
        """Of messages with one among them that cannot be carried, none is on the bus."""
        refused = world.features.refuses
        if refused is None:
            pytest.skip("carries everything")
        with pytest.raises(HuntazeError):
            await world.bus.publish(NEWS, [message("before"), refused, message("after")])
        await world.bus.publish(NEWS, [message("alone")])

        assert ids(await drain(world)) == ["alone"]

    async def test_by_many_at_once(self, world: BusWorld) -> None:
        """Of concurrent publishers everything arrives once, each one's messages in its order."""

        async def publish(publisher: int) -> None:
            for number in range(20):
                await world.bus.publish(NEWS, [message(f"{publisher}-{number}")])

        await asyncio.gather(*(publish(publisher) for publisher in range(8)))
        found = ids(await drain(world))

        for publisher in range(8):
            own = [name for name in found if name.startswith(f"{publisher}-")]
            sent = [f"{publisher}-{number}" for number in range(20)]
            assert own == sent or not world.features.ordered
            assert sorted(own) == sorted(sent)
        assert len(found) == 160

    async def test_keeps_bodies_and_properties(self, world: BusWorld) -> None:
        """Bodies of any bytes and properties of each kind come back as they were sent."""
        dice = random.Random(7)
        sent = [
            Message(
                id=f"{number}",
                body=dice.randbytes(dice.choice([0, 1, 100, 5_000, 100_000])),
                properties={
                    "text": dice.choice(["", "é", "null", "\x00", "'; --", "🙂" * 40]),
                    "number": dice.choice([0, -1, 2**31 - 1, -(2**31)]),
                    "float": dice.choice([0.0, -1.5, 1e300, 5e-324, 1.0]),
                    "flag": dice.random() < 0.5,
                },
                subject=dice.choice([None, "", "sujet"]),
                content_type=dice.choice([None, "text/plain"]),
            )
            for number in range(120)
        ]
        half = len(sent) // 2
        await world.bus.publish(NEWS, sent[:half])
        before = await drain(world)
        await world.bus.publish(NEWS, sent[half:])
        await world.reopen()
        found = [one.message for one in [*before, *await drain(world)]]

        assert found == sent
        for one in found:
            assert [type(value) for value in one.properties.values()] == [str, int, float, bool]

    async def test_a_rule_that_cannot_be_asked(self, world: BusWorld) -> None:
        """A message a rule cannot be evaluated for is dead for that subscription alone."""
        await world.bus.publish(NEWS, [message(properties={"size": "large"})])

        assert ids(await drain(world)) == ["m"]
        (dead,) = await world.dead_letters(BIG)
        assert (dead.message.id, dead.reason) == ("m", "FilterException")


class TestRouting:
    """The hub's own topology."""

    @pytest.fixture
    async def hub(self, open_world: OpenWorld, tmp_path: Path) -> AsyncIterator[BusWorld]:
        """A bus with the hub's topology."""
        async with open_world(tmp_path, topology.TOPOLOGY, [*EVENTS, *JOBS]) as world:
            yield world

    async def test_an_event_goes_to_all_four(self, hub: BusWorld) -> None:
        """An ordinary event is received once by each of the four, and by no job worker."""
        await hub.bus.publish(topology.EVENTS_TOPIC, [message(properties={"type": "job.queued"})])

        found = {name: ids(await drain(hub, name)) for name in [*EVENTS, *JOBS]}
        assert found == {name: ["m"] if name in EVENTS else [] for name in found}

    @pytest.mark.parametrize(("consumer", "subscription"), topology.CONSUMERS.items())
    async def test_an_addressed_one_to_one(
        self, hub: BusWorld, consumer: str, subscription: str
    ) -> None:
        """A message addressed to one consumer is received by that one alone."""
        addressed = message(properties={"hubConsumer": consumer})
        await hub.bus.publish(topology.EVENTS_TOPIC, [addressed])

        found = {name: ids(await drain(hub, name)) for name in EVENTS}
        assert found == {name: ["m"] if name == subscription else [] for name in EVENTS}

    @pytest.mark.parametrize("job_type", [*topology.JOB_SUBSCRIPTIONS, "unheard.of", None])
    async def test_a_job_to_its_worker(self, hub: BusWorld, job_type: str | None) -> None:
        """A job is received by its worker alone, one of an unknown type by `unroutable`."""
        properties = {} if job_type is None else {"jobType": job_type}
        await hub.bus.publish(topology.JOBS_TOPIC, [message(properties=properties)])

        found = {name: ids(await drain(hub, name)) for name in JOBS}
        goes_to = topology.JOB_SUBSCRIPTIONS.get(job_type or "", topology.UNROUTABLE)
        assert found == {name: ["m"] if name == goes_to else [] for name in JOBS}


class TestCorrelation:
    """A subscription whose rule is a correlation filter."""

    WANTED: ClassVar[dict[str, Any]] = {
        "subject": "order",
        "content_type": "text/x",
        "properties": {"Vip": True},
    }

    async def test_takes_what_is_all_equal(self, world: BusWorld) -> None:
        """What has all that the filter wants is received, whatever else it has."""
        sent = message(**{**self.WANTED, "properties": {"VIP": True, "kind": "other", "size": 1}})
        await world.bus.publish(NEWS, [sent])

        assert ids(await drain(world, LABELLED)) == ["m"]

    @pytest.mark.parametrize(
        "change",
        [
            {"subject": "Order"},
            {"subject": None},
            {"content_type": "text/X"},
            {"properties": {}},
            {"properties": {"vip": 1}},
            {"properties": {"vip": "true"}},
            {"properties": {"vip": False}},
        ],
        ids=str,
    )
    async def test_leaves_what_differs(self, world: BusWorld, change: dict[str, Any]) -> None:
        """One thing that is missing, or differs in value, kind or case, is enough."""
        await world.bus.publish(NEWS, [message(**{**self.WANTED, **change})])

        assert await world.at_once(LABELLED) == []

    async def test_takes_what_was_scheduled(self, world: BusWorld) -> None:
        """The filter is asked when a message becomes visible, over a restart too."""
        later = world.clock.now() + 5_000
        await world.bus.publish(NEWS, [message(due_at=later, **self.WANTED)])
        await world.reopen()
        await world.pass_time(6_000)

        assert ids(await drain(world, LABELLED)) == ["m"]


class TestReceiving:
    """What is handed out, to whom, when."""

    async def test_waits(self, world: BusWorld) -> None:
        """A receiver waits until there is a message."""
        receiving = asyncio.create_task(receive(world))
        assert await world.at_once(BIG) == []
        assert not receiving.done()
        await world.bus.publish(NEWS, [message()])

        assert ids(await receiving) == ["m"]

    async def test_oldest_first_up_to_the_limit(self, world: BusWorld) -> None:
        """A receiver gets the oldest messages, no more than it asked for."""
        for number in range(10):
            await world.bus.publish(NEWS, [message(str(number))])

        assert ids(await receive(world, limit=4)) == ["0", "1", "2", "3"]
        assert ids(await receive(world, limit=100)) == ["4", "5", "6", "7", "8", "9"]

    async def test_a_lock_hides(self, world: BusWorld) -> None:
        """A locked message is not received by another."""
        await world.bus.publish(NEWS, [message()])
        await receive_one(world)

        assert await world.at_once(ALL) == []

    async def test_says_what_it_is(self, world: BusWorld) -> None:
        """A received message has its subscription, a first delivery, and a growing number."""
        await world.bus.publish(NEWS, messages("ab"))
        first, second = await receive_number(world, 2)

        assert (first.subscription, first.delivery_count) == (ALL, 1)
        assert first.sequence_number < second.sequence_number

    async def test_cancelled_while_it_waits(self, world: BusWorld) -> None:
        """A receiver that is cancelled has locked nothing."""
        receiving = asyncio.create_task(world.bus.receive(ALL, limit=1))
        assert await world.at_once(BIG) == []
        receiving.cancel()
        await asyncio.wait({receiving})
        await world.bus.publish(NEWS, [message()])

        assert (await receive_one(world)).delivery_count == 1

    async def test_cancelled_at_any_moment(self, world: BusWorld) -> None:
        """Receivers that are cancelled at any moment lose nothing and count no delivery."""
        await world.bus.publish(NEWS, messages(range(300)))
        got = []
        for turns in range(60):
            receiving = asyncio.create_task(world.bus.receive(ALL, limit=2))
            for _ in range(turns % 12):
                await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait({receiving})
            if not receiving.cancelled():
                got += receiving.result()
        await settle(world, got)
        got += await drain(world)

        assert Counter(ids(got)) == Counter(str(number) for number in range(300))
        assert {one.delivery_count for one in got} == {1}

    async def test_by_many_at_once(self, world: BusWorld) -> None:
        """Concurrent receivers of one subscription get each message once, between them."""
        found: list[str] = []

        async def work() -> None:
            while len(found) < 400:
                page = await world.bus.receive(ALL, limit=7)
                found.extend(ids(page))
                await settle(world, page)

        workers = [asyncio.create_task(work()) for _ in range(6)]
        for start in range(0, 400, 20):
            await world.bus.publish(NEWS, messages(range(start, start + 20)))
        await asyncio.wait(workers, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)

        assert Counter(found) == Counter(str(number) for number in range(400))


class TestSettling:
    """How a lock ends."""

    async def test_complete_removes(self, world: BusWorld) -> None:
        """A completed message never comes again."""
        await world.bus.publish(NEWS, [message()])
        await settle(world, await receive(world))
        await world.pass_time(2 * LOCK_MS)
        assert await world.at_once(ALL) == []
        await world.reopen()

        assert await world.at_once(ALL) == []

    async def test_abandon_gives_back_at_once(self, world: BusWorld) -> None:
        """An abandoned message comes again at once, before newer ones, counted once more."""
        await world.bus.publish(NEWS, messages("ab"))
        await abandon(world, ALL, 1)
        await world.bus.publish(NEWS, messages("c"))

        found = [(one.message.id, one.delivery_count) for one in await receive_number(world, 3)]
        assert found == [("a", 2), ("b", 1), ("c", 1)]

    async def test_too_many_deliveries(self, world: BusWorld) -> None:
        """A message given back at its last delivery goes to the dead letters, and says so."""
        await world.bus.publish(NEWS, [message(properties={"kind": "brief"})])
        await abandon(world, BRIEF, FEW)

        assert await world.at_once(BRIEF) == []
        (dead,) = await world.dead_letters(BRIEF)
        assert dead.message.id == "m"
        assert dead.reason == "MaxDeliveryCountExceeded"
        assert dead.description == "Message could not be consumed after 3 delivery attempts."
        assert dead.delivery_count == FEW

    async def test_dead_letter(self, world: BusWorld) -> None:
        """A message that is dead-lettered is there with its reason, and comes no more."""
        await world.bus.publish(NEWS, [message()])
        await settle(world, await receive(world), DeadLetter("schema", "amount is missing"))
        await world.reopen()

        assert await world.at_once(ALL) == []
        (dead,) = await world.dead_letters(ALL)
        assert (dead.message.body, dead.reason) == (b"m", "schema")
        assert dead.description == "amount is missing"

    @pytest.mark.parametrize("first", SETTLEMENTS, ids=lambda s: type(s).__name__)
    @pytest.mark.parametrize("second", SETTLEMENTS, ids=lambda s: type(s).__name__)
    @pytest.mark.parametrize("together", [False, True])
    async def test_twice(
        self, world: BusWorld, first: Settlement, second: Settlement, together: bool
    ) -> None:
        """Of two settlements of a message the first one holds, even where both come at once."""
        await world.bus.publish(NEWS, [message()])
        one = await receive_one(world)
        if together:
            await asyncio.gather(world.bus.settle(one, first), world.bus.settle(one, second))
        else:
            await world.bus.settle(one, first)
            await world.bus.settle(one, second)
        await world.reopen()

        again = [other.delivery_count for other in await world.at_once(ALL)]
        assert again == ([2] if isinstance(first, Abandon) else [])
        dead = [other.reason for other in await world.dead_letters(ALL)]
        assert dead == (["no-good"] if isinstance(first, DeadLetter) else [])

    @pytest.mark.parametrize("settlement", SETTLEMENTS, ids=lambda s: type(s).__name__)
    async def test_after_the_lock_was_lost(self, world: BusWorld, settlement: Settlement) -> None:
        """Who has lost a lock settles nothing: the message is the next one's."""
        await world.bus.publish(NEWS, [message()])
        late = await receive_one(world)
        await world.pass_time(LOCK_MS + 2_000)
        current = await receive_one(world)
        await world.bus.settle(late, settlement)

        assert await world.dead_letters(ALL) == []
        assert await world.at_once(ALL) == []  # it is still locked
        await world.bus.settle(current, Abandon())
        assert (await receive_one(world)).delivery_count == 3

    async def test_a_lock_runs_out(self, world: BusWorld) -> None:
        """A message whose lock ran out comes again, counted once more."""
        await world.bus.publish(NEWS, [message()])
        await receive_one(world)
        await world.pass_time(LOCK_MS - 1_000)
        assert await world.at_once(ALL) == []
        await world.pass_time(3_000)

        assert (await receive_one(world)).delivery_count == 2

    async def test_locks_run_out_too_often(self, world: BusWorld) -> None:
        """A message whose lock ran out at its last delivery goes to the dead letters."""
        await world.bus.publish(NEWS, [message(properties={"kind": "brief"})])
        for _ in range(FEW):
            await receive_one(world, BRIEF)
            await world.pass_time(LOCK_MS + 2_000)

        assert await world.at_once(BRIEF) == []
        (dead,) = await world.dead_letters(BRIEF)
        assert dead.reason == "MaxDeliveryCountExceeded"

    async def test_renew_keeps(self, world: BusWorld) -> None:
        """A lock that is renewed lasts another lock's length, and then runs out."""
        await world.bus.publish(NEWS, [message()])
        one = await receive_one(world)
        for _ in range(3):
            await world.pass_time(LOCK_MS - 2_000)
            await world.bus.renew(one)
        assert await world.at_once(ALL) == []
        await world.pass_time(LOCK_MS + 2_000)

        assert (await receive_one(world)).delivery_count == 2

    async def test_renew_what_is_lost(self, world: BusWorld) -> None:
        """Renewing a lock that was lost or has ended does nothing."""
        await world.bus.publish(NEWS, messages("ab"))
        lost, ended = await receive_number(world, 2)
        await world.bus.settle(ended, Complete())
        await world.pass_time(LOCK_MS + 2_000)
        await world.bus.renew(lost)
        await world.bus.renew(ended)

        assert ids(await world.at_once(ALL)) == ["a"]


class TestTime:
    """Messages that come later, and those that come too late."""

    async def test_scheduled(self, world: BusWorld) -> None:
        """Scheduled messages appear at their time, not before, in the order they are due."""
        now = world.clock.now()
        later = [message(f"{s}", due_at=now + s * 1_000) for s in (30, 10, 20, 10)]
        await world.bus.publish(NEWS, [*later, message("now"), message("past", due_at=now - 5)])
        assert sorted(ids(await drain(world))) == ["now", "past"]
        await world.pass_time(9_000)
        assert await world.at_once(ALL) == []
        await world.pass_time(2_000)
        assert ids(await drain(world)) == ["10", "10"]
        await world.pass_time(20_000)

        assert ids(await drain(world)) == ["20", "30"]

    async def test_scheduled_over_a_restart(self, world: BusWorld) -> None:
        """A scheduled message appears at its time where the bus was opened again meanwhile."""
        now = world.clock.now()
        due = {"soon": now + 5_000, "late": now + 30_000}
        await world.bus.publish(NEWS, [message(name, due_at=at) for name, at in due.items()])
        await world.reopen()
        assert await world.at_once(ALL) == []
        await world.pass_time(6_000)
        assert ids(await drain(world)) == ["soon"]
        await world.pass_time(10_000)
        await world.reopen()
        await world.pass_time(15_000)

        assert ids(await drain(world)) == ["late"]

    async def test_due_while_it_was_closed(self, world: BusWorld) -> None:
        """What became due while the bus was closed appears when it is open again."""
        await world.bus.publish(NEWS, [message(due_at=world.clock.now() + 5_000)])
        await world.reopen()
        await world.pass_time(60_000 - 1)
        await world.reopen()

        assert ids([await receive_one(world)]) == ["m"]

    async def test_outlived_where_somebody_receives(self, world: BusWorld) -> None:
        """What waited for longer than its time to live is dead-lettered, not received."""
        assert await world.at_once(ALL) == []
        await world.bus.publish(NEWS, messages("ab"))
        await abandon(world, ALL, 1)
        await world.pass_time(TTL_MS - 2_000)
        await world.bus.publish(NEWS, messages("c"))
        await world.pass_time(4_000)

        assert ids(await world.at_once(ALL)) == ["c"]
        dead = await world.dead_letters(ALL)
        assert [one.message.id for one in dead] == ["a", "b"]
        assert {one.reason for one in dead} == {"TTLExpiredException"}
        assert {one.description for one in dead} == {"The message expired and was dead lettered."}

    async def test_outlived_where_nobody_receives(self, world: BusWorld) -> None:
        """What outlived its time is dead-lettered where nobody ever came for it, too."""
        await world.bus.publish(NEWS, messages(range(1_200), properties={"kind": "nobody"}))
        await world.pass_time(TTL_MS - 2_000)
        await world.bus.publish(NEWS, [message("young", properties={"kind": "nobody"})])
        assert await world.dead_letters(NOBODY) == []
        await world.pass_time(10_000)

        dead = await world.dead_letters(NOBODY)
        assert [one.message.id for one in dead] == [str(number) for number in range(1_200)]
        assert {one.reason for one in dead} == {"TTLExpiredException"}
        await world.pass_time(TTL_MS)
        assert len(await world.dead_letters(NOBODY)) == 1_201

    async def test_outlived_backlog(self, world: BusWorld) -> None:
        """A receiver that comes late gets what is young enough, past a backlog that is not."""
        await world.bus.publish(NEWS, messages(range(1_500)))
        await world.pass_time(TTL_MS - 5_000)
        await world.bus.publish(NEWS, [message("young")])
        await world.reopen()
        await world.pass_time(4_000)
        assert ids(await receive(world, limit=2)) == ["0", "1"]
        await world.pass_time(3_000)

        assert ids(await receive(world)) == ["young"]
        assert len(await world.dead_letters(ALL)) == 1_498

    async def test_a_lock_outlives(self, world: BusWorld) -> None:
        """A locked message is not dead-lettered for its age until it is given back."""
        await world.bus.publish(NEWS, messages("ab"))
        kept, returned = await receive_number(world, 2)
        for _ in range(10):
            await world.pass_time(LOCK_MS - 2_000)
            await world.bus.renew(kept)
            await world.bus.renew(returned)
        assert await world.dead_letters(ALL) == []
        await world.bus.settle(kept, Complete())
        await world.bus.settle(returned, Abandon())
        await world.pass_time(2_000)

        assert await world.at_once(ALL) == []
        (dead,) = await world.dead_letters(ALL)
        assert (dead.message.id, dead.reason) == ("b", "TTLExpiredException")

    async def test_a_lock_that_outlived_runs_out(self, world: BusWorld) -> None:
        """A message that outlived its time in somebody's hands, who then says nothing more of it,
        is dead for its age when the lock runs out, whether or not anybody receives."""
        await world.bus.publish(NEWS, [message()])
        kept = await receive_one(world)
        for _ in range(TTL_MS // (LOCK_MS - 2_000)):
            await world.pass_time(LOCK_MS - 2_000)
            await world.bus.renew(kept)
        assert await world.dead_letters(ALL) == []
        await world.pass_time(2 * LOCK_MS)

        (dead,) = await world.dead_letters(ALL)
        assert (dead.message.id, dead.reason) == ("m", "TTLExpiredException")
        assert await world.at_once(ALL) == []


class TestRestart:
    """What another run finds."""

    async def test_locked_ones_come_again(self, world: BusWorld) -> None:
        """What was in somebody's hands counts as delivered once more, what waited does not."""
        await world.bus.publish(NEWS, messages("abcd"))
        done, *_ = await receive(world, limit=2)
        await world.bus.settle(done, Complete())
        await world.reopen()

        found = [(one.message.id, one.delivery_count) for one in await receive_number(world, 3)]
        assert found == [("b", 2), ("c", 1), ("d", 1)]

    async def test_counts_stay(self, world: BusWorld) -> None:
        """Deliveries before and after a restart add up to the limit."""
        await world.bus.publish(NEWS, [message(properties={"kind": "brief"})])
        await abandon(world, BRIEF, 1)
        await world.reopen()
        await abandon(world, BRIEF, 1)
        await world.reopen()
        assert (await receive_one(world, BRIEF)).delivery_count == FEW

    async def test_numbers_never_come_again(self, world: BusWorld) -> None:
        """Sequence numbers grow over restarts, whatever is left on the bus."""
        numbers = []
        for _ in range(4):
            await world.bus.publish(NEWS, messages("ab"))
            page = await receive(world)
            numbers += [one.sequence_number for one in page]
            await settle(world, page)
            await world.reopen()
            await world.reopen()

        assert numbers == sorted(set(numbers))

    async def test_many_restarts_kill_nobody(self, world: BusWorld) -> None:
        """However often the bus is opened again, nothing goes to the dead letters by it."""
        await world.bus.publish(NEWS, [message()])
        for _ in range(MANY + 3):
            assert ids(await receive(world)) == ["m"]
            await world.reopen()

        assert (await receive_one(world)).delivery_count == MANY
        assert await world.dead_letters(ALL) == []


class TestBacklog:
    """Many messages."""

    async def test_in_order_each_once(self, world: BusWorld) -> None:
        """A backlog of many thousands is received in order, each message once."""
        many = world.features.backlog
        for start in range(0, many, 1_000):
            await world.bus.publish(NEWS, messages(range(start, start + 1_000)))
        found = []
        while len(found) < many:
            page = await receive(world, limit=500)
            found += ids(page)
            await settle(world, page)

        assert found == [str(number) for number in range(many)] or not world.features.ordered
        assert Counter(found) == Counter(str(number) for number in range(many))
        assert await world.at_once(ALL) == []

    async def test_beside_publishing(self, world: BusWorld) -> None:
        """Receiving falls behind publishing and catches up, and each message comes once."""
        dice = random.Random(3)
        found: list[str] = []
        total = world.features.backlog // 2

        async def publish() -> None:
            sent = 0
            while sent < total:
                size = min(dice.choice([1, 30, 2_500]), total - sent)
                await world.bus.publish(NEWS, messages(range(sent, sent + size)))
                sent += size

        async def work() -> None:
            while True:
                page = await world.bus.receive(ALL, limit=dice.choice([1, 50, 400]))
                found.extend(ids(page))
                await settle(world, page)

        workers = [asyncio.create_task(work()) for _ in range(3)]
        await publish()
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < total:
                await world.at_once(BIG)
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)

        assert Counter(found) == Counter(str(number) for number in range(total))
