"""Jobs over HTTP: asked for, looked at, cancelled; and what is wrong is said."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.hub_world import World, hub_world, until
from tests.job_workers import COST

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKED: Mapping[str, Any] = {
    "jobType": "chat.suggest",
    "userId": "ada",
    "input": {"text": "one two three"},
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub for all tests."""
    async with hub_world(tmp_path_factory.mktemp("hub")) as world:
        yield world


async def ask(world: World, tenant: str = "acme", **changes: Any) -> Any:
    """The answer to a job that is asked for."""
    headers = await world.tenant(tenant)
    return await world.http.post("/v1/jobs", json={**ASKED, **changes}, headers=headers)


async def read(world: World, name: str, tenant: str = "acme") -> Any:
    """A job as it stands."""
    answer = await world.http.get(f"/v1/jobs/{name}", headers=await world.tenant(tenant))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ended(world: World, name: str) -> Any:
    """A job once it has ended."""

    async def found() -> Any:
        job = await read(world, name)
        return job if job["finishedAt"] else None

    return await until(found, "the job's end")


async def test_a_job_is_asked_for_and_read(world: World) -> None:
    """202 with its id; then its result, its cost and its times."""
    answer = await ask(world)
    assert answer.status_code == 202
    assert answer.json()["state"] == "queued"
    job = await ended(world, answer.json()["id"])
    assert job["state"] == "succeeded"
    assert job["result"]["words"] == 3
    assert job["input"] == ASKED["input"]
    assert job["usage"]["model"] == "counting-1"
    assert job["attempt"] == 1
    assert job["createdAt"] <= job["startedAt"] <= job["finishedAt"]


async def test_its_end_is_an_event_with_what_it_took(world: World) -> None:
    """The event is there under the job's name."""
    name = (await ask(world)).json()["id"]
    await ended(world, name)
    answer = await world.http.get(f"/v1/events/{name}.end", headers=await world.tenant("acme"))
    assert answer.json()["event"]["data"]["usage"]["model"] == "counting-1"


async def test_a_list_shows_the_newest_first_and_is_filtered(world: World) -> None:
    """By state, type and user; without inputs and results."""
    names = [(await ask(world, "lister", userId=f"u{n}")).json()["id"] for n in range(3)]
    headers = await world.tenant("lister")
    page = (await world.http.get("/v1/jobs?limit=2", headers=headers)).json()
    assert [each["id"] for each in page["items"]] == names[:0:-1]
    assert "input" not in page["items"][0]
    rest = await world.http.get(f"/v1/jobs?cursor={page['nextCursor']}", headers=headers)
    assert [each["id"] for each in rest.json()["items"]] == names[:1]
    mine = await world.http.get("/v1/jobs?userId=u1&jobType=chat.suggest", headers=headers)
    assert [each["id"] for each in mine.json()["items"]] == [names[1]]
    none = await world.http.get("/v1/jobs?state=expired", headers=headers)
    assert none.json()["items"] == []


async def test_a_job_that_runs_is_cancelled_soon(world: World) -> None:
    """The answer says how it stands; a moment later it has ended."""
    name = (await ask(world, input={"text": "x", "sleepMs": 60_000})).json()["id"]

    async def runs() -> Any:
        return (await read(world, name))["state"] == "running"

    await until(runs, "its run")
    headers = await world.tenant("acme")
    answer = await world.http.post(f"/v1/jobs/{name}/cancel", headers=headers)
    assert answer.status_code == 200
    assert (await ended(world, name))["state"] == "cancelled"
    again = await world.http.post(f"/v1/jobs/{name}/cancel", headers=headers)
    assert again.json()["state"] == "cancelled"


async def test_a_key_is_one_job(world: World) -> None:
    """The same content is a duplicate, another 409."""
    first = (await ask(world, idempotencyKey="k1")).json()
    again = await ask(world, idempotencyKey="k1")
    assert again.status_code == 202
    assert again.json()["id"] == first["id"]
    assert again.json()["duplicate"]
    other = await ask(world, idempotencyKey="k1", input={"text": "other"})
    assert other.status_code == 409


@pytest.mark.parametrize(
    ("changes", "pointer", "word"),
    [
        ({"jobType": "chat.sugest"}, "/jobType", "did you mean chat.suggest?"),
        ({"jobType": "x"}, "/jobType", "there are chat.suggest, video.analysis"),
        ({"jobType": 7}, "/jobType", "string"),
        ({"input": {}}, "/input/text", "required"),
        ({"input": {"text": "x", "colour": "red"}}, "/input/colour", "not a field"),
        ({"input": {"text": "x", "locale": "de"}}, "/input/locale", "must be one of fr, en"),
        ({"input": []}, "/input", "dictionary"),
        ({"userId": "a b"}, "/userId", "no spaces"),
        ({"idempotencyKey": ""}, "/idempotencyKey", "match"),
        ({"idempotencyKey": "é"}, "/idempotencyKey", "match"),
        ({"priority": 1}, "/priority", "Extra"),
    ],
)
async def test_what_is_wrong_is_said_with_its_place(
    world: World, changes: Mapping[str, Any], pointer: str, word: str
) -> None:
    """422, the place, and what would be right; nothing is stored."""
    answer = await ask(world, "wrong", **changes)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert word in error["detail"]
    listed = await world.http.get("/v1/jobs", headers=await world.tenant("wrong"))
    assert listed.json()["items"] == []


