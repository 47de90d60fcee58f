"""From the topic to the channels and back into the ledger, by a clock in the test's hands."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from notifications import drain_turns
from notifications.bus.topology import CONSUMERS, EVENTS_TOPIC, NOTIFY_EMAIL, NOTIFY_WEBHOOK
from notifications.deliveries import Delivered, Failed, Parked, Skipped
from notifications.drain_turns import TOGETHER
from notifications.draining import AT_ONCE
from notifications.errors import StoreUnavailable
from notifications.events import Channel, Event
from notifications.lanes import BOUNDS, FIRST_PROBE, SICK_AFTER
from notifications.messages import Abandon, Message
from notifications.records import Route
from notifications.retries import DAY, HOUR, MINUTE, NOTIFICATIONS, SECOND, RetryTable
from notifications.routing import addressed, drain_message, event_message
from tests.heart_world import (
    PATIENCE_S,
    POSTGRESQL,
    STORES,
    TAKEN,
    UNKNOWN_TYPE,
    HeartWorld,
    document,
    heart_world,
    sample_event,
)

ALL = frozenset(Channel)
REFUSED = Failed(reason="http-500", status=500, detail="no")
TIMEOUT = Failed(reason="timeout")


@pytest.fixture
async def one_file(tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A heart whose ledger is in one file with the bus."""
    async with heart_world(tmp_path) as world:
        yield world


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A heart that carries everything by webhook."""
    async with heart_world(tmp_path, store=request.param) as world:
        yield world


def attempts(world: HeartWorld) -> list[tuple[int, int, str]]:
    """Round, number and outcome of every attempt that was written down."""
    return world.rows(
        "SELECT 1, 1, first_outcome FROM deliveries WHERE first_outcome IS NOT NULL"
        " UNION ALL SELECT round, number, outcome FROM attempts ORDER BY 1, 2"
    )


def delivery(world: HeartWorld) -> tuple[Any, ...]:
    """State, reason, round and attempt of the one delivery there is."""
    found = world.rows("SELECT state, reason, round, attempt FROM deliveries")
    return found[0] if found else (None, None, 0, 0)


def numbered(count: int, **changes: Any) -> list[Event]:
    """Events evt-0 to evt-n."""
    return [sample_event(f"evt-{number}", **changes) for number in range(count)]


# --------------------------------------------------------------------------- first attempts


async def test_an_event_is_delivered_at_once_on_every_channel(tmp_path: Path) -> None:
    """Each channel that carries the event tries it, and the bus is empty when all have."""
    async with heart_world(tmp_path, channels=ALL) as world:
        await world.publish(sample_event())
        await world.until_states(delivered=3)
        await world.until_quiet()
        assert [len(each.tries) for each in world.channels.values()] == [1, 1, 1]
        assert world.one("SELECT sum(count) FROM event_counts") == 1
        await world.until(lambda: world.channels[Channel.REALTIME].told)
        assert [event_id for event_id, _ in world.channels[Channel.REALTIME].told] == ["evt-1"]
        assert world.audit().clean


async def test_a_channel_that_does_not_carry_the_event_leaves_no_row(world: HeartWorld) -> None:
    """Only the channels fixed at acceptance make deliveries; the others let the message go."""
    await world.publish(sample_event())
    await world.until_quiet()
    assert world.rows("SELECT channel, state FROM deliveries") == [("webhook", "delivered")]


async def test_every_target_gets_the_event_once(world: HeartWorld) -> None:
    """An event for three endpoints becomes three deliveries, each tried once, in one commit."""
    world.webhooks.targets = ("ep_1", "ep_2", "ep_3")
    await world.publish(sample_event())
    await world.until_states(delivered=3)
    assert sorted(each.target for each in world.webhooks.tries) == ["ep_1", "ep_2", "ep_3"]
    assert world.rows("SELECT DISTINCT routed FROM deliveries") == [(3,)]


async def test_an_event_for_nobody_says_why(world: HeartWorld) -> None:
    """Where a channel finds no target, one skipped row has the reason."""
    world.webhooks.targets = ()
    await world.publish(sample_event())
    await world.until_quiet()
    assert delivery(world)[:2] == ("skipped", "no-endpoint")


async def test_skipped_by_the_channel_is_written_without_an_attempt(world: HeartWorld) -> None:
    """What the channel finds nobody for when it tries is skipped, with no attempt made."""
    world.webhooks.answer = Skipped(reason="endpoint-deleted")
    await world.publish(sample_event())
    await world.until_quiet()
    assert delivery(world) == ("skipped", "endpoint-deleted", 1, 0)
    assert attempts(world) == []


async def test_an_attempt_that_raises_is_a_failed_attempt(world: HeartWorld) -> None:
    """An exception in an attempt is recorded as `internal-error` and retried by the table."""
    world.webhooks.script("ep_1", RuntimeError("surprise"))
    await world.publish(sample_event())
    await world.until_states(pending=1)
    await world.pass_to_next_drain()
    await world.until_states(delivered=1)
    assert attempts(world) == [(1, 1, "internal-error"), (1, 2, "delivered")]
    assert world.one("SELECT first_detail FROM deliveries") == "RuntimeError"
    assert world.dead() == []


async def test_a_channel_that_breaks_while_it_tells_harms_nothing(tmp_path: Path) -> None:
    """The row is committed: what happens while the channel tells of it makes no second attempt."""
    async with heart_world(tmp_path, channels=frozenset((Channel.REALTIME,))) as world:
        world.channels[Channel.REALTIME].telling_raises = RuntimeError("surprise")
        await world.publish(*numbered(3))
        await world.until_states(delivered=3)
        await world.until_quiet()
        assert len(world.channels[Channel.REALTIME].tries) == 3
        await world.until(lambda: len(world.channels[Channel.REALTIME].told) == 3)
        assert world.one("SELECT count(*) FROM bus_scheduled") == 0


async def test_a_fault_after_the_commit_makes_no_second_attempt(tmp_path: Path) -> None:
    """Messages that are handled again after their outcomes were written are just completed."""
    async with heart_world(tmp_path, working=False) as world:
        world.faulty.afterthoughts.append(RuntimeError("surprise"))
        await world.publish(*numbered(20))
        world.workers["webhook"].start()
        await world.until(lambda: world.faulty.calls["record"] == 21)  # each alone, once more
        await world.until(lambda: world.waiting_for(NOTIFY_WEBHOOK) == 0)
        assert world.states() == {"delivered": 20}
        assert len(world.webhooks.tries) == 20
        assert world.one("SELECT count(*) FROM bus_scheduled") == 0


# --------------------------------------------------------------------------- retries


async def test_what_failed_is_tried_again_on_schedule(world: HeartWorld) -> None:
    """A failed delivery waits in the ledger, is drained when it is due, and is delivered then."""
    world.webhooks.script("ep_1", REFUSED)
    await world.publish(sample_event())
    await world.until_states(pending=1)
    await world.until_quiet()
    waited = await world.pass_to_next_drain()
    assert 4_500 <= waited <= 5_500
    await world.until_states(delivered=1)
    assert attempts(world) == [(1, 1, "http-500"), (1, 2, "delivered")]


async def test_the_whole_table_is_walked_then_it_is_exhausted(world: HeartWorld) -> None:
    """Eleven attempts at the published times, each within its jitter, then `exhausted`."""
    world.webhooks.answer = REFUSED
    await world.publish(sample_event())
    for made in range(1, 11):
        await world.until(lambda made=made: delivery(world)[3] == made)
        await world.until_quiet()
        assert delivery(world)[0] == "pending"
        assert world.audit().clean
        await world.pass_to_next_drain()
    await world.until_states(exhausted=1)
    assert delivery(world) == ("exhausted", "attempts-used", 1, 11)
    assert [number for _, number, _ in attempts(world)] == list(range(1, 12))
    times = [each.at for each in world.webhooks.tries]
    for delay, (before, after) in zip(NOTIFICATIONS.delays, pairwise(times), strict=True):
        assert delay * 0.9 - 1 <= after - before <= delay * 1.1 + 1
    assert world.one("SELECT count(*) FROM bus_scheduled") == 0
    assert world.audit().clean


async def test_every_attempt_has_the_same_webhook_id(world: HeartWorld) -> None:
    """Receivers can tell a retry from another event: the id is the event's, on each attempt."""
    world.webhooks.script("ep_1", REFUSED, REFUSED)
    await world.publish(sample_event())
    for made in (1, 2):
        await world.until(lambda made=made: delivery(world)[3] == made)
        await world.pass_to_next_drain()
    await world.until_states(delivered=1)
    assert [each.webhook_id for each in world.webhooks.tries] == [sample_event().webhook_id] * 3


