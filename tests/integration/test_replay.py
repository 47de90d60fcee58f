"""Replaying a range of events to an endpoint: everything once, nothing twice, nobody else's."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from notifications.deliveries import Delivered
from notifications.directory import EndpointState
from notifications.errors import Conflict, InvalidInput, NotFound
from notifications.replaying import PAGE
from notifications.replays import USUAL, Kind, ReplayState
from notifications.retries import DAY, HOUR, MINUTE, SECOND
from notifications.testing import ManualClock
from notifications.timing import Numbers
from tests.heart_world import STORES, sample_event
from tests.new_file import new_file
from tests.parking_world import GONE
from tests.replay_world import ENDPOINT, ReplayWorld, replay_world

TAKEN = Delivered(status=200)
MANY = int(os.environ.get("REPLAYED", "11000"))
"""More than other hubs replay at once: theirs stop at 10,000 and say nothing."""


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ReplayWorld]:
    """An endpoint that refuses everything for good, until a test says otherwise."""
    async with replay_world(tmp_path, store=request.param) as world:
        yield world


def states(world: ReplayWorld) -> list[tuple[str, str, int]]:
    """Event, state and round of every delivery, in the order of events."""
    return world.heart.rows(
        "SELECT e.id, d.state, d.round FROM deliveries d JOIN events e ON e.key = d.event_key"
        " ORDER BY e.key, d.target"
    )


# --------------------------------------------------------------------------- what is taken up


async def test_what_is_exhausted_gets_a_new_round(world: ReplayWorld) -> None:
    """Exhausted deliveries are tried again under the same ids, with all their attempts."""
    await world.refuse("evt-1", "evt-2")
    world.parking.sender.answer = TAKEN
    done = await world.finish(await world.start())
    await world.heart.until_states(delivered=2)
    assert (done.total, done.begun, done.made, done.state) == (2, 2, 0, ReplayState.DONE)
    assert states(world) == [("evt-1", "delivered", 2), ("evt-2", "delivered", 2)]
    assert set(world.posted().values()) == {2}
    assert world.heart.audit().clean


async def test_what_arrived_is_left_alone(world: ReplayWorld) -> None:
    """Delivered ones are not sent again unless that is asked for."""
    world.parking.sender.answer = TAKEN
    await world.send([sample_event("evt-1")])
    done = await world.finish(await world.start())
    assert (done.total, done.begun) == (0, 0)
    again = await world.finish(await world.start(Kind.DELIVERED))
    await world.heart.until(lambda: states(world) == [("evt-1", "delivered", 2)])
    assert (again.total, again.begun) == (1, 1)


async def test_events_that_it_never_got_are_made(world: ReplayWorld) -> None:
    """An endpoint that was made after the events gets them: one delivery each, as if routed."""
    world.parking.sender.answer = TAKEN
    await world.send([sample_event(f"evt-{number}") for number in range(3)])
    await world.parking.directory.save_endpoint(replace(ENDPOINT, id="ep_new"))
    done = await world.finish(await world.start(endpoint_id="ep_new"))
    await world.heart.until_states(delivered=6)
    assert (done.total, done.begun, done.made) == (3, 0, 3)
    assert world.heart.audit().clean


async def test_events_that_found_nobody_are_made(world: ReplayWorld) -> None:
    """An event whose one row says that there was no endpoint goes to the one there is now."""
    await world.set(EndpointState.ACTIVE, event_types=("job.*",))
    await world.send([sample_event("evt-1")])
    assert world.heart.states() == {"skipped": 1}
    await world.set(EndpointState.ACTIVE, event_types=("*",))
    world.parking.sender.answer = TAKEN
    done = await world.finish(await world.start())
    await world.heart.until_states(skipped=1, delivered=1)
    assert (done.total, done.made) == (1, 1)
    assert world.heart.audit().clean


async def test_types_it_does_not_ask_for_stay_away(world: ReplayWorld) -> None:
    """What the endpoint never asked for is not made; what it has is taken up whatever it asks."""
    await world.refuse("evt-1")
    await world.set(EndpointState.ACTIVE, event_types=("job.*",))
    await world.send([sample_event("evt-2")])
    world.parking.sender.answer = TAKEN
    done = await world.finish(await world.start())
    await world.heart.until_states(delivered=1, skipped=1)
    assert (done.begun, done.made) == (1, 0)


async def test_tests_of_others_and_news_of_itself_are_not_made(world: ReplayWorld) -> None:
    """Neither another endpoint's test nor the word of its own disabling is replayed to it."""
    second = replace(ENDPOINT, id="ep_2", url="https://two.example/")
    await world.parking.directory.save_endpoint(second)
    world.parking.sender.answer = TAKEN
    world.parking.sender.answers[second.url] = GONE
    await world.send(
        [sample_event("test-1", type="webhook.test", userid=None, data={"endpointId": "ep_2"})]
    )
    await world.heart.until_states(exhausted=1, delivered=1)  # the test; ep_1 is told of it
    await world.parking.directory.save_endpoint(second)
    one = await world.start(Kind.ABSENT)
    assert (one.total, (await world.finish(one)).made) == (0, 0)
    two = await world.start(Kind.ABSENT, endpoint_id="ep_2")
    assert (two.total, (await world.finish(two)).made) == (0, 0)


