"""How fast a lane may go: what is asked for, and what 429s teach."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from notifications.deliveries import Delivered, Failed, Outcome, Parked, attempted
from notifications.events import Channel
from notifications.lanes import BOUNDS, LAST_PROBE, Health, Lanes, after
from notifications.pacing import FIRST_GUESS, FORGOTTEN_AT, UNBOUNDED, WINDOW, Pace
from notifications.retries import HOUR, MINUTE, NOTIFICATIONS, SECOND
from tests.event_samples import delivery

NOON = 1_772_366_400_000
LANE = "webhook/acme/ep_1"
WEBHOOK = Channel.WEBHOOK
TOO_MANY = Failed(reason="http-429", status=429)
AWAY = Failed(reason="http-503", status=503)
TAKEN = Delivered(status=200)


@given(
    rate=st.integers(1, 50),
    steps=st.lists(st.integers(0, 400), min_size=1, max_size=200),
)
def test_no_second_sees_more_than_the_rate(rate: int, steps: list[int]) -> None:
    """Whenever it is tried, any window of a second holds at most as many as were asked for."""
    pace, now = Pace(), NOON
    pace.asked = rate
    begun: list[int] = []
    for step in steps:
        now += step
        for _ in range(pace.room(now)):
            pace.begin(now)
            begun.append(now)
    for at in begun:
        assert sum(at <= other < at + WINDOW for other in begun) <= rate


@given(rate=st.integers(1, 50), steps=st.lists(st.integers(0, 400), min_size=1, max_size=50))
def test_it_says_when_there_is_room(rate: int, steps: list[int]) -> None:
    """Not a millisecond before the time it names is there room, and then there is."""
    pace, now = Pace(), NOON
    pace.asked = rate
    for step in steps:
        now += step
        while pace.room(now):
            pace.begin(now)
        open_at = pace.open_at(now)
        assert open_at > now
        assert pace.room(open_at - 1) == 0
        assert pace.room(open_at) > 0


def test_a_lane_without_a_rate_goes_as_fast_as_its_bound() -> None:
    """Nothing is counted where nothing is asked for; a rate that is taken away bounds no more."""
    lanes = Lanes()
    lanes.pace(LANE, 2)
    assert lanes.room(LANE, WEBHOOK, now=NOON) == 2
    lanes.pace(LANE, None)
    assert lanes.room(LANE, WEBHOOK, now=NOON) == BOUNDS[WEBHOOK]


def test_beyond_the_rate_a_lane_turns_attempts_away() -> None:
    """The third within the second waits; it has room when the first is a second old."""
    lanes = Lanes()
    lanes.pace(LANE, 2)
    assert lanes.enter(LANE, WEBHOOK, now=NOON)
    assert lanes.enter(LANE, WEBHOOK, now=NOON + 400)
    assert not lanes.enter(LANE, WEBHOOK, now=NOON + 900)
    assert lanes.open_at(LANE, WEBHOOK, now=NOON + 900) == NOON + SECOND
    assert lanes.enter(LANE, WEBHOOK, now=NOON + SECOND)
    assert not lanes.enter(LANE, WEBHOOK, now=NOON + SECOND)


def test_what_asked_nobody_costs_no_pace() -> None:
    """An attempt that found its endpoint paused gives its place in the second back."""
    lanes = Lanes()
    lanes.pace(LANE, 1)
    assert lanes.enter(LANE, WEBHOOK, now=NOON)
    lanes.leave(LANE, Parked(reason="endpoint-paused"), began=NOON, now=NOON)
    assert lanes.enter(LANE, WEBHOOK, now=NOON)


# --------------------------------------------------------------------------- 429


def try_all(lanes: Lanes, outcome: Outcome, now: int) -> int:
    """As many as the lane takes at once; how many that was."""
    count = 0
    while lanes.enter(LANE, WEBHOOK, now=now):
        count += 1
    for _ in range(count):
        lanes.leave(LANE, outcome, began=now, now=now)
    return count


def test_each_round_of_429s_halves_the_pace() -> None:
    """From the bound to 32, 16, 8, ... 1; those that went out together count once."""
    lanes = Lanes()
    seen = [try_all(lanes, TOO_MANY, NOON + number * SECOND) for number in range(8)]
    assert seen == [BOUNDS[WEBHOOK], 32, 16, 8, 4, 2, 1, 1]


def test_what_is_taken_lets_it_grow() -> None:
    """A second without a 429 adds an eighth; a lane that bears a thousand is bounded no more."""
    pace, now = Pace(), NOON
    pace.refused(began=now, now=now)
    assert pace.limit == FIRST_GUESS
    pace.taken(now=now + WINDOW - 1)
    assert pace.limit == FIRST_GUESS
    for _ in range(60):
        now += WINDOW
        pace.taken(now=now)
    assert pace.limit == UNBOUNDED
    assert FIRST_GUESS < FORGOTTEN_AT
    assert pace.idle


def test_another_lane_goes_on() -> None:
    """A 429 slows its own lane down, no other."""
    lanes = Lanes()
    try_all(lanes, TOO_MANY, NOON)
    assert lanes.room("webhook/acme/ep_2", WEBHOOK, now=NOON) == BOUNDS[WEBHOOK]


def test_429_without_retry_after_waits_its_delay_at_least() -> None:
    """A minute, or the table's delay where that is longer; whoever else fails may be early."""
    for made, wait in ((0, MINUTE), (1, MINUTE), (3, NOTIFICATIONS.delays[3] * 0.9)):
        tried = replace(delivery(), deadline=NOON + HOUR, attempt=made)
        again = attempted(tried, TOO_MANY, now=NOON, table=NOTIFICATIONS, dice=0.0)
        assert again.due_at == NOON + wait


