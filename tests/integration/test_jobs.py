"""Jobs on real databases: every job reaches one end, told once, and what it cost is counted."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ai_workers.jobs import End, Failure, Job, Order, Released, Succeeded
from ai_workers.keeping import Beat, Progress, Runs
from ai_workers.ports import JobFailed, ModelFailed, Run, Usage
from ai_workers.runner import Runner
from ai_workers.store import SqlJobs
from ai_workers.upkeep import SqlJobUpkeep
from notifications.database import Database
from notifications.directory import Locale
from notifications.errors import Conflict, StoreUnavailable, Unavailable
from notifications.messages import Complete, Received
from notifications.retries import DAY, MINUTE, SECOND
from notifications.stores.directory import SqlDirectory
from notifications.stores.tenants import SqlTenants
from notifications.tenants import Tenant, Tenants
from notifications.vault import Vault
from tests.heart_world import STORES
from tests.job_workers import COST, VIDEO, Counting, question, usage
from tests.job_world import JobWorld, document, job_world, order


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobWorld]:
    """Jobs at work on either database."""
    async with job_world(tmp_path, request.param) as world:
        yield world


async def test_a_job_is_done_and_told_of_once_in_each_state(world: JobWorld) -> None:
    """Queued, started, succeeded: one event each, and its figures are counted."""
    await world.submit(input={"text": "one two three", "title": "A chat"})
    await world.until_state("succeeded")

    assert world.events() == ["queued", "started.1", "end"]
    job = await world.store.get("acme", "job-1")
    assert job is not None
    assert job.result == {"summary": "3 words in fr", "words": 3}
    assert world.heart.rows("SELECT state, runs, cost_nano_usd, model FROM job_metrics") == [
        ("succeeded", 1, COST, "counting-1")
    ]
    told = [row[0] for row in world.heart.rows("SELECT id FROM job_events ORDER BY at, id")]
    assert len(told) == 3


async def test_the_same_key_with_the_same_content_is_one_job(world: JobWorld) -> None:
    """A second order under a key answers with the first one's job, and nothing is done twice."""
    first = await world.submit("job-1", idempotency_key="k")
    again, duplicate = await world.store.submit(order("job-2", idempotency_key="k"))
    assert (again.order.id, duplicate) == (first.order.id, True)
    await world.until_state("succeeded")
    assert len(world.chat.runs) == 1


async def test_the_same_key_with_another_content_is_a_conflict(world: JobWorld) -> None:
    """Nothing of it is stored; another tenant's key of the same name is another key."""
    await world.submit("job-1", idempotency_key="k")
    with pytest.raises(Conflict):
        await world.store.submit(order("job-2", idempotency_key="k", input={"text": "other"}))
    other = order("job-2", tenant_id="other", idempotency_key="k", input={"text": "other"})
    _, duplicate = await world.store.submit(other)
    assert not duplicate
    assert world.heart.one("SELECT count(*) FROM jobs") == 2


async def test_keys_that_race_are_one_job(world: JobWorld) -> None:
    """Ten orders under one key at once: one job, nine duplicates."""
    orders = [order(f"job-{number}", idempotency_key="k") for number in range(10)]
    answers = await asyncio.gather(*(world.store.submit(each) for each in orders))
    assert sum(duplicate for _, duplicate in answers) == 9
    assert len({job.order.id for job, _ in answers}) == 1


# --------------------------------------------------------------------------- retries


def failing(error: Exception) -> Any:
    """An act that spends something and fails."""

    async def act(run: Run) -> Mapping[str, Any]:
        await run.ask(question(run))
        raise error

    return act


async def test_a_run_that_may_be_repeated_is_repeated_by_the_table(world: JobWorld) -> None:
    """A second run after the table's delay; its money comes on top."""
    world.chat.script.append(failing(ModelFailed("model-timeout", "No answer.", retryable=True)))
    await world.submit()
    await world.until_state("retrying")
    due_at = world.heart.one("SELECT due_at FROM jobs") - world.heart.clock.now()
    assert 2_700 <= due_at <= 3_300

    await world.heart.pass_time(due_at)
    await world.until_state("succeeded")
    assert world.events() == ["queued", "started.1", "retrying.1", "started.2", "end"]
    assert world.job()["cost_nano_usd"] == 2 * COST


async def test_the_endpoints_patience_is_honoured(world: JobWorld) -> None:
    """Retry-After beyond the table's delay is when the next run begins."""
    error = ModelFailed("model-busy", "Later.", retryable=True, retry_after_s=90)
    world.chat.script.append(failing(error))
    await world.submit()
    await world.until_state("retrying")
    assert world.heart.one("SELECT due_at FROM jobs") == world.heart.clock.now() + 90 * SECOND