async def test_only_the_types_that_are_asked_for(world: ReplayWorld) -> None:
    """Patterns narrow a replay down: an exact type, and a family."""
    await world.refuse("evt-1")
    await world.refuse("evt-2", type="job.failed")
    await world.refuse("evt-3", type="job.succeeded")
    world.parking.sender.answer = TAKEN
    done = await world.finish(await world.start(event_types=("job.*",)))
    await world.heart.until_states(exhausted=1, delivered=2)
    assert done.total == done.begun == 2
    done = await world.finish(await world.start(event_types=("payment.received", "message.*")))
    assert done.total == done.begun == 1


async def test_only_the_range(world: ReplayWorld) -> None:
    """Events accepted at `since` are in, those at `until` are not."""
    start = world.heart.clock.now()
    for number in range(4):
        await world.refuse(f"evt-{number}")
        await world.heart.pass_time(MINUTE)
    world.parking.sender.answer = TAKEN
    done = await world.finish(await world.start(since=start + MINUTE, until=start + 3 * MINUTE))
    await world.heart.until_states(exhausted=2, delivered=2)
    assert done.total == 2
    assert [each[1] for each in states(world)] == [
        "exhausted", "delivered", "delivered", "exhausted",
    ]  # fmt: skip


async def test_what_is_not_routed_yet_is_left_to_its_routing(tmp_path: Path) -> None:
    """An event that is on its way gets its deliveries from there: a replay adds no second."""
    async with replay_world(tmp_path, working=False) as world:
        await world.heart.publish(sample_event())
        done = await world.finish(await world.start())
        assert (done.total, done.made) == (0, 0)
        world.heart.workers["webhook"].start()
        await world.heart.until_states(delivered=1)
        assert len(world.parking.sender.posts) == 1


async def test_a_preview_counts_and_changes_nothing(world: ReplayWorld) -> None:
    """A dry run says how much of each kind there is."""
    await world.refuse("evt-1", "evt-2")
    world.parking.sender.answer = TAKEN
    await world.send([sample_event("evt-3")])
    await world.set(EndpointState.PAUSED)
    await world.send([sample_event("evt-4")])
    before = states(world)
    counts = await world.replaying.preview("acme", "ep_1", world.selection(tuple(Kind)))
    assert counts == {
        Kind.EXHAUSTED: 2,
        Kind.PARKED: 1,
        Kind.ABSENT: 0,
        Kind.DELIVERED: 1,
        Kind.SKIPPED: 0,
    }
    assert states(world) == before
    assert await world.replaying.page("acme", endpoint_id=None, below=None, limit=9) == []


