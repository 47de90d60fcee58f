"""A job type of one's own, added to a copy of the hub exactly as `docs/jobs.md` says."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.docs_code import DOCS
from tests.hub_process import ROOT, HubProcess, hub_process, wait_until

FILE = re.compile(r"^`(\S+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINE = re.compile(
    r"^\d\. A line in `_JOBS` of `(\S+)`:\n\n```text\n(.*?)^```", re.MULTILINE | re.DOTALL
)
SHIPPED = ("ai_workers", "notifications", "schemas", "templates")
JOB_TYPE = "caption.write"


def add_job_type(tree: Path) -> list[str]:
    """Follow the recipe; the files that it adds."""
    page = (DOCS / "jobs.md").read_text("utf-8")
    files = FILE.findall(page)
    for name, text in files:
        path = tree / name
        assert not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    ((name, line),) = LINE.findall(page)
    topology = (tree / name).read_text("utf-8")
    assert topology.count("_JOBS = (\n") == 1
    (tree / name).write_text(topology.replace("_JOBS = (\n", f"_JOBS = (\n    {line}"), "utf-8")
    return [name for name, _ in files]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub from a tree with the new type."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SHIPPED:
        shutil.copytree(ROOT / name, tree / name)
    shutil.copy2(ROOT / "local_app.py", tree)
    added = add_job_type(tree)
    assert [name for name in added if name.endswith(".py")] == ["ai_workers/workers/caption.py"]
    assert len([name for name in added if name.startswith("schemas/jobs/")]) == 2
    assert {Path(name).parent.name for name in added[3:]} == {JOB_TYPE}
    program = [sys.executable, str(tree / "local_app.py")]
    data = tmp_path_factory.mktemp("data")
    with hub_process(data, {"HUNTAZE_LOG": "warning"}, program) as hub:
        yield hub


def test_a_new_type_is_asked_for_done_shown_and_counted(hub: HubProcess) -> None:
    """Its input is held against its schema, the offline model answers, its user is told, the
    console shows it, and the figures have it."""
    headers = hub.tenant_headers("acme")
    with httpx.Client(base_url=hub.url, headers=headers, timeout=20) as http:
        refused = http.post("/v1/jobs", json={**asked(), "input": {"words": 3}})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == "/input/about"
        name = http.post("/v1/jobs", json=asked()).json()["id"]
        wait_until(lambda: http.get(f"/v1/jobs/{name}").json()["finishedAt"], within_s=20)
        job = http.get(f"/v1/jobs/{name}").json()
        assert (job["state"], job["usage"]["model"]) == ("succeeded", "offline")
        assert job["result"]["summary"]
        wait_until(lambda: told(http, name), within_s=20)
        (figure,) = http.get("/v1/metrics/jobs").json()["items"]
        assert (figure["jobType"], figure["count"], figure["failures"]) == (JOB_TYPE, 1, 0)
    with httpx.Client(base_url=hub.url, headers={"accept-language": "en"}) as browser:
        browser.post("/console/sign-in", data={"key": hub.admin_key})
        row = browser.get(f"/console/jobs?tenant=acme&type={JOB_TYPE}").text
        assert name in row
        assert "Under the cherry trees" in row
        assert JOB_TYPE in browser.get("/console/jobs/figures").text


def asked() -> dict[str, object]:
    """The job."""
    given = {"title": "Under the cherry trees", "about": "A picnic in April."}
    return {"jobType": JOB_TYPE, "userId": "ada", "input": given}


def told(http: httpx.Client, name: str) -> bool:
    """Whether the user's inbox says how it ended."""
    items = http.get("/v1/inbox?userId=ada").json()["items"]
    return [(each["type"], each["eventId"]) for each in items] == [("job.succeeded", f"{name}.end")]
