"""Decisions on jobs: which state follows which, and that every event is one its schema takes."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_workers import deciding
from ai_workers.jobs import (
    HEARTBEAT_MS,
    LOST_MS,
    Cancelled,
    Change,
    End,
    Expired,
    Failed,
    Failure,
    Job,
    Order,
    Released,
    Spent,
    State,
    Succeeded,
)
from ai_workers.orders import message_of, read_message
from ai_workers.ports import Usage
from ai_workers.telling import progress_event
from notifications.errors import RejectedMessage
from notifications.messages import Message
from notifications.retries import LIGHT, MINUTE, SECOND, VIDEO
from notifications.shipped import load_catalogue
from notifications.testing import START_MS

CATALOGUE = load_catalogue()
ORDER = Order(
    tenant_id="acme", id="job_1", job_type="chat.suggest", user_id="ada", input={"title": "Hi"}
)
FAULT = Failure(code="model-timeout", message="No answer.")
RETRYABLE = Failed(failure=FAULT, retryable=True)
FINAL = Failed(failure=FAULT, retryable=False)
USAGE = Usage(model="m", input_tokens=3, output_tokens=2, cost_nano_usd=7)


def new(order: Order = ORDER) -> Job:
    """A job that was accepted at the start of time."""
    return deciding.accepted(order, number=1, now=START_MS, table=LIGHT).job


def running(now: int = START_MS) -> Job:
    """The same, in its first run."""
    change = deciding.claim(new(), now=now, table=LIGHT)
    assert change is not None
    return change.job


def types(change: Change | None) -> list[str]:
    """The events' types."""
    assert change is not None
    return [event.type for event in change.events]


TEXTS = st.text(max_size=1_500)
ENDS: st.SearchStrategy[End] = st.one_of(
    st.builds(Succeeded, st.fixed_dictionaries({"summary": TEXTS})),
    st.builds(
        Failed,
        failure=st.builds(Failure, code=TEXTS, message=TEXTS),
        retryable=st.booleans(),
        retry_after=st.none() | st.integers(0, 10**9),
    ),
    st.just(Cancelled()),
    st.just(Expired()),
    st.just(Released()),
)
USAGES = st.lists(
    st.builds(
        Usage,
        model=st.text(max_size=200),
        input_tokens=st.integers(0, 10**10),
        output_tokens=st.integers(0, 10**10),
        cost_nano_usd=st.integers(0, 10**15),
    ),
    max_size=2,
)


@given(
    title=TEXTS,
    user=st.none() | st.just("ada"),
    steps=st.lists(st.tuples(st.integers(0, 4 * MINUTE), ENDS, USAGES, TEXTS), max_size=8),
)
def test_whatever_happens_each_event_is_right_and_its_id_its_own(
    title: str, user: str | None, steps: Sequence[tuple[int, End, list[Usage], str]]
) -> None:
    """Every event on any way through a job's life is one its schema takes; an end comes once."""
    now = START_MS
    order = replace(ORDER, input={"title": title}, user_id=user)
    change = deciding.accepted(order, number=1, now=now, table=LIGHT)
    job, events = change.job, list(change.events)
    for pause, how, usage, step in steps:
        now = max(now + pause, job.due_at)
        claimed = deciding.claim(job, now=now, table=LIGHT)
        if claimed is None:
            continue
        job = claimed.job
        events += claimed.events
        if job.ended:
            continue
        job, _ = deciding.paid(job, job.run, usage)
        job = deciding.renewed(job, now=now, progress=40)
        events.append(progress_event(job, 1, step, now=now))
        change = deciding.finish(job, how, now=now, table=LIGHT, dice=0.5)
        job = change.job
        events += change.events
    for event in events:
        CATALOGUE.check(event)
        assert event.tenant_id == "acme"
        assert event.job_id == "job_1"
    ids = [event.id for event in events]
    assert len(set(ids)) == len(ids)
    assert ids.count("job_1.end") == int(job.ended)