async def test_what_no_message_can_carry_is_refused(tmp_path: Path) -> None:
    """An input that its schema takes and the bus would not."""
    async with hub_world(tmp_path) as world:
        answer = await ask(world, input={"text": "é" * 99_000, "title": "x"})
        assert answer.status_code == 422
        assert "over 196608 bytes" in answer.json()["errors"][0]["detail"]


async def test_without_a_user_there_is_no_job(world: World) -> None:
    """Somebody has to get the result."""
    body = {name: value for name, value in ASKED.items() if name != "userId"}
    answer = await world.http.post("/v1/jobs", json=body, headers=await world.tenant("acme"))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/userId"


async def test_what_jobs_took_is_there_by_day(world: World) -> None:
    """A tenant sees its own figures, the admin everybody's."""
    name = (await ask(world, "counted")).json()["id"]
    headers = await world.tenant("counted")

    async def counted() -> Any:
        job = (await world.http.get(f"/v1/jobs/{name}", headers=headers)).json()
        return job["finishedAt"]

    await until(counted, "its end")
    (item,) = (await world.http.get("/v1/metrics/jobs", headers=headers)).json()["items"]
    assert (item["tenantId"], item["count"], item["failures"]) == ("counted", 1, 0)
    assert item["costUsd"] > 0
    everybody = await world.http.get("/v1/metrics/jobs?jobType=chat.suggest", headers=world.admin)
    assert {"counted", "acme"} <= {each["tenantId"] for each in everybody.json()["items"]}
    wrong = await world.http.get("/v1/metrics/jobs?since=yesterday", headers=headers)
    assert wrong.status_code == 422


async def test_over_the_budget_new_jobs_are_refused(world: World) -> None:
    """429 with its reason and when to ask again; the owners are told of each share by an event,
    and with more budget jobs are taken."""
    headers = await world.tenant("spender")
    small = {"monthlyBudgetUsd": 0.001, "refuseOverBudget": True}
    put = await world.http.put("/v1/tenants/spender", json=small, headers=headers)
    assert put.status_code == 200
    name = (await ask(world, "spender")).json()["id"]

    async def over() -> Any:
        answer = await ask(world, "spender")
        return answer if answer.status_code == 429 else None

    refused = await until(over, "the end of the budget")
    assert refused.json()["type"] == "urn:huntaze:problem:too-many-requests"
    assert "0.001 US dollars, is spent" in refused.json()["detail"]
    assert 1 <= int(refused.headers["retry-after"]) <= 3_600
    told = await world.http.get("/v1/events?type=budget.threshold", headers=headers)
    events = [each["event"] for each in told.json()["items"]]
    assert [each["data"]["thresholdPercent"] for each in events] == [100, 80, 50]
    assert all(each["data"]["refusing"] for each in events)
    assert (await read(world, name, "spender"))["state"] == "succeeded"

    more = {**small, "monthlyBudgetUsd": 100}
    await world.http.put("/v1/tenants/spender", json=more, headers=headers)
    assert (await ask(world, "spender")).status_code == 202


async def test_metrics_count_jobs_by_type_and_state_without_naming_a_tenant(world: World) -> None:
    """Counts, cost and run seconds; a histogram's last bucket is its count."""
    before = _samples((await world.http.get("/metrics")).text)
    name = (await ask(world, "unnamed", jobType="video.analysis")).json()["id"]

    async def over() -> Any:
        return (await read(world, name, "unnamed"))["finishedAt"]

    await until(over, "the job's end")
    text = (await world.http.get("/metrics")).text
    after = _samples(text)
    grown = {each: after[each] - before.get(each, 0) for each in after}
    for state in ("queued", "running", "succeeded"):
        assert grown[f'huntaze_jobs_total{{type="video.analysis",state="{state}"}}'] == 1
    cost = grown['huntaze_job_cost_usd_total{type="video.analysis"}']
    assert cost == pytest.approx(COST / 1e9)
    for sample in ("_bucket", "_count"):
        labels = 'type="video.analysis"' + (',le="+Inf"' if sample == "_bucket" else "")
        assert grown[f"huntaze_job_run_seconds{sample}{{{labels}}}"] == 1
    assert "unnamed" not in text


def _samples(text: str) -> dict[str, float]:
    """What Prometheus would read."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
