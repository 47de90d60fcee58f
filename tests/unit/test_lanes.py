"""Lanes: how many attempts at once, and when a lane is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.deliveries import Delivered, Failed, Outcome
from notifications.events import Channel
from notifications.lanes import (
    BOUNDS,
    BUSY_RETRY,
    FIRST_PROBE,
    IN_FLIGHT_LIMIT,
    LAST_PROBE,
    PROBE_PATIENCE,
    SICK_AFTER,
    TENANT_LIMIT,
    WORTH_A_DRAIN,
    Health,
    Lanes,
    after,
)
from notifications.retries import MINUTE, SECOND

NOON = 1_772_366_400_000
LANE = "webhook/acme/ep_1"
OTHER = "webhook/acme/ep_2"
WEBHOOK = Channel.WEBHOOK
TIMEOUT = Failed(reason="timeout")
REFUSED = Failed(reason="http-500", status=500)
TAKEN = Delivered(status=200)


def sick_lanes(now: int = NOON) -> Lanes:
    """Lanes of which one has just become sick."""
    lanes = Lanes()
    for _ in range(SICK_AFTER):
        assert lanes.enter(LANE, WEBHOOK, now=now)
    for _ in range(SICK_AFTER):
        lanes.leave(LANE, TIMEOUT, began=now, now=now)
    assert lanes.health(LANE).sick
    return lanes


def probe(lanes: Lanes, outcome: Outcome, *, at: int, took: int = 0) -> None:
    """One probe of the sick lane."""
    assert lanes.enter(LANE, WEBHOOK, now=at, probe=True)
    lanes.leave(LANE, outcome, began=at, now=at + took)


@pytest.mark.parametrize("channel", list(Channel))
def test_a_lane_takes_no_more_than_its_bound(channel: Channel) -> None:
    """At its bound a lane turns attempts away until one has come back; other lanes go on."""
    lanes = Lanes()
    for _ in range(BOUNDS[channel]):
        assert lanes.enter(LANE, channel, now=NOON)
    assert not lanes.enter(LANE, channel, now=NOON)
    assert lanes.room(LANE, channel, now=NOON) == 0
    assert lanes.enter(OTHER, channel, now=NOON)
    lanes.leave(LANE, TAKEN, began=NOON, now=NOON)
    assert lanes.enter(LANE, channel, now=NOON)


def test_a_process_takes_no_more_than_its_limit() -> None:
    """However many lanes there are, a process has so many attempts in flight and no more."""
    lanes = Lanes()
    count = 0
    while lanes.enter(f"webhook/t{count % 9}/ep_{count}", WEBHOOK, now=NOON):
        count += 1
    assert count == IN_FLIGHT_LIMIT
    assert lanes.room("webhook/acme/another", WEBHOOK, now=NOON) == 0
    assert lanes.room("realtime/acme", Channel.REALTIME, now=NOON) > 0
    lanes.leave("webhook/t0/ep_0", TAKEN, began=NOON, now=NOON)
    assert lanes.room("webhook/acme/another", WEBHOOK, now=NOON) == 1


def test_one_tenant_leaves_room_for_the_others() -> None:
    """However many slow endpoints a tenant has, they hold a quarter of the places at most."""
    lanes = Lanes()
    count = 0
    while lanes.enter(f"webhook/acme/ep_{count}", WEBHOOK, now=NOON):
        count += 1
    assert count == TENANT_LIMIT == IN_FLIGHT_LIMIT // 4
    assert lanes.room("webhook/other/ep_1", WEBHOOK, now=NOON) == BOUNDS[WEBHOOK]
    assert lanes.room("email/acme", Channel.EMAIL, now=NOON) == BOUNDS[Channel.EMAIL]


def test_five_timeouts_in_a_row_make_a_lane_sick() -> None:
    """The fifth timeout, not the fourth, leaves the lane alone for five seconds."""
    lanes = Lanes()
    for number in range(1, SICK_AFTER + 1):
        assert lanes.enter(LANE, WEBHOOK, now=NOON)
        health = lanes.leave(LANE, TIMEOUT, began=NOON, now=NOON)
        assert health is not None
        assert health.sick is (number == 5)
    assert lanes.health(LANE).probe_at == NOON + 5 * SECOND
    assert not lanes.enter(LANE, WEBHOOK, now=NOON + 1)


def test_an_answer_breaks_the_run() -> None:
    """Timeouts count in a row only: an error that came in time is an answer too."""
    lanes = Lanes()
    for _ in range(3):
        for outcome in (TIMEOUT, TIMEOUT, TIMEOUT, TIMEOUT, REFUSED):
            assert lanes.enter(LANE, WEBHOOK, now=NOON)
            lanes.leave(LANE, outcome, began=NOON, now=NOON)
    assert lanes.health(LANE) == Health(lane=LANE)


def test_a_sick_lane_takes_one_probe_when_it_is_time() -> None:
    """Before the probe's time nobody gets in; then one does, alone, and only as a probe."""
    lanes = sick_lanes()
    early, due = NOON + FIRST_PROBE - 1, NOON + FIRST_PROBE
    assert lanes.room(LANE, WEBHOOK, now=early) == 0
    assert not lanes.enter(LANE, WEBHOOK, now=early, probe=True)
    assert lanes.room(LANE, WEBHOOK, now=due) == 1
    assert not lanes.enter(LANE, WEBHOOK, now=due)
    assert lanes.enter(LANE, WEBHOOK, now=due, probe=True)
    assert lanes.room(LANE, WEBHOOK, now=due + MINUTE) == 0
    assert not lanes.enter(LANE, WEBHOOK, now=due + MINUTE, probe=True)


