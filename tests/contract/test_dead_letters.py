"""The contract of `dead_letters.DeadLetters` and `dead_letters.Peek`, over every bus."""

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from notifications.dead_letters import Chosen, DeadMessage
from notifications.errors import NotFound
from notifications.messages import Abandon, Complete, DeadLetter, Message
from tests.bus_worlds import (
    ALL,
    BIG,
    BRIEF,
    FEW,
    NEWS,
    NOBODY,
    TTL_MS,
    WORLDS,
    BusWorld,
    OpenWorld,
    drain,
    ids,
    message,
    messages,
    receive,
    receive_one,
    settle,
)

START = ("", 0)


@pytest.fixture(params=WORLDS)
def open_world(request: pytest.FixtureRequest) -> OpenWorld:
    """Opens a bus on a folder."""
    return request.param


@pytest.fixture
async def world(open_world: OpenWorld, tmp_path: Path) -> AsyncIterator[BusWorld]:
    """A bus with the sample topology."""
    async with open_world(tmp_path) as world:
        yield world


async def die(world: BusWorld, *names: str, reason: str = "schema", kind: str = "all") -> None:
    """Have messages of a kind dead-lettered."""
    subscription = BRIEF if kind == "brief" else ALL
    sent = [message(name, properties={"kind": kind}, subject="s") for name in names]
    await world.bus.publish(NEWS, sent)
    while names:
        page = await receive(world, subscription)
        await settle(world, page, DeadLetter(reason, f"{reason} is wrong"))
        names = names[len(page) :]


async def everything(world: BusWorld, subscription: str | None = None) -> list[DeadMessage]:
    """All dead letters, page by page."""
    found: list[DeadMessage] = []
    after: tuple[str, int] | None = START
    while after is not None:
        page, after = await world.letters.page(subscription, reason=None, after=after, limit=2)
        found += page
    return found


def names(found: Iterable[DeadMessage]) -> list[str]:
    """What they are."""
    return [one.message.id for one in found]


class TestListing:
    """Looking at dead letters."""

    async def test_says_what_there_is_to_say(self, world: BusWorld) -> None:
        """A dead letter is the message that was sent, with why, when and how it died."""
        began = world.clock.now()
        await world.bus.publish(NEWS, [message("a", subject="s", properties={"size": 3})])
        await world.bus.settle(await receive_one(world), Abandon())
        await world.pass_time(2_000)
        await world.bus.settle(await receive_one(world), DeadLetter("schema", "no amount"))

        (dead,) = await everything(world, ALL)
        assert dead.message == message("a", subject="s", properties={"size": 3})
        assert (dead.subscription, dead.reason, dead.description) == (ALL, "schema", "no amount")
        died = began + 2_000 if world.features.one_commit else began  # else it is not known
        assert (dead.enqueued_at, dead.dead_at) == (began, died)
        assert dead.delivery_count == 2

    async def test_goes_by_number_a_page_at_a_time(self, world: BusWorld) -> None:
        """Pages of a subscription join to all of its dead letters, each once, lowest first."""
        await die(world, "a", "b", "c", "d", "e")
        await die(world, "x", kind="brief")

        assert names(await everything(world, ALL)) == ["a", "b", "c", "d", "e"]

    async def test_goes_over_all_subscriptions(self, world: BusWorld) -> None:
        """Without a subscription pages join to everybody's, one subscription after the other."""
        await die(world, "x", "y", kind="brief")
        await die(world, "a", "b", "c")

        assert names(await everything(world)) == ["a", "b", "c", "x", "y"]

    async def test_a_page_ends_with_the_last_one(self, world: BusWorld) -> None:
        """A page that holds the last dead letter leads to no other."""
        await die(world, "a", "b")
        page, after = await world.letters.page(ALL, reason=None, after=START, limit=2)

        assert (names(page), after) == (["a", "b"], None)

    async def test_by_reason(self, world: BusWorld) -> None:
        """Those of one reason are found among many others, in calls that each end soon."""
        await die(world, *[str(number) for number in range(2_100)], reason="other")
        await die(world, "wanted", reason="schema")
        found, calls, after = [], 0, START
        while after is not None:
            page, after = await world.letters.page(ALL, reason="schema", after=after, limit=50)
            found, calls = [*found, *page], calls + 1

        assert names(found) == ["wanted"]
        assert calls > 1