async def test_what_can_never_succeed_is_not_tried_again(world: HeartWorld) -> None:
    """A final refusal ends the delivery at once, with its reason, and nothing is scheduled."""
    world.webhooks.answer = Failed(reason="address-not-allowed", retryable=False)
    await world.publish(sample_event())
    await world.until_states(exhausted=1)
    assert delivery(world)[1:] == ("address-not-allowed", 1, 1)
    assert world.one("SELECT count(*) FROM bus_scheduled") == 0


async def test_a_retry_past_the_deadline_is_made_at_the_deadline_once(tmp_path: Path) -> None:
    """A receiver that asks for more than is left gets one attempt, at the deadline, the last."""
    table = RetryTable(delays=(SECOND,) * 10, lifetime=HOUR)
    async with heart_world(tmp_path, table=table) as world:
        world.webhooks.answer = Failed(reason="http-503", retry_after=2 * HOUR)
        start = world.clock.now()
        await world.publish(sample_event())
        await world.until_states(pending=1)
        await world.pass_to_next_drain()
        await world.until_states(exhausted=1)
        assert [each.at - start for each in world.webhooks.tries] == [0, HOUR]
        assert delivery(world) == ("exhausted", "deadline", 1, 2)
        assert world.audit().clean


async def test_retries_longer_than_a_claim_need_no_sweep(tmp_path: Path) -> None:
    """A retry that a drain records for much later has its own drain: nobody else wakes it."""
    table = RetryTable(delays=(SECOND, HOUR, HOUR), lifetime=DAY)
    async with heart_world(tmp_path, table=table) as world:
        world.webhooks.script("ep_1", REFUSED, REFUSED, REFUSED)
        await world.publish(sample_event())
        for made in (1, 2, 3):
            await world.until(lambda made=made: delivery(world)[3] == made)
            await world.pass_to_next_drain()
        await world.until_states(delivered=1)


async def test_many_retries_of_a_lane_take_few_drains(world: HeartWorld) -> None:
    """A hundred failures in a lane are retried by a handful of drain messages, not a hundred."""
    world.webhooks.answer = REFUSED
    await world.publish(*numbered(100))
    await world.until_states(pending=100)
    for made in range(2, 5):
        while world.one("SELECT min(attempt) FROM deliveries") < made:
            await world.pass_time(SECOND)
            await world.until_quiet()
    sent = world.one("SELECT count(*) FROM bus_scheduled")
    assert sent <= 3
    assert len(world.webhooks.tries) == world.one("SELECT sum(attempt) FROM deliveries")


# --------------------------------------------------------------------------- lanes


async def test_a_lane_at_its_bound_makes_the_rest_wait(world: HeartWorld) -> None:
    """Beyond the bound deliveries wait in the ledger: no attempt spent, no message held."""
    gate = world.webhooks.hold("ep_1")
    bound = BOUNDS[Channel.WEBHOOK]
    await world.publish(*numbered(bound + 50))
    await world.until_states(pending=bound + 50)
    await world.until_quiet()
    assert len(world.webhooks.tries) == bound
    assert world.rows("SELECT claimed, attempt, count(*) FROM deliveries GROUP BY 1, 2") == [
        (0, 0, 50),
        (1, 0, bound),
    ]
    gate.set()
    await world.until_states(delivered=bound + 50)
    assert len(world.webhooks.tries) == bound + 50
    assert world.one("SELECT max(attempt) FROM deliveries") == 1


async def test_a_burst_for_one_endpoint_takes_as_long_as_its_bound_allows(
    world: HeartWorld,
) -> None:
    """Ten times its bound at once goes through a lane as places come free, without a pause."""
    bound = BOUNDS[Channel.WEBHOOK]
    world.webhooks.pace = 0.005
    await world.publish(*numbered(10 * bound))
    await world.until_states(delivered=10 * bound)
    assert len(world.webhooks.tries) == 10 * bound
    assert world.webhooks.most_at_once <= bound