async def test_patience_beyond_the_deadline_fails_now_with_its_reason(world: JobWorld) -> None:
    """A run that could only begin when time is up is not waited for."""
    error = ModelFailed("model-busy", "Come tomorrow.", retryable=True, retry_after_s=3_600)
    world.chat.script.append(failing(error))
    await world.submit()
    await world.until_state("failed")
    assert world.job()["error_code"] == "model-busy"
    assert world.events()[-1] == "end"


async def test_what_failed_for_good_is_not_repeated(world: JobWorld) -> None:
    """One run, one end, and its money is counted."""
    world.chat.script.append(failing(JobFailed("video-unreadable", "It is no video.")))
    await world.submit()
    await world.until_state("failed")
    assert world.events() == ["queued", "started.1", "end"]
    assert world.heart.rows("SELECT state, cost_nano_usd FROM job_metrics") == [("failed", COST)]


async def test_every_run_of_the_table_is_made_and_no_more(world: JobWorld) -> None:
    """A heavy job has four runs, and fails with the last one's reason."""
    error = ModelFailed("model-unavailable", "Away.", retryable=True)
    world.video.script.extend([failing(error)] * 9)
    await world.submit(job_type=VIDEO)
    await world.heart.live_until(lambda: world.state() == "failed", step=10 * SECOND)
    assert len(world.video.runs) == 4
    assert world.job()["cost_nano_usd"] == 4 * COST


async def test_an_unforeseen_exception_is_a_failed_run(world: JobWorld) -> None:
    """A worker's bug is repeated like any fault, says nothing of itself, and ends nothing else."""
    world.chat.script.append(failing(RuntimeError("a secret")))
    await world.submit()
    await world.until_state("retrying")
    assert world.job()["error_code"] == "internal"
    assert "secret" not in str(world.heart.rows("SELECT error_message FROM jobs"))


async def test_a_result_that_breaks_its_schema_is_not_stored(world: JobWorld) -> None:
    """What the job type does not promise nobody gets."""

    async def act(_run: Run) -> Mapping[str, Any]:
        return {"words": "many"}

    world.chat.script.append(act)
    await world.submit()
    await world.until_state("failed")
    job = await world.store.get("acme", "job-1")
    assert job is not None
    assert job.result is None
    assert world.job()["error_code"] == "invalid-result"


# --------------------------------------------------------------------------- cancelling