class TestOfAnEvent:
    """Looking up what became of an event's message."""

    async def test_by_consumer_the_newest(self, world: BusWorld) -> None:
        """Of the letters that carry the event each consumer's newest is found, no other event's."""
        carrying = b'{"tenantid": "acme", "id": "event-1"}'
        for name, reason in (("first", "schema"), ("second", "conflict")):
            await world.bus.publish(NEWS, [message(name, body=carrying)])
            await settle(world, await receive(world), DeadLetter(reason, "it is wrong"))
        await die(world, "acme:event-1", "other")

        found = await world.letters.of_event("acme:event-1")

        assert {consumer: dead.message.id for consumer, dead in found.items()} == {
            f"of-{ALL}": "second"
        }
        assert found[f"of-{ALL}"].reason == "conflict"
        assert await world.letters.of_event("acme:event-2") == {}
        assert await world.letters.of_event("") == {}


class TestReplay:
    """Sending dead letters again."""

    async def test_it_comes_again_as_new(self, world: BusWorld) -> None:
        """A replayed letter is received by its own consumer as a first delivery, and no letter."""
        await die(world, "a")
        moved = await world.letters.replay(Chosen(subscription=ALL), limit=10)

        again = await receive_one(world)
        assert (moved.count, moved.rest) == (1, None)
        assert (again.message.body, again.message.subject) == (b"a", "s")
        assert again.delivery_count == 1
        assert again.message.id != "a"
        assert await everything(world) == []

    async def test_it_is_addressed(self, world: BusWorld) -> None:
        """It says whom it is for and what it is, and none of what the hub noted on it before."""
        noted = {"hubEvent": "7:webhook", "hubTries": 4, "hubNotAfter": "1", "own": "kept"}
        await world.bus.publish(NEWS, [message(properties=noted)])
        await settle(world, await receive(world), DeadLetter("r", "d"))
        await world.letters.replay(Chosen(subscription=ALL), limit=10)

        properties = (await receive_one(world)).message.properties
        assert properties == {"own": "kept", "hubConsumer": "of-all", "hubKind": "event"}

    async def test_a_drain_stays_a_drain(self, world: BusWorld) -> None:
        """A drain message is sent again as what it is."""
        drain_of = {"hubConsumer": "of-all", "hubKind": "drain"}
        await world.bus.publish(NEWS, [message(properties=drain_of)])
        await settle(world, await receive(world), DeadLetter("r", "d"))
        await world.letters.replay(Chosen(subscription=ALL), limit=10)

        assert (await receive_one(world)).message.properties == drain_of

    async def test_nobody_else_gets_it(self, world: BusWorld) -> None:
        """A letter of one subscription does not go to the others that had the message."""
        if not world.features.one_commit:
            pytest.skip("sends it through the rules, which are the hub's own there")
        await world.bus.publish(NEWS, [message(properties={"size": 11})])
        await settle(world, await receive(world, BIG))
        await settle(world, await receive(world, ALL), DeadLetter("r", "d"))
        await world.letters.replay(Chosen(subscription=ALL), limit=10)

        assert await world.at_once(BIG) == []
        assert len(await drain(world, ALL)) == 1

    async def test_what_no_rule_could_judge(self, world: BusWorld) -> None:
        """A letter that died of its rule reaches the subscription it had been kept from."""
        if not world.features.one_commit:
            pytest.skip("sends it through the rules, which are the hub's own there")
        await world.bus.publish(NEWS, [message(properties={"size": "large"})])
        await drain(world)
        await world.letters.replay(Chosen(subscription=BIG), limit=10)

        assert len(await drain(world, BIG)) == 1
        assert await everything(world) == []

    async def test_all_its_time_is_before_it(self, world: BusWorld) -> None:
        """A letter that died of its age lives as long again."""
        await world.bus.publish(NEWS, [message()])
        await world.pass_time(TTL_MS + 2_000)
        assert await world.at_once(ALL) == []
        await world.letters.replay(Chosen(subscription=ALL), limit=10)
        await world.pass_time(TTL_MS - 2_000)

        assert len(await world.at_once(ALL)) == 1

    async def test_is_durable(self, world: BusWorld) -> None:
        """What was replayed is on the bus, and nowhere else, after it was opened again."""
        await die(world, "a", "b", "c")
        await world.letters.replay(Chosen(subscription=ALL), limit=2)
        await world.reopen()

        assert [one.message.body for one in await drain(world)] == [b"a", b"b"]
        assert names(await everything(world)) == ["c"]

    async def test_where_nobody_receives(self, world: BusWorld) -> None:
        """A letter of a subscription without a consumer waits there again."""
        await world.bus.publish(NEWS, [message(properties={"kind": "nobody"})])
        await world.pass_time(TTL_MS + 2_000)
        await world.letters.replay(Chosen(subscription=NOBODY), limit=10)

        (waits,) = await world.peek.peek(NOBODY, after=0, limit=10)
        assert (waits.message.body, waits.message.properties) == (b"m", {"kind": "nobody"})

    async def test_page_by_page_each_once(self, world: BusWorld) -> None:
        """What is left leads through all of them, past what dies again meanwhile."""
        await die(world, *"abcde")
        chosen: Chosen | None = Chosen(subscription=ALL)
        counts: list[int] = []
        bodies = []
        while chosen is not None:
            assert len(counts) < 3, "it meets what died again"
            moved = await world.letters.replay(chosen, limit=2)
            page = await receive(world)
            bodies += [one.message.body for one in page]
            await settle(world, page, DeadLetter("again", "it is"))
            counts.append(moved.count)
            chosen = moved.rest

        assert counts == [2, 2, 1]
        assert bodies == [b"a", b"b", b"c", b"d", b"e"]
        assert {one.reason for one in await everything(world)} == {"again"}


