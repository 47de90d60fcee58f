"""Two hubs on one PostgreSQL database, racing for the same events and deliveries."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from notifications.deliveries import Failed
from notifications.events import Channel, Event
from notifications.lanes import BOUNDS
from notifications.retries import MINUTE, SECOND
from notifications.routing import addressed, event_message
from tests.heart_world import (
    POSTGRESQL,
    WEBHOOK_ONLY,
    HeartWorld,
    Try,
    heart_world,
    sample_event,
)

REFUSED = Failed(reason="http-500", status=500)
BOUND = BOUNDS[Channel.WEBHOOK]


@dataclass(slots=True)
class Hubs:
    """Two hearts with one ledger and one clock, each with a bus and channels of its own."""

    first: HeartWorld
    second: HeartWorld

    @property
    def both(self) -> tuple[HeartWorld, HeartWorld]:
        return self.first, self.second

    @property
    def tries(self) -> list[Try]:
        """The attempts that both made."""
        return [each for world in self.both for each in world.webhooks.tries]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something is so."""
        await self.first.until(condition)

    async def until_states(self, **states: int) -> None:
        """Wait until there are exactly these deliveries."""
        await self.until(lambda: self.first.states() == states)


@pytest.fixture
async def hubs(tmp_path: Path) -> AsyncIterator[Hubs]:
    """Both at work."""
    async with (
        heart_world(tmp_path / "a", store=POSTGRESQL) as first,
        heart_world(tmp_path / "b", store=first.store, clock=first.clock) as second,
    ):
        yield Hubs(first, second)


async def meet(hubs: Hubs, events: Sequence[Event]) -> None:
    """Both hubs get the same messages and claim before either has been answered."""
    await hubs.first.ledger.accept(events, [WEBHOOK_ONLY] * len(events), send=False)
    gates = [world.webhooks.hold("ep_1") for world in hubs.both]
    # As both know them from their own acceptance: neither looks whether the other was sooner.
    known = await hubs.first.ledger.look([(e.tenant_id, e.id) for e in events], Channel.REALTIME)
    messages = [event_message(each.event, decoded=each) for each in known.values()]
    for world in hubs.both:
        await world.put(*messages)
    await hubs.until_states(pending=len(events))
    for world in hubs.both:
        await world.until(lambda world=world: world.faulty.calls["record"] >= 2)
    for gate in gates:
        gate.set()
    await hubs.until_states(delivered=len(events))
    for world in hubs.both:
        await world.until_quiet()


async def test_the_same_event_at_both_is_new_once(hubs: Hubs) -> None:
    """Of publishes of one id that race, one is new, whichever hub took it."""
    event = sample_event()
    answers = await asyncio.gather(*(world.publish(event) for world in hubs.both * 10))
    assert [answer.duplicate for (answer,) in answers].count(False) == 1
    await hubs.until_states(delivered=1)
    assert len(hubs.tries) == 1


async def test_different_contents_under_one_id_leave_one(hubs: Hubs) -> None:
    """Of contents that race for an id one is stored; the other hub's publisher is told."""
    answers = await asyncio.gather(
        *(
            world.publish(sample_event(data={"amount": number}))
            for number, world in enumerate(hubs.both)
        )
    )
    assert sorted(answer.conflict for (answer,) in answers) == [False, True]
    assert hubs.first.one("SELECT count(*) FROM events") == 1


async def test_one_message_at_both_makes_one_attempt(hubs: Hubs) -> None:
    """An event whose message comes to both at once is attempted by whoever claims it."""
    events = [sample_event(f"evt-{number}") for number in range(60)]
    await meet(hubs, events)
    assert len(hubs.tries) == 60
    assert hubs.first.one("SELECT count(*) FROM deliveries") == 60


async def test_doubles_cost_no_place_in_the_lane(hubs: Hubs) -> None:
    """A hub whose claim was too late gives the lane's places back."""
    events = [sample_event(f"evt-{number}") for number in range(60)]
    await meet(hubs, events)
    lane = "webhook/acme/ep_1"
    for world in hubs.both:
        assert world.lanes.room(lane, Channel.WEBHOOK, now=world.clock.now()) == BOUND


