"""Bad input where events are published: each row is a problem that says what and where; nothing is
stored of it, nothing else is lost, and the hub takes the next good event."""

import itertools
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from notifications.http.events import MAX_BATCH
from tests.bad_input import Row, assert_goes_on, assert_refused, send
from tests.heart_world import STORES
from tests.hub_world import World, document, hub_world, on
from tests.integration.bad_event_rows import BAD, ROWS, bad

pytestmark = pytest.mark.asyncio(loop_scope="module")

_numbers = itertools.count()


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=STORES)
async def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One hub on each database for all rows."""
    async with hub_world(tmp_path_factory.mktemp("hub"), **on(request.param)) as world:
        yield world


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_bad_input_is_a_problem_that_says_what_and_where(
    world: World, row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    """Each row is answered as it says, stores nothing, logs no fault, and stops nothing."""
    answer = await send(world, row)

    assert_refused(answer, row)
    await assert_goes_on(world, f"good-{next(_numbers)}")
    stored = await world.http.get(f"/v1/events/{BAD}", headers=dict(await world.tenant("acme")))
    assert stored.status_code == 404
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == []


async def test_the_admin_who_names_no_tenant_is_told_where_one_is_missing(world: World) -> None:
    """With the admin's key the event itself must say whose it is."""
    row = Row(
        name="no tenant",
        body=bad(tenantid=None),
        headers=world.admin,
        status=422,
        pointer="/tenantid",
        word="required: the tenant",
    )

    assert_refused(await send(world, row), row)


# --------------------------------------------------------------------------- batches


async def test_one_bad_event_among_a_thousand_is_refused_alone(world: World) -> None:
    """207: 999 are accepted, one has its problem in its place."""
    events = [document(f"among-{number}") for number in range(MAX_BATCH)]
    events[617] = document("among-617", time="yesterday")

    answer = await send(world, Row(name="", body=events, status=207, word=""))

    items = answer.json()["items"]
    assert answer.status_code == 207
    assert [index for index, item in enumerate(items) if item["status"] != 202] == [617]
    assert items[617]["problem"]["errors"][0]["pointer"] == "/time"
    for event_id, status in (("among-616", 200), ("among-617", 404), ("among-999", 200)):
        found = await world.http.get(
            f"/v1/events/{event_id}", headers=dict(await world.tenant("acme"))
        )
        assert found.status_code == status


async def test_a_thousand_bad_events_are_answered_in_less_than_they_were(world: World) -> None:
    """However much is wrong with each, the answer stays below a megabyte."""
    wrong = {**{f"unknown-{n}": 1 for n in range(20)}, "id": "\n", "time": "x", "data": []}

    answer = await send(world, Row(name="", body=[wrong] * MAX_BATCH, status=422, word=""))

    assert answer.status_code == 422
    assert len(answer.json()["items"]) == MAX_BATCH
    assert len(answer.content) < 1_000_000
    problem = answer.json()["items"][0]["problem"]
    assert len(problem["errors"]) == 5
    assert "16 things are wrong" in problem["detail"]


async def test_the_same_id_with_another_content_is_a_conflict(world: World) -> None:
    """409 alone and within a batch; what was first stays."""
    first = document("taken")
    other = document("taken", source="/elsewhere")
    await send(world, Row(name="", body=first, status=202, word=""))

    row = Row(name="", body=other, status=409, word="'taken' is already there")
    assert_refused(await send(world, row), row)
    batch_answer = await send(world, Row(name="", body=[first, other], status=207, word=""))

    assert [item["status"] for item in batch_answer.json()["items"]] == [202, 409]
    found = await world.http.get("/v1/events/taken", headers=dict(await world.tenant("acme")))
    assert found.json()["event"]["source"] == "/messages"


async def test_of_a_key_that_is_there_twice_the_last_counts(world: World) -> None:
    """What is checked is what is stored, sent and shown: nobody behind the hub sees the other."""
    body = orjson.dumps(document("twice"))[:-1] + b',"source":"/last","id":"twice-last"}'

    answer = await send(world, Row(name="", body=body, status=202, word=""))

    assert answer.json() == {"id": "twice-last", "duplicate": False}
    headers = dict(await world.tenant("acme"))
    found = await world.http.get("/v1/events/twice-last", headers=headers)
    assert found.text.count('"source"') == 1
    assert found.json()["event"]["source"] == "/last"
