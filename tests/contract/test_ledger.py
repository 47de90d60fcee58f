"""What `ports.Ledger` and `ports.Counts` promise, over the real file."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from notifications.bus.topology import METRICS, NOTIFY_WEBHOOK
from notifications.deliveries import (
    Attempt,
    Delivered,
    Delivery,
    Failed,
    Outcome,
    State,
    attempted,
    claimed,
    new_round,
    parked,
    skipped,
    waiting,
)
from notifications.events import Channel, Event, Known
from notifications.lanes import Health
from notifications.messages import Received
from notifications.records import InboxEntry, Record, Result
from notifications.retries import DAY, HOUR, MINUTE, NOTIFICATIONS, SECOND
from tests.heart_world import STORES, HeartWorld, heart_world, sample_event

ALL = frozenset(Channel)
LANE = "webhook/acme/ep_1"
REFUSED = Failed(reason="http-500", status=500, detail="no")


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A ledger on each database, with nobody at work."""
    async with heart_world(tmp_path, channels=ALL, working=False, store=request.param) as world:
        yield world


@pytest.fixture
async def one_file(tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A ledger in one file with the bus, with nobody at work."""
    async with heart_world(tmp_path, channels=ALL, working=False) as world:
        yield world


async def known(world: HeartWorld, event_id: str = "evt-1", **changes: Any) -> Known:
    """An event that was accepted."""
    event = sample_event(event_id, **changes)
    (accepted,) = await world.ledger.accept([event], [ALL])
    return Known(key=accepted.key, event=event, channels=ALL)


def fresh(world: HeartWorld, event: Known, **changes: Any) -> Delivery:
    """A delivery without a row."""
    now = world.clock.now()
    return replace(
        Delivery(
            tenant_id=event.event.tenant_id,
            id=world.numbers.next(),
            event_key=event.key,
            channel=Channel.WEBHOOK,
            target="ep_1",
            due_at=now,
            deadline=now + DAY,
            created_at=now,
        ),
        **changes,
    )


async def stored(world: HeartWorld, event: Known, **changes: Any) -> Delivery:
    """A delivery with a row."""
    delivery = fresh(world, event, **changes)
    await world.ledger.record(Record(results=[Result(before=None, after=delivery)]))
    return delivery


def tried(delivery: Delivery, outcome: Outcome, *, now: int) -> Result:
    """An attempt at a delivery that has a row."""
    return Result(
        before=delivery,
        after=attempted(delivery, outcome, now=now, table=NOTIFICATIONS, dice=0.5),
        attempt=Attempt(
            round=delivery.round,
            number=delivery.attempt + 1,
            at=now,
            duration_ms=7,
            outcome=outcome,
        ),
    )


def entry(event: Known, *, item: str = "itm-1", rank: int = 0, **changes: Any) -> InboxEntry:
    """An inbox entry of an event."""
    return replace(
        InboxEntry(
            tenant_id=event.event.tenant_id,
            user_id="ada",
            item_id=item,
            rank=rank,
            event_id=event.event.id,
            type=event.event.type,
            title=f"rank {rank}",
            body="",
            url=None,
            progress=None,
            created_at=5,
        ),
        **changes,
    )


async def take(world: HeartWorld, subscription: str, count: int = 1) -> list[Received]:
    """Messages in hand."""
    taken: list[Received] = []
    while len(taken) < count:
        got = await asyncio.wait_for(world.bus.receive(subscription, limit=count - len(taken)), 5)
        taken += got
    return taken


def row(world: HeartWorld, delivery: Delivery) -> tuple[Any, ...]:
    """State, reason, round, attempt, due time and claim of a delivery."""
    (found,) = world.rows(
        "SELECT state, reason, round, attempt, due_at, claimed FROM deliveries WHERE id = ?",
        delivery.id,
    )
    return found


# --------------------------------------------------------------------------- accept


async def test_an_event_is_new_once_and_a_duplicate_ever_after(world: HeartWorld) -> None:
    """The same id with the same content is stored once; the number is the same each time."""
    event = sample_event()
    answers = [(await world.ledger.accept([event], [ALL]))[0] for _ in range(3)]
    assert [(a.duplicate, a.conflict) for a in answers] == [(False, False)] + [(True, False)] * 2
    assert len({answer.key for answer in answers}) == 1
    assert world.one("SELECT count(*) FROM events") == 1


async def test_the_same_id_with_another_content_is_a_conflict(world: HeartWorld) -> None:
    """Another content under the same id is refused and changes nothing."""
    first = await known(world)
    (answer,) = await world.ledger.accept([sample_event(data={"amount": 13})], [ALL])
    assert (answer.conflict, answer.duplicate) == (True, False)
    assert world.one("SELECT body FROM events") == first.event.body
    await world.sent()
    assert world.one("SELECT count(*) FROM bus_messages") == 1


async def test_another_time_or_trace_is_the_same_event(world: HeartWorld) -> None:
    """A producer that sends again later, in another trace, sends a duplicate."""
    await known(world)
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"
    later = sample_event(time="2026-03-02T00:00:00Z", traceparent=trace)
    (answer,) = await world.ledger.accept([later], [ALL])
    assert (answer.duplicate, answer.conflict) == (True, False)


async def test_duplicates_and_conflicts_within_a_batch_are_told_apart(world: HeartWorld) -> None:
    """In one batch the first of an id wins; a repetition is a duplicate, another content not."""
    first, other = sample_event(), sample_event(data={"amount": 99})
    another = sample_event("evt-2")
    answers = await world.ledger.accept([first, first, other, another], [ALL] * 4)
    assert [(a.duplicate, a.conflict) for a in answers] == [
        (False, False),
        (True, False),
        (False, True),
        (False, False),
    ]
    assert answers[0].key == answers[1].key == answers[2].key != answers[3].key
    await world.sent()
    assert world.one("SELECT count(*) FROM bus_messages") == 2


async def test_two_tenants_may_use_the_same_id(world: HeartWorld) -> None:
    """An id is unique within its tenant only: both events are new and have their message."""
    ours, theirs = sample_event(), sample_event(tenant_id="zeta", data={"amount": 1})
    answers = await world.ledger.accept([ours, theirs], [ALL, ALL])
    assert [(a.duplicate, a.conflict) for a in answers] == [(False, False)] * 2
    found = await world.ledger.look([("acme", "evt-1"), ("zeta", "evt-1")], Channel.WEBHOOK)
    assert {name: each.event.data for name, each in found.items()} == {
        ("acme", "evt-1"): {"amount": 12},
        ("zeta", "evt-1"): {"amount": 1},
    }


async def test_of_many_at_once_exactly_one_is_new(world: HeartWorld) -> None:
    """However many offer the same id at the same time, one is told that it was new."""
    offers = [world.ledger.accept([sample_event()], [ALL]) for _ in range(50)]
    answers = [answer for (answer,) in await asyncio.gather(*offers)]
    assert sum(not answer.duplicate for answer in answers) == 1
    assert not any(answer.conflict for answer in answers)
    await world.sent()
    assert world.one("SELECT count(*) FROM bus_messages") == 1


async def test_of_many_different_contents_at_once_one_wins(world: HeartWorld) -> None:
    """Of contents that race for an id one is stored, and every other is told of the conflict."""
    offers = [world.ledger.accept([sample_event(data={"n": n % 5})], [ALL]) for n in range(50)]
    answers = [answer for (answer,) in await asyncio.gather(*offers)]
    assert sum(not (a.duplicate or a.conflict) for a in answers) == 1
    assert sum(answer.duplicate for answer in answers) == 9
    assert sum(answer.conflict for answer in answers) == 40


async def test_an_answer_leaves_after_the_commit(world: HeartWorld) -> None:
    """Whoever is told `accepted` or `duplicate` finds the row through another connection."""

    async def offer(number: int) -> bool:
        await world.ledger.accept([sample_event(f"evt-{number % 10}")], [ALL])
        query = "SELECT count(*) FROM events WHERE id = ?"
        return world.rows(query, f"evt-{number % 10}") == [(1,)]

    assert all(await asyncio.gather(*(offer(number) for number in range(100))))


async def test_event_and_message_are_one_commit(world: HeartWorld) -> None:
    """Where the message cannot be written, the event is not there either."""
    async with world.sending_broken("bus_messages"):
        with pytest.raises(Exception, match="broken"):
            await known(world)
        assert world.one("SELECT count(*) FROM events") == 0
    accepted = await known(world)
    assert world.one("SELECT key FROM events") == accepted.key
    await world.sent()
    assert world.one("SELECT message_id FROM bus_messages") == "acme:evt-1"


async def test_an_event_from_the_bus_is_not_sent_again(world: HeartWorld) -> None:
    """What a consumer takes in has its message already: none is put on the topic."""
    (answer,) = await world.ledger.accept([sample_event()], [ALL], send=False)
    assert not answer.duplicate
    await world.sent()
    assert world.one("SELECT count(*) FROM bus_messages") == 0


async def test_acceptance_fixes_the_channels(world: HeartWorld) -> None:
    """The channels are those of the first acceptance, whatever a duplicate says."""
    event = sample_event()
    await world.ledger.accept([event], [frozenset((Channel.EMAIL,))])
    await world.ledger.accept([event], [ALL])
    found = await world.ledger.look([("acme", "evt-1")], Channel.EMAIL)
    assert found[("acme", "evt-1")].channels == {Channel.EMAIL}


async def test_events_keep_the_order_they_were_offered_in(world: HeartWorld) -> None:
    """A batch's messages come off the bus in the batch's order."""
    events = [sample_event(f"evt-{number}") for number in (5, 3, 9, 1)]
    await world.ledger.accept(events, [ALL] * 4)
    taken = await take(world, NOTIFY_WEBHOOK, 4)
    assert [each.message.id for each in taken] == [event.message_id for event in events]


# --------------------------------------------------------------------------- look


async def test_look_finds_what_is_there_and_leaves_out_the_rest(world: HeartWorld) -> None:
    """An event is found as it was accepted; unknown ids and other tenants' are left out."""
    there = await known(world)
    asked = [("acme", "evt-1"), ("acme", "evt-2"), ("zeta", "evt-1")]
    assert await world.ledger.look(asked, Channel.WEBHOOK) == {("acme", "evt-1"): there}


async def test_look_tells_who_has_a_row_on_the_channel_that_is_asked_about(
    world: HeartWorld,
) -> None:
    """Targets with a row are told, of that channel alone."""
    event = await known(world)
    for target in ("ep_1", "ep_2"):
        await stored(world, event, target=target)
    await stored(world, event, channel=Channel.EMAIL, target="ada")
    for channel, routed in (
        (Channel.WEBHOOK, {"ep_1", "ep_2"}),
        (Channel.EMAIL, {"ada"}),
        (Channel.REALTIME, set()),
    ):
        found = await world.ledger.look([("acme", "evt-1")], channel)
        assert found[("acme", "evt-1")].routed == routed


async def test_look_finds_more_than_a_statement_can_hold(world: HeartWorld) -> None:
    """A thousand events of two tenants are found in one call."""
    events = [
        sample_event(f"evt-{number}", tenant_id=("acme", "zeta")[number % 2])
        for number in range(1_000)
    ]
    await world.ledger.accept(events, [ALL] * 1_000)
    names = [(event.tenant_id, event.id) for event in events]
    found = await world.ledger.look(names, Channel.WEBHOOK)
    assert {name: each.event for name, each in found.items()} == dict(
        zip(names, events, strict=True)
    )


# --------------------------------------------------------------------------- record


async def test_a_first_outcome_is_written_with_its_row(world: HeartWorld) -> None:
    """A delivery that had no row is inserted with its first attempt inside."""
    event = await known(world)
    delivery = fresh(world, event)
    result = replace(tried(delivery, Delivered(status=200, detail="ok"), now=9), before=None)
    await world.ledger.record(Record(results=[result]))
    assert row(world, delivery) == ("delivered", None, 1, 1, None, 0)
    assert world.rows(
        "SELECT first_at, first_ms, first_outcome, first_status, first_detail FROM deliveries"
    ) == [(9, 7, "delivered", 200, "ok")]
    assert world.one("SELECT count(*) FROM attempts") == 0


async def test_a_target_has_one_row_per_event_and_channel(world: HeartWorld) -> None:
    """A second first outcome for the same event, channel and target is left out."""
    event = await known(world)
    first, second = fresh(world, event), fresh(world, event)
    results = [
        replace(tried(one, outcome, now=9), before=None)
        for one, outcome in ((first, Delivered(status=200)), (second, REFUSED))
    ]
    await world.ledger.record(Record(results=results[:1]))
    await world.ledger.record(Record(results=results[1:]))
    assert world.rows("SELECT id, state FROM deliveries") == [(first.id, "delivered")]


async def test_a_delivery_moves_from_attempt_to_attempt(world: HeartWorld) -> None:
    """Each attempt moves the row on and leaves a trace: the first in the row, others beside it."""
    event = await known(world)
    delivery = await stored(world, event)
    for number in range(1, 4):
        result = tried(delivery, REFUSED, now=world.clock.now())
        await world.ledger.record(Record(results=[result]))
        delivery = result.after
        assert row(world, delivery)[:4] == ("pending", None, 1, number)
    assert world.one("SELECT first_outcome FROM deliveries") == "http-500"
    assert world.rows("SELECT round, number, outcome, status, detail FROM attempts") == [
        (1, 2, "http-500", 500, "no"),
        (1, 3, "http-500", 500, "no"),
    ]


async def test_a_stale_result_is_left_out(world: HeartWorld) -> None:
    """A result of attempt 1 that comes after attempt 2 changes neither row nor attempts."""
    event = await known(world)
    delivery = await stored(world, event)
    first = tried(delivery, REFUSED, now=9)
    await world.ledger.record(Record(results=[first]))
    second = tried(first.after, REFUSED, now=10)
    await world.ledger.record(Record(results=[second]))
    (stale,) = await world.ledger.record(
        Record(
            results=[replace(tried(delivery, Delivered(status=200), now=11), entry=entry(event))]
        )
    )
    assert not stale.ok
    assert stale.placed is None
    assert row(world, delivery)[:4] == ("pending", None, 1, 2)
    assert world.one("SELECT first_outcome FROM deliveries") == "http-500"
    assert world.rows("SELECT number, outcome FROM attempts") == [(2, "http-500")]
    assert world.one("SELECT count(*) FROM inbox") == 0


@pytest.mark.parametrize(
    "moved",
    [
        lambda delivery: new_round(delivery, now=1, table=NOTIFICATIONS),
        lambda delivery: skipped(delivery, "endpoint-deleted"),
        lambda delivery: parked(delivery, "endpoint-paused"),
    ],
    ids=["a new round", "its endpoint deleted", "parked"],
)
async def test_a_result_for_what_moved_on_meanwhile_is_left_out(
    world: HeartWorld, moved: Any
) -> None:
    """An outcome that returns after its delivery took another way does not drag it back."""
    event = await known(world)
    delivery = await stored(world, event)
    elsewhere = moved(delivery)
    await world.ledger.record(Record(results=[Result(before=delivery, after=elsewhere)]))
    await world.ledger.record(Record(results=[tried(delivery, Delivered(status=200), now=9)]))
    assert row(world, delivery)[:4] == (
        elsewhere.state.value,
        elsewhere.reason,
        elsewhere.round,
        elsewhere.attempt,
    )
    assert world.one("SELECT first_outcome FROM deliveries") is None


async def test_of_two_results_of_one_attempt_the_first_counts(world: HeartWorld) -> None:
    """Two that tried the same attempt, recorded together or not, leave the first one's outcome."""
    event = await known(world)
    delivery = await stored(world, event)
    both = [
        tried(delivery, Delivered(status=200), now=9),
        tried(delivery, REFUSED, now=10),
    ]
    await asyncio.gather(*(world.ledger.record(Record(results=[one])) for one in both))
    assert row(world, delivery)[:4] == ("delivered", None, 1, 1)
    assert world.one("SELECT first_outcome FROM deliveries") == "delivered"


async def test_results_and_the_end_of_their_message_are_one_commit(one_file: HeartWorld) -> None:
    """Where the message cannot be completed, the outcome is not there either."""
    world = one_file
    event = await known(world)
    (received,) = await take(world, NOTIFY_WEBHOOK)
    delivery = fresh(world, event)
    record = Record(
        results=[replace(tried(delivery, Delivered(status=200), now=9), before=None)],
        completes=[received],
    )
    await world.write(
        "CREATE TRIGGER broken BEFORE UPDATE ON bus_messages"
        " BEGIN SELECT RAISE(FAIL, 'the bus is broken'); END"
    )
    with pytest.raises(Exception, match="the bus is broken"):
        await world.ledger.record(record)
    assert world.states() == {}
    await world.write("DROP TRIGGER broken")
    await world.ledger.record(record)
    assert world.states() == {"delivered": 1}
    assert world.one("SELECT pending FROM bus_messages") == _pending_without(world, NOTIFY_WEBHOOK)


def _pending_without(world: HeartWorld, subscription: str) -> int:
    rows = world.rows("SELECT name, bit FROM bus_subscriptions WHERE topic = 'huntaze-events'")
    return sum(1 << bit for name, bit in rows if name != subscription)


async def test_a_record_that_fails_leaves_nothing(world: HeartWorld) -> None:
    """Results, health and drains of a record that cannot be written are all left out."""
    event = await known(world)
    record = Record(
        results=[Result(before=None, after=fresh(world, event))],
        wakes={LANE: world.clock.now() + MINUTE},
        health=[Health(lane=LANE, timeouts=3)],
    )
    async with world.sending_broken("bus_scheduled"):
        with pytest.raises(Exception, match="broken"):
            await world.ledger.record(record)
        assert world.states() == {}
        assert world.rows("SELECT * FROM lanes") == []


# --------------------------------------------------------------------------- the inbox


async def place(world: HeartWorld, event: Known, **changes: Any) -> Any:
    """An entry put in the inbox, with the delivery that it is."""
    delivery = fresh(
        world,
        event,
        channel=Channel.REALTIME,
        target=f"ada-{world.numbers.next()}",
        state=State.DELIVERED,
        due_at=None,
    )
    result = Result(before=None, after=delivery, entry=entry(event, **changes))
    (written,) = await world.ledger.record(Record(results=[result]))
    return written.placed


async def test_seq_grows_with_every_change_of_an_inbox(world: HeartWorld) -> None:
    """Each placed entry gets the next `seq` of its user, and the unread count is right after it."""
    event = await known(world)
    placed = [await place(world, event, item=f"itm-{number}") for number in range(3)]
    assert [(each.item.seq, each.unread) for each in placed] == [(1, 1), (2, 2), (3, 3)]
    theirs = await place(world, event, user_id="bob")
    assert (theirs.item.seq, theirs.unread) == (1, 1)


async def test_the_same_entry_again_is_not_placed(world: HeartWorld) -> None:
    """A redelivered notification leaves the inbox as it is: no new `seq`, no new unread."""
    event = await known(world)
    await place(world, event)
    again = await place(world, event)
    assert (again.item, again.unread) == (None, 1)
    assert world.rows("SELECT seq, unread FROM inbox_heads") == [(1, 1)]


async def test_of_one_item_the_higher_rank_stays(world: HeartWorld) -> None:
    """A job's later news replaces earlier news, whatever order they come in."""
    event = await known(world)
    for rank, there in ((1, 1), (3, 3), (2, 3), (3, 3), (4, 4)):
        await place(world, event, rank=rank)
        assert world.one("SELECT rank FROM inbox") == there
    assert world.rows("SELECT seq, unread FROM inbox_heads") == [(3, 1)]


async def test_progress_does_not_wake_what_was_read_and_the_end_does(world: HeartWorld) -> None:
    """News under way leaves a read item read; the end makes it unread again."""
    event = await known(world)
    await place(world, event, rank=1, progress=10)
    await world.write("UPDATE inbox SET state = 'read'")
    await world.write("UPDATE inbox_heads SET unread = 0")
    under_way = await place(world, event, rank=2, progress=50)
    assert (under_way.item.state, under_way.unread) == ("read", 0)
    ended = await place(world, event, rank=3)
    assert (ended.item.state, ended.unread) == ("unread", 1)


async def test_entries_of_one_record_are_placed_in_order(world: HeartWorld) -> None:
    """Entries of several users and of one item, recorded together, each get their own answer."""
    event = await known(world)
    entries = [
        entry(event, item="a"),
        entry(event, item="a", rank=1),
        entry(event, item="b", user_id="bob"),
        entry(event, item="a"),
    ]
    results = [
        Result(
            before=None,
            after=fresh(world, event, channel=Channel.REALTIME, target=f"u{number}"),
            entry=one,
        )
        for number, one in enumerate(entries)
    ]
    written = await world.ledger.record(Record(results=results))
    placed = [each.placed for each in written if each.placed]
    seen = [(each.item.seq if each.item else None, each.unread) for each in placed]
    assert seen == [(1, 1), (2, 1), (1, 1), (None, 1)]


# --------------------------------------------------------------------------- claim


async def test_a_claim_takes_what_is_due_the_longest_due_first(world: HeartWorld) -> None:
    """Due deliveries come with their events, oldest due first, up to the limit; others stay."""
    now = world.clock.now()
    for number, due in enumerate((-1, -3, -2, 1, 0)):
        await stored(world, await known(world, f"evt-{number}"), due_at=now + due)
    claim = await world.ledger.claim(LANE, limit=3, until=now + MINUTE)
    assert [event.id for _, event in claim.deliveries] == ["evt-1", "evt-2", "evt-0"]
    assert claim.next_due == now
    rest = await world.ledger.claim(LANE, limit=9, until=now + MINUTE)
    assert [event.id for _, event in rest.deliveries] == ["evt-4"]
    assert rest.next_due == now + 1


async def test_a_claim_sees_its_lane_alone(world: HeartWorld) -> None:
    """Another lane's deliveries are neither claimed nor counted as due next."""
    event = await known(world)
    await stored(world, event, target="ep_2")
    claim = await world.ledger.claim(LANE, limit=9, until=world.clock.now() + MINUTE)
    assert (claim.deliveries, claim.next_due) == ([], None)


async def test_what_is_claimed_is_hidden_until_the_claim_runs_out(world: HeartWorld) -> None:
    """Nobody else gets a claimed delivery, until its time is over: then it is simply due."""
    event = await known(world)
    delivery = await stored(world, event)
    until = world.clock.now() + MINUTE
    (((first, _),), second) = (
        (await world.ledger.claim(LANE, limit=9, until=until)).deliveries,
        await world.ledger.claim(LANE, limit=9, until=until),
    )
    assert (first.id, first.attempt, first.claimed) == (delivery.id, 0, False)
    assert (second.deliveries, second.next_due) == ([], None)
    world.clock.ms = until
    third = await world.ledger.claim(LANE, limit=9, until=until + MINUTE)
    assert [one.id for one, _ in third.deliveries] == [delivery.id]


async def test_a_claim_of_nothing_claims_nothing(world: HeartWorld) -> None:
    """With no room, a claim takes nothing and still says what is due."""
    event = await known(world)
    delivery = await stored(world, event)
    claim = await world.ledger.claim(LANE, limit=0, until=world.clock.now() + MINUTE)
    assert (claim.deliveries, claim.next_due) == ([], delivery.due_at)


async def test_a_claim_tells_the_lanes_health(world: HeartWorld) -> None:
    """What a record wrote of a lane's health comes back with the claim."""
    health = Health(lane=LANE, timeouts=6, probe_at=77, probe_delay=10 * SECOND)
    unknown = await world.ledger.claim(LANE, limit=1, until=world.clock.now() + MINUTE)
    assert unknown.health == Health(lane=LANE)
    await world.ledger.record(Record(health=[Health(lane=LANE, timeouts=5), health]))
    claim = await world.ledger.claim(LANE, limit=1, until=world.clock.now() + MINUTE)
    assert claim.health == health


# --------------------------------------------------------------------------- drains


async def drains(world: HeartWorld) -> list[int]:
    """When the scheduled drains are due, in seconds from now."""
    await world.sent()
    rows = world.rows("SELECT due_at FROM bus_scheduled ORDER BY due_at")
    return [(due - world.clock.now()) // SECOND for (due,) in rows]


async def wake(world: HeartWorld, seconds: int, lane: str = LANE) -> None:
    """A record that wants a lane drained."""
    await world.ledger.record(Record(wakes={lane: world.clock.now() + seconds * SECOND}))


async def test_a_lane_has_one_drain_on_its_way(world: HeartWorld) -> None:
    """A later wish is dropped; an earlier one sends another message, which moves the drain."""
    await wake(world, 60)
    await wake(world, 90)
    assert await drains(world) == [60]
    await wake(world, 30)
    assert await drains(world) == [30, 60]
    assert world.one("SELECT drain_at FROM lanes") == world.clock.now() + 30 * SECOND
    await wake(world, 90, "webhook/acme/ep_2")
    assert await drains(world) == [30, 60, 90]


async def test_of_many_wishes_in_one_commit_the_earliest_counts(world: HeartWorld) -> None:
    """Records that are committed together send one drain per lane."""
    await asyncio.gather(*(wake(world, seconds) for seconds in (90, 30, 60, 30)))
    assert (await drains(world))[0] == 30
    assert world.one("SELECT drain_at FROM lanes") == world.clock.now() + 30 * SECOND


async def test_a_drain_that_never_came_is_replaced(world: HeartWorld) -> None:
    """A drain that should have come more than a minute ago is lost: the next wish sends one."""
    await wake(world, 1)
    world.clock.ms += 10 * SECOND
    await wake(world, 60)
    assert 60 not in await drains(world)
    world.clock.ms += 2 * MINUTE
    await wake(world, 60)
    assert 60 in await drains(world)


async def ended(world: HeartWorld, until: int, *, earliest: int | None = None) -> None:
    """A drain that is over."""
    wakes = {} if earliest is None else {LANE: earliest}
    await world.ledger.record(Record(drained=(LANE, until), wakes=wakes))


async def test_a_drain_hands_over_to_the_next(world: HeartWorld) -> None:
    """At its end a drain schedules the next: for what is due, not before it makes sense."""
    now = world.clock.now()
    await stored(world, await known(world), due_at=now + HOUR)
    until = now + MINUTE
    await world.ledger.claim(LANE, limit=9, until=until)
    await ended(world, until, earliest=now)
    assert await drains(world) == [3600]
    world.clock.ms += 2 * HOUR
    await world.ledger.claim(LANE, limit=0, until=world.clock.now() + MINUTE)
    later = world.clock.now() + 10 * MINUTE
    await ended(world, world.clock.now() + MINUTE, earliest=later)
    assert world.one("SELECT drain_at FROM lanes") == later


async def test_a_drain_counts_what_it_recorded_itself(world: HeartWorld) -> None:
    """A retry that is recorded with the end of the drain has its drain, however late it is due."""
    event = await known(world)
    await stored(world, event)
    until = world.clock.now() + MINUTE
    claim = await world.ledger.claim(LANE, limit=9, until=until)
    result = tried(claim.deliveries[0][0], Failed(reason="http-500", retry_after=HOUR), now=9)
    due_at = world.clock.now() + HOUR
    result = replace(result, after=replace(result.after, due_at=due_at))
    await world.ledger.record(Record(results=[result], drained=(LANE, until)))
    assert await drains(world) == [3600]
    assert world.one("SELECT drain_at FROM lanes") == due_at


async def test_a_lane_with_nothing_left_has_no_drain(world: HeartWorld) -> None:
    """At the end of a drain that leaves nothing, none is scheduled."""
    until = world.clock.now() + MINUTE
    await world.ledger.claim(LANE, limit=9, until=until)
    await ended(world, until)
    assert await drains(world) == []
    assert world.one("SELECT drain_at FROM lanes") is None


async def test_doubled_drains_die_out(world: HeartWorld) -> None:
    """However many drains of a lane come, one is scheduled for what is due next."""
    now = world.clock.now()
    await stored(world, await known(world), due_at=now + HOUR)
    for number in range(5):
        until = now + MINUTE + number
        await world.ledger.claim(LANE, limit=9, until=until)
        await ended(world, until, earliest=now)
    assert await drains(world) == [3600]


async def test_drains_at_the_same_time_leave_one(world: HeartWorld) -> None:
    """Of drains that are at work together, all may end, in any order: one follows them."""
    now = world.clock.now()
    await stored(world, await known(world), due_at=now + HOUR)
    untils = [now + MINUTE + number for number in range(5)]
    for until in untils:
        await world.ledger.claim(LANE, limit=9, until=until)
    for until in reversed(untils):
        await ended(world, until, earliest=now)
    assert await drains(world) == [3600]


async def test_a_drain_that_comes_early_is_followed_by_another(world: HeartWorld) -> None:
    """A drain that another clock sent too soon finds nothing due, and one comes in time."""
    due_at = world.clock.now() + 10 * SECOND
    await stored(world, await known(world), due_at=due_at)
    await wake(world, 10)
    world.clock.ms += 9 * SECOND
    await world.write("DELETE FROM bus_scheduled")
    until = world.clock.now() + MINUTE
    assert (await world.ledger.claim(LANE, limit=9, until=until)).deliveries == []
    await ended(world, until, earliest=world.clock.now())
    assert await drains(world) == [1]


async def test_a_drain_at_work_does_not_hide_an_earlier_wish(world: HeartWorld) -> None:
    """What becomes due while a drain is at work has a drain of its own, which stays."""
    now = world.clock.now()
    until = now + MINUTE
    await world.ledger.claim(LANE, limit=9, until=until)
    await stored(world, await known(world), due_at=now + 5 * SECOND)
    await wake(world, 5)
    await ended(world, until)
    assert await drains(world) == [5]


async def test_a_restart_frees_claims_and_drains(tmp_path: Path) -> None:
    """What a process that is gone had claimed is due at once, and its lanes are drained."""
    async with heart_world(tmp_path, working=False) as world:
        await stored(world, await known(world))
        await stored(world, await known(world, "evt-2"), due_at=world.clock.now() + HOUR)
        await world.ledger.claim(LANE, limit=9, until=world.clock.now() + HOUR)
        clock = world.clock
    clock.ms += 1
    async with heart_world(tmp_path, working=False, clock=clock) as world:
        rows = world.rows("SELECT due_at, claimed FROM deliveries ORDER BY id")
        assert rows == [(clock.now(), 0), (clock.now() - 1 + HOUR, 0)]
        messages = world.rows("SELECT body FROM bus_messages WHERE subject = 'drain'")
        assert messages == [(b'{"lane":"webhook/acme/ep_1"}',)]


async def test_what_waits_for_its_lane_keeps_its_attempts(world: HeartWorld) -> None:
    """A claimed delivery that is put back is due again, with no attempt used."""
    delivery = await stored(world, await known(world))
    claim = await world.ledger.claim(LANE, limit=9, until=world.clock.now() + MINUTE)
    taken = claim.deliveries[0][0]
    later = waiting(taken, due_at=world.clock.now() + SECOND)
    await world.ledger.record(Record(results=[Result(before=taken, after=later)]))
    assert row(world, delivery) == ("pending", None, 1, 0, world.clock.now() + SECOND, 0)


async def test_an_attempt_under_way_shows_as_claimed(world: HeartWorld) -> None:
    """A first attempt that outlives its message is a claimed row; its outcome moves it on."""
    event = await known(world)
    held = claimed(fresh(world, event), until=world.clock.now() + MINUTE)
    await world.ledger.record(Record(results=[Result(before=None, after=held)]))
    assert row(world, held)[4:] == (world.clock.now() + MINUTE, 1)
    await world.ledger.record(Record(results=[tried(held, Delivered(status=200), now=9)]))
    assert row(world, held) == ("delivered", None, 1, 1, None, 0)


# --------------------------------------------------------------------------- count


async def counted(world: HeartWorld) -> int:
    """What metrics have counted in all."""
    return int(world.one("SELECT coalesce(sum(count), 0) FROM event_counts"))


async def test_an_event_is_counted_once_however_often_it_comes(world: HeartWorld) -> None:
    """Redelivered, doubled and concurrent messages of an event count it once."""
    event = await known(world)
    other = await known(world, "evt-2")
    assert await world.ledger.count([event.key, event.key], []) == 1
    assert await world.ledger.count([event.key], []) == 0
    both = await asyncio.gather(*(world.ledger.count([other.key], []) for _ in range(5)))
    assert sum(both) == 1
    assert await counted(world) == 2


async def test_counting_and_the_end_of_the_message_are_one_commit(one_file: HeartWorld) -> None:
    """Where the message cannot be completed, nothing is counted."""
    world = one_file
    event = await known(world)
    (received,) = await take(world, METRICS)
    await world.write(
        "CREATE TRIGGER broken BEFORE UPDATE ON bus_messages"
        " BEGIN SELECT RAISE(FAIL, 'the bus is broken'); END"
    )
    with pytest.raises(Exception, match="the bus is broken"):
        await world.ledger.count([event.key], [received])
    assert await counted(world) == 0
    await world.write("DROP TRIGGER broken")
    assert await world.ledger.count([event.key], [received]) == 1


async def test_counts_are_by_tenant_day_and_type(world: HeartWorld) -> None:
    """Each event counts for its tenant, its type and the UTC day it was accepted on."""
    keys = [
        (await known(world, "a")).key,
        (await known(world, "b")).key,
        (await known(world, "a", tenant_id="zeta")).key,
        (await known(world, "c", type="message.received")).key,
    ]
    world.clock.ms += DAY
    keys.append((await known(world, "d")).key)
    await world.ledger.count(keys, [])
    assert world.rows("SELECT * FROM event_counts ORDER BY 1, 2, 3") == [
        ("acme", "2026-03-01", "message.received", 1),
        ("acme", "2026-03-01", "payment.received", 2),
        ("acme", "2026-03-02", "payment.received", 1),
        ("zeta", "2026-03-01", "payment.received", 1),
    ]


def test_sample_events_differ_only_where_they_say() -> None:
    """Two samples of one id are equal: the tests above compare contents, not accidents."""
    first: Event = sample_event()
    assert first == sample_event()
    assert first != sample_event(data={"amount": 13})