# --------------------------------------------------------------------------- Retry-After


def asked(outcome: Failed, wait: int) -> Failed:
    """The same with a `Retry-After`."""
    return Failed(reason=outcome.reason, status=outcome.status, retry_after=wait)


def test_retry_after_holds_the_lane_until_then() -> None:
    """After 429 or 503 with `Retry-After` nothing goes before, then one, and then everything."""
    for outcome in (TOO_MANY, AWAY):
        lanes = Lanes()
        assert lanes.enter(LANE, WEBHOOK, now=NOON)
        health = lanes.leave(LANE, asked(outcome, 30 * SECOND), began=NOON, now=NOON)
        assert health is not None
        assert health.held
        until = NOON + 30 * SECOND
        assert lanes.room(LANE, WEBHOOK, now=until - 1) == 0
        assert lanes.open_at(LANE, WEBHOOK, now=NOON) == until
        assert not lanes.enter(LANE, WEBHOOK, now=until)
        assert lanes.enter(LANE, WEBHOOK, now=until, probe=True)
        assert lanes.room(LANE, WEBHOOK, now=until) == 0
        healed = lanes.leave(LANE, TAKEN, began=until, now=until)
        assert healed == Health(lane=LANE)
        assert lanes.room(LANE, WEBHOOK, now=until) > 1


def test_a_lane_is_held_for_ten_minutes_at_most() -> None:
    """A receiver that asks for a day is asked again with one delivery after ten minutes."""
    health = after(Health(lane=LANE), asked(AWAY, 24 * HOUR), began=NOON, now=NOON)
    assert health.probe_at == NOON + LAST_PROBE


def test_what_went_out_before_does_not_lift_the_hold() -> None:
    """Answers to requests that were in flight already tell nothing of what was asked for."""
    held = after(Health(lane=LANE), asked(TOO_MANY, 30 * SECOND), began=NOON, now=NOON)
    assert after(held, TAKEN, began=NOON - 1, now=NOON + 1) is held
    assert after(held, asked(TOO_MANY, SECOND), began=NOON, now=NOON) is held
    assert after(held, TAKEN, began=NOON + 30 * SECOND, now=NOON + 31 * SECOND).well


def test_a_503_that_asks_nothing_holds_nothing() -> None:
    """Without `Retry-After` a 503 is a failure like any other."""
    assert after(Health(lane=LANE), AWAY, began=NOON, now=NOON).well


def test_a_held_lane_whose_probe_times_out_is_sick() -> None:
    """A silent receiver is left alone as any other silent one, however it began."""
    held = after(Health(lane=LANE), asked(AWAY, SECOND), began=NOON, now=NOON)
    at = NOON + SECOND
    sick = after(held, Failed(reason="timeout"), began=at, now=at)
    assert sick.sick
    assert not sick.held
    assert sick.probe_at == at + 5 * SECOND
