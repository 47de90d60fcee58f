"""Which pictures of a video are chosen, without a video."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ai_workers.media_scenes import (
    CLOSEST_MS,
    MOST_KEPT,
    Candidate,
    CutFinder,
    Shortlist,
    choose,
    difference,
)

DARK, BRIGHT = bytes([20] * 300), bytes([220] * 300)


def candidate(at_ms: int, *, change: float = 0.0, cut: bool = False) -> Candidate[int]:
    return Candidate(at_ms=at_ms, change=change, cut=cut, picture=at_ms)


candidates = st.lists(
    st.builds(
        candidate,
        st.integers(0, 100_000),
        change=st.floats(0, 1),
        cut=st.booleans(),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda each: each.at_ms,
)


@given(st.binary(min_size=1, max_size=50), st.binary(min_size=1, max_size=50))
def test_a_difference_is_between_nothing_and_all(one: bytes, other: bytes):
    """Equal thumbnails do not differ, others by at most everything, either way round."""
    assert difference(one, one) == 0
    assert 0 <= difference(one, other) <= 1
    assert difference(one, other) == difference(other, one)


def test_the_first_picture_begins_a_scene():
    """Whatever it shows."""
    assert CutFinder().look(0, DARK) == (1.0, True)


def test_a_sudden_change_is_a_cut():
    """Dark to bright is one, and what follows in the same light is none."""
    finder = CutFinder()
    cuts = [finder.look(at * 400, each)[1] for at, each in enumerate((DARK, DARK, BRIGHT, BRIGHT))]
    assert cuts == [True, False, True, False]


def test_movement_is_no_cut():
    """A picture that changes all the time as much as a cut does has no cuts but its beginnings."""
    finder = CutFinder()
    moving = [bytes([(at * 25) % 250] * 300) for at in range(9)]
    cuts = [finder.look(at * 40, each)[1] for at, each in enumerate(moving)]
    assert sum(cuts) <= 2


def test_a_flash_is_one_cut():
    """What goes on and off faster than anybody sees is not a scene each time."""
    finder = CutFinder()
    cuts = [finder.look(at * 40, (DARK, BRIGHT)[at % 2])[1] for at in range(25)]
    assert sum(cuts) <= 1 + 25 * 40 // CLOSEST_MS


@given(candidates, st.integers(1, 15))
def test_choosing_keeps_its_promises(given_ones: list[Candidate[int]], count: int):
    """At most as many as wanted, each once, in order, and the first among them."""
    chosen = choose(given_ones, count)
    times = [each.at_ms for each in chosen]
    assert len(chosen) <= count
    assert times == sorted(set(times))
    assert times[0] == min(each.at_ms for each in given_ones)
    assert all(each in given_ones for each in chosen)


@given(candidates)
def test_cuts_are_shown_before_anything_else(given_ones: list[Candidate[int]]):
    """Where there is room for all cuts, all are shown."""
    cuts = [each for each in given_ones if each.cut]
    chosen = choose(given_ones, len(cuts) + 1)
    assert all(each in chosen for each in cuts)


def test_too_many_cuts_are_spread():
    """Ten strong cuts at the beginning do not hide the weak ones of the rest."""
    strong = [candidate(1_000 + each * 400, change=0.9, cut=True) for each in range(10)]
    weak = [candidate(20_000 * each, change=0.1, cut=True) for each in range(1, 6)]
    chosen = choose([candidate(0, cut=True), *strong, *weak], 6)
    assert chosen[-1].at_ms == 100_000
    assert sum(each.at_ms >= 20_000 for each in chosen) >= 4


def test_gaps_are_filled_where_they_are_largest():
    """With few cuts, pictures from the longest stretches between them are added."""
    steady = [candidate(each * 1_000) for each in range(1, 60)]
    chosen = choose([candidate(0, cut=True), *steady], 4)
    times = [each.at_ms for each in chosen]
    assert (times[0], times[-1], len(times)) == (0, 59_000, 4)
    assert max(later - earlier for earlier, later in pairwise(times)) <= 30_000


@given(st.lists(st.tuples(st.integers(1, 5_000), st.booleans()), max_size=400))
def test_a_shortlist_is_bounded(steps: list[tuple[int, bool]]):
    """However long a video is, a bounded number of its pictures is in memory, the first one too."""
    shortlist, at_ms = Shortlist[int](every_ms=500), 0
    for step, cut in steps:
        if shortlist.wants(at_ms, cut=cut):
            shortlist.keep(candidate(at_ms, change=step / 5_000, cut=cut))
        assert len(shortlist.kept) <= MOST_KEPT
        at_ms += step
    times = [each.at_ms for each in shortlist.kept]
    assert times == sorted(times)
    assert times[:1] == ([0] if steps else [])