def test_probes_come_at_doubling_times_up_to_ten_minutes() -> None:
    """While probes time out, the lane is left alone 5, 10, 20 s ... and never over 10 min."""
    lanes, now, delays = sick_lanes(), NOON, []
    for _ in range(10):
        health = lanes.health(LANE)
        assert health.probe_at is not None
        delays.append((health.probe_at - now) // SECOND)
        now = health.probe_at + 15 * SECOND
        probe(lanes, TIMEOUT, at=health.probe_at, took=15 * SECOND)
    assert delays == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert LAST_PROBE == 600 * SECOND


@pytest.mark.parametrize("outcome", [TAKEN, REFUSED])
def test_a_probe_that_is_answered_heals(outcome: Outcome) -> None:
    """An answer, even an error, opens the lane to its whole bound and forgets the delays."""
    lanes = sick_lanes()
    probe(lanes, outcome, at=NOON + FIRST_PROBE)
    assert lanes.health(LANE) == Health(lane=LANE)
    assert lanes.room(LANE, WEBHOOK, now=NOON + FIRST_PROBE) == BOUNDS[WEBHOOK]


def test_timeouts_of_before_tell_nothing_new() -> None:
    """Attempts that began before the lane was sick and time out later do not double the delay."""
    lanes = Lanes()
    for _ in range(20):
        assert lanes.enter(LANE, WEBHOOK, now=NOON)
    for number in range(20):
        lanes.leave(LANE, TIMEOUT, began=NOON, now=NOON + number * SECOND)
    health = lanes.health(LANE)
    assert (health.probe_at, health.probe_delay) == (NOON + 4 * SECOND + FIRST_PROBE, FIRST_PROBE)


def test_a_stale_timeout_does_not_end_the_probe() -> None:
    """While a probe is under way, another's late timeout does not let a second probe in."""
    lanes = Lanes()
    for _ in range(SICK_AFTER + 1):
        assert lanes.enter(LANE, WEBHOOK, now=NOON)
    for _ in range(SICK_AFTER):
        lanes.leave(LANE, TIMEOUT, began=NOON, now=NOON)
    due = NOON + FIRST_PROBE
    assert lanes.enter(LANE, WEBHOOK, now=due, probe=True)
    lanes.leave(LANE, TIMEOUT, began=NOON, now=due + 1)
    assert lanes.room(LANE, WEBHOOK, now=due + 2) == 0
    lanes.leave(LANE, TIMEOUT, began=due, now=due + 3)
    assert lanes.health(LANE).probe_delay == 2 * FIRST_PROBE


def test_a_late_answer_heals_though_a_probe_is_under_way() -> None:
    """Any answer heals, whoever it came to, and the lane is not held for the probe."""
    lanes = Lanes()
    for _ in range(SICK_AFTER + 1):
        assert lanes.enter(LANE, WEBHOOK, now=NOON)
    for _ in range(SICK_AFTER):
        lanes.leave(LANE, TIMEOUT, began=NOON, now=NOON)
    due = NOON + FIRST_PROBE
    assert lanes.enter(LANE, WEBHOOK, now=due, probe=True)
    lanes.leave(LANE, TAKEN, began=NOON, now=due)
    assert lanes.room(LANE, WEBHOOK, now=due) == BOUNDS[WEBHOOK] - 1


def test_when_to_look_again() -> None:
    """Free: now. At its bound: in half a second. Sick: at the probe. Being probed: much later."""
    lanes = sick_lanes()
    assert lanes.open_at(OTHER, WEBHOOK, now=NOON) == NOON
    assert lanes.open_at(LANE, WEBHOOK, now=NOON) == NOON + FIRST_PROBE
    assert lanes.open_at(LANE, WEBHOOK, now=NOON + MINUTE) == NOON + MINUTE
    assert lanes.enter(LANE, WEBHOOK, now=NOON + MINUTE, probe=True)
    assert lanes.open_at(LANE, WEBHOOK, now=NOON + MINUTE) == NOON + MINUTE + PROBE_PATIENCE
    for _ in range(BOUNDS[WEBHOOK]):
        assert lanes.enter(OTHER, WEBHOOK, now=NOON)
    assert lanes.open_at(OTHER, WEBHOOK, now=NOON) == NOON + BUSY_RETRY


def test_a_lane_that_was_wanted_says_once_that_it_has_room_again() -> None:
    """A lane that turned somebody away is worth a drain when a quarter of its bound is free."""
    lanes, bound = Lanes(), BOUNDS[WEBHOOK]
    for _ in range(bound):
        assert lanes.enter(LANE, WEBHOOK, now=NOON)
    assert not lanes.wanted
    assert not lanes.enter(LANE, WEBHOOK, now=NOON)
    opened = []
    for _ in range(bound):
        lanes.leave(LANE, TAKEN, began=NOON, now=NOON)
        opened.append(lanes.opened(LANE, WEBHOOK, now=NOON))
    assert [place for place, said in enumerate(opened, start=1) if said] == [bound // WORTH_A_DRAIN]
    assert not lanes.wanted
    assert not lanes.opened(OTHER, WEBHOOK, now=NOON)


def test_a_sick_lane_is_not_open_however_empty_it_is() -> None:
    """Whoever waits for a sick lane waits for its probe, not for room."""
    lanes = sick_lanes()
    assert not lanes.enter(LANE, WEBHOOK, now=NOON)
    assert not lanes.opened(LANE, WEBHOOK, now=NOON + MINUTE)


def test_sickness_is_learnt_from_the_ledger() -> None:
    """A process that does not know a lane takes over what the ledger knows of it."""
    lanes = Lanes()
    health = Health(lane=LANE, timeouts=7, probe_at=NOON + MINUTE, probe_delay=MINUTE)
    lanes.learn(health)
    assert lanes.health(LANE) == health
    assert not lanes.enter(LANE, WEBHOOK, now=NOON)


def test_the_ledger_cannot_undo_what_was_seen_since() -> None:
    """Outcomes reach the ledger later: older news from there neither heals nor shortens."""
    lanes = sick_lanes()
    known = lanes.health(LANE)
    lanes.learn(Health(lane=LANE))
    lanes.learn(Health(lane=LANE, timeouts=5, probe_at=NOON - MINUTE, probe_delay=5 * SECOND))
    assert lanes.health(LANE) == known


outcomes = st.sampled_from((TAKEN, REFUSED, TIMEOUT))


@given(steps=st.lists(st.tuples(outcomes, st.integers(0, 20 * SECOND)), max_size=60))
def test_health_is_sane_whatever_happens(steps: list[tuple[Outcome, int]]) -> None:
    """A lane is sick exactly after five timeouts or more, its delay from 5 s to 10 min."""
    health, now = Health(lane=LANE), NOON
    for outcome, took in steps:
        began = max(now, health.probe_at or 0)
        now = began + took
        health = after(health, outcome, began=began, now=now)
        assert health.sick is (health.timeouts >= SICK_AFTER)
        assert (health.probe_delay is None) is (health.probe_at is None)
        if health.probe_delay is not None:
            assert FIRST_PROBE <= health.probe_delay <= LAST_PROBE
        if outcome is not TIMEOUT:
            assert health == Health(lane=LANE)


@given(st.lists(st.tuples(st.sampled_from((LANE, OTHER)), outcomes), max_size=80))
def test_places_are_given_back(steps: list[tuple[str, Outcome]]) -> None:
    """After any run of attempts that all came back, there is room as if none had been made."""
    lanes, now = Lanes(), NOON
    for lane, outcome in steps:
        now += LAST_PROBE
        assert lanes.enter(lane, WEBHOOK, now=now, probe=True)
        lanes.leave(lane, outcome, began=now, now=now)
    for lane in (LANE, OTHER):
        expected = 1 if lanes.health(lane).sick else BOUNDS[WEBHOOK]
        assert lanes.room(lane, WEBHOOK, now=now + LAST_PROBE) == expected
