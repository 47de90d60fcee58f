"""Health, counts, and what every answer carries."""

import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from notifications.errors import StoreUnavailable
from notifications.retries import MINUTE
from notifications.stores import tables
from notifications.stores.writable import FRESH_MS, WriteProbe
from notifications.testing import ManualClock
from tests.bus_worlds import held
from tests.hub_world import World, document, hub_world, until

ORIGIN = "https://app.huntaze.example"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A hub that pages of one origin may call."""
    async with hub_world(tmp_path, allowed_origins=(ORIGIN,)) as world:
        yield world


def sample(text: str, name: str) -> float:
    """A metric's value."""
    (found,) = [line for line in text.splitlines() if line.startswith(name + " ")]
    return float(found.rpartition(" ")[2])


async def test_a_hub_at_work_is_alive_and_ready(world: World) -> None:
    """200 on both, without a key."""
    alive, ready = await world.http.get("/healthz"), await world.http.get("/readyz")

    assert alive.json() == {"status": "ok"}
    assert ready.json()["status"] == "ready"
    assert ready.json()["checks"] == ["database", "database-writes"]


async def test_without_its_database_a_hub_is_alive_and_not_ready(world: World) -> None:
    """503 on /readyz names what fails; /healthz stays 200, since a restart mends nothing."""
    await world.hub.database.close()

    alive, ready = await world.http.get("/healthz"), await world.http.get("/readyz")

    assert alive.status_code == 200
    assert ready.status_code == 503
    assert ready.json()["detail"] == "Not ready: database, database-writes."
    assert ready.headers["retry-after"]


async def test_a_hub_that_can_read_and_not_write_is_not_ready(world: World) -> None:
    """While somebody else holds the file's write lock, /readyz is 503 and says what fails; asked
    again at once it does not write again; once the lock is gone, it is ready."""
    clock = ManualClock()
    probe = WriteProbe(world.hub.database, clock, patience_s=1.0)
    services = world.app.state.services
    probes = {**services.vitals.probes, "database-writes": probe}
    vitals = replace(services.vitals, probes=probes)
    world.app.state.services = replace(services, vitals=vitals)

    with held(world.hub.database.path):
        locked = await world.http.get("/readyz")
    at_once = await world.http.get("/readyz")
    await clock.advance(FRESH_MS)
    later = await world.http.get("/readyz")

    assert locked.status_code == 503
    assert locked.json()["detail"] == "Not ready: database-writes."
    assert (at_once.status_code, later.status_code) == (503, 200)


async def swept(world: World) -> bool:
    """Whether a whole sweep is over."""
    return world.hub.sweep.last_at is not None


async def test_asking_whether_it_can_be_written_leaves_nothing(world: World) -> None:
    """The row that is written to find out is gone with the same commit."""
    await until(lambda: swept(world), "the first sweep, which leaves marks of its own")
    marks = sa.select(sa.func.count()).select_from(tables.marks)
    before = await world.hub.database.read(lambda c: c.execute(marks).scalar_one())

    await WriteProbe(world.hub.database, ManualClock())()

    after = await world.hub.database.read(lambda c: c.execute(marks).scalar_one())
    assert after == before


async def test_a_hub_whose_file_may_not_grow_is_not_ready(world: World) -> None:
    """A full file is found although there is room for a small row in it."""
    database = world.hub.database
    pages = await database.read(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one())
    limit = "PRAGMA max_page_count = "
    await database.write(lambda tx: tx.connection.exec_driver_sql(f"{limit}{pages}").close())

    with pytest.raises(StoreUnavailable):
        await WriteProbe(database, ManualClock())()


async def test_a_hub_whose_sweep_is_late_is_not_ready(world: World) -> None:
    """The last sweep six minutes ago makes /readyz 503."""
    services = world.app.state.services
    long_ago = services.clock.now() - 6 * MINUTE
    vitals = replace(services.vitals, sweep_at=lambda: long_ago)
    world.app.state.services = replace(services, vitals=vitals)

    ready = await world.http.get("/readyz")
    metrics = await world.http.get("/metrics")

    assert ready.status_code == 503
    assert ready.json()["detail"] == "Not ready: sweep."
    assert sample(metrics.text, "huntaze_sweep_age_seconds") >= 360