# --------------------------------------------------------------------------- how it goes on


def backlog(path: Path, count: int, now: int) -> None:
    """Exhausted deliveries, written past the hub, numbered in another order than their events."""
    new_file(path)
    body = sample_event().body.decode()
    with closing(sqlite3.connect(path)) as connection, connection:
        numbers = [(Numbers.at(now - 2 * HOUR) + n * 64, n) for n in range(count)]
        connection.executemany(
            "INSERT INTO events VALUES (?, ?, 'evt-' || ?, 'payment.received', NULL, 4, 1, ?,"
            " x'00', CAST(json_set(?, '$.id', 'evt-' || ?) AS BLOB))",
            [(key, "acme", n, now - 2 * HOUR, body, n) for key, n in numbers],
        )
        connection.executemany(
            "INSERT INTO deliveries (tenant_id, id, event_key, channel, target, lane, state,"
            " reason, routed, round, attempt, claimed, deadline, created_at, updated_at, first_at,"
            " first_ms, first_outcome) VALUES ('acme', ?, ?, 'webhook', 'ep_1',"
            " 'webhook/acme/ep_1', 'exhausted', 'gone', 1, 1, 1, 0, ?, ?, ?, 1, 1, 'gone')",
            [((n * 7_919) % count + 1, key, now, now, now) for key, n in numbers],
        )


async def test_more_than_ten_thousand_failures_are_all_recovered(tmp_path: Path) -> None:
    """No cap, none skipped, none twice, though deliveries and events are numbered differently."""
    clock = ManualClock()
    backlog(tmp_path / "hub.db", MANY, clock.now())
    async with replay_world(tmp_path, clock=clock) as world:
        replay = await world.start()
        assert replay.total == MANY
        done = await world.finish(replay, 120)
        await world.heart.until(lambda: world.heart.states() == {"delivered": MANY}, 60)
        assert (done.begun, done.made) == (MANY, 0)
        assert len(world.parking.sender.posts) == MANY
        assert set(world.posted().values()) == {1}
        assert world.heart.rows("SELECT DISTINCT round, attempt FROM deliveries") == [(2, 1)]
        assert world.heart.audit().clean


async def test_a_killed_hub_goes_on_where_it_was(tmp_path: Path) -> None:
    """A crash between pages, and one within a page, skip nothing and double nothing."""
    clock = ManualClock()
    backlog(tmp_path / "hub.db", 3 * PAGE, clock.now())
    async with replay_world(tmp_path, clock=clock, working=False) as world:
        replay = await world.start()
        assert (await world.runner.step())[0] == PAGE
        world.work._busy = lambda *_: False  # type: ignore[method-assign]
        torn = asyncio.ensure_future(world.runner.step())
        await asyncio.sleep(0)
        torn.cancel()
    async with replay_world(tmp_path, clock=clock) as world:
        done = await world.finish(replay)
        await world.heart.until_states(delivered=3 * PAGE)
        assert done.begun == 3 * PAGE
        assert world.heart.rows("SELECT DISTINCT round FROM deliveries") == [(2,)]


async def test_two_hubs_take_nothing_up_twice(tmp_path: Path) -> None:
    """Whoever finds that another was first with a page leaves it."""
    clock = ManualClock()
    backlog(tmp_path / "hub.db", 2 * PAGE, clock.now())
    async with replay_world(tmp_path, clock=clock, working=False) as world:
        await world.start()
        (one,) = await world.work.running(None, limit=9)
        moved = await asyncio.gather(*(world.work.advance(one, limit=PAGE) for _ in range(3)))
        assert sorted(moved) == [0, 0, PAGE]
        assert world.heart.states() == {"exhausted": PAGE, "pending": PAGE}