MANY = tuple(f"ep_{number}" for number in range(150))
"""Endpoints whose lanes are all due at once: more than a worker takes messages or drains on."""


async def become_due(world: HeartWorld) -> None:
    """A delivery to each of many endpoints failed once, and is due again; all hang by now."""
    world.webhooks.targets = lambda event: Route(
        targets=MANY if event.id == "storm" else ("ep_new",)
    )
    world.webhooks.answer = REFUSED
    await world.publish(sample_event("storm"))
    await world.until_waiting(len(MANY))
    for endpoint in MANY:
        world.webhooks.hold(endpoint)
    await world.pass_time(MINUTE)


@pytest.mark.fault("many receivers come back at once", "receivers")
@pytest.mark.parametrize("drains", [1_000, 10], ids=["all-in-hand", "few-in-hand"])
async def test_regression_a_retry_storm_keeps_no_event_from_its_attempt(
    tmp_path: Path, drains: int
) -> None:
    """Beside drains of more lanes than a worker takes messages on, a new event is tried at once."""
    async with heart_world(tmp_path, grace=10 * PATIENCE_S, drains=drains) as world:
        await become_due(world)
        await world.until_tried(len(MANY) + min(drains, AT_ONCE))
        await world.publish(sample_event("new"))
        await world.until(lambda: world.webhooks.tries_at("ep_new"))


async def test_lanes_beyond_what_a_worker_has_in_hand_come_later(tmp_path: Path) -> None:
    """Drains that there is no room for are put off, and every lane is drained all the same."""
    async with heart_world(tmp_path, drains=10) as world:
        await become_due(world)
        world.webhooks.answer = TAKEN
        for gate in world.webhooks.held.values():
            gate.set()
        await world.live_until(lambda: world.states() == {"delivered": len(MANY)})
        assert {each.number for each in world.webhooks.tries} == {1, 2}
        assert len(world.webhooks.tries) == 2 * len(MANY)


async def test_a_hub_that_stops_begins_no_retry(tmp_path: Path) -> None:
    """Its drains are given back at once, with those that wait; what is out is written down."""
    async with heart_world(tmp_path, grace=10 * PATIENCE_S) as world:
        await become_due(world)
        await world.until_tried(len(MANY) + AT_ONCE)
        world.stop_time.left_s()
        stopping = asyncio.create_task(world.workers[Channel.WEBHOOK.value].stop(PATIENCE_S))
        world.webhooks.answer = TAKEN
        for gate in world.webhooks.held.values():
            gate.set()
        await stopping
        assert len(world.webhooks.tries) == len(MANY) + AT_ONCE
        assert world.states() == {"delivered": AT_ONCE, "pending": len(MANY) - AT_ONCE}
        assert world.one("SELECT count(*) FROM deliveries WHERE claimed = 1") == 0
        receiving = world.bus.receive(NOTIFY_WEBHOOK, limit=1_000)
        left = await asyncio.wait_for(receiving, PATIENCE_S)
        assert len(left) == len(MANY) - AT_ONCE


