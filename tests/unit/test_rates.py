"""How fast each tenant may publish."""

from hypothesis import given
from hypothesis import strategies as st

from notifications.rates import BURST_S, Rates


def test_a_burst_is_taken_at_once_and_no_more() -> None:
    """Ten seconds' worth is there at the beginning; one more has to wait for its share."""
    rates = Rates(100)

    assert rates.take({"acme": 100 * BURST_S}, 0) is None
    assert rates.take({"acme": 1}, 0) == 0.01


def test_what_was_spent_comes_back_with_time() -> None:
    """After the time that a refusal named, the same is taken."""
    rates = Rates(100)
    rates.take({"acme": 1_000}, 0)

    wait = rates.take({"acme": 50}, 0)
    assert wait == 0.5
    assert rates.take({"acme": 50}, 499) is not None
    assert rates.take({"acme": 50}, 500) is None


def test_a_refusal_takes_nothing() -> None:
    """However often more is asked for than is there, what is there stays."""
    rates = Rates(10)
    rates.take({"acme": 60}, 0)
    for _ in range(5):
        assert rates.take({"acme": 50}, 0) == 1.0

    assert rates.take({"acme": 40}, 0) is None


def test_nobody_waits_for_another_tenant() -> None:
    """One tenant's empty bucket is no other's."""
    rates = Rates(10)
    rates.take({"loud": 100}, 0)

    assert rates.take({"loud": 1}, 0) is not None
    assert rates.take({"quiet": 1}, 0) is None


def test_several_pay_together_or_not_at_all() -> None:
    """Where one tenant of a batch lacks some, the others keep theirs."""
    rates = Rates(10)
    rates.take({"loud": 100}, 0)

    assert rates.take({"quiet": 100, "loud": 20}, 0) == 2.0
    assert rates.take({"quiet": 100}, 0) is None


def test_a_bucket_never_holds_more_than_a_burst() -> None:
    """A year of silence saves up ten seconds' worth."""
    rates = Rates(10)
    rates.take({"acme": 100}, 0)

    assert rates.take({"acme": 100}, 365 * 86_400_000) is None
    assert rates.take({"acme": 1}, 365 * 86_400_000) is not None


def test_buckets_are_bounded_and_the_busy_keep_theirs() -> None:
    """Of more tenants than buckets, those that were quiet longest are forgotten."""
    rates = Rates(1, most_buckets=3)
    for tenant in ("a", "b", "c"):
        rates.take({tenant: BURST_S}, 0)
    assert rates.take({"a": 1}, 0) is not None  # heard of again: now `b` is the quietest

    rates.take({"d": 1}, 0)

    assert rates.take({"a": 1}, 0) is not None
    assert len(rates) == 3
    assert rates.take({"b": BURST_S}, 0) is None


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 2_000)), max_size=60))
def test_in_the_long_run_the_rate_holds(steps: list[tuple[int, int]]) -> None:
    """What is taken is never more than a burst and the rate times what time has passed."""
    rates, now, taken = Rates(10), 0, 0
    for cost, later in steps:
        now += later
        if rates.take({"acme": cost}, now) is None:
            taken += cost
        assert taken <= rates.burst + 10 * now / 1_000 + 1e-6