class TestChoosing:
    """Which ones are meant, whatever is done with them."""

    @pytest.fixture
    async def three(self, world: BusWorld) -> BusWorld:
        """A bus with three dead letters that died ten seconds apart."""
        for name, reason in (("a", "schema"), ("b", "other"), ("c", "schema")):
            await die(world, name, reason=reason)
            await world.pass_time(10_000)
        return world

    async def chosen(self, world: BusWorld, **which: object) -> list[str]:
        """Those that a purge takes."""
        before = names(await everything(world))
        await world.letters.purge(Chosen(subscription=ALL, **which), limit=10)
        left = names(await everything(world))
        return [name for name in before if name not in left]

    async def test_all(self, three: BusWorld) -> None:
        """Where nothing else is said, all of the subscription's."""
        assert await self.chosen(three) == ["a", "b", "c"]

    async def test_by_reason(self, three: BusWorld) -> None:
        """Those that died of it."""
        assert await self.chosen(three, reason="schema") == ["a", "c"]

    async def test_by_number(self, three: BusWorld) -> None:
        """Those that are named, and there."""
        _, second, third = await everything(three)
        numbers = frozenset((second.sequence_number, third.sequence_number, 10**9))
        assert await self.chosen(three, numbers=numbers) == ["b", "c"]

    async def test_before(self, three: BusWorld) -> None:
        """Those that died earlier; not at that very time."""
        _, second, _ = await everything(three)
        assert await self.chosen(three, before=second.dead_at) == ["a"]

    async def test_everything_that_is_said_applies(self, three: BusWorld) -> None:
        """Reason and time narrow each other down."""
        *_, third = await everything(three)
        assert await self.chosen(three, reason="schema", before=third.dead_at) == ["a"]

    async def test_nothing(self, three: BusWorld) -> None:
        """What applies to none takes none."""
        assert await self.chosen(three, numbers=frozenset()) == []
        assert await self.chosen(three, reason="unheard-of") == []

    @pytest.mark.parametrize("what", ["replay", "purge"])
    async def test_a_dry_run(self, three: BusWorld, what: str) -> None:
        """A dry run says how many of each reason it would be, and changes nothing."""
        act = getattr(three.letters, what)
        moved = await act(Chosen(subscription=ALL), limit=1, dry_run=True)

        assert (moved.reasons, moved.rest) == ({"schema": 2, "other": 1}, None)
        assert names(await everything(three)) == ["a", "b", "c"]
        assert await three.at_once(ALL) == []

    async def test_an_unknown_subscription(self, world: BusWorld) -> None:
        """A subscription that is not there is said to be none, with those that are."""
        nowhere = Chosen(subscription="nowhere")
        for asked in (
            world.letters.page("nowhere", reason=None, after=START, limit=1),
            world.letters.replay(nowhere, limit=1),
            world.letters.purge(nowhere, limit=1, dry_run=True),
            world.peek.peek("nowhere", after=0, limit=1),
        ):
            with pytest.raises(NotFound, match=r"nowhere.*brief"):
                await asked