async def test_a_drain_that_comes_to_its_turn_in_a_stop_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a drain has claimed and not begun waits on, unclaimed; the next drain is given back."""
    monkeypatch.setattr(drain_turns, "PATIENCE_S", PATIENCE_S)
    async with heart_world(tmp_path) as world:
        world.webhooks.answer = REFUSED
        await world.publish(*numbered(2 * TOGETHER))
        await world.until_waiting(2 * TOGETHER)
        gate = world.webhooks.hold("ep_1")
        await world.pass_time(MINUTE)
        await world.until_tried(3 * TOGETHER)
        world.stop_time.left_s()
        stopping = asyncio.create_task(world.workers[Channel.WEBHOOK.value].stop(PATIENCE_S))
        await asyncio.sleep(0)  # it receives no more
        world.webhooks.answer = TAKEN
        gate.set()
        await stopping
        assert world.states() == {"delivered": TOGETHER, "pending": TOGETHER}
        assert world.one("SELECT count(*) FROM deliveries WHERE claimed = 1") == 0
        assert len(world.webhooks.tries) == 3 * TOGETHER
        (drain,) = await asyncio.wait_for(world.bus.receive(NOTIFY_WEBHOOK, limit=1), PATIENCE_S)
        answers = await world.dispatchers[Channel.WEBHOOK].handle([drain])
        assert answers == [Abandon()]
        assert len(world.webhooks.tries) == 3 * TOGETHER


async def test_attempts_that_have_a_row_are_written_down_though_their_handler_ends(
    tmp_path: Path,
) -> None:
    """A stop that runs out of patience cuts handlers, not what they have sent."""
    async with heart_world(tmp_path, grace=10 * PATIENCE_S, store=POSTGRESQL) as world:
        gate = world.webhooks.hold("ep_1")
        await world.publish(sample_event())
        await world.until_tried(1)
        await world.workers[Channel.WEBHOOK.value].stop(0)
        gate.set()
        await world.until_states(delivered=1)


@pytest.mark.fault("a stop cuts what routes an event", "ourselves")
async def test_regression_a_stop_that_cuts_a_handler_loses_no_target(tmp_path: Path) -> None:
    """Every target of the event has its delivery after the next start, whichever had answered."""
    async with heart_world(tmp_path, grace=10 * PATIENCE_S) as world:
        world.webhooks.targets = ("ep_1", "ep_2")
        world.webhooks.hold("ep_2")
        await world.publish(sample_event())
        await world.until_tried(2)
        await world.workers[Channel.WEBHOOK.value].stop(0)
        await world.dispatchers[Channel.WEBHOOK].close()
        await world.bus.close()
        clock = world.clock
    async with heart_world(tmp_path, clock=clock) as world:
        world.webhooks.targets = ("ep_1", "ep_2")
        await world.live_until(lambda: world.states() == {"delivered": 2})
        assert world.audit().clean


async def test_drains_that_cannot_be_put_off_die_of_nothing(tmp_path: Path) -> None:
    """While the bus takes no message, those beyond what is in hand keep their deliveries."""
    async with heart_world(tmp_path, grace=10 * PATIENCE_S, drains=10) as world:
        world.carrier.away = True
        await become_due(world)
        await world.until_tried(len(MANY) + 10)
        for _ in range(20):
            await world.pass_time(SECOND)
        assert world.dead() == []


async def test_a_full_lane_is_looked_at_twice_a_second_not_more(world: HeartWorld) -> None:
    """While a lane stays full, one drain is on its way, whatever else arrives for it."""
    world.webhooks.hold("ep_1")
    bound = BOUNDS[Channel.WEBHOOK]
    await world.publish(*numbered(bound + 1))
    await world.until_states(pending=bound + 1)
    await world.until_quiet()
    claims = world.faulty.calls["claim"]
    for second in range(5):
        await world.publish(sample_event(f"more-{second}"))
        await world.pass_time(SECOND)
        await world.until_quiet()
    assert world.faulty.calls["claim"] - claims <= 11
    assert world.one("SELECT count(*) FROM bus_scheduled") <= 2


async def sicken(world: HeartWorld) -> None:
    """Five timeouts in a row."""
    world.webhooks.script("ep_1", *[TIMEOUT] * SICK_AFTER)
    await world.publish(*numbered(SICK_AFTER))
    await world.until(lambda: world.lanes.health("webhook/acme/ep_1").sick)
    await world.until_states(pending=SICK_AFTER)
    await world.until_quiet()


async def test_a_sick_lane_is_left_alone_and_costs_nothing(world: HeartWorld) -> None:
    """After five timeouts new events for the endpoint wait without an attempt."""
    await sicken(world)
    await world.publish(*[sample_event(f"new-{n}") for n in range(20)])
    await world.until_states(pending=SICK_AFTER + 20)
    assert len(world.webhooks.tries) == SICK_AFTER
    assert world.one("SELECT count(*) FROM deliveries WHERE attempt = 0") == 20


async def test_a_sick_lane_is_probed_with_one_at_doubling_times(world: HeartWorld) -> None:
    """While probes time out, one delivery at a time is tried, after 5, 10, 20, 40 s."""
    await sicken(world)
    world.webhooks.answer = TIMEOUT
    for number, wait in enumerate((5, 10, 20, 40), start=1):
        before = world.clock.now()
        await world.pass_time(FIRST_PROBE * 2 ** (number - 1))
        await world.until_tried(SICK_AFTER + number)
        await world.until_quiet()
        assert len(world.webhooks.tries) == SICK_AFTER + number
        assert world.webhooks.tries[-1].at - before == wait * SECOND
        health = world.lanes.health("webhook/acme/ep_1")
        await world.until(
            lambda health=health: world.one("SELECT probe_at FROM lanes") == health.probe_at
        )


async def test_a_hung_probe_is_the_only_one(world: HeartWorld) -> None:
    """While a probe hangs no second one is made, however much waits and however time goes on."""
    await sicken(world)
    await world.publish(*[sample_event(f"new-{n}") for n in range(20)])
    await world.until_states(pending=SICK_AFTER + 20)
    world.webhooks.hold("ep_1")
    await world.pass_time(FIRST_PROBE)
    await world.until_tried(SICK_AFTER + 1)
    for _ in range(14):
        await world.pass_time(SECOND)
        await world.until_quiet()
    assert len(world.webhooks.tries) == SICK_AFTER + 1


async def test_a_probe_that_is_answered_opens_the_lane(world: HeartWorld) -> None:
    """When the probe is answered, everything that is due goes, without waiting for a sweep."""
    await sicken(world)
    await world.publish(*[sample_event(f"new-{n}") for n in range(20)])
    await world.until_states(pending=SICK_AFTER + 20)
    gate = world.webhooks.hold("ep_1")
    await world.pass_time(2 * FIRST_PROBE)
    await world.until_tried(SICK_AFTER + 1)
    await world.until_quiet()
    gate.set()
    await world.until_states(delivered=SICK_AFTER + 20)
    assert not world.lanes.health("webhook/acme/ep_1").sick
    assert world.one("SELECT timeouts FROM lanes") == 0


async def test_sickness_outlives_the_process(tmp_path: Path) -> None:
    """After a restart the lane is still sick: a drain sends one probe, not the whole backlog."""
    async with heart_world(tmp_path) as world:
        await sicken(world)
        clock = world.clock
    clock.ms += 2 * FIRST_PROBE
    async with heart_world(tmp_path, clock=clock) as world:
        world.webhooks.hold("ep_1")
        await world.until_tried(1)
        await world.until_quiet()
        assert len(world.webhooks.tries) == 1


async def test_a_hung_endpoint_does_not_delay_the_others(world: HeartWorld) -> None:
    """With one endpoint hanging, the 99th percentile of the others is as without it."""
    world.webhooks.targets = lambda event: Route(targets=(str(event.data["to"]),))
    slow = await _p99(world, "quiet", hung=False)
    with_hung = await _p99(world, "beside", hung=True)
    assert with_hung <= max(3 * slow, 1.0)


async def _p99(world: HeartWorld, name: str, *, hung: bool) -> float:
    """Seconds from publishing to the attempt, of 300 events, beside 600 for another endpoint."""
    if hung:
        world.webhooks.hold("ep_other")
    began: dict[str, float] = {}
    seen: dict[str, float] = {}
    channel = world.webhooks
    script = channel.scripts

    class Watch(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            if key in began and key not in seen:
                seen[key] = time.monotonic()
            return script.get(key, default)

    channel.scripts = Watch()  # type: ignore[assignment]
    for batch in range(30):
        events = [sample_event(f"{name}-{batch}-{n}", data={"to": f"ep_{n}"}) for n in range(10)]
        await world.publish(
            *[sample_event(f"{name}-o-{batch}-{n}", data={"to": "ep_other"}) for n in range(20)]
        )
        now = time.monotonic()
        began.update({event.id: now for event in events})
        await world.publish(*events)
    await world.until(lambda: len(seen) == 300)
    channel.scripts = script
    waits = sorted(seen[event_id] - began[event_id] for event_id in began)
    return waits[int(len(waits) * 0.99)]


# --------------------------------------------------------------------------- slow attempts


async def test_a_slow_attempt_does_not_hold_its_message(world: HeartWorld) -> None:
    """A message is done after the grace; the attempt goes on, claimed, and is recorded later."""
    gate = world.webhooks.hold("ep_1")
    await world.publish(sample_event())
    await world.until_states(pending=1)
    await world.until_quiet()
    assert world.rows("SELECT claimed, attempt FROM deliveries") == [(1, 0)]
    assert world.audit().clean
    gate.set()
    await world.until_states(delivered=1)
    assert attempts(world) == [(1, 1, "delivered")]


async def test_a_slow_failure_is_retried_like_a_quick_one(world: HeartWorld) -> None:
    """An attempt that fails in the background is due again by the table, and drained."""
    gate = world.webhooks.hold("ep_1")
    world.webhooks.script("ep_1", REFUSED)
    await world.publish(sample_event())
    await world.until_quiet()
    gate.set()
    await world.until(lambda: delivery(world)[3] == 1)
    await world.pass_to_next_drain()
    await world.until_states(delivered=1)


async def test_a_slow_attempt_does_not_hold_back_its_neighbours(world: HeartWorld) -> None:
    """Of an event's deliveries the quick ones are recorded while the slow one goes on."""
    world.webhooks.targets = ("ep_1", "ep_slow", "ep_2")
    world.webhooks.hold("ep_slow")
    await world.publish(sample_event())
    await world.until_states(delivered=2, pending=1)
    await world.until_quiet()
    assert world.audit().clean


