"""Jobs of a real hub process: asked for over HTTP, done, told to their user; killed and gone on."""

import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.hub_process import ROOT, HubProcess, hub_process, run_huntaze, wait_until
from tests.job_workers import CHAT, COST, VIDEO

SETTINGS = {"HUNTAZE_LOG": "warning", "HUNTAZE_AI_CONCURRENCY": "4"}
KILLS = 3
JOBS = 24


def host(folder: Path) -> list[str]:
    """The command that runs a hub with small workers."""
    return [sys.executable, str(ROOT / "tests" / "job_host.py"), str(folder / "schemas")]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    """A hub with small workers."""
    (tmp_path / "data").mkdir()
    with hub_process(tmp_path / "data", SETTINGS, host(tmp_path)) as hub:
        yield hub


def job(number: int = 0, **given: Any) -> dict[str, Any]:
    """A job as it is asked for."""
    kind = (CHAT, VIDEO)[number % 2]
    asked = {"text": f"one two {number}", "title": f"Job {number}", **given}
    return {"jobType": kind, "userId": "ada", "input": asked, "idempotencyKey": f"k{number}"}


def test_a_job_is_asked_for_done_and_shown_to_its_user(hub: HubProcess) -> None:
    """Queued, then succeeded with result and cost; one inbox row tells of it; nothing is wrong."""
    headers = hub.tenant_headers("acme")
    with httpx.Client(base_url=hub.url, headers=headers) as http:
        profile = {"email": "ada@example.com", "locale": "en"}
        assert http.put("/v1/users/ada", json=profile).is_success
        asked = http.post("/v1/jobs", json=job())
        assert asked.status_code == 202
        name = asked.json()["id"]
        assert asked.json() == {"id": name, "state": "queued", "duplicate": False}

        def done() -> bool:
            return http.get(f"/v1/jobs/{name}").json()["state"] == "succeeded"

        wait_until(done, within_s=20)
        found = http.get(f"/v1/jobs/{name}").json()
        assert found["result"] == {"summary": "3 words in en", "words": 3}
        assert found["usage"]["costUsd"] == COST / 1e9
        assert found["progress"] == 100

        def shown() -> list[Any]:
            items = http.get("/v1/inbox?userId=ada").json()["items"]
            return [each for each in items if each["type"] == "job.succeeded"]

        wait_until(shown, within_s=20)
        items = http.get("/v1/inbox?userId=ada").json()["items"]
        assert [each["body"] for each in items] == ["3 words in en"]
        again = http.post("/v1/jobs", json=job())
        assert again.json() == {"id": name, "state": "succeeded", "duplicate": True}
    audited = run_huntaze(["audit", "--data", str(hub.data)])
    assert audited.returncode == 0, audited.stdout + audited.stderr


@pytest.mark.long
def test_jobs_go_on_after_the_hub_was_killed(hub: HubProcess) -> None:
    """Killed and started again and again: every job reaches one end, told once, and counted.

    One that was in hand each time is thought to be what kills, and fails.
    """
    headers = hub.tenant_headers("acme")
    names: set[str] = set()
    for kill in range(KILLS):
        with httpx.Client(base_url=hub.url, headers=headers) as http:
            for number in range(JOBS):
                answer = http.post("/v1/jobs", json=job(number, sleepMs=100 * (number % 4)))
                assert answer.status_code == 202, answer.text
                names.add(answer.json()["id"])
        time.sleep(0.1 * kill)  # the moment of the kill is what is tried, not waited for
        hub.kill()
        hub.start()
    assert len(names) == JOBS

    def ended() -> Counter[str]:
        items = httpx.get(f"{hub.url}/v1/jobs?limit=200", headers=headers).json()["items"]
        ends = [each for each in items if each["finishedAt"]]
        assert {each["error"]["code"] for each in ends if each["error"]} <= {"interrupted"}
        return Counter(each["state"] for each in ends)

    wait_until(lambda: ended().total() == JOBS, within_s=90)
    ends = ended()
    assert ends["succeeded"] >= JOBS - 4
    assert hub.stop() == 0
    with closing(sqlite3.connect(hub.data / "hub.db")) as database:
        events = database.execute("SELECT body FROM events WHERE id LIKE '%.end'").fetchall()
        counting = "SELECT count(*) FILTER (WHERE cost_nano_usd >= ?), count(*) FROM job_metrics"
        paid, counted = database.execute(counting, (COST,)).fetchone()
        months = database.execute("SELECT sum(cost_nano_usd) FROM job_spending").fetchone()
        rows = database.execute("SELECT sum(cost_nano_usd) FROM jobs").fetchone()
    told = [orjson.loads(body)["jobid"] for (body,) in events]
    assert sorted(told) == sorted(names)
    assert paid >= ends["succeeded"]
    assert counted == JOBS
    assert months == rows
    audited = run_huntaze(["audit", "--data", str(hub.data)])
    assert audited.returncode == 0, audited.stdout + audited.stderr
