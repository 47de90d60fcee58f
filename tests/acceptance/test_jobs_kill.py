"""The hub is killed -9 while jobs of all types run, and every job ends once, told and paid."""

import asyncio
import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hub_process import HubProcess, hub_process, run_huntaze
from tests.job_load import (
    CANCELLED,
    FAILS,
    Books,
    Ends,
    cancel_what_hangs,
    short_video,
    submit_all,
)
from tests.kill_load import make_endpoint

SEEDS = os.environ.get("KILL_SEEDS", "")
JOBS, KILLS = (200, 10) if SEEDS else (40, 2)
MOST_QUESTIONS = 2
"""That a run asks: the second is a repair."""

WITHIN_S = 120
SETTINGS = {
    "HUNTAZE_RETRY_VIDEO": "200ms,400ms,1s",
    "HUNTAZE_RETRY_LIGHT": ",".join(["200ms"] * 5),
    "HUNTAZE_RETRY_NOTIFICATIONS": ",".join(["200ms"] * 10),
    "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HUNTAZE_AI_KEY": "sample-key",
    "HUNTAZE_LOG": "warning",
}


async def kill_now_and_then(hub: HubProcess, ends: Ends, dice: random.Random) -> None:
    """Kill and start the hub again, while jobs are being done."""
    for kill in range(KILLS):
        point = JOBS * (kill + dice.random()) / (KILLS + 1)
        give_up = time.monotonic() + WITHIN_S
        while len(ends.ended) < point:
            assert time.monotonic() < give_up, f"{len(ends.ended)} of {point} jobs ended"
            await asyncio.sleep(0.01)
        await asyncio.sleep(dice.random() * 0.2)  # the moment is what is tried, not waited for
        await asyncio.to_thread(hub.kill)
        await asyncio.to_thread(hub.start)


def read(hub: HubProcess, headers: dict[str, str], names: dict[int, str]) -> dict[int, Any]:
    """Every job, as the API shows it."""
    with httpx.Client(base_url=hub.url, headers=headers, timeout=30) as http:
        return {number: http.get(f"/v1/jobs/{name}").json() for number, name in names.items()}


def figures(hub: HubProcess, headers: dict[str, str]) -> list[dict[str, Any]]:
    """What jobs took, by day, type and model."""
    answer = httpx.get(f"{hub.url}/v1/metrics/jobs", headers=headers, timeout=30)
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def nano(usd: float) -> int:
    """A sum of money in billionths of a dollar, in which it is whole."""
    return round(usd * 1e9)


def killed_runs(data: Path, found: dict[int, Any]) -> dict[int, int]:
    """By job: how many of its runs began and neither ended nor gave their place to another."""
    query = "SELECT job_id, type, count(*) FROM job_events GROUP BY job_id, type"
    with closing(sqlite3.connect(data / "hub.db")) as database:
        counts = {(name, kind): count for name, kind, count in database.execute(query)}
    runs = {}
    for number, job in found.items():
        began = counts.get((job["id"], "job.started"), 0)
        ended = counts.get((job["id"], "job.retrying"), 0) + (code_of(job) != "interrupted")
        runs[number] = began - ended
    return runs


def spent(data: Path) -> tuple[int, int]:
    """What the tenants' months say was spent, and what the jobs do."""
    with closing(sqlite3.connect(data / "hub.db")) as database:
        (months,) = database.execute("SELECT sum(cost_nano_usd) FROM job_spending").fetchone()
        (jobs,) = database.execute("SELECT sum(cost_nano_usd) FROM jobs").fetchone()
    return months, jobs


def code_of(job: dict[str, Any]) -> str | None:
    """Why a job failed."""
    return job["error"]["code"] if job["error"] and job["state"] == "failed" else None