async def test_a_slow_retry_is_recorded_too(world: HeartWorld) -> None:
    """An attempt that a drain began may outlive the drain."""
    world.webhooks.script("ep_1", REFUSED)
    await world.publish(sample_event())
    await world.until_waiting(1)
    gate = world.webhooks.hold("ep_1")
    await world.pass_to_next_drain()
    await world.until_tried(2)
    await world.until_quiet()
    gate.set()
    await world.until_states(delivered=1)
    assert attempts(world) == [(1, 1, "http-500"), (1, 2, "delivered")]


# --------------------------------------------------------------------------- doubles


async def test_two_messages_of_one_event_make_one_attempt(world: HeartWorld) -> None:
    """A doubled message, in the same batch or while the first is in hand, costs no attempt."""
    event = sample_event()
    gate = world.webhooks.hold("ep_1")
    again = addressed(event, "webhook", message_id="again-1", due_at=None)
    await world.publish(event)
    await world.put(event_message(event), again, replace(again, id="again-2"))
    await world.until_tried(1)
    await world.put(replace(again, id="again-3"))
    await world.until_quiet()
    gate.set()
    await world.until_states(delivered=1)
    await world.put(replace(again, id="again-4"))
    await world.until_quiet()
    assert len(world.webhooks.tries) == 1
    assert attempts(world) == [(1, 1, "delivered")]


async def test_a_stranger_s_double_that_comes_first_makes_no_second_attempt(
    tmp_path: Path,
) -> None:
    """An event that is on the bus twice, by a stranger and by the hub, is tried once."""
    async with heart_world(tmp_path, working=False) as world:
        event = sample_event()
        await world.put(event_message(event))
        await world.publish(event)
        world.workers["webhook"].start()
        await world.until_states(delivered=1)
        await world.until(lambda: world.waiting_for(NOTIFY_WEBHOOK) == 0)
        assert len(world.webhooks.tries) == 1


async def test_the_hubs_own_message_behind_a_routed_one_makes_no_second_attempt(
    tmp_path: Path,
) -> None:
    """What a message knew when it was published does not hide what was routed since."""
    async with heart_world(tmp_path, working=False) as world:
        event = sample_event()
        await world.publish(event)
        dispatcher = world.dispatchers[Channel.WEBHOOK]
        (mine,) = await world.bus.receive(NOTIFY_WEBHOOK, limit=1)
        theirs = Message(id="stranger-1", body=event.body, properties={})
        await dispatcher.handle([replace(mine, message=theirs, sequence_number=99, token=None)])
        await dispatcher.handle([mine])
        assert len(world.webhooks.tries) == 1


async def test_after_a_crash_between_attempt_and_record_it_is_tried_again(tmp_path: Path) -> None:
    """At least once: an attempt that was never written down is made again, with the same id."""
    async with heart_world(tmp_path) as world:
        world.faulty.away("record")
        await world.publish(sample_event())
        await world.until_tried(1)
        first = world.webhooks.tries[0]
        clock = world.clock
    assert world.states() == {}
    async with heart_world(tmp_path, clock=clock) as world:
        await world.until_states(delivered=1)
        (second,) = world.webhooks.tries
        assert (second.webhook_id, second.number) == (first.webhook_id, 1)
        assert world.audit().clean


async def test_after_a_crash_during_a_slow_attempt_it_is_tried_again(tmp_path: Path) -> None:
    """A claim whose process is gone is free at the next start, at once."""
    async with heart_world(tmp_path) as world:
        world.webhooks.hold("ep_1")
        await world.publish(sample_event())
        await world.until_states(pending=1)
        await world.until_quiet()
        clock = world.clock
    async with heart_world(tmp_path, clock=clock) as world:
        await world.until_states(delivered=1)
        assert [each.number for each in world.webhooks.tries] == [1]


async def test_after_a_crash_during_a_retry_it_is_tried_again(tmp_path: Path) -> None:
    """A drain that died with its process loses nothing: its delivery is tried at the next start."""
    async with heart_world(tmp_path) as world:
        world.webhooks.script("ep_1", REFUSED)
        await world.publish(sample_event())
        await world.until_states(pending=1)
        await world.until_quiet()
        world.webhooks.hold("ep_1")
        await world.pass_to_next_drain()
        await world.until_tried(2)
        clock = world.clock
    async with heart_world(tmp_path, clock=clock) as world:
        await world.until_states(delivered=1)
        assert attempts(world) == [(1, 1, "http-500"), (1, 2, "delivered")]


# --------------------------------------------------------------------------- whose fault


def stranger(body: bytes, message_id: str = "stranger-1", **properties: Any) -> Message:
    """A message that somebody else put on the topic."""
    return Message(id=message_id, body=body, properties=properties)