class Held:
    """An act that waits until it is let go."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.stopped = False

    async def __call__(self, run: Run) -> Mapping[str, Any]:
        """The act."""
        await run.ask(question(run))
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.stopped = True
            raise
        return {"summary": "done", "words": 0}


async def test_a_job_that_waits_is_cancelled_at_once(world: JobWorld) -> None:
    """No run begins any more, though its message is on the bus."""
    world.chat.script.append(failing(ModelFailed("model-busy", "Later.", retryable=True)))
    await world.submit()
    await world.until_state("retrying")
    await world.store.cancel("acme", "job-1")
    assert world.state() == "cancelled"
    await world.heart.pass_time(MINUTE)
    assert len(world.chat.runs) == 1
    assert world.events()[-1] == "end"


async def test_a_run_in_this_process_is_told_at_once(world: JobWorld) -> None:
    """Its worker is stopped, the job ends cancelled, and what it spent is counted."""
    held = Held()
    world.chat.script.append(held)
    await world.submit()
    await asyncio.wait_for(held.began.wait(), 10)
    job = await world.store.cancel("acme", "job-1")
    assert job is not None
    assert job.cancelling
    world.services.cancel("acme", "job-1")
    await world.until_state("cancelled")
    assert held.stopped
    assert world.job()["cost_nano_usd"] == COST
    assert world.events() == ["queued", "started.1", "end"]


async def test_a_run_elsewhere_learns_of_it_by_its_heartbeat(world: JobWorld) -> None:
    """Within twenty seconds, whoever took the call."""
    held = Held()
    world.chat.script.append(held)
    await world.submit()
    await asyncio.wait_for(held.began.wait(), 10)
    await world.store.cancel("acme", "job-1")
    await world.heart.pass_time(20 * SECOND)
    await world.until_state("cancelled")


async def test_what_has_ended_stays_as_it_is(world: JobWorld) -> None:
    """Cancelling a job that succeeded changes nothing and tells nobody."""
    await world.submit()
    await world.until_state("succeeded")
    job = await world.store.cancel("acme", "job-1")
    assert job is not None
    assert job.state == "succeeded"
    assert world.events().count("end") == 1


async def test_another_tenants_job_is_not_there(world: JobWorld) -> None:
    """Reading and cancelling look like an id that nobody has."""
    await world.submit()
    assert await world.store.get("other", "job-1") is None
    assert await world.store.cancel("other", "job-1") is None
    assert await world.store.page("other", limit=10) == []


# --------------------------------------------------------------------------- time


async def test_a_run_is_held_as_long_as_it_goes_on(world: JobWorld) -> None:
    """Minutes on, nobody else has begun another."""
    held = Held()
    world.chat.script.append(held)
    await world.submit()
    await asyncio.wait_for(held.began.wait(), 10)
    for _ in range(15):
        await world.heart.pass_time(20 * SECOND)
        await world.sweep.sweep()
    held.go.set()
    await world.until_state("succeeded")
    assert len(world.chat.runs) == 1


async def test_a_run_is_cut_at_the_deadline(world: JobWorld) -> None:
    """Ten minutes after acceptance a light job ends, and its worker is stopped."""
    held = Held()
    world.chat.script.append(held)
    await world.submit()
    await asyncio.wait_for(held.began.wait(), 10)
    await world.heart.live_until(lambda: world.state() == "expired", step=20 * SECOND)
    assert held.stopped
    assert world.job()["cost_nano_usd"] == COST


async def test_a_job_that_nobody_does_expires(tmp_path: Path) -> None:
    """The sweep ends it, with the event that tells of it."""
    async with job_world(tmp_path, working=False) as world:
        await world.submit()
        await world.heart.pass_time(10 * MINUTE)
        await world.sweep.sweep()
        assert world.state() == "expired"
        assert world.events() == ["queued", "end"]


# --------------------------------------------------------------------------- losing workers


async def test_a_job_whose_worker_was_killed_is_taken_up_again(world: JobWorld) -> None:
    """Once its claim has run out and the sweep has looked, another run does it."""
    for worker in world.workers.values():
        await worker.stop(0)
    await world.submit()
    taken = await world.store.take(order())
    assert taken is not None
    assert await world.store.take(order()) is None
    for worker in world.workers.values():
        worker.start()
    await world.heart.until_quiet()
    assert world.job()["run"] == 1

    await world.heart.pass_time(61 * SECOND)
    await world.sweep.sweep()
    await world.until_state("succeeded")
    assert world.events() == ["queued", "started.1", "started.2", "end"]


async def test_a_run_that_lost_its_claim_stores_no_result_and_its_money_counts(
    world: JobWorld,
) -> None:
    """The late result of a run that was thought dead is left out; what it spent is not."""
    for worker in world.workers.values():
        await worker.stop(0)
    await world.submit()
    first = await world.store.take(order())
    assert first is not None
    await world.heart.pass_time(61 * SECOND)
    second = await world.store.take(order())
    assert second is not None
    assert second.run == 2
    late = Succeeded({"summary": "late", "words": 0})
    assert not await world.store.finish(first, late, [usage()])
    assert await world.store.finish(second, Succeeded({"summary": "2", "words": 0}), [usage()])
    assert not await world.store.finish(first, late, [usage(), usage()])

    job = await world.store.get("acme", "job-1")
    assert job is not None
    assert job.result == {"summary": "2", "words": 0}
    assert job.spent.cost_nano_usd == 3 * COST
    assert world.heart.rows("SELECT cost_nano_usd FROM job_metrics") == [(3 * COST,)]
    assert world.events().count("end") == 1


async def test_a_worker_that_stops_gives_its_run_back(world: JobWorld) -> None:
    """The next run begins at once, not when a claim has run out."""
    for worker in world.workers.values():
        await worker.stop(0)
    await world.submit()
    taken = await world.store.take(order())
    assert taken is not None
    assert await world.store.finish(taken, Released(), [])
    again = await world.store.take(order())
    assert again is not None
    assert again.run == 2


async def test_a_stop_that_is_cut_short_gives_runs_back(world: JobWorld) -> None:
    """Where the time for stopping is up before a worker is done, its run does not count, what it
    spent does, and the next one begins at once."""
    held = Held()
    world.chat.script.append(held)
    await world.submit()
    await asyncio.wait_for(held.began.wait(), 10)
    worker = world.workers["chat-suggestions"]
    stopping = asyncio.create_task(worker.stop(60))
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait({stopping})
    assert held.stopped
    given_back = "SELECT state, run, returned, cost_nano_usd FROM jobs"
    await world.heart.until(lambda: world.heart.rows(given_back) == [("running", 1, 1, COST)])
    worker.start()
    await world.until_state("succeeded")
    assert world.job()["run"] == 2


async def test_a_job_that_kills_every_worker_fails(world: JobWorld) -> None:
    """Runs that nobody ends are counted, too."""
    for worker in world.workers.values():
        await worker.stop(0)
    await world.submit(job_type=VIDEO)
    for _ in range(4):
        assert await world.store.take(order(job_type=VIDEO)) is not None
        await world.heart.pass_time(61 * SECOND)
    assert await world.store.take(order(job_type=VIDEO)) is None
    assert world.job()["state"] == "failed"
    assert world.job()["error_code"] == "interrupted"


# --------------------------------------------------------------------------- other producers


async def test_a_message_of_another_producer_is_taken_in_on_first_sight(world: JobWorld) -> None:
    """Its row, its events and its result are as if it had been asked for here."""
    await world.put(document("theirs-1"))
    await world.until_state("succeeded", "theirs-1")
    assert world.events("theirs-1") == ["queued", "started.1", "end"]


async def test_what_its_schema_refuses_fails_with_the_reason(world: JobWorld) -> None:
    """Its producer finds out what was wrong with it."""
    await world.put(document("theirs-1", input={"txt": "typo"}))
    await world.until_state("failed", "theirs-1")
    job = await world.store.get("acme", "theirs-1")
    assert job is not None
    assert job.error is not None
    assert job.error.code == "invalid-input"
    assert "/input/text" in job.error.message
    assert world.events("theirs-1") == ["queued", "end"]
    assert world.chat.runs == []


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"{", "not-json"),
        (b"[]", "envelope"),
        (document(id=None), "envelope"),
        (document("with spaces"), "envelope"),
        (document(tenantId="x" * 40), "envelope"),
        (document(input=[]), "envelope"),
        (document(jobType=VIDEO), "envelope"),
        (b'{"id":"' + b"x" * 200_000 + b'"}', "too-large"),
    ],
)
async def test_what_nobody_can_read_is_a_dead_letter(
    tmp_path: Path, sent: Mapping[str, Any] | bytes, reason: str
) -> None:
    """It names no job that could fail; the reason is kept with it."""
    async with job_world(tmp_path) as world:
        await world.put(sent)
        await world.heart.until(lambda: [each[1] for each in world.heart.dead()] == [reason])
        assert world.heart.one("SELECT count(*) FROM jobs") == 0


async def test_the_same_id_with_another_content_is_a_dead_letter(world: JobWorld) -> None:
    """What is there stays; the other one is kept for somebody to look at."""
    await world.put(document("theirs-1"))
    await world.until_state("succeeded", "theirs-1")
    await world.put(document("theirs-1", input={"text": "other"}))
    await world.heart.until(lambda: [each[1] for each in world.heart.dead()] == ["conflict"])
    assert len(world.chat.runs) == 1


async def test_a_message_whose_key_is_known_is_that_job(world: JobWorld) -> None:
    """Sent again under another name, with the same content, it is done once, as its first form;
    whoever knows only the key finds it by that."""
    await world.put(document("theirs-1", idempotencyKey="k"))
    await world.until_state("succeeded", "theirs-1")
    await world.put(document("theirs-2", idempotencyKey="k"))
    await world.heart.until_quiet()
    found = await world.store.page("acme", idempotency_key="k", limit=9)
    assert [job.order.id for job in found] == ["theirs-1"]
    assert world.state("theirs-2") is None
    assert (world.heart.dead(), len(world.chat.runs)) == ([], 1)


async def test_a_message_whose_key_is_another_jobs_fails_under_its_own_name(
    world: JobWorld,
) -> None:
    """Its producer finds out why, and the job that has the key is left as it is."""
    await world.put(document("theirs-1", idempotencyKey="k"))
    await world.until_state("succeeded", "theirs-1")
    for _ in range(2):  # however often it comes
        await world.put(document("theirs-2", idempotencyKey="k", input={"text": "other"}))
    await world.until_state("failed", "theirs-2")
    await world.heart.until_quiet()
    assert world.job("theirs-2")["error_code"] == "key-taken"
    assert world.events("theirs-2") == ["queued", "end"]
    assert (world.heart.dead(), len(world.chat.runs)) == ([], 1)


async def test_a_message_that_comes_twice_is_done_once(world: JobWorld) -> None:
    """However often it is delivered."""
    for _ in range(3):
        await world.put(document("theirs-1"))
    await world.until_state("succeeded", "theirs-1")
    await world.heart.until_quiet()
    assert len(world.chat.runs) == 1


async def test_a_job_whose_message_expired_unseen_expires(tmp_path: Path) -> None:
    """The sweep finds it among the dead letters, and takes it in to tell of its end."""
    async with job_world(tmp_path, working=False) as world:
        await world.put(document("theirs-1"))
        await world.heart.live_until(lambda: world.heart.dead(), step=MINUTE)
        await world.sweep.sweep()
        assert world.state("theirs-1") == "expired"
        assert world.events("theirs-1") == ["queued", "end"]


# --------------------------------------------------------------------------- progress, lists


async def test_progress_is_told_once_a_second_at_most(world: JobWorld) -> None:
    """Whatever a worker says: what comes too soon is told when its time has come, the newest of it,
    while the worker is at something else."""

    async def act(run: Run) -> Mapping[str, Any]:
        for percent in range(0, 50, 10):
            await run.progress(percent, "frames")
        clock = world.heart.clock
        await clock.sleep_until(clock.now() + SECOND)
        await run.progress(60, "model")
        await run.progress(20, "going-back")
        await clock.sleep_until(clock.now() + SECOND)
        return await run.ask(question(run))

    world.chat.script.append(act)
    await world.submit()
    await world.heart.until(lambda: len(world.chat.runs) == 1)
    for told, percent in ((0, 0), (1, 40), (1, 40), (2, 60)):
        await world.heart.until(lambda told=told: len(world.events()) == 2 + told)
        assert world.job()["progress"] == percent
        await world.heart.pass_time(SECOND // 2)
    await world.until_state("succeeded")
    assert world.events() == ["queued", "started.1", "progress.1.1", "progress.1.2", "end"]


async def test_a_run_that_says_nothing_new_is_not_told_of_again(world: JobWorld) -> None:
    """One event tells how far it is, however long it stays there."""

    async def act(run: Run) -> Mapping[str, Any]:
        await run.progress(20, "model")
        await world.heart.clock.sleep_until(world.heart.clock.now() + 30 * SECOND)
        return await run.ask(question(run))

    world.chat.script.append(act)
    await world.submit()
    await world.heart.until(lambda: len(world.chat.runs) == 1)
    await world.heart.pass_time(30 * SECOND)
    await world.until_state("succeeded")
    assert world.events() == ["queued", "started.1", "progress.1.1", "end"]


async def test_lists_are_newest_first_and_go_on(world: JobWorld) -> None:
    """Pages by number, filtered by state, type and user."""
    for number in range(5):
        await world.submit(f"job-{number}", user_id="ada" if number % 2 else "bob")
    for number in range(5):
        await world.until_state("succeeded", f"job-{number}")
    first = await world.store.page("acme", limit=2)
    rest = await world.store.page("acme", limit=9, below=first[-1].number)
    names = [job.order.id for job in [*first, *rest]]
    assert names == [f"job-{number}" for number in (4, 3, 2, 1, 0)]
    assert len(await world.store.page("acme", user_id="ada", limit=9)) == 2
    assert await world.store.page("acme", job_type=VIDEO, limit=9) == []


async def test_no_more_jobs_run_at_once_than_is_set(tmp_path: Path) -> None:
    """The others wait their turn, over all subscriptions together."""
    async with job_world(tmp_path, ai_concurrency=2) as world:
        acts = [Held() for _ in range(4)]
        world.chat.script.extend(acts[:2])
        world.video.script.extend(acts[2:])
        for number in range(4):
            kind = {"job_type": VIDEO} if number > 1 else {}
            await world.submit(f"job-{number}", **kind)
        await world.heart.until(lambda: sum(act.began.is_set() for act in acts) == 2)
        await world.heart.pass_time(SECOND)
        assert sum(act.began.is_set() for act in acts) == 2
        for act in acts:
            act.go.set()
        for number in range(4):
            await world.until_state("succeeded", f"job-{number}")


async def test_a_run_that_waits_for_its_place_is_held_and_can_be_cancelled(
    tmp_path: Path,
) -> None:
    """Of two places one more run is begun; no worker has it, but its owner and its end do. What it
    waits is no running."""
    async with job_world(tmp_path, ai_concurrency=2) as world:
        acts = [Held() for _ in range(5)]
        world.chat.script.extend(acts)
        names = [f"job-{number}" for number in range(5)]
        for name in names:
            await world.submit(name)
        await world.heart.until(lambda: sum(act.began.is_set() for act in acts) == 2)
        running = "SELECT id FROM jobs WHERE state = 'running' ORDER BY number"
        await world.heart.until(lambda: len(world.heart.rows(running)) == 3)
        assert len(world.chat.runs) == 2
        waits = world.heart.rows(running)[2][0]
        await world.store.cancel("acme", waits)
        world.services.cancel("acme", waits)
        await world.until_state("cancelled", waits)
        await world.heart.until(lambda: len(world.heart.rows(running)) == 3)
        later = world.heart.rows(running)[2][0]
        await world.heart.pass_time(SECOND)
        assert len(world.chat.runs) == 2
        for act in acts:
            act.go.set()
        for name in set(names) - {waits}:
            await world.until_state("succeeded", name)
        took = "SELECT queue_ms, run_ms FROM jobs WHERE id = ?"
        assert world.heart.rows(took, "job-0") == [(0, SECOND)]
        assert world.heart.rows(took, later) == [(SECOND, 0)]


async def test_jobs_are_forgotten_after_the_retention(tmp_path: Path) -> None:
    """With their events; what they cost stays for the comparison of years."""
    async with job_world(tmp_path) as world:
        await world.submit()
        await world.until_state("succeeded")
        world.heart.clock.ms += 31 * 24 * 60 * MINUTE
        await world.sweep.sweep()
        assert world.heart.one("SELECT count(*) FROM jobs") == 0
        assert world.heart.one("SELECT count(*) FROM job_events") == 0
        assert world.heart.one("SELECT count(*) FROM job_metrics") == 1
        world.heart.clock.ms += 400 * 24 * 60 * MINUTE
        await world.sweep.sweep()
        assert world.heart.one("SELECT count(*) FROM job_metrics") == 0


@pytest.mark.parametrize("field", ["language", "locale"])
async def test_a_job_that_says_its_language_is_answered_in_it(tmp_path: Path, field: str) -> None:
    """It wins over the user's own, which is French where nobody said so."""
    async with job_world(tmp_path) as world:
        await world.store.submit(order(input={"text": "one", field: "en"}))
        await world.until_state("succeeded")
        done = await world.store.get("acme", "job-1")
        assert done is not None
        assert done.result == {"summary": "1 words in en", "words": 1}