async def test_racing_pages_begin_one_round_each(world: ReplayWorld) -> None:
    """Several that work on one replay at once, on either database, begin each delivery once."""
    await world.refuse(*[f"evt-{number}" for number in range(12)])
    world.parking.sender.answer = TAKEN
    replay = await world.start()
    while found := await world.work.running(None, limit=9):
        await asyncio.gather(*(world.work.advance(found[0], limit=4) for _ in range(3)))
    await world.heart.until_states(delivered=12)
    assert (await world.now(replay)).begun == 12
    assert world.heart.rows("SELECT DISTINCT round FROM deliveries") == [(2,)]


async def test_a_busy_endpoint_is_not_buried(tmp_path: Path) -> None:
    """A page is taken up when little is left of the last: new events are behind no more than it."""
    clock = ManualClock()
    backlog(tmp_path / "hub.db", 3 * PAGE, clock.now())
    async with replay_world(tmp_path, clock=clock, working=False) as world:
        replay = await world.start()
        assert (await world.runner.step())[0] == PAGE
        assert (await world.runner.step()) == (0, 1)
        assert world.heart.states() == {"exhausted": 2 * PAGE, "pending": PAGE}
        world.heart.workers["webhook"].start()
        assert (await world.finish(replay)).begun == 3 * PAGE


async def test_it_waits_while_its_endpoint_takes_nothing(world: ReplayWorld) -> None:
    """Paused meanwhile, it says so and waits; resumed, it goes on."""
    await world.refuse("evt-1")
    await world.set(EndpointState.PAUSED)
    replay = await world.start()
    assert (await world.runner.step()) == (0, 1)
    assert (await world.now(replay)).reason == "endpoint-paused"
    world.parking.sender.answer = TAKEN
    await world.set(EndpointState.ACTIVE)
    assert (await world.finish(replay)).reason is None
    await world.heart.until_states(delivered=1)


async def test_it_ends_with_its_endpoint(world: ReplayWorld) -> None:
    """A replay whose endpoint was deleted is cancelled, with the reason."""
    await world.refuse("evt-1")
    await world.set(EndpointState.PAUSED)
    replay = await world.start()
    await world.parking.directory.delete_endpoint("acme", "ep_1")
    ended = await world.finish(replay)
    assert (ended.state, ended.reason) == (ReplayState.CANCELLED, "endpoint-deleted")


async def test_cancelling_stops_it(tmp_path: Path) -> None:
    """What was taken up stays so, and nothing more is; cancelling again changes nothing."""
    clock = ManualClock()
    backlog(tmp_path / "hub.db", 2 * PAGE, clock.now())
    async with replay_world(tmp_path, clock=clock, working=False) as world:
        replay = await world.start()
        await world.runner.step()
        for _ in range(2):
            ended = await world.replaying.cancel("acme", replay.id)
            assert (ended.state, ended.reason, ended.begun) == ("cancelled", "by-hand", PAGE)
        assert (await world.runner.step()) == (0, 0)
        assert world.heart.states() == {"exhausted": PAGE, "pending": PAGE}


async def test_one_at_a_time(world: ReplayWorld) -> None:
    """A second replay of an endpoint is refused while one is under way, naming it."""
    await world.refuse("evt-1")
    replay = await world.start()
    with pytest.raises(Conflict, match="rpl_"):
        await world.start()
    await world.finish(replay)
    await world.finish(await world.start())


async def test_what_fails_again_is_retried_as_always(world: ReplayWorld) -> None:
    """A replayed delivery follows the retry table, within a new deadline."""
    await world.refuse("evt-1")
    await world.heart.pass_time(2 * DAY)
    world.parking.sender.script = [replace(GONE, reason="http-500", status=500, retryable=True)]
    world.parking.sender.answer = TAKEN
    await world.finish(await world.start())
    await world.heart.until_states(pending=1)
    await world.heart.live_until(lambda: world.heart.states() == {"delivered": 1})
    assert world.heart.rows("SELECT round, attempt FROM deliveries") == [(2, 2)]