POISON = [
    ("not-json", stranger(b"hello")),
    ("envelope", stranger(b"[]")),
    ("envelope", stranger(orjson.dumps(document(tenantid="a b")))),
    ("envelope", stranger(orjson.dumps(document(tenantid=None)))),
    ("schema", stranger(orjson.dumps(document(data={"wrong": True})))),
    ("unknown-type", stranger(orjson.dumps(document(type=UNKNOWN_TYPE)))),
    ("too-large", stranger(b" " * (192 * 1024 + 1))),
    ("drain-without-lane", stranger(b"{}", hubConsumer="webhook", hubKind="drain")),
    (
        "drain-without-lane",
        stranger(b'{"lane":"email/acme"}', hubConsumer="webhook", hubKind="drain"),
    ),
]


@pytest.mark.parametrize(("reason", "message"), POISON)
async def test_a_message_nobody_can_handle_is_a_dead_letter_with_its_reason(
    world: HeartWorld, reason: str, message: Message
) -> None:
    """What can never be handled goes to the dead letters at once, and says why."""
    await world.put(replace(message, properties={**message.properties, "hubConsumer": "webhook"}))
    await world.until(lambda: world.dead() == [(NOTIFY_WEBHOOK, reason)])
    assert world.one("SELECT description FROM bus_dead_letters") != ""
    assert world.states() == {}
    await world.until_quiet()


async def test_deep_nesting_is_poison_too(world: HeartWorld) -> None:
    """Data that is nested too deeply to write is a dead letter at once, not a riddle for hours."""
    deep = b'{"a":' * 300 + b"1" + b"}" * 300
    body = orjson.dumps(document(data={})).replace(b'"data":{}', b'"data":' + deep)
    await world.put(stranger(body, hubConsumer="webhook"))
    await world.until(lambda: world.dead() == [(NOTIFY_WEBHOOK, "not-json")])


async def test_another_content_under_a_known_id_is_a_dead_letter(world: HeartWorld) -> None:
    """A stranger's event with the id of a known one and another content is a conflict."""
    await world.publish(sample_event())
    await world.until_states(delivered=1)
    await world.put(stranger(orjson.dumps(document(data={"amount": 99}))))
    await world.until(lambda: (NOTIFY_WEBHOOK, "conflict") in world.dead())
    assert {reason for _, reason in world.dead()} == {"conflict"}
    await world.until_quiet()
    assert len(world.webhooks.tries) == 1


async def test_one_bad_message_among_fifty_holds_back_none(world: HeartWorld) -> None:
    """Of a batch with one that cannot be read the others are delivered, once each."""
    good = [event_message(event) for event in numbered(49)]
    await world.put(*good[:25], stranger(b"hello"), *good[25:])
    await world.until_states(delivered=49)
    await world.until(lambda: (NOTIFY_WEBHOOK, "not-json") in world.dead())
    assert len(world.webhooks.tries) == 49


async def test_one_that_breaks_the_handler_among_fifty_holds_back_none(tmp_path: Path) -> None:
    """Of a batch with one that raises the others are delivered once; that one comes again later."""
    async with heart_world(tmp_path, working=False) as world:

        def route(event: Event) -> Route:
            if event.id == "evt-7":
                raise RuntimeError("surprise")
            return Route(targets=("ep_1",))

        world.webhooks.targets = route
        await world.publish(*numbered(50))
        world.workers["webhook"].start()
        await world.until_states(delivered=49)
        await world.until(lambda: world.one("SELECT count(*) FROM bus_scheduled") == 1)
        assert len(world.webhooks.tries) == 49
        assert world.dead() == []
        world.webhooks.targets = ("ep_1",)
        await world.pass_to_next_drain()
        await world.until_states(delivered=50)
        assert len(world.webhooks.tries) == 50


