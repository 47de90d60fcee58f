"""What jobs took, on both databases: counted once however often it is told, kept when rows go."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ai_workers.jobs import Succeeded
from ai_workers.keeping import Figure, Percentiles
from notifications.bus.topology import METRICS
from notifications.deliveries import Failed
from notifications.events import Channel, decode_stored
from notifications.records import Route
from notifications.retries import DAY, HOUR, MINUTE
from notifications.routing import event_message
from tests.heart_world import STORES
from tests.job_workers import CHAT, COST, VIDEO, usage
from tests.job_world import TENANT, JobWorld, document, job_world, order

_ARRIVED = (
    "SELECT count(*) FROM deliveries d JOIN events e ON e.key = d.event_key"
    " WHERE e.id = 'job-1.end' AND d.state = 'delivered' AND d.channel <> 'email'"
)

AWAY = Failed(reason="http-500", status=500)
CHANNELS = (Channel.REALTIME, Channel.WEBHOOK)


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobWorld]:
    """Jobs at work on either database."""
    async with job_world(tmp_path, request.param) as world:
        yield world


async def figures(world: JobWorld, **asked: Any) -> Sequence[Figure]:
    """What the jobs of all time took."""
    wanted = {"since": "2026-01-01", "until": "2039-12-31", "job_type": None, "limit": 100}
    return await world.services.figures.by_day(TENANT, **(wanted | asked))


def looked(world: JobWorld, job_id: str = "job-1") -> tuple[int | None, int | None]:
    """What the sweep found of a job's end, ms, and when it looks again."""
    query = "SELECT deliver_ms, look_at FROM job_metrics WHERE job_id = ?"
    return world.heart.rows(query, job_id)[0]  # type: ignore[return-value]


async def done(world: JobWorld, job_id: str = "job-1", **changes: Any) -> None:
    """A job that succeeds, whose deliveries are over as far as they go now."""
    await world.submit(job_id, **changes)
    await world.until_state("succeeded", job_id)
    await world.heart.until_quiet()


# --------------------------------------------------------------------------- redelivery


async def test_an_event_that_comes_again_is_counted_once(world: JobWorld) -> None:
    """The metrics subscription counts each event once, and leaves a job's figures and its money
    alone: these are written with the job. However often a job's messages come, nothing moves."""
    await done(world)
    await world.sweep.sweep()

    def counts() -> list[Any]:
        return [
            world.heart.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
            for table in ("event_counts", "job_metrics", "job_spending")
        ]

    before = counts()
    counted = [row for row in before[0] if row[2] == "job.succeeded"]
    events = [decode_stored(row[0]) for row in world.heart.rows("SELECT body FROM events")]
    for _ in range(3):
        await world.heart.put(*map(event_message, events))
        await world.heart.database.write(
            lambda tx: world.heart.ledger.send_again(tx, events, METRICS)
        )
        await world.put(document())
    await world.heart.until_quiet()
    await world.sweep.sweep()

    assert counts() == before
    assert [row[3] for row in counted] == [1]
    assert before[2] == [(TENANT, "2026-03", COST, 0)]
    assert world.heart.dead() == []


# --------------------------------------------------------------------------- deliveries


async def test_how_soon_a_jobs_end_arrived_is_that_of_its_first_delivery(world: JobWorld) -> None:
    """Toast or webhook, whichever was first, retries included; and it stays so when the same
    delivery is replayed later."""
    for channel in CHANNELS:
        world.heart.channels[channel].script("job-1.end", AWAY)
    await done(world)
    await world.sweep.sweep()
    assert looked(world) == (None, world.heart.clock.now() + MINUTE)

    waited = await world.heart.pass_to_next_drain()
    await world.heart.until(lambda: world.heart.one(_ARRIVED) == 1)
    await world.heart.live_until(lambda: "pending" not in world.heart.states())
    await world.heart.pass_time(2 * MINUTE)
    await world.sweep.sweep()
    arrived, again = looked(world)
    assert again is None
    assert arrived == waited
    (figure,) = await figures(world)
    assert figure.deliver == Percentiles(p50=arrived, p95=arrived, p99=arrived)

    await world.heart.write("UPDATE deliveries SET state = 'pending', round = 2, due_at = 0")
    await world.heart.write("UPDATE job_metrics SET look_at = 0, deliver_ms = NULL")
    await world.sweep.sweep()
    assert looked(world) == (arrived, None)


