"""The ids of the hub's own events: nobody else may take one, and all others are free."""

from dataclasses import replace

import pytest

from ai_workers import deciding
from ai_workers.budgets import Standing, told_of
from ai_workers.jobs import Failed, Failure, Order
from ai_workers.telling import progress_event
from notifications.errors import InvalidEvent
from notifications.own_ids import check_not_ours
from notifications.retries import LIGHT
from notifications.testing import START_MS
from tests.heart_world import sample_event


def test_every_id_that_jobs_and_budgets_give_is_theirs_alone() -> None:
    """An event from outside under one of them is refused, by its field."""
    order = Order(tenant_id="acme", id="a-1", job_type="chat.suggest", user_id=None, input={})
    begun = deciding.accepted(order, number=1, now=START_MS, table=LIGHT)
    run = deciding.claim(begun.job, now=START_MS, table=LIGHT)
    assert run is not None
    how = Failed(failure=Failure(code="c", message="m"), retryable=True)
    later = deciding.finish(run.job, how, now=START_MS, table=LIGHT, dice=0.5)
    end = deciding.finish(
        run.job, replace(how, retryable=False), now=START_MS, table=LIGHT, dice=0.5
    )
    standing = Standing(tenant_id="acme", month="2026-03", spent=9, told=0, budget=9, refuses=False)
    ours = [
        *begun.events, *run.events, *later.events, *end.events,
        progress_event(run.job, 1, "model", now=START_MS), told_of(standing, 80, START_MS),
    ]  # fmt: skip
    assert len({event.id for event in ours}) == 6
    for event in ours:
        with pytest.raises(InvalidEvent) as refused:
            check_not_ours(event)
        assert [error.pointer for error in refused.value.errors] == ["/id"]


@pytest.mark.parametrize(
    "free",
    [
        "order-1", "order-1-job.queued", "end", ".end", "a.b.end", "a.ended", "a.started",
        "a.started.x", "a.progress.1",
        "budget.2026-03", "budget.2026.80", "budgets.2026-03.80", "é.end".encode().hex(),
    ],
)  # fmt: skip
def test_what_only_looks_like_one_is_free(free: str) -> None:
    """Producers keep every id that the hub can never need."""
    check_not_ours(sample_event(free))
