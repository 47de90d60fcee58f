"""Plots as numbers: bars as high as their values, lines with gaps, scales that fit."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.http.console.plots import (
    HEIGHT,
    MOST_SERIES,
    WIDTH,
    Plot,
    fewer,
    lines,
    stacked,
)

DAYS = [f"2026-03-{number:02d}" for number in range(1, 31)]
amounts = st.dictionaries(st.sampled_from(DAYS), st.integers(0, 10**15), max_size=30)


def bars(*series: dict[str, int]) -> Plot:
    """A stacked plot."""
    named = [(f"m{number}", values) for number, values in enumerate(series)]
    return stacked(named, DAYS, day=str, value=str)


def test_bars_are_as_high_as_their_values_and_stand_on_each_other() -> None:
    """Twice the value is twice the height; a part begins where the one below it ends."""
    plot = bars({DAYS[0]: 10, DAYS[1]: 20}, {DAYS[1]: 20})
    one, two, upper = plot.bars

    assert two.height == pytest.approx(2 * one.height, abs=2)
    assert one.y + one.height == two.y + two.height == plot.floor
    assert upper.y + upper.height == two.y
    assert (upper.series, upper.text) == (1, "2026-03-02 · m1: 20")


@given(amounts, amounts)
def test_everything_is_within_the_picture(one: dict[str, int], two: dict[str, int]) -> None:
    """Whatever the values are; at most a handful of values and dates are written."""
    plot = bars(one, two)
    line = lines([("one", one), ("two", two)], DAYS, day=str, value=str)

    for bar in plot.bars:
        assert 0 <= bar.x < bar.x + bar.width <= WIDTH
        assert 0 <= bar.y < bar.y + bar.height <= HEIGHT
    assert all(0 <= tick.at <= HEIGHT for tick in (*plot.up, *line.up))
    assert all(0 <= dot.x <= WIDTH for dot in line.dots)
    assert 2 <= len(plot.up) <= 5
    assert 2 <= len(line.up) <= 5
    assert len(plot.across) <= 6
    assert plot.across[-1].text == DAYS[-1]


def test_a_line_has_a_gap_where_a_day_has_no_value() -> None:
    """Nothing is drawn over days that nobody knows anything of."""
    values = dict.fromkeys((*DAYS[0:2], DAYS[3], *DAYS[27:30]), 1_000)
    plot = lines([("50 %", values)], DAYS, day=str, value=str)

    assert [len(each.points.split()) for each in plot.stretches] == [2, 1, 3]
    assert len(plot.dots) == 6


def test_times_have_scales_that_people_count_in() -> None:
    """Seconds and minutes, not powers of ten alone."""
    scale = [
        int(tick.text) for tick in lines([("p", {DAYS[0]: 95_000})], DAYS, day=str, value=str).up
    ]

    assert scale == [0, 30_000, 60_000, 90_000, 120_000]


@given(st.dictionaries(st.text(min_size=1, max_size=3), amounts, max_size=20))
def test_what_is_put_together_is_not_lost(series: dict[str, dict[str, int]]) -> None:
    """The largest keep their names; the sum of all is what it was."""
    found = fewer(series, "others")

    assert len(found) <= MOST_SERIES
    assert sum(sum(values.values()) for _, values in found) == sum(
        itertools.chain.from_iterable(values.values() for values in series.values())
    )