async def test_a_job_that_nobody_hears_of_is_not_looked_for(tmp_path: Path) -> None:
    """Where no channel finds anybody there is no time, and no second look."""
    async with job_world(tmp_path) as world:
        for channel in CHANNELS:
            world.heart.channels[channel].targets = lambda _event: Route(reason="no-user")
        await done(world)
        await world.sweep.sweep()
        assert looked(world) == (None, None)


async def test_a_delivery_that_does_not_come_is_looked_for_ever_less_often(
    tmp_path: Path,
) -> None:
    """A dozen looks, then no more: a day on, it was given up."""
    async with job_world(tmp_path) as world:
        for channel in CHANNELS:
            world.heart.channels[channel].hold("ep_1")
        await world.submit()
        await world.until_state("succeeded")
        looks = 0
        for _ in range(26 * 4):
            looks += (await world.sweep.sweep())["jobsLookedFor"]
            world.heart.clock.ms += HOUR // 4
        assert looked(world) == (None, None)
        assert 6 <= looks <= 14


# --------------------------------------------------------------------------- days


async def test_a_day_that_is_over_reads_the_same_from_its_figures(world: JobWorld) -> None:
    """Before it is added up, by however many at once, afterwards, and when the rows of its jobs are
    gone; today is read from the rows."""
    for number, text in enumerate(("one", "one two", "one two three")):
        await done(world, f"job-{number}", input={"text": text})
    await world.sweep.sweep()
    before = await figures(world)
    assert world.heart.one("SELECT count(*) FROM job_days") == 0

    world.heart.clock.ms += DAY
    roll = world.running.steps["jobDaysRolled"]
    assert sum(await asyncio.gather(*(roll(limit=9) for _ in range(4)))) >= 1
    rolled = await figures(world)
    assert (await world.sweep.sweep())["jobDaysRolled"] == 0
    await done(world, "job-today")
    await world.sweep.sweep()
    both = await figures(world)
    world.heart.clock.ms += 401 * DAY
    await world.sweep.sweep()

    assert world.heart.one("SELECT count(*) FROM job_metrics") == 0
    assert before == rolled == both[1:]
    assert await figures(world) == both
    assert [(each.day, each.count, each.input_tokens) for each in both] == [
        ("2026-03-02", 1, 3),
        ("2026-03-01", 3, 6),
    ]
    assert both[1].cost_nano_usd == 3 * COST
    assert both[1].deliver.p99 == 0
    assert await figures(world, until="2026-03-01") == both[1:]
    assert await figures(world, job_type=VIDEO) == []

    world.heart.clock.ms += 10 * 366 * DAY
    await world.sweep.sweep()
    assert await figures(world) == []
    assert world.heart.one("SELECT count(*) FROM job_spending") == 0


async def test_what_is_spent_later_is_in_its_days_figures(world: JobWorld) -> None:
    """A run that lost its claim and comes back after the day was added up: it is added up anew."""
    for worker in world.workers.values():
        await worker.stop(0)
    await world.submit()
    late = await world.store.take(order())
    assert late is not None
    await world.store.submit(order("job-2", job_type=VIDEO))
    world.heart.clock.ms += 31 * MINUTE
    await world.sweep.sweep()
    assert (world.state(), world.state("job-2")) == ("expired", "expired")
    await world.heart.until(lambda: len(world.heart.channels[Channel.WEBHOOK].tries) == 5)
    world.heart.clock.ms += 3 * DAY
    await world.sweep.sweep()
    assert (await world.sweep.sweep())["jobDaysRolled"] == 0

    await world.store.finish(late, Succeeded({"summary": "late", "words": 0}), [usage()])
    costs = [each.cost_nano_usd for each in await figures(world)]
    assert [each.count for each in await figures(world, job_type=VIDEO)] == [1]
    assert (await world.sweep.sweep())["jobDaysRolled"] == 1
    assert sum(costs) == COST
    assert [each.cost_nano_usd for each in await figures(world)] == costs
    assert [(each.job_type, each.model, each.count) for each in await figures(world)] == [
        (CHAT, "counting-1", 1),
        (VIDEO, None, 1),
    ]
