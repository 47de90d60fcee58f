"""The console's pages of jobs: what they show, in both languages, and what their form does."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from notifications.api import create_app
from notifications.bootstrap import open_local_hub
from notifications.bus.topology import JOBS_TOPIC
from notifications.http.console.visits import CONTENT_SECURITY_POLICY
from notifications.messages import Message
from notifications.owner import own
from tests.hub_world import ADMIN_KEY, SECRETS, SETTINGS, World, hub_world, until
from tests.job_workers import CHAT, COST, VIDEO

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror=alert(1)>"
LANGUAGES = ("en", "fr")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub for all tests: a tenant with jobs that went well and ill."""
    async with hub_world(tmp_path_factory.mktemp("hub")) as world:
        for user, given in (
            ("ada", {"text": "one two three", "title": "Three words"}),
            ("hostile", {"text": HOSTILE, "title": HOSTILE}),
        ):
            await ended(world, await ask(world, user, given))
        refused = {"id": "refused-1", "jobType": VIDEO, "tenantId": "acme", "input": {}}
        message = Message(id="m1", body=orjson.dumps(refused), properties={"jobType": VIDEO})
        await world.hub.bus.publish(JOBS_TOPIC, [message])
        await until(lambda: read(world, "refused-1"), "the refused job")
        yield world


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def admin(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that is signed in; reads English."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(world.app),
        base_url="http://hub.test",
        headers={"accept-language": "en"},
    ) as client:
        await client.post("/console/sign-in", data={"key": ADMIN_KEY})
        yield client


async def ask(world: World, user: str, given: Any, tenant: str = "acme") -> str:
    """The id of a job that is asked for."""
    body = {"jobType": CHAT, "userId": user, "input": given}
    answer = await world.http.post("/v1/jobs", json=body, headers=await world.tenant(tenant))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def read(world: World, name: str, tenant: str = "acme") -> Any:
    """A job as it stands; None where there is none."""
    answer = await world.http.get(f"/v1/jobs/{name}", headers=await world.tenant(tenant))
    return answer.json() if answer.is_success else None


async def ended(world: World, name: str) -> Any:
    """A job once it has ended."""

    async def found() -> Any:
        job = await read(world, name)
        return job if job["finishedAt"] else None

    return await until(found, "the job's end")


async def newest(world: World, user: str) -> str:
    """The newest job of somebody."""
    answer = await world.http.get(
        f"/v1/jobs?userId={user}&limit=1", headers=await world.tenant("acme")
    )
    return str(answer.json()["items"][0]["id"])


async def pages(world: World) -> list[str]:
    """Every page there is of jobs."""
    return [
        "/console/jobs?tenant=acme",
        "/console/jobs?tenant=acme&state=failed&type=video.analysis",
        "/console/jobs?tenant=nobody",
        f"/console/job?tenant=acme&id={await newest(world, 'ada')}",
        f"/console/job?tenant=acme&id={await newest(world, 'hostile')}",
        "/console/job?tenant=acme&id=refused-1",
        "/console/jobs/figures",
        "/console/jobs/figures?tenant=acme&type=chat.suggest&days=90",
        "/console/jobs/figures?tenant=nobody",
    ]


async def test_every_page_of_jobs_is_one_of_the_consoles(
    world: World, admin: httpx.AsyncClient
) -> None:
    """In both languages, one heading, nothing inline, what strangers wrote is text, no phrase is
    missing; and closed to who is not signed in."""
    shown = 0
    for path in await pages(world):
        for language in LANGUAGES:
            answer = await admin.get(path, headers={"accept-language": language})
            assert answer.status_code == 200, (path, answer.text)
            assert f'<html lang="{language}">' in answer.text
            assert answer.text.count("<h1") == 1
            assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
            assert not re.search(r"<style|<[^>]* style=|<[^>]* on[a-z]+=", answer.text), path
            assert "<img src=x" not in answer.text
            assert 'aria-current="page"' in answer.text
            shown += "&lt;img src=x" in answer.text
        stranger = await world.http.get(path, headers={"accept-language": "en"})
        assert (stranger.status_code, "sign-in" in stranger.headers["location"]) == (303, True)
    assert shown >= 4


async def test_a_job_is_shown_with_what_it_took_and_what_was_told(
    world: World, admin: httpx.AsyncClient
) -> None:
    """Summary, cost, input, result, and its events, each leading to what became of it."""
    name = await newest(world, "ada")
    text = (await admin.get(f"/console/job?tenant=acme&id={name}")).text
    assert '<p class="lead">3 words in fr</p>' in text  # nobody said how she reads
    assert f"${COST / 1e9:.4f}" in text
    assert "&#34;text&#34;: &#34;one two three&#34;" in text
    assert "&#34;words&#34;: 3" in text
    links = re.findall(r'href="(/console/event\?[^"]+)"', text)
    told = [link.rpartition("id=")[2].removeprefix(f"{name}.") for link in links]
    assert told == ["queued", "started.1", "progress.1.1", "end"]
    for link in links:
        event = await admin.get(link.replace("&amp;", "&"))
        assert event.status_code == 200
        assert f'href="/console/job?tenant=acme&amp;id={name}"' in event.text  # and back
    assert "data-from" not in text  # nothing changes any more: nobody asks again


