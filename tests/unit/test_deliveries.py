"""What becomes of a delivery: the arrows between its states."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from notifications.deliveries import (
    POSTPONED_FOR,
    Delivered,
    Delivery,
    Failed,
    Outcome,
    Parked,
    Postponed,
    Skipped,
    State,
    attempted,
    claimed,
    exhausted,
    new_round,
    parked,
    skipped,
    waiting,
)
from notifications.events import Channel
from notifications.retries import DAY, HOUR, MINUTE, NOTIFICATIONS, SECOND, RetryTable

NOON = 1_772_366_400_000
OPEN = {State.PENDING, State.PARKED}
FRESH = Delivery(
    tenant_id="acme",
    id=7,
    event_key=3,
    channel=Channel.WEBHOOK,
    target="ep_1",
    due_at=NOON,
    deadline=NOON + DAY,
    created_at=NOON,
)
REFUSED = Failed(reason="http-500", status=500)
FINAL = Failed(reason="address-not-allowed", retryable=False)

outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.just(Delivered(status=200)),
    st.builds(
        Failed,
        reason=st.sampled_from(("http-500", "timeout", "dns")),
        retry_after=st.none() | st.integers(0, 2 * DAY),
    ),
    st.builds(
        Failed, reason=st.sampled_from(("gone", "address-not-allowed")), retryable=st.just(False)
    ),
    st.builds(Skipped, reason=st.just("endpoint-deleted")),
    st.builds(Parked, reason=st.just("endpoint-paused")),
    st.builds(Postponed, reason=st.just("no file descriptor left")),
)


def after(
    outcome: Outcome,
    *,
    delivery: Delivery = FRESH,
    now: int = NOON,
    table: RetryTable | None = None,
) -> Delivery:
    """The delivery after an attempt without jitter."""
    return attempted(delivery, outcome, now=now, table=table or NOTIFICATIONS, dice=0.5)


def test_what_was_taken_is_delivered() -> None:
    """A success ends the delivery and counts as an attempt."""
    assert after(Delivered(status=204)) == replace(
        FRESH, state=State.DELIVERED, attempt=1, due_at=None
    )


def test_what_failed_is_pending_until_its_retry() -> None:
    """A retryable failure leaves the delivery pending, due by the table."""
    assert after(REFUSED) == replace(FRESH, attempt=1, due_at=NOON + 5 * SECOND)
    second = after(REFUSED, delivery=after(REFUSED), now=NOON + 5 * SECOND)
    assert (second.attempt, second.due_at) == (2, NOON + 35 * SECOND)


def test_what_can_never_succeed_is_exhausted_at_once() -> None:
    """A final refusal ends the delivery with the refusal as the reason."""
    assert after(FINAL) == replace(
        FRESH, state=State.EXHAUSTED, reason="address-not-allowed", attempt=1, due_at=None
    )


def test_the_last_failure_exhausts() -> None:
    """The eleventh failure ends the delivery: its attempts are used."""
    last = after(REFUSED, delivery=replace(FRESH, attempt=10))
    assert (last.state, last.reason, last.attempt) == (State.EXHAUSTED, "attempts-used", 11)


def test_a_failure_at_the_deadline_exhausts() -> None:
    """A failure at or after the deadline ends the delivery: its time is up."""
    last = after(REFUSED, now=FRESH.deadline)
    assert (last.state, last.reason, last.attempt) == (State.EXHAUSTED, "deadline", 1)


def test_retry_after_is_honoured() -> None:
    """A receiver that asks for an hour gets it."""
    patient = after(Failed(reason="http-429", retry_after=HOUR))
    assert patient.due_at == NOON + HOUR


def test_a_retry_past_the_deadline_is_made_at_the_deadline() -> None:
    """A receiver that asks for two days gets one more attempt, at the deadline."""
    patient = after(Failed(reason="http-503", retry_after=2 * DAY))
    assert patient.due_at == FRESH.deadline


def test_what_nobody_wants_is_skipped_without_an_attempt() -> None:
    """A target that is gone ends the delivery; no attempt was made."""
    gone = after(Skipped(reason="endpoint-deleted"))
    assert gone == replace(FRESH, state=State.SKIPPED, reason="endpoint-deleted", due_at=None)


def test_what_meets_a_paused_endpoint_is_parked_without_an_attempt() -> None:
    """A paused endpoint parks the delivery; no attempt was made."""
    held = after(Parked(reason="endpoint-paused"))
    assert held == replace(FRESH, state=State.PARKED, reason="endpoint-paused", due_at=None)


def test_what_a_fault_of_ours_kept_back_is_postponed_without_an_attempt() -> None:
    """A fault of ours costs no attempt: the delivery is due again in a few seconds."""
    later = after(Postponed(reason="no file descriptor left"))
    assert later == replace(FRESH, due_at=NOON + 5 * SECOND)


def test_what_is_known_to_last_is_postponed_for_that_long() -> None:
    """A fault of ours that says how long it lasts is not looked at every five seconds."""
    later = after(Postponed(reason="smtp-535", again_in=MINUTE))
    assert later == replace(FRESH, due_at=NOON + MINUTE)


def test_a_postponement_goes_to_the_deadline_at_most() -> None:
    """What is postponed beyond the deadline is tried once more, at the deadline."""
    later = after(Postponed(reason="smtp-535", again_in=2 * DAY))
    assert later.due_at == FRESH.deadline


def test_waiting_for_the_lane_costs_no_attempt() -> None:
    """A delivery that waits for its lane is due again, with the attempts it had, unclaimed."""
    held = claimed(replace(FRESH, attempt=3), until=NOON + MINUTE)
    assert waiting(held, due_at=NOON + 1) == replace(FRESH, attempt=3, due_at=NOON + 1)


def test_a_claim_hides_a_delivery_until_it_runs_out() -> None:
    """While an attempt is under way the delivery is due when the claim runs out."""
    held = claimed(FRESH, until=NOON + MINUTE)
    assert (held.claimed, held.due_at, held.attempt) == (True, NOON + MINUTE, 0)
    assert after(Delivered(), delivery=held).claimed is False


def test_a_new_round_starts_from_nothing_with_the_same_row() -> None:
    """Attempts begin from 1 with a new deadline; row, event and target stay."""
    spent = exhausted(replace(FRESH, attempt=11), "attempts-used")
    again = new_round(spent, now=NOON + 3 * DAY, table=NOTIFICATIONS)
    assert again == replace(
        FRESH, round=2, attempt=0, due_at=NOON + 3 * DAY, deadline=NOON + 4 * DAY
    )


@pytest.mark.parametrize(
    ("channel", "lane"),
    [
        (Channel.WEBHOOK, "webhook/acme/ep_1"),
        (Channel.EMAIL, "email/acme"),
        (Channel.REALTIME, "realtime/acme"),
    ],
)
def test_a_lane_is_its_tenants(channel: Channel, lane: str) -> None:
    """No tenant waits behind another's backlog: every lane's name carries the tenant."""
    assert replace(FRESH, channel=channel).lane == lane


def test_only_what_failed_before_is_late() -> None:
    """A first attempt is on time; a retry and a later round are late."""
    assert not FRESH.late
    assert replace(FRESH, attempt=1).late
    assert replace(FRESH, round=2).late


@given(outcome=outcomes, made=st.integers(0, 10), elapsed=st.integers(0, 2 * DAY))
def test_an_attempt_leads_along_an_arrow(outcome: Outcome, made: int, elapsed: int) -> None:
    """Whatever an attempt returns and whenever, a pending delivery goes where the outcome says."""
    moved = after(outcome, delivery=replace(FRESH, attempt=made), now=NOON + elapsed)
    allowed = {
        Delivered: {State.DELIVERED},
        Failed: {State.PENDING, State.EXHAUSTED},
        Skipped: {State.SKIPPED},
        Parked: {State.PARKED},
        Postponed: {State.PENDING},
    }[type(outcome)]
    assert moved.state in allowed
    tried = isinstance(outcome, Delivered | Failed)
    assert moved.attempt == made + tried


class Life(RuleBasedStateMachine):
    """A delivery lives: attempts, claims, pauses, new rounds, time."""

    @initialize(delays=st.lists(st.integers(1, HOUR), max_size=5), lifetime=st.integers(1, DAY))
    def route(self, delays: list[int], lifetime: int) -> None:
        self.table = RetryTable(delays=tuple(delays), lifetime=lifetime)
        self.now = NOON
        self.delivery = replace(FRESH, deadline=NOON + lifetime)

    @rule(ms=st.integers(0, 2 * HOUR))
    def wait(self, ms: int) -> None:
        self.now += ms

    @precondition(lambda self: self.delivery.state is State.PENDING)
    @rule(outcome=outcomes, dice=st.floats(0, 1, exclude_max=True))
    def attempt(self, outcome: Outcome, dice: float) -> None:
        held = claimed(self.delivery, until=self.now + MINUTE)
        self.delivery = attempted(held, outcome, now=self.now, table=self.table, dice=dice)

    @precondition(lambda self: self.delivery.state is State.PENDING)
    @rule()
    def find_the_lane_full(self) -> None:
        made = self.delivery.attempt
        self.delivery = waiting(self.delivery, due_at=self.now)
        assert self.delivery.attempt == made

    @precondition(lambda self: self.delivery.state in OPEN | {State.EXHAUSTED})
    @rule()
    def begin_again(self) -> None:
        before = self.delivery
        self.delivery = new_round(before, now=self.now, table=self.table)
        assert self.delivery.round == before.round + 1

    @precondition(lambda self: self.delivery.state in OPEN)
    @rule(ending=st.sampled_from((skipped, parked, exhausted)))
    def end(self, ending: object) -> None:
        self.delivery = ending(self.delivery, "why")  # type: ignore[operator]

    @invariant()
    def attempts_stay_within_the_table(self) -> None:
        assert 0 <= self.delivery.attempt <= self.table.attempts

    @invariant()
    def only_what_is_pending_is_due(self) -> None:
        assert (self.delivery.due_at is not None) == (self.delivery.state is State.PENDING)

    @invariant()
    def nothing_stays_claimed_that_came_back(self) -> None:
        assert not self.delivery.claimed

    @invariant()
    def retries_are_due_by_the_deadline(self) -> None:
        if self.delivery.state is State.PENDING and self.delivery.attempt:
            assert self.delivery.due_at is not None
            # Past its deadline only a fault of ours puts off the last attempt.
            late = self.now + POSTPONED_FOR if self.now >= self.delivery.deadline else 0
            assert self.delivery.due_at <= max(self.delivery.deadline, self.now, late)

    @invariant()
    def a_reason_is_given_where_one_is_needed(self) -> None:
        silent = self.delivery.state in (State.PENDING, State.DELIVERED)
        assert (self.delivery.reason is None) == silent

    @invariant()
    def it_stays_the_same_delivery(self) -> None:
        identity = ("tenant_id", "id", "event_key", "channel", "target", "routed", "created_at")
        assert all(getattr(self.delivery, name) == getattr(FRESH, name) for name in identity)


TestLife = Life.TestCase