async def test_a_job_for_nobody_in_particular_is_answered_in_the_tenants_language(
    tmp_path: Path,
) -> None:
    """Where its user has not said one, or it has no user."""
    async with job_world(tmp_path) as world:
        await world.submit("first")
        tenants = SqlTenants(world.heart.database)
        assert await tenants.save(Tenant(id="acme", locale=Locale.EN))
        await world.until_state("succeeded", "first")
        await world.submit(user_id=None)
        await world.until_state("succeeded")
        done = await world.store.get("acme", "job-1")
        assert done is not None
        assert done.result == {"summary": "3 words in en", "words": 3}


async def test_figures_are_added_up_by_day_type_and_model(world: JobWorld) -> None:
    """Counts, failures, tokens, money and percentiles are those of the jobs that ended."""
    world.chat.script.append(failing(JobFailed("no-use", "Nothing.")))
    for number in range(3):
        await world.submit(f"job-{number}")
        await world.until_state("succeeded" if number else "failed", f"job-{number}")
    await world.submit("other-1", job_type=VIDEO)
    await world.until_state("succeeded", "other-1")
    await world.submit("theirs", tenant_id="other")
    await world.until_state("succeeded", "theirs")

    days = {"since": "2026-03-01", "until": "2026-03-01", "job_type": None, "limit": 10}
    figures = await world.services.figures.by_day("acme", **days)  # type: ignore[arg-type]
    assert [(each.job_type, each.count, each.failures) for each in figures] == [
        ("chat.suggest", 3, 1),
        (VIDEO, 1, 0),
    ]
    assert figures[0].cost_nano_usd == 3 * COST
    assert figures[0].input_tokens == 9
    assert (figures[0].run.p50, figures[0].queue.p99) == (0, 0)
    everybody = await world.services.figures.by_day(None, **days)  # type: ignore[arg-type]
    assert sum(each.count for each in everybody) == 5
    other_day = {**days, "since": "2026-03-02", "until": "2026-03-09"}
    assert await world.services.figures.by_day("acme", **other_day) == []  # type: ignore[arg-type]