def test_a_run_begins_once() -> None:
    """Who comes while it is held gets nothing; once the claim has run out there is another run."""
    first = running()
    assert first.run == 1
    assert deciding.claim(first, now=START_MS + HEARTBEAT_MS - 1, table=LIGHT) is None
    second = deciding.claim(first, now=START_MS + HEARTBEAT_MS, table=LIGHT)
    assert second is not None
    assert (second.job.run, [event.id for event in second.events]) == (2, ["job_1.started.2"])


def test_a_retry_waits_for_its_time() -> None:
    """A wake-up that comes too early begins nothing."""
    change = deciding.finish(running(), RETRYABLE, now=START_MS, table=LIGHT, dice=0.5)
    assert change.job.state is State.RETRYING
    assert change.wake_at == START_MS + 3 * SECOND
    assert change.events[0].data["runs"] == 6
    assert deciding.claim(change.job, now=START_MS + 2 * SECOND, table=LIGHT) is None
    assert types(deciding.claim(change.job, now=START_MS + 3 * SECOND, table=LIGHT)) == [
        "job.started"
    ]


def test_a_run_that_is_given_back_does_not_count() -> None:
    """Its worker stopped in good order: the job may have as many runs as before, each with a number
    of its own, and the time that it ran is counted."""
    job, now = new(), START_MS
    for number in range(1, 4):
        change = deciding.claim(job, now=now, table=VIDEO)
        assert change is not None
        assert change.events[0].id == f"job_1.started.{number}"
        now += SECOND
        job = deciding.finish(change.job, Released(), now=now, table=VIDEO, dice=0.5).job
    for left in reversed(range(VIDEO.attempts)):
        change = deciding.claim(job, now=now, table=VIDEO)
        assert change is not None
        change = deciding.finish(change.job, RETRYABLE, now=now, table=VIDEO, dice=0.5)
        job, now = change.job, change.job.due_at
        assert job.ended is (left == 0)
    assert (job.run, job.run_ms) == (VIDEO.attempts + 3, 3 * SECOND)


def test_workers_that_never_stay_use_up_the_runs_in_the_end() -> None:
    """Giving back goes on for a while, not for ever."""
    job = new()
    for _ in range(100):
        change = deciding.claim(job, now=START_MS, table=LIGHT)
        assert change is not None
        if change.job.ended:
            break
        job = deciding.finish(change.job, Released(), now=START_MS, table=LIGHT, dice=0.5).job
    assert change.job.state is State.FAILED


def test_usage_that_is_written_again_changes_nothing() -> None:
    """Whatever a run tells of twice is counted once; another run's numbers are its own."""
    job, new_ones = deciding.paid(running(), 1, [USAGE])
    assert new_ones == [USAGE]
    again, none = deciding.paid(job, 1, [USAGE])
    assert (again, none) == (job, [])
    more, second = deciding.paid(job, 1, [USAGE, USAGE])
    assert second == [USAGE]
    late, other = deciding.paid(more, 2, [USAGE])
    assert (other, late.spent) == ([USAGE], Spent().and_([USAGE] * 3))


def test_the_last_runs_failure_is_the_jobs() -> None:
    """After as many runs as the table has, it fails with the last reason."""
    job, now = new(), START_MS
    for _ in range(VIDEO.attempts):
        change = deciding.claim(job, now=now, table=VIDEO)
        assert change is not None
        job = deciding.finish(change.job, RETRYABLE, now=now, table=VIDEO, dice=0.5).job
        now = job.due_at
    assert (job.state, job.run, job.error) == (State.FAILED, 4, FAULT)


@pytest.mark.parametrize(
    ("how", "event"),
    [
        (Succeeded({}), "job.succeeded"),
        (FINAL, "job.failed"),
        (RETRYABLE, "job.retrying"),
        (Cancelled(), "job.cancelled"),
        (Expired(), "job.expired"),
    ],
)
def test_each_way_a_run_ends_is_told(how: End, event: str) -> None:
    """One event; the end's carries what it took."""
    job = replace(running(START_MS + 500), spent=Spent().and_([USAGE]))
    change = deciding.finish(job, how, now=START_MS + 1_500, table=LIGHT, dice=0.5)
    assert types(change) == [event]
    if change.job.ended:
        assert change.events[0].data["usage"] == {
            "model": "m",
            "inputTokens": 3,
            "outputTokens": 2,
            "costUsd": 7e-9,
            "queueMs": 500,
            "runMs": 1_000,
        }