async def test_an_unknown_exception_comes_again_ten_times_then_is_dead(tmp_path: Path) -> None:
    """A fault nobody knows sends the message to its own consumer ten times, then buries it."""
    async with heart_world(tmp_path, channels=ALL) as world:

        def route(_event: Event) -> Route:
            calls.append(world.clock.now())
            raise RuntimeError("surprise")

        calls: list[int] = []
        world.webhooks.targets = route
        await world.publish(sample_event())
        waits = []
        for tries in range(1, 11):
            await world.until(lambda tries=tries: len(calls) == tries)
            await world.until_quiet()
            assert world.audit().missing == 0
            waits.append(await world.pass_to_next_drain() // SECOND)
        await world.until(lambda: world.dead() == [(NOTIFY_WEBHOOK, "handler-failed")])
        assert waits == [30, 60, 120, 240, 480, 600, 600, 600, 600, 600]
        assert len(calls) == 11
        assert [len(world.channels[each].tries) for each in (Channel.REALTIME, Channel.EMAIL)] == [
            1,
            1,
        ]
        assert world.audit().missing == 0
        counts = world.audit().tenants["acme"]["webhook"]
        assert counts["deadLettered"] == 1


# --------------------------------------------------------------------------- strangers


async def test_a_strangers_event_is_taken_in_on_first_sight(tmp_path: Path) -> None:
    """An event that another producer put on the topic is in the ledger once and goes everywhere."""
    async with heart_world(tmp_path, channels=ALL) as world:
        await world.put(stranger(orjson.dumps(document(), option=orjson.OPT_INDENT_2)))
        await world.until_states(delivered=3)
        await world.until_quiet()
        assert world.rows("SELECT tenant_id, id, counted FROM events") == [("acme", "evt-1", 1)]
        assert [len(each.tries) for each in world.channels.values()] == [1, 1, 1]
        assert world.audit().clean


async def test_many_strangers_at_once_are_each_taken_in_once(tmp_path: Path) -> None:
    """A flood of strangers' events, doubled, becomes one delivery per event and channel."""
    async with heart_world(tmp_path, channels=ALL) as world:
        bodies = [orjson.dumps(document(f"evt-{number}")) for number in range(100)]
        await world.put(*[stranger(body, f"s{n}") for n, body in enumerate(bodies * 2)])
        await world.until_states(delivered=300)
        await world.until_quiet()
        assert [len(each.tries) for each in world.channels.values()] == [100, 100, 100]
        assert world.one("SELECT sum(count) FROM event_counts") == 100
        assert world.dead() == []


# --------------------------------------------------------------------------- parking


async def test_a_paused_target_parks_without_an_attempt(world: HeartWorld) -> None:
    """A channel that says its target takes none for now parks the delivery; nothing is due."""
    world.webhooks.answer = Parked(reason="endpoint-paused")
    await world.publish(sample_event())
    await world.until_states(parked=1)
    assert delivery(world) == ("parked", "endpoint-paused", 1, 0)
    assert attempts(world) == []
    assert world.one("SELECT count(*) FROM bus_scheduled") == 0


async def test_a_delivery_whose_time_comes_while_paused_is_parked(world: HeartWorld) -> None:
    """A retry that meets a pause parks, with the attempts it had."""
    world.webhooks.script("ep_1", REFUSED, Parked(reason="endpoint-paused"))
    await world.publish(sample_event())
    await world.until_states(pending=1)
    await world.until_quiet()
    await world.pass_to_next_drain()
    await world.until_states(parked=1)
    assert delivery(world) == ("parked", "endpoint-paused", 1, 1)


# --------------------------------------------------------------------------- outages


async def test_outcomes_in_hand_are_written_when_the_database_is_back(one_file: HeartWorld) -> None:
    """What was sent while the ledger could not write is written afterwards, never sent again."""
    world = one_file
    world.faulty.away("record")
    await world.publish(*numbered(3))
    await world.until_tried(3)
    began = world.clock.now()
    for _ in range(90):
        await world.pass_time(SECOND)
    assert world.states() == {}
    world.faulty.back()
    await world.live_until(lambda: world.states() == {"delivered": 3})
    await world.live_until(lambda: world.one("SELECT count(*) FROM bus_messages") == 0)
    assert len(world.webhooks.tries) == 3
    assert world.rows("SELECT DISTINCT first_at, attempt FROM deliveries") == [(began, 1)]
    assert world.dead() == []


async def test_outcomes_of_an_outage_are_written_after_it(world: HeartWorld) -> None:
    """Attempts that come back during an outage are recorded after it and never made again."""
    gate = world.webhooks.hold("ep_1")
    await world.publish(*numbered(3))
    await world.until_tried(3)
    world.faulty.away("record")
    gate.set()
    for _ in range(20):
        await world.pass_time(SECOND)
    assert "delivered" not in world.states()
    world.faulty.back()
    await world.live_until(lambda: world.states() == {"delivered": 3})
    assert len(world.webhooks.tries) == 3


async def test_nothing_is_lost_while_the_ledger_is_away(world: HeartWorld) -> None:
    """Messages that meet an outage wait for its end; afterwards each is delivered once."""
    strangers = [stranger(orjson.dumps(document(f"evt-{n}")), f"s{n}") for n in range(5)]
    world.faulty.away()
    await world.put(*strangers)
    await world.until(lambda: world.faulty.calls["look"] >= 1)
    for _ in range(20):
        await world.pass_time(SECOND)
    assert world.webhooks.tries == []
    world.faulty.back()
    await world.live_until(lambda: world.states() == {"delivered": 5})
    assert len(world.webhooks.tries) == 5
    assert world.one("SELECT count(*) FROM bus_scheduled") == 0
    assert world.dead() == []


async def test_an_outage_longer_than_a_handler_waits_sends_the_message_again(
    world: HeartWorld,
) -> None:
    """After 45 s the message goes back to its own consumer, later, and is delivered then, once."""
    world.faulty.away()
    await world.put(stranger(orjson.dumps(document()), hubConsumer="webhook"))
    await world.until(lambda: world.faulty.calls["look"] >= 1)
    await world.live_until(lambda: world.one("SELECT count(*) FROM bus_scheduled") == 1)
    await world.until_quiet()
    assert 40 <= world.faulty.calls["look"] <= 48
    world.faulty.back()
    await world.pass_to_next_drain()
    await world.until_states(delivered=1)
    assert len(world.webhooks.tries) == 1


async def test_a_waiting_handler_asks_once_a_second(world: HeartWorld) -> None:
    """However many batches wait for the end of an outage, one of them asks each second."""
    world.faulty.away()
    for number in range(20):
        body = orjson.dumps(document(f"evt-{number}"))
        await world.put(stranger(body, f"s{number}", hubConsumer="webhook"))
        await world.until(lambda number=number: world.faulty.calls["look"] > number)
    asked = world.faulty.calls["look"]
    for _ in range(10):
        await world.pass_time(SECOND)
    assert world.faulty.calls["look"] - asked <= 11
    world.faulty.back()
    came_back = world.clock.now()
    await world.live_until(lambda: world.states() == {"delivered": 20})
    assert world.clock.now() - came_back <= 30 * SECOND


async def test_all_consumers_of_a_process_ask_together_once_a_second(tmp_path: Path) -> None:
    """However many consumers wait for the database, it is asked once a second, not once each."""
    async with heart_world(tmp_path, channels=ALL) as world:
        world.faulty.away()
        for number, consumer in enumerate(tuple(CONSUMERS) * 3):
            body = orjson.dumps(document(f"evt-{number}"))
            await world.put(stranger(body, f"s{number}", hubConsumer=consumer))
            await world.until(lambda number=number: world.faulty.calls["look"] > number)
        asked = world.faulty.calls["look"]
        for _ in range(20):
            await world.pass_time(SECOND)
        assert 10 <= world.faulty.calls["look"] - asked <= 21
        world.faulty.back()
        await world.live_until(lambda: world.states() == {"delivered": 9})


async def test_outcomes_in_hand_are_written_again_one_a_second(tmp_path: Path) -> None:
    """However many outcomes wait to be written, one of them asks each second for all."""
    async with heart_world(tmp_path) as world:
        gate = world.webhooks.hold("ep_1")
        await world.publish(*numbered(40))
        await world.until_tried(40)
        await world.until_states(pending=40)
        world.faulty.away("record")
        gate.set()
        await world.until(lambda: world.faulty.calls["record"] >= 40)
        asked = world.faulty.calls["record"]
        for _ in range(10):
            await world.pass_time(SECOND)
        assert world.faulty.calls["record"] - asked <= 11
        world.faulty.back()
        await world.live_until(lambda: world.states() == {"delivered": 40})
        assert len(world.webhooks.tries) == 40


async def sweep_in_vain(world: HeartWorld) -> None:
    """A sweep finds a claim that has run out, whose outcome is in hand; then the ledger is back."""
    claims = world.faulty.calls["claim"]
    await world.sweep.sweep()
    await world.until(lambda: world.faulty.calls["claim"] > claims)
    await world.pass_time(SECOND)
    world.faulty.back()


async def test_what_a_handler_cannot_wait_for_is_not_sent_again(tmp_path: Path) -> None:
    """As on Functions: a handler gives its message back while the ledger is still away; what came
    of its attempt is written when it is back, though the claim has run out meanwhile."""
    async with heart_world(tmp_path, store=POSTGRESQL, grace=10.0, patience=45.0) as world:
        gate = world.webhooks.hold("ep_1")
        await world.publish(sample_event())
        await world.until_tried(1)
        world.faulty.away("record")
        gate.set()
        for _ in range(120):
            await world.pass_time(SECOND)
        await sweep_in_vain(world)
        await world.live_until(lambda: world.states() == {"delivered": 1})
        assert len(world.webhooks.tries) == 1


@pytest.mark.parametrize("slow", [False, True], ids=["quick", "slow"])
async def test_what_is_in_hand_when_its_claim_runs_out_is_not_sent_again(
    world: HeartWorld, slow: bool
) -> None:
    """An outcome that could not be written for longer than its claim costs no second POST."""
    world.webhooks.script("ep_1", REFUSED)
    await world.publish(sample_event())
    await world.until_states(pending=1)
    await world.until_quiet()
    gate = world.webhooks.hold("ep_1")
    if not slow:
        gate.set()
        world.faulty.away("record")
    await world.pass_to_next_drain()
    await world.until_tried(2)
    if slow:  # it goes on without its drain
        await world.until_quiet()
        world.faulty.away("record")
        gate.set()
    for _ in range(60):
        await world.pass_time(SECOND)
    await sweep_in_vain(world)
    await world.live_until(lambda: world.states() == {"delivered": 1})
    await world.live_until(lambda: world.one("SELECT count(*) FROM bus_messages") == 0)
    assert [each.number for each in world.webhooks.tries] == [1, 2]
    assert world.audit().clean


async def test_a_claim_that_meets_an_outage_is_made_when_it_is_over(world: HeartWorld) -> None:
    """A drain that cannot claim waits, then drains: the retry is late, not lost."""
    world.webhooks.script("ep_1", REFUSED)
    await world.publish(sample_event())
    await world.until_states(pending=1)
    await world.until_quiet()
    world.faulty.away("claim")
    await world.pass_to_next_drain()
    await world.until(lambda: world.faulty.calls["claim"] >= 1)
    world.faulty.back()
    await world.live_until(lambda: world.states() == {"delivered": 1})


async def test_a_file_that_somebody_else_writes_to_loses_nothing(one_file: HeartWorld) -> None:
    """While another program holds the file's lock, outcomes wait; none is lost, none doubled."""
    world = one_file
    world.webhooks.script("ep_1", REFUSED)
    gate = world.webhooks.hold("ep_1")
    await world.publish(*numbered(10))
    await world.until_tried(10)
    with closing(sqlite3.connect(world.path, isolation_level=None)) as tool:
        tool.execute("BEGIN IMMEDIATE")
        gate.set()
        with pytest.raises(StoreUnavailable):
            await world.publish(sample_event("evt-x"))
        for _ in range(5):
            await world.pass_time(SECOND)
        assert world.states().get("delivered", 0) == 0
        tool.execute("ROLLBACK")
    await world.live_until(lambda: world.states() == {"delivered": 10})
    assert len(world.webhooks.tries) == 11
    assert world.dead() == []
    await world.until_quiet()
    assert world.audit().clean


async def test_delivered_over_and_over_under_faults_each_event_is_counted_and_clean(
    tmp_path: Path,
) -> None:
    """Two hundred events, a fifth of attempts failing, an outage in between: all end delivered."""
    table = RetryTable(delays=(SECOND,) * 10, lifetime=DAY)
    async with heart_world(tmp_path, channels=ALL, table=table) as world:
        for number in range(0, 200, 5):
            world.webhooks.script(f"evt-{number}", REFUSED, TIMEOUT if number < 20 else REFUSED)
            world.channels[Channel.EMAIL].script(f"evt-{number}", REFUSED)
        events = numbered(200)
        await world.publish(*events[:100])
        world.faulty.away("record", "claim")
        await world.publish(*events[100:])
        for _ in range(3):
            await world.pass_time(SECOND)
        world.faulty.back()
        give_up = time.monotonic() + PATIENCE_S
        while world.states() != {"delivered": 600} and time.monotonic() < give_up:
            await world.pass_time(SECOND)
            await asyncio.sleep(0.01)
        assert world.states() == {"delivered": 600}, world.picture()
        await world.until_quiet()
        tried = [each for channel in world.channels.values() for each in channel.tries]
        assert len(tried) == len({(id_, c) for id_, c in _made(world)}) + 40 * 3
        assert world.one("SELECT sum(count) FROM event_counts") == 200
        assert world.audit().clean


def _made(world: HeartWorld) -> list[tuple[str, str]]:
    return world.rows(
        "SELECT e.id, d.channel FROM deliveries d JOIN events e ON e.key = d.event_key"
    )


async def test_a_drain_for_another_channel_is_its_alone(tmp_path: Path) -> None:
    """A lane's drain comes to its own channel; the other consumers never see it."""
    async with heart_world(tmp_path, channels=ALL, working=False) as world:
        await world.put(drain_message("email/acme", message_id="d", due_at=world.clock.now()))
        assert world.waiting_for(NOTIFY_EMAIL) == 1
        assert world.waiting_for(NOTIFY_WEBHOOK) == 0
        assert world.one("SELECT topic FROM bus_messages") == EVENTS_TOPIC


async def test_time_without_work_changes_nothing(world: HeartWorld) -> None:
    """A day in which nothing is published leaves nothing behind."""
    await world.pass_time(DAY)
    assert (world.states(), world.dead()) == ({}, [])
    await world.publish(sample_event())
    await world.until_states(delivered=1)
    assert world.webhooks.tries[0].at >= DAY + MINUTE - MINUTE
    assert isinstance(world.webhooks.answer, Delivered)