async def test_percentiles_are_values_that_were_measured(world: JobWorld) -> None:
    """Of a hundred runs of 1 to 100 ms: 50, 95 and 99; a job that never ran has no queue time."""
    columns = "tenant_id, job_id, job_type, day, state, model, runs, input_tokens, output_tokens,"
    columns += " cost_nano_usd, queue_ms, run_ms, finished_at"
    for number in range(1, 101):
        queued = "NULL" if number == 100 else str(number * 10)
        await world.heart.write(
            f"INSERT INTO job_metrics ({columns}) VALUES ('acme', 'j{number}', 'chat.suggest',"
            f" '2026-03-01', 'succeeded', 'm', 1, 1, 1, 1, {queued}, {number}, 1)"
        )
    (figure,) = await world.services.figures.by_day(
        "acme", since="2026-03-01", until="2026-03-01", job_type="chat.suggest", limit=10
    )
    assert (figure.run.p50, figure.run.p95, figure.run.p99) == (50, 95, 99)
    assert (figure.queue.p50, figure.queue.p99) == (500, 990)


# --------------------------------------------------------------------------- many at once, outages


async def test_of_many_who_come_at_once_one_gets_the_run(world: JobWorld) -> None:
    """Ten messages of one job in ten hands: one run, whoever is first."""
    for worker in world.workers.values():
        await worker.stop(0)
    await world.submit()
    taken = await asyncio.gather(*(world.store.take(order()) for _ in range(10)))
    assert [each.run for each in taken if each is not None] == [1]
    assert world.events() == ["queued", "started.1"]