async def test_metrics_count_events_deliveries_and_requests(world: World) -> None:
    """Counts move with what happens, and name no tenant."""
    headers = await world.tenant("acme")
    for each in (document("m-1"), document("m-1"), document("m-1", source="/other")):
        await world.http.post("/v1/events", json=each, headers=headers)
    await world.http.get("/v1/events/absent", headers=headers)
    await world.http.get("/nowhere")

    await until(lambda: routed(world, headers), "the deliveries")
    answer = await world.http.get("/metrics")

    text = answer.text
    delivered = 'huntaze_deliveries_total{channel="realtime",state="delivered"}'
    assert sample(text, delivered) == 1
    assert sample(text, 'huntaze_deliveries_total{channel="webhook",state="skipped"}') == 1
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert sample(text, 'huntaze_events_total{outcome="accepted"}') == 1
    assert sample(text, 'huntaze_events_total{outcome="duplicate"}') == 1
    assert sample(text, 'huntaze_events_total{outcome="conflict"}') == 1
    assert sample(text, "huntaze_sockets") == 0
    name = "huntaze_http_requests_total"
    read_often = f'{name}{{method="GET",route="/v1/events/{{id:path}}",status="200"}}'
    assert sample(text, read_often) >= 1
    published = f'{name}{{method="POST",route="/v1/events",status="202"}}'
    read = f'{name}{{method="GET",route="/v1/events/{{id:path}}",status="404"}}'
    nowhere = f'{name}{{method="GET",route="-",status="404"}}'
    assert [sample(text, each) for each in (published, read, nowhere)] == [2, 1, 1]
    assert "acme" not in text


async def routed(world: World, headers: Mapping[str, str]) -> bool:
    """Whether event m-1 has its deliveries."""
    found = await world.http.get("/v1/events/m-1", headers=headers)
    return bool(found.json()["state"] == "routed")


# --------------------------------------------------------------------------- every answer


@pytest.mark.parametrize("path", ["/healthz", "/v1/events", "/nowhere", "/openapi.json"])
async def test_every_answer_has_security_headers(world: World, path: str) -> None:
    """Right answers and problems alike are not sniffed, framed, cached or referred."""
    answer = await world.http.get(path)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/events/", "/docs", "/redoc", "/v1/jobs/"])
async def test_where_there_is_nothing_a_problem_says_so(world: World, path: str) -> None:
    """404 as a problem document; no redirect to a path that is nearly the same."""
    answer = await world.http.get(path, headers=await world.tenant("acme"))

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == path


class Broken:
    """Queries that nobody expected to fail like this."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError("hunter2 is the password of the database")


async def test_what_nobody_expected_is_a_problem_that_tells_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """500 without a word of the inside, which is in the log."""
    headers = await world.tenant("acme")
    world.app.state.services = replace(world.app.state.services, queries=Broken())
    caplog.set_level(logging.ERROR, logger="huntaze")

    answer = await world.http.get("/v1/events", headers=headers)

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "hunter2" not in answer.text
    (record,) = [each for each in caplog.records if each.message == "http.failed"]
    assert record.exc_info
    assert isinstance(record.exc_info[1], ZeroDivisionError)


# --------------------------------------------------------------------------- pages


async def preflight(world: World, path: str, origin: str = ORIGIN) -> httpx.Response:
    """What a browser asks before a page's call."""
    return await world.http.options(
        path,
        headers={
            "origin": origin,
            "access-control-request-method": "GET",
            "access-control-request-headers": "authorization",
        },
    )


@pytest.mark.parametrize("path", ["/v1/inbox", "/v1/inbox/count", "/v1/realtime/negotiate"])
async def test_pages_of_an_allowed_origin_may_call_the_users_routes(
    world: World, path: str
) -> None:
    """The preflight and the answer name the origin, a problem's answer too."""
    asked = await preflight(world, path)
    answer = await world.http.get(path, headers={"origin": ORIGIN})

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/events", "/v1/users/ada", "/v1/api-keys", "/metrics"])
async def test_pages_may_call_nothing_else(world: World, path: str) -> None:
    """Routes that only API keys open tell browsers nothing."""
    asked = await preflight(world, path)
    answer = await world.http.get(path, headers={"origin": ORIGIN})

    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in answer.headers


async def test_pages_of_other_origins_may_call_nothing(world: World) -> None:
    """An origin that is not named in the setting is told nothing."""
    asked = await preflight(world, "/v1/inbox", "https://evil.example")
    answer = await world.http.get("/v1/inbox", headers={"origin": "https://evil.example"})

    assert "access-control-allow-origin" not in asked.headers
    assert "access-control-allow-origin" not in answer.headers
