"""Budgets on both databases: what jobs cost is counted once, told of once, and can be an end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ai_workers.jobs import Cancelled, End, Failed, Failure, Succeeded
from notifications.errors import OverLimit
from notifications.retries import DAY, SECOND
from notifications.tenants import BUDGET_STEP
from tests.heart_world import STORES
from tests.job_workers import COST, usage
from tests.job_world import TENANT, JobWorld, document, job_world, order

DONE = Succeeded({"summary": "done", "words": 0})
BROKEN = Failed(failure=Failure(code="no-use", message="Nothing."), retryable=False)
LATER = Failed(failure=Failure(code="model-busy", message="Later."), retryable=True)
SPENT = "SELECT cost_nano_usd, told FROM job_spending WHERE tenant_id = ? AND month = ?"


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobWorld]:
    """Jobs on either database, which the test does itself."""
    async with job_world(tmp_path, request.param, working=False) as world:
        yield world


@pytest.fixture
async def on_file(tmp_path: Path) -> AsyncIterator[JobWorld]:
    """The same on a file alone, for what no database decides."""
    async with job_world(tmp_path, working=False) as world:
        yield world


async def budget(world: JobWorld, asks: float, *, refuse: int = 0, tenant: str = TENANT) -> None:
    """Give a tenant a budget of so many asks."""
    nano = int(asks * COST) // BUDGET_STEP * BUDGET_STEP
    await world.heart.write("DELETE FROM tenants WHERE tenant_id = ?", tenant)
    await world.heart.write(
        "INSERT INTO tenants (tenant_id, locale, budget_nano_usd, refuse_over_budget, updated_at)"
        " VALUES (?, 'fr', ?, ?, 0)",
        tenant,
        nano,
        refuse,
    )


async def spend(
    world: JobWorld, job_id: str, asks: int, how: End = DONE, *, tenant: str = TENANT
) -> None:
    """A job that asks so many times in its one run."""
    asked = order(job_id, tenant_id=tenant)
    await world.store.submit(asked)
    job = await world.store.take(asked)
    assert job is not None
    await world.store.finish(job, how, [usage()] * asks)


def told(world: JobWorld, tenant: str = TENANT) -> list[str]:
    """The ids of the events that tell of budgets, in their order."""
    rows = world.heart.rows(
        "SELECT id FROM events WHERE type = 'budget.threshold' AND tenant_id = ? ORDER BY key",
        tenant,
    )
    return [row[0] for row in rows]


def spent(world: JobWorld, month: str = "2026-03", tenant: str = TENANT) -> list[tuple[int, int]]:
    """What a tenant spent in a month, and the highest share that was told of."""
    return world.heart.rows(SPENT, tenant, month)


async def test_each_share_is_told_of_once_in_a_month(world: JobWorld) -> None:
    """With the run that crosses it, and once more in the next month; the tenant beside it spends
    as much, and has no budget."""
    await budget(world, 10)
    await spend(world, "job-1", 13, tenant="beside")
    seen = []
    for number, asks in enumerate((4, 1, 2, 1, 2, 3)):
        await spend(world, f"job-{number}", asks)
        seen.append(len(told(world)))
    assert seen == [0, 1, 1, 2, 3, 3]
    assert told(world) == [f"budget.2026-03.{share}" for share in (50, 80, 100)]
    assert spent(world) == [(13 * COST, 100)]
    assert (told(world, "beside"), spent(world, tenant="beside")) == ([], [(13 * COST, 0)])

    world.heart.clock.ms += 31 * DAY
    await spend(world, "job-later", 9)
    assert told(world)[3:] == ["budget.2026-04.50", "budget.2026-04.80"]
    assert spent(world, "2026-04") == [(9 * COST, 80)]


async def test_of_many_runs_that_end_at_once_one_tells(world: JobWorld) -> None:
    """Not a billionth is lost, and no share is told of twice."""
    await budget(world, 20)
    await asyncio.gather(*(spend(world, f"job-{number}", 1) for number in range(30)))
    assert spent(world) == [(30 * COST, 100)]
    assert sorted(told(world)) == sorted(f"budget.2026-03.{share}" for share in (50, 80, 100))
    assert world.heart.one("SELECT sum(cost_nano_usd) FROM job_metrics") == 30 * COST


async def test_money_counts_however_a_run_ends(on_file: JobWorld) -> None:
    """Failed, retried, cancelled, while it goes on, and after its claim was lost."""
    await budget(on_file, 100)
    await spend(on_file, "job-failed", 1, BROKEN)
    await spend(on_file, "job-retried", 2, LATER)
    await spend(on_file, "job-cancelled", 4, Cancelled())
    asked = order("job-slow")
    await on_file.store.submit(asked)
    first = await on_file.store.take(asked)
    assert first is not None
    await on_file.store.beat(first, [usage()] * 8)
    await on_file.heart.pass_time(61 * SECOND)
    assert await on_file.store.take(asked) is not None
    await on_file.store.finish(first, DONE, [usage()] * 24)
    assert spent(on_file) == [(31 * COST, 0)]


async def test_a_share_is_not_told_of_again_once_the_budget_was_raised(on_file: JobWorld) -> None:
    """Even where the event itself is long forgotten."""
    await budget(on_file, 10)
    await spend(on_file, "job-1", 6)
    await on_file.heart.write("DELETE FROM events WHERE type = 'budget.threshold'")
    await budget(on_file, 100)
    await spend(on_file, "job-2", 60)
    assert told(on_file) == []
    await spend(on_file, "job-3", 20)
    assert told(on_file) == ["budget.2026-03.80"]


async def test_a_budget_that_is_set_below_what_is_spent_is_told_of_by_the_sweep(
    world: JobWorld,
) -> None:
    """Nobody has to spend more for it; and a second sweep has nothing to tell."""
    await spend(world, "job-1", 9)
    await spend(world, "job-1", 9, tenant="beside")
    await budget(world, 10)
    assert (await world.sweep.sweep())["budgetsTold"] == 1
    assert told(world) == ["budget.2026-03.50", "budget.2026-03.80"]
    assert (await world.sweep.sweep())["budgetsTold"] == 0


async def test_what_is_not_written_is_not_told(world: JobWorld) -> None:
    """Money, its event and the job's end are one transaction: all of it or nothing."""
    await budget(world, 10)
    asked = order()
    await world.store.submit(asked)
    job = await world.store.take(asked)
    assert job is not None
    async with world.heart.sending_broken("bus_messages"):
        with pytest.raises(Exception, match="broken"):
            await world.store.finish(job, DONE, [usage()] * 10)
    assert (world.state(), spent(world), told(world)) == ("running", [], [])
    await world.store.finish(job, DONE, [usage()] * 10)
    assert (world.state(), spent(world)) == ("succeeded", [(10 * COST, 100)])
    assert len(told(world)) == 3