async def test_strangers_who_come_at_once_are_one_job(world: JobWorld) -> None:
    """Ten first sights of one message: one row, one run."""
    for worker in world.workers.values():
        await worker.stop(0)
    taken = await asyncio.gather(*(world.store.take(order("theirs")) for _ in range(10)))
    assert [each.run for each in taken if each is not None] == [1]
    assert world.events("theirs") == ["queued", "started.1"]


class Outages:
    """Implements `keeping.Runs`: the store's, which is away for a while when told so."""

    def __init__(self, store: SqlJobs) -> None:
        self.store = store
        self.finishes_away = 0
        self.answers_lost = 0

    async def take(self, order: Order, failure: Failure | None = None) -> Job | None:
        """See `keeping.Runs`."""
        return await self.store.take(order, failure)

    async def beat(
        self, job: Job, usage: Sequence[Usage], progress: Progress | None = None
    ) -> Beat:
        """See `keeping.Runs`: this one is always away."""
        raise StoreUnavailable("away")

    async def finish(
        self, job: Job, how: End, usage: Sequence[Usage], woken_by: Received | None = None
    ) -> bool:
        """See `keeping.Runs`."""
        if self.finishes_away:
            self.finishes_away -= 1
            raise StoreUnavailable("away")
        held = await self.store.finish(job, how, usage, woken_by)
        if self.answers_lost:
            self.answers_lost -= 1
            raise StoreUnavailable("nobody knows whether it was written")
        return held