async def test_the_runner_wakes_when_nudged(world: ReplayWorld) -> None:
    """A replay begins when it is asked for, not with the next look."""
    await world.refuse("evt-1")
    world.parking.sender.answer = TAKEN
    running = asyncio.create_task(world.runner.run())
    try:
        await asyncio.sleep(0)
        await world.start()
        await world.heart.until_states(delivered=1)
    finally:
        running.cancel()


async def test_a_replay_that_breaks_holds_up_no_other(world: ReplayWorld) -> None:
    """One whose page fails is left for the next step; the others go on."""
    await world.refuse("evt-1")
    await world.parking.directory.save_endpoint(replace(ENDPOINT, id="ep_2"))
    broken, sound = await world.start(), await world.start(endpoint_id="ep_2")
    await world.heart.write("UPDATE replays SET event_types = '7' WHERE endpoint_id = 'ep_1'")
    await world.runner.step()
    assert (await world.now(sound)).state is ReplayState.DONE
    await world.heart.write("""UPDATE replays SET event_types = '["*"]'""")
    assert (await world.finish(broken)).begun == 1


async def test_replays_are_kept_as_long_as_events(world: ReplayWorld) -> None:
    """One that is over goes with the retention; one that is under way stays."""
    await world.finish(await world.start())
    await world.set(EndpointState.PAUSED)
    waiting = await world.start()
    await world.heart.pass_time(31 * DAY)
    await world.heart.sweep.sweep()
    left = await world.replaying.page("acme", endpoint_id=None, below=None, limit=9)
    assert [each.id for each in left] == [waiting.id]


# --------------------------------------------------------------------------- whose


async def test_two_tenants_never_cross(world: ReplayWorld) -> None:
    """With the same ids everywhere, a replay touches its own tenant's deliveries alone."""
    await world.parking.directory.save_endpoint(replace(ENDPOINT, tenant_id="zeta"))
    await world.refuse("evt-1")
    await world.refuse("evt-1", tenant_id="zeta")
    world.parking.sender.answer = TAKEN
    replay = await world.start(*USUAL)
    await world.finish(replay)
    await world.heart.until_states(delivered=1, exhausted=1)
    assert world.heart.rows("SELECT tenant_id FROM deliveries WHERE state = 'delivered'") == [
        ("acme",)
    ]
    with pytest.raises(NotFound):
        await world.replaying.get("zeta", replay.id)
    with pytest.raises(NotFound):
        await world.replaying.cancel("zeta", replay.id)
    assert await world.replaying.page("zeta", endpoint_id=None, below=None, limit=9) == []


async def test_a_range_without_time_is_refused(world: ReplayWorld) -> None:
    """`until` before `since`, and `since` in the future, are said to be wrong, with the place."""
    now = world.heart.clock.now()
    for since, until, pointer in (
        (now - SECOND, now - SECOND, "/until"),
        (now + 1, now + 2, "/since"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await world.start(since=since, until=until)
        assert refused.value.errors[0].pointer == pointer


async def test_lists_go_on_below_a_cursor(world: ReplayWorld) -> None:
    """Newest first, each once, narrowed down to an endpoint where that is asked for."""
    await world.parking.directory.save_endpoint(replace(ENDPOINT, id="ep_2"))
    made = [
        await world.finish(await world.start(endpoint_id=endpoint_id))
        for endpoint_id in ("ep_1", "ep_2", "ep_1")
    ]
    page = await world.replaying.page("acme", endpoint_id=None, below=None, limit=2)
    rest = await world.replaying.page("acme", endpoint_id=None, below=page[-1].id, limit=2)
    assert [each.id for each in [*page, *rest]] == [each.id for each in reversed(made)]
    only = await world.replaying.page("acme", endpoint_id="ep_2", below=None, limit=2)
    assert [each.id for each in only] == [made[1].id]