async def test_drains_that_race_share_what_is_due(hubs: Hubs) -> None:
    """Two drains of one lane claim different deliveries; each is tried once more."""
    count = 100
    for number in range(count):
        for world in hubs.both:
            world.webhooks.script(f"evt-{number}", REFUSED)
    await hubs.first.publish(*[sample_event(f"evt-{number}") for number in range(count)])
    await hubs.first.until_waiting(count)
    await hubs.second.database.write(
        lambda tx: hubs.second.ledger.wake(tx, {"webhook/acme/ep_1": hubs.first.clock.now()})
    )
    for world in hubs.both:  # what comes next is taken
        world.webhooks.scripts.clear()
    await hubs.first.pass_time(6 * SECOND)
    await hubs.first.live_until(lambda: hubs.first.states() == {"delivered": count})
    assert len(hubs.tries) == 2 * count
    assert {(each.event_id, each.number) for each in hubs.tries} == {
        (f"evt-{number}", attempt) for number in range(count) for attempt in (1, 2)
    }


async def test_what_a_dead_hub_claimed_is_tried_by_the_other(tmp_path: Path) -> None:
    """A claim that nobody ends runs out; the sweep of whoever is left wakes the lane."""
    async with heart_world(tmp_path / "b", store=POSTGRESQL) as living:
        async with heart_world(tmp_path / "a", store=living.store, clock=living.clock) as dying:
            dying.webhooks.hold("ep_1")
            await dying.publish(*[sample_event(f"evt-{number}") for number in range(5)])
            await dying.until_tried(5)
        assert living.states() == {"pending": 5}
        await living.sweep.sweep()
        assert living.webhooks.tries == []
        await living.pass_time(MINUTE)
        await living.sweep.sweep()
        await living.until_states(delivered=5)
        assert [each.number for each in living.webhooks.tries] == [1] * 5


async def test_an_outcome_that_comes_after_its_claim_ran_out_counts_once(hubs: Hubs) -> None:
    """Where two made the same attempt, the first outcome counts and the other is left out."""
    gate = hubs.first.webhooks.hold("ep_1")
    await hubs.first.publish(sample_event())
    await hubs.first.until_tried(1)
    await hubs.first.pass_time(MINUTE)
    await hubs.second.sweep.sweep()
    await hubs.until_states(delivered=1)
    gate.set()
    await hubs.first.until_quiet()
    rows = hubs.first.rows("SELECT state, attempt, first_outcome FROM deliveries")
    assert rows == [("delivered", 1, "delivered")]
    assert hubs.first.one("SELECT count(*) FROM attempts") == 0


async def test_an_event_is_counted_once_by_both(hubs: Hubs) -> None:
    """Metrics of two hubs that get the same event count it once."""
    event = sample_event()
    await hubs.first.publish(event)
    again = [addressed(event, "metrics", message_id=f"m{n}", due_at=None) for n in range(4)]
    for world in hubs.both:
        await world.put(*again)
    for world in hubs.both:
        await world.until_quiet()
    assert hubs.first.one("SELECT sum(count) FROM event_counts") == 1


async def test_an_inbox_that_both_write_to_has_no_gap_and_no_double(tmp_path: Path) -> None:
    """Each item gets a `seq` of its own, and the unread count is the number of items."""
    realtime = frozenset((Channel.REALTIME,))
    async with (
        heart_world(tmp_path / "a", channels=realtime, store=POSTGRESQL) as first,
        heart_world(
            tmp_path / "b", channels=realtime, store=first.store, clock=first.clock
        ) as second,
    ):
        for world in (first, second):
            world.channels[Channel.REALTIME].targets = ("ada",)
        await asyncio.gather(
            *(
                (first, second)[number % 2].publish(sample_event(f"evt-{number}"))
                for number in range(80)
            )
        )
        await first.until_states(delivered=80)
        seqs = [seq for (seq,) in first.rows("SELECT seq FROM inbox ORDER BY seq")]
        assert seqs == list(range(1, 81))
        assert first.rows("SELECT seq, unread FROM inbox_heads") == [(80, 80)]