class Broken(Outages):
    """A store whose heartbeats break in a way that no rule knows."""

    async def beat(
        self, job: Job, usage: Sequence[Usage], progress: Progress | None = None
    ) -> Beat:
        """See `keeping.Runs`."""
        raise RuntimeError("no rule knows this")


class Silent(SqlTenants):
    """Tenants that nobody finds, however long they look.

    Attributes:
        asked: Somebody looks.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.asked = asyncio.Event()

    async def find(self, tenant_id: str) -> Tenant | None:
        """See `tenants.Tenants`."""
        self.asked.set()
        return await asyncio.Future()


async def lone_runner(
    world: JobWorld, runs: Runs, tenants: Tenants | None = None, **more: Any
) -> Runner:
    """Does one job at a time; the world's own workers do none any more."""
    for worker in world.workers.values():
        await worker.stop(0)
    vault = Vault((bytes(32),), world.heart.dice)
    return Runner(
        world.services.types,
        runs,
        Counting(),
        SqlDirectory(world.heart.database, vault, world.heart.clock),
        tenants or SqlTenants(world.heart.database),
        clock=world.heart.clock,
        concurrency=1,
        **more,
    )


async def test_a_run_is_given_back_before_its_worker_began(tmp_path: Path) -> None:
    """A process that stops while it looks for a job's language has claimed it already."""
    async with job_world(tmp_path, working=False) as world:
        silent = Silent(world.heart.database)
        runner = await lone_runner(world, world.store, silent)
        await world.submit()
        (received,) = await world.heart.bus.receive("chat-suggestions", limit=1)
        handling = asyncio.create_task(runner.handle([received]))
        await asyncio.wait_for(silent.asked.wait(), 10)
        handling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handling
        assert world.heart.rows("SELECT state, run, returned FROM jobs") == [("running", 1, 1)]


