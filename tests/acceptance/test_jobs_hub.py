"""Jobs of a real hub process: asked for over HTTP, done, told to their user."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hub_process import ROOT, HubProcess, hub_process, run_huntaze, wait_until
from tests.job_workers import CHAT, COST, VIDEO

SETTINGS = {"HUNTAZE_LOG": "warning", "HUNTAZE_AI_CONCURRENCY": "4"}


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