async def test_why_a_job_failed_is_said_as_its_user_is_told(admin: httpx.AsyncClient) -> None:
    """In the viewer's language, with the hub's own words beside."""
    path = "/console/job?tenant=acme&id=refused-1"
    english = (await admin.get(path)).text
    french = (await admin.get(path, headers={"accept-language": "fr"})).text
    assert "Some of the information provided is not valid." in english
    assert "Certaines informations fournies ne sont pas valides." in french
    assert "<code>invalid-input</code>" in english
    listed = (await admin.get("/console/jobs?tenant=acme&state=failed")).text
    assert "Some of the information provided is not valid." in listed


async def test_the_list_is_narrowed_down_and_goes_on(
    world: World, admin: httpx.AsyncClient
) -> None:
    """By state, type and user; the next page goes on where the last one ended, filters kept."""
    names = {await ask(world, "pager", {"text": f"word {n}"}) for n in range(30)}
    seen: list[str] = []
    path: str | None = "/console/jobs?tenant=acme&user=pager&type=chat.suggest"
    while path:
        text = (await admin.get(path)).text
        seen += re.findall(r'<code class="dim">(job_\w+)</code>', text)
        further = re.search(r'rel="next" href="([^"]+)"', text)
        path = further[1].replace("&amp;", "&") if further else None
    assert len(seen) == len(names)
    assert set(seen) == names
    other = (await admin.get("/console/jobs?tenant=acme&user=pager&state=failed")).text
    assert "There is no such job." in other
    gone = (await admin.get("/console/jobs?tenant=acme&type=gone.type")).text
    assert '<option value="gone.type" selected>' in gone  # what is chosen shows


async def test_a_running_job_has_a_bar_and_is_cancelled_by_its_form(
    world: World, admin: httpx.AsyncClient
) -> None:
    """The part that changes shows its progress; without the form's token nothing happens, with it
    the job ends."""
    name = await ask(world, "ada", {"text": "slow", "sleepMs": 60_000})
    live = f"/console/job/live?tenant=acme&id={name}"

    async def moving() -> str | None:
        text = (await admin.get(live)).text
        return text if 'value="30"' in text else None

    text = await until(moving, "its progress")
    assert f'data-from="/console/job/live?tenant=acme&amp;id={name}"' in text
    row = (await admin.get("/console/jobs/live?tenant=acme&state=running")).text
    assert f'<progress max="100" value="30" data-key="{name}"' in row

    form = {"tenant": "acme", "id": name}
    assert (await admin.post("/console/job/cancel", data=form)).status_code == 403
    assert (await read(world, name))["state"] == "running"
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', text)
    assert token
    done = await admin.post("/console/job/cancel", data={**form, "csrf": token[1]})
    assert done.headers["location"] == f"/console/job?tenant=acme&id={name}&done=job-stopping"
    assert (await ended(world, name))["state"] == "cancelled"
    again = await admin.post("/console/job/cancel", data={**form, "csrf": token[1]})
    assert again.headers["location"].endswith("done=job-cancelled")
    assert "Somebody cancelled it." in (await admin.get(live)).text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/console/job?tenant=acme&id=none", 404),
        ("/console/job?tenant=other&id=refused-1", 404),
        ("/console/job?tenant=acme", 422),
        ("/console/jobs?tenant=acme&cursor=junk", 422),
        ("/console/jobs/live", 422),
        ("/console/jobs/figures?tenant=no%20tenant", 422),
        ("/console/jobs/nowhere", 404),
    ],
)
async def test_what_is_not_there_is_said_in_a_page(
    admin: httpx.AsyncClient, path: str, status: int
) -> None:
    """Another tenant's job is none; an error is a page for a person."""
    answer = await admin.get(path)
    assert answer.status_code == status
    assert "<h1>" in answer.text


async def test_the_plots_show_what_the_table_says(world: World, admin: httpx.AsyncClient) -> None:
    """Each has a title, a description and a table; what is drawn is what the API counts."""
    answer = await world.http.get("/v1/metrics/jobs", headers=await world.tenant("acme"))
    figures = answer.json()["items"]
    cost = sum(each["costUsd"] for each in figures)
    text = (await admin.get("/console/jobs/figures?tenant=acme")).text
    assert len(re.findall(r'<svg class="plot"', text)) == 2  # the cost, and one type that ran
    assert text.count("<desc ") == 2
    assert text.count("As a table") == 2
    assert re.findall(r'<rect class="bar s0" [^>]*width="\d{2,}" height="(\d+)"', text)
    assert re.search(rf"<title>\w+ \d+ · counting-1: \${cost:.4f}".rstrip("0"), text)
    (panel,) = (each for each in figures if each["model"] == "counting-1")
    dots = re.findall(r'<circle class="dot s(\d)" cx="\d+" cy="\d+" r="34">', text)
    assert dots == ["0", "1", "2"]
    assert f">{panel['count']}</td>" in text


async def test_without_workers_there_are_no_jobs_in_the_console(tmp_path: Path) -> None:
    """A hub that runs nothing beside its own leads nowhere that there is nothing."""
    with own(tmp_path / "data") as folder:
        async with (
            open_local_hub(SETTINGS, SECRETS, folder) as hub,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(create_app(hub)), base_url="http://hub.test"
            ) as client,
        ):
            await client.post("/console/sign-in", data={"key": ADMIN_KEY})
            assert "/console/jobs" not in (await client.get("/console/users")).text
            assert (await client.get("/console/jobs")).status_code == 404