async def test_a_heartbeat_that_breaks_is_told_with_its_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run has failed, and the log says which it was and why."""
    async with job_world(tmp_path, working=False) as world:
        held = Held()
        world.chat.script.append(held)
        runner = await lone_runner(world, Broken(world.store))
        await world.submit()
        (received,) = await world.heart.bus.receive("chat-suggestions", limit=1)
        handling = asyncio.create_task(runner.handle([received]))
        await asyncio.wait_for(held.began.wait(), 10)
        await world.heart.live_until(handling.done, step=SECOND)
        assert world.state() == "retrying"
    [told] = [each for each in caplog.records if each.msg == "job.watch_failed"]
    assert vars(told)["jobId"] == "job-1"
    assert told.exc_info is not None
    assert "no rule knows this" in str(told.exc_info[1])


async def do_a_job(world: JobWorld, runs: Runs) -> None:
    """One job from its message to its end, however long its store takes."""
    runner = await lone_runner(world, runs)
    await world.submit()
    (received,) = await world.heart.bus.receive("chat-suggestions", limit=1)
    handling = asyncio.create_task(runner.handle([received]))
    await world.heart.live_until(handling.done, step=SECOND)
    assert handling.result() == [Complete()]


async def test_a_result_outlasts_an_outage_of_the_database(world: JobWorld) -> None:
    """What was found is written once the database is back, with what it cost; nothing is redone."""
    runs = Outages(world.store)
    runs.finishes_away = 3
    await do_a_job(world, runs)
    assert world.state() == "succeeded"
    assert world.job()["cost_nano_usd"] == COST
    assert len(world.chat.runs) == 1


async def test_a_commit_whose_answer_was_lost_counts_once(world: JobWorld) -> None:
    """Whoever does not know whether an end was written writes it again: the money is the same."""
    runs = Outages(world.store)
    runs.answers_lost = 2
    await do_a_job(world, runs)
    assert world.job() | {"state": "succeeded", "cost_nano_usd": COST} == world.job()
    assert world.heart.rows("SELECT cost_nano_usd FROM job_metrics") == [(COST,)]
    assert world.heart.rows("SELECT cost_nano_usd FROM job_spending") == [(COST,)]


async def test_the_next_run_does_not_wait_until_the_last_ones_end_is_written(
    world: JobWorld,
) -> None:
    """A place is for a worker at work: however long its end takes, another job is done."""
    runs = Outages(world.store)
    runs.finishes_away = 1_000
    runner = await lone_runner(world, runs)
    for name in ("job-1", "job-2"):
        await world.submit(name)
    received = [
        message
        for _ in range(2)
        for message in await world.heart.bus.receive("chat-suggestions", limit=1)
    ]
    handling = asyncio.create_task(runner.handle(received))
    await world.heart.until(lambda: len(world.chat.runs) == 2)
    runs.finishes_away = 0
    await world.heart.live_until(handling.done, step=SECOND)
    assert [world.state("job-1"), world.state("job-2")] == ["succeeded", "succeeded"]


async def test_a_message_waits_for_its_place_no_longer_than_it_may(tmp_path: Path) -> None:
    """Where the host ends what is in hand for long, it is given back to come again; the place is
    free for the next one then, and its job has not begun."""
    busy = asyncio.Event()

    async def hold(run: Run) -> Mapping[str, Any]:
        await busy.wait()
        return await run.ask(question(run))

    async with job_world(tmp_path, working=False) as world:
        runner = await lone_runner(world, world.store, place_within_s=0.05)
        world.video.script.append(hold)
        for name in ("job-1", "job-2"):
            await world.submit(name, job_type=VIDEO)
        first, second = [
            message
            for _ in range(2)
            for message in await world.heart.bus.receive("video-analysis", limit=1)
        ]
        handling = asyncio.create_task(runner.handle([first]))
        await world.heart.until(lambda: len(world.video.runs) == 1)
        with pytest.raises(Unavailable, match="all places are taken"):
            await runner.handle([second])
        assert world.state("job-2") == "queued"
        busy.set()
        assert [await handling, await runner.handle([second])] == [[Complete()], [Complete()]]
        assert [world.state("job-1"), world.state("job-2")] == ["succeeded", "succeeded"]


async def test_a_letter_that_asks_for_something_else_ends_no_job(tmp_path: Path) -> None:
    """Another content under a job's id is its sender's fault: the job goes on as it would."""
    other = order("theirs-1", input={"text": "something else"})
    async with job_world(tmp_path, working=False) as world:
        job = await world.submit("theirs-1")
        ended = await SqlJobUpkeep(world.heart.database, world.store, keep=DAY).bury(
            [(other, False)]
        )
        assert (ended, world.state("theirs-1")) == (0, "queued")
        assert job.order.input != other.input


async def test_slow_videos_hold_up_no_text(tmp_path: Path) -> None:
    """However many videos wait for their source, a text job has a place."""
    async with job_world(tmp_path, ai_concurrency=4) as world:
        never = asyncio.Event()

        async def hang(_run: Run) -> Mapping[str, Any]:
            await never.wait()
            return {}

        world.video.script.extend([hang] * 8)
        for number in range(8):
            await world.submit(f"video-{number}", job_type=VIDEO)
        await world.heart.until(lambda: len(world.video.runs) >= 2)

        await world.submit("text-1")

        await world.until_state("succeeded", "text-1")
        assert len(world.video.runs) == 2