def event(name: str, **changes: object) -> Message:
    """A message that carries an event, under an id that says nothing of it."""
    body = json.dumps({"tenantid": "acme", "id": name}).encode()
    return message(f"copy-of-{name}", body=body, **changes)


class TestPurge:
    """Deleting dead letters."""

    async def test_they_are_gone(self, world: BusWorld) -> None:
        """A purged letter is in no list and comes no more."""
        await die(world, "a", "b")
        moved = await world.letters.purge(Chosen(subscription=ALL), limit=10)
        await world.reopen()

        assert moved.count == 2
        assert await everything(world) == []
        assert await world.at_once(ALL) == []

    async def test_others_keep_theirs(self, world: BusWorld) -> None:
        """A message that another subscription has stays there, alive or dead."""
        await world.bus.publish(NEWS, messages("ab", properties={"size": 11}))
        await settle(world, await receive(world), DeadLetter("r", "d"))
        alive, dead = await receive(world, BIG)
        await world.bus.settle(dead, DeadLetter("r", "d"))
        await world.letters.purge(Chosen(subscription=ALL), limit=10)

        assert names(await everything(world)) == ["b"]
        await world.bus.settle(alive, Abandon())
        assert ids(await drain(world, BIG)) == ["a"]

    async def test_the_ledger_is_told(self, world: BusWorld) -> None:
        """Of events whose last message for a consumer is purged it is said that they are given up,
        whatever their messages were called; of what is no event nothing is said."""
        await world.bus.publish(NEWS, [event("one"), event("two"), message("no event")])
        await settle(world, await receive(world), DeadLetter("r", "d"))
        await world.letters.purge(Chosen(subscription=ALL), limit=10, dry_run=True)
        assert world.given_up == []
        await world.letters.purge(Chosen(subscription=ALL), limit=10)

        assert world.given_up == [("of-all", "acme:one"), ("of-all", "acme:two")]

    @pytest.mark.parametrize("left", ["waiting", "scheduled", "dead"])
    async def test_what_is_still_somewhere_is_not_given_up(
        self, world: BusWorld, left: str
    ) -> None:
        """An event that the consumer has another message of is on its way yet."""
        if left == "scheduled" and not world.features.one_commit:
            pytest.skip("what is scheduled cannot be seen there")
        await world.bus.publish(NEWS, [event("one")])
        first = await receive_one(world)
        await world.bus.settle(first, DeadLetter("r", "d"))
        later = world.clock.now() + 50_000 if left == "scheduled" else None
        copy = event("one", due_at=later, properties={"hubConsumer": "of-all"})
        await world.bus.publish(NEWS, [copy])
        if left == "dead":
            await settle(world, await receive(world), DeadLetter("r", "d"))
        one = frozenset((first.sequence_number,))
        await world.letters.purge(Chosen(subscription=ALL, numbers=one), limit=10)

        assert world.given_up == []
        if left == "dead":
            await world.letters.purge(Chosen(subscription=ALL), limit=10)
            assert world.given_up == [("of-all", "acme:one")]

    @pytest.mark.parametrize("left", ["waiting", "scheduled", "dead"])
    async def test_what_another_consumer_has_does_not_count(
        self, world: BusWorld, left: str
    ) -> None:
        """A message of the event for somebody else keeps nothing from being given up."""
        await world.bus.publish(NEWS, [event("one", properties={"size": 11})])
        await settle(world, await receive(world), DeadLetter("r", "d"))
        if left == "dead":
            await settle(world, await receive(world, BIG), DeadLetter("r", "d"))
        if left == "scheduled":
            await settle(world, await receive(world, BIG))
            later = world.clock.now() + 50_000
            copy = event("one", due_at=later, properties={"hubConsumer": "of-big"})
            await world.bus.publish(NEWS, [copy])
        await world.letters.purge(Chosen(subscription=ALL), limit=10)

        assert world.given_up == [("of-all", "acme:one")]