async def test_who_refuses_over_the_budget_takes_no_new_jobs(on_file: JobWorld) -> None:
    """What was taken before runs on, the same order is still the same job, and others are not
    concerned; with more budget, or in the next month, new ones are taken."""
    await budget(on_file, 3, refuse=1)
    accepted = order("job-1", idempotency_key="k")
    await on_file.store.submit(accepted)
    await spend(on_file, "job-2", 3)
    with pytest.raises(OverLimit, match="is spent") as refused:
        await on_file.store.submit(order("job-3"))
    assert refused.value.retry_after == 3_600
    assert on_file.job("job-3") == {}
    _, duplicate = await on_file.store.submit(order("job-4", idempotency_key="k"))
    assert duplicate
    assert await on_file.store.take(accepted) is not None
    await on_file.store.submit(order("job-5", tenant_id="beside"))

    await budget(on_file, 4, refuse=1)
    await spend(on_file, "job-6", 1)
    with pytest.raises(OverLimit):
        await on_file.store.submit(order("job-7"))
    await on_file.heart.pass_time(31 * DAY)
    await on_file.store.submit(order("job-7"))


async def test_a_message_for_a_job_over_the_budget_is_a_failed_job(on_file: JobWorld) -> None:
    """Its producer hears the reason, and no worker runs."""
    await budget(on_file, 3, refuse=1)
    await spend(on_file, "job-1", 3)
    for worker in on_file.workers.values():
        worker.start()
    await on_file.put(document("theirs"))
    await on_file.until_state("failed", "theirs")
    job = await on_file.store.get(TENANT, "theirs")
    assert job is not None
    assert job.error is not None
    assert job.error.code == "over-budget"
    assert "no new jobs are taken" in job.error.message
    assert on_file.events("theirs") == ["queued", "end"]
    assert on_file.chat.runs == []