def check_ends(ends: Ends, found: dict[int, Any]) -> None:
    """Each job has one end, which is the one that was told, under one id."""
    told = {name: of for name, of in ends.told.items() if name.endswith(".end")}
    assert told == {
        f"{job['id']}.end": {(f"job.{job['state']}", job["id"])} for job in found.values()
    }
    assert {len(set(ends.calls[name])) for name in told} == {1}
    for number, job in found.items():
        fails = number % 20 in FAILS
        code = "model-reply-invalid" if number % 20 == 5 else "content-filter"
        assert code_of(job) in ("interrupted", code if fails else None), (number, job)
        assert (job["state"] == "failed") == (code_of(job) is not None), (number, job)
        cancelled = number % 20 in CANCELLED and code_of(job) is None
        assert (job["state"] == "cancelled") == cancelled, (number, job)


def check_money(books: Books, found: dict[int, Any], killed: dict[int, int]) -> None:
    """What the server counted is what the job cost; a killed run may lack its own questions.

    A job that was cancelled cost what its model had read by then. Where a kill came before its run
    had ended, no further run tells of the one that was killed.
    """
    assert min(killed.values()) >= 0
    assert sum(killed.values()) > 0, "no kill met a run"
    exact = 0
    for number, job in found.items():
        costs = sorted(books.costs(number), reverse=True)
        lost = sum(costs) - nano(job["usage"]["costUsd"])
        if number % 20 in CANCELLED:
            assert 0 <= lost <= sum(costs), (number, lost, costs)
            exact += lost == 0 < sum(costs)
        else:
            assert 0 <= lost <= sum(costs[: MOST_QUESTIONS * killed[number]]), (number, lost, costs)
    # Of a few that were cancelled a kill may have met each.
    assert exact or JOBS < 200, "no question of a job that was cancelled is paid"
    assert any(found[number]["usage"]["costUsd"] for number in found if number % 20 in FAILS)


@pytest.mark.long
@pytest.mark.parametrize("seed", [int(each) for each in (SEEDS or "20261126").split()])
@pytest.mark.fault("the hub is killed -9 while AI jobs run", "ourselves")
async def test_every_job_ends_once_and_is_paid_though_the_hub_is_killed(
    tmp_path: Path, seed: int
) -> None:
    """Each has one end, told under one id; its money is what the model's server counted, failed
    runs included, save what a run that was killed had not written down."""
    data = tmp_path / "data"
    data.mkdir()
    books = Books.open(delay_s=0.15)
    async with Ends(short_video(tmp_path)) as ends, books.server as server:
        settings = {**SETTINGS, "HUNTAZE_AI_ENDPOINT": server.url}
        with hub_process(data, settings) as hub:
            headers = await asyncio.to_thread(hub.tenant_headers, "t1")
            await make_endpoint(hub, headers, ends.url)
            killing = asyncio.create_task(kill_now_and_then(hub, ends, random.Random(seed)))
            cancelling = asyncio.create_task(cancel_what_hangs(hub, headers, books, ends))
            names = await submit_all(hub, headers, JOBS, ends.video_url)
            await killing
            give_up = time.monotonic() + WITHIN_S
            while ends.ended < set(names.values()):
                left = len(names) - len(ends.ended)
                assert time.monotonic() < give_up, f"{left} jobs have not ended"
                if cancelling.done():
                    cancelling.result()
                await asyncio.sleep(0.05)
            cancelling.cancel()
            found = await asyncio.to_thread(read, hub, headers, names)
            rolled_up = await asyncio.to_thread(figures, hub, headers)
            arguments = ["audit", "--data", str(data)]
            audit = await asyncio.to_thread(run_huntaze, arguments, settings)

    check_ends(ends, found)
    check_money(books, found, killed_runs(data, found))
    assert sum(each["count"] for each in rolled_up) == JOBS
    failed = [job for job in found.values() if job["state"] == "failed"]
    assert sum(each["failures"] for each in rolled_up) == len(failed)
    for name in ("inputTokens", "outputTokens"):
        assert sum(each[name] for each in rolled_up) == sum(
            job["usage"][name] for job in found.values()
        )
    assert sum(nano(each["costUsd"]) for each in rolled_up) == sum(
        nano(job["usage"]["costUsd"]) for job in found.values()
    )
    months, jobs = spent(data)
    assert months == jobs
    assert audit.returncode == 0, audit.stdout + audit.stderr