class TestPeek:
    """Looking at what waits."""

    async def test_locked_or_not_in_order(self, world: BusWorld) -> None:
        """What waits and what is in somebody's hands is seen in pages, each once, in order."""
        await world.bus.publish(NEWS, messages("abcde"))
        await receive(world, limit=2)
        found, after = [], 0
        while page := await world.peek.peek(ALL, after=after, limit=2):
            found += ids(page)
            after = page[-1].sequence_number

        assert found == ["a", "b", "c", "d", "e"]

    async def test_takes_nothing(self, world: BusWorld) -> None:
        """What was looked at is received as if it had not been, and cannot be settled by it."""
        await world.bus.publish(NEWS, [message()])
        (seen,) = await world.peek.peek(ALL, after=0, limit=10)
        await world.bus.settle(seen, Complete())

        assert (await receive_one(world)).delivery_count == 1

    async def test_says_how_often_it_was_delivered(self, world: BusWorld) -> None:
        """The count is of deliveries so far, the one under way included."""
        under_way = 1 if world.features.one_commit else 0  # else only what came to nothing counts
        await world.bus.publish(NEWS, [message()])

        async def count() -> int:
            (seen,) = await world.peek.peek(ALL, after=0, limit=10)
            return seen.delivery_count

        assert await count() == 0
        one = await receive_one(world)
        assert await count() == under_way
        await world.bus.settle(one, Abandon())
        assert await count() == 1
        await receive_one(world)
        assert await count() == 1 + under_way

    async def test_neither_done_nor_dead_nor_later(self, world: BusWorld) -> None:
        """What was completed, what is dead and what is scheduled does not wait."""
        later = world.clock.now() + 50_000
        await world.bus.publish(NEWS, [*messages("ab"), message("later", due_at=later)])
        done, dead = await receive(world)
        await world.bus.settle(done, Complete())
        await world.bus.settle(dead, DeadLetter("r", "d"))

        assert await world.peek.peek(ALL, after=0, limit=10) == []

    async def test_of_one_subscription_alone(self, world: BusWorld) -> None:
        """What others have not dealt with is not this one's."""
        await world.bus.publish(NEWS, messages("ab", properties={"kind": "brief"}))

        assert await world.peek.peek(ALL, after=0, limit=10) == []
        assert ids(await world.peek.peek(BRIEF, after=0, limit=FEW)) == ["a", "b"]
