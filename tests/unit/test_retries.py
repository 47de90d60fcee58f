"""The retry table: when an attempt follows another."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.retries import DAY, HOUR, JITTER, MINUTE, NOTIFICATIONS, SECOND, RetryTable

NOON = 1_772_366_400_000
MIDDLE = 0.5
"""The fall of the dice without jitter."""

tables = st.builds(
    RetryTable,
    delays=st.lists(st.integers(1, 10 * HOUR), max_size=12).map(tuple),
    lifetime=st.integers(1, 2 * DAY),
)
dice = st.floats(0, 1, exclude_max=True)


def walk(table: RetryTable, roll: float, retry_after: int | None = None) -> list[int]:
    """When each attempt is made after the first, if all fail at once."""
    now, made, times = 0, 1, []
    while True:
        due = table.next_due(
            attempt=made, now=now, deadline=table.lifetime, dice=roll, retry_after=retry_after
        )
        if due is None:
            return times
        times.append(due)
        now, made = due, made + 1


def test_notifications_are_tried_eleven_times_at_the_published_times() -> None:
    """The ten retries come 5 s, 35 s, 2 m 35, 12 m 35, 42 m 35, ... 21 h 42 m 35 s after."""
    minutes = [2, 12, 42, 102, 222, 462, 822, 1302]
    assert walk(NOTIFICATIONS, MIDDLE) == [
        5 * SECOND,
        35 * SECOND,
        *(each * MINUTE + 35 * SECOND for each in minutes),
    ]
    assert NOTIFICATIONS.attempts == 11


def test_the_last_retry_fits_the_day_with_the_worst_jitter() -> None:
    """With every delay a tenth longer, the eleventh attempt still comes before the deadline."""
    times = walk(NOTIFICATIONS, 0.999999)
    assert len(times) == 10
    assert times[-1] < NOTIFICATIONS.lifetime == DAY


@given(table=tables, roll=dice)
def test_jitter_stays_within_a_tenth(table: RetryTable, roll: float) -> None:
    """A delay is between 90 % and 110 % of the table's, before the deadline cuts it."""
    for made, delay in enumerate(table.delays, start=1):
        due = table.next_due(attempt=made, now=NOON, deadline=NOON + 10 * DAY, dice=roll)
        assert due is not None
        assert delay * (1 - JITTER) - 1 <= due - NOON <= delay * (1 + JITTER)


def test_jitter_spreads_over_the_whole_range() -> None:
    """The lowest fall gives 90 %, the highest 110 %: a crowd does not come back as one."""
    table = RetryTable(delays=(1_000_000,), lifetime=DAY)
    low = table.next_due(attempt=1, now=0, deadline=DAY, dice=0.0)
    high = table.next_due(attempt=1, now=0, deadline=DAY, dice=0.9999999)
    assert (low, high) == (900_000, 1_099_999)


@given(table=tables, roll=dice, retry_after=st.none() | st.integers(0, 3 * DAY))
def test_a_round_ends(table: RetryTable, roll: float, retry_after: int | None) -> None:
    """However the dice fall, whatever receivers ask, attempts end, none past the deadline."""
    times = walk(table, roll, retry_after)
    assert len(times) <= len(table.delays)
    assert times == sorted(times)
    assert all(at <= table.lifetime for at in times)


@given(table=tables, roll=dice, retry_after=st.integers(0, 3 * DAY))
def test_retry_after_counts_between_schedule_and_deadline(
    table: RetryTable, roll: float, retry_after: int
) -> None:
    """A receiver can make us wait longer than scheduled, never shorter, never past the deadline."""
    deadline = NOON + table.lifetime
    for made in range(1, table.attempts):
        scheduled = table.next_due(attempt=made, now=NOON, deadline=deadline, dice=roll)
        asked = table.next_due(
            attempt=made, now=NOON, deadline=deadline, dice=roll, retry_after=retry_after
        )
        assert scheduled is not None
        assert asked == min(max(scheduled, NOON + retry_after), deadline)


def test_a_retry_beyond_the_deadline_is_made_at_the_deadline_once() -> None:
    """What would come too late comes at the deadline, and nothing comes after that."""
    table = RetryTable(delays=(2 * HOUR, 2 * HOUR, 2 * HOUR), lifetime=HOUR)
    first = table.next_due(attempt=1, now=0, deadline=HOUR, dice=MIDDLE)
    assert first == HOUR
    assert table.next_due(attempt=2, now=HOUR, deadline=HOUR, dice=MIDDLE) is None
    assert table.next_due(attempt=2, now=HOUR + 5, deadline=HOUR, dice=MIDDLE) is None


@pytest.mark.parametrize("attempt", [11, 12, 100])
def test_after_the_last_attempt_there_is_none(attempt: int) -> None:
    """The eleventh failure is the last, with all the time in the world."""
    assert NOTIFICATIONS.next_due(attempt=attempt, now=0, deadline=10 * DAY, dice=0) is None


def test_a_table_without_delays_has_one_attempt() -> None:
    """No retries means one attempt."""
    table = RetryTable(delays=(), lifetime=DAY)
    assert table.attempts == 1
    assert table.next_due(attempt=1, now=0, deadline=DAY, dice=MIDDLE) is None


def test_the_documented_delays_add_up() -> None:
    """The delays sum to the 21 h 42 m 35 s that people are told."""
    total = 21 * HOUR + 42 * MINUTE + 35 * SECOND
    assert list(accumulate(NOTIFICATIONS.delays))[-1] == total