def test_a_cancelled_run_ends_cancelled_unless_it_was_done() -> None:
    """Whoever cancels too late gets the result; a failure that came of it is none."""
    change = deciding.cancelled(running(), now=START_MS)
    assert change is not None
    assert change.events == ()
    job = change.job
    for how in (RETRYABLE, FINAL, Expired(), Cancelled()):
        done = deciding.finish(job, how, now=START_MS, table=LIGHT, dice=0.5)
        assert done.job.state is State.CANCELLED
    done = deciding.finish(job, Succeeded({}), now=START_MS, table=LIGHT, dice=0.5)
    assert done.job.state is State.SUCCEEDED


def test_a_cancelled_run_whose_worker_died_is_not_taken_up_again() -> None:
    """It ends cancelled when somebody looks at it."""
    change = deciding.cancelled(running(), now=START_MS)
    assert change is not None
    later = START_MS + HEARTBEAT_MS
    assert types(deciding.claim(change.job, now=later, table=LIGHT)) == ["job.cancelled"]
    assert types(deciding.overdue(change.job, now=later)) == ["job.cancelled"]


def test_what_ended_stays_ended() -> None:
    """No decision changes it."""
    job = deciding.end(running(), Cancelled(), now=START_MS).job
    later = START_MS + LIGHT.lifetime
    assert deciding.claim(job, now=later, table=LIGHT) is None
    assert deciding.cancelled(job, now=later) is None
    assert deciding.overdue(job, now=later) is None
    assert deciding.lost(job, now=later) is None
    assert deciding.buried(job, expired=False, now=later) is None


def test_a_job_that_nothing_happens_to_is_woken_now_and_then() -> None:
    """Every five minutes, and not while somebody has it."""
    job = new()
    assert deciding.lost(job, now=START_MS + LOST_MS - 1) is None
    change = deciding.lost(job, now=START_MS + LOST_MS)
    assert change is not None
    assert change.wake_at == START_MS + LOST_MS
    assert deciding.lost(change.job, now=START_MS + LOST_MS + 1) is None
    assert deciding.lost(running(START_MS), now=START_MS + HEARTBEAT_MS - 1) is None


def test_a_dead_letter_says_nothing_of_a_job_that_waits_for_its_retry() -> None:
    """That run has a message of its own, and so has the one after a run that was given back."""
    for how in (RETRYABLE, Released()):
        job = deciding.finish(running(), how, now=START_MS, table=LIGHT, dice=0.5).job
        assert deciding.buried(job, expired=True, now=START_MS) is None
        assert deciding.buried(job, expired=False, now=START_MS) is None


def test_a_job_whose_message_died_ends() -> None:
    """Expired where no worker saw it, failed where it was delivered too often."""
    lapsed = START_MS + HEARTBEAT_MS
    assert types(deciding.buried(new(), expired=True, now=START_MS)) == ["job.expired"]
    assert types(deciding.buried(new(), expired=False, now=START_MS)) == ["job.failed"]
    assert types(deciding.buried(running(), expired=False, now=lapsed)) == ["job.failed"]
    assert deciding.buried(running(), expired=True, now=lapsed) is None


def test_a_message_says_the_whole_order() -> None:
    """What the hub sends it can read, as what another producer sends."""
    job = new(replace(ORDER, idempotency_key="k", user_id=None))
    message = message_of(job, START_MS, START_MS)
    assert read_message(message) == job.order
    assert message.properties["jobType"] == "chat.suggest"
    assert message.id == "acme:job_1"
    assert message_of(job, START_MS, START_MS + 1).id != message.id


def test_a_message_that_says_two_job_types_is_nobodys() -> None:
    """The rules look at the property, the worker at the body: they must agree."""
    message = message_of(new(), START_MS, START_MS)
    other = Message(id="x", body=message.body, properties={"jobType": "video.analysis"})
    with pytest.raises(RejectedMessage):
        read_message(other)
