"""What tenants set up, over HTTP."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.bad_input import Row, assert_refused, send
from tests.hub_world import STORES, World, document, hub_world, on

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHOLE: Mapping[str, Any] = {
    "name": "Acme & Söhne",
    "locale": "en",
    "monthlyBudgetUsd": 12.345678,
    "refuseOverBudget": True,
}
NOTHING: Mapping[str, Any] = {
    "name": None,
    "locale": "fr",
    "monthlyBudgetUsd": None,
    "refuseOverBudget": False,
}


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=STORES)
async def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One hub on each database for all tests."""
    async with hub_world(tmp_path_factory.mktemp("hub"), **on(request.param)) as world:
        yield world


async def put(world: World, tenant: str, body: object, key: Mapping[str, str]) -> httpx.Response:
    """Set a tenant up."""
    return await world.http.put(f"/v1/tenants/{tenant}", json=body, headers=dict(key))


async def get(world: World, tenant: str, key: Mapping[str, str]) -> httpx.Response:
    """Read a tenant."""
    return await world.http.get(f"/v1/tenants/{tenant}", headers=dict(key))


async def test_a_tenant_is_read_as_it_was_put_last(world: World) -> None:
    """By its own key and by the admin's; a second put replaces the whole."""
    own = await world.tenant("acme")
    before = await get(world, "acme", own)
    made = await put(world, "acme", WHOLE, own)
    read = await get(world, "acme", world.admin)
    replaced = await put(world, "acme", {"name": "Acme"}, world.admin)

    assert before.json() == {"id": "acme", **NOTHING}
    assert made.json() == read.json() == {"id": "acme", **WHOLE}
    assert replaced.json() == {"id": "acme", **NOTHING, "name": "Acme"}
    assert (await get(world, "acme", own)).json() == replaced.json()


@pytest.mark.parametrize("what", ["key", "user", "endpoint", "event"])
async def test_a_tenant_is_there_from_its_first_thing(world: World, what: str) -> None:
    """404 before there is a key, a user, an endpoint or an event, also for the admin who puts."""
    tenant, admin = f"new-{what}", dict(world.admin)
    absent = [await get(world, tenant, admin), await put(world, tenant, WHOLE, admin)]
    named = {"tenantId": tenant}
    if what == "key":
        await world.tenant(tenant)
    elif what == "user":
        await world.http.put("/v1/users/ada", json=named, headers=admin)
    elif what == "endpoint":
        hook = {**named, "url": "http://127.0.0.1:9/hook"}
        await world.http.post("/v1/webhook-endpoints", json=hook, headers=admin)
    else:
        await world.http.post("/v1/events", json=document(tenantid=tenant), headers=admin)

    assert [each.status_code for each in absent] == [404, 404]
    assert (await get(world, tenant, admin)).json() == {"id": tenant, **NOTHING}
    assert (await put(world, tenant, WHOLE, admin)).status_code == 200


async def test_another_tenant_is_not_there(world: World) -> None:
    """Its name answers as one that nobody has, for reading and for setting up."""
    await world.tenant("mine")
    other = await world.tenant("other")
    answers = [await get(world, "mine", other), await put(world, "mine", WHOLE, other)]
    nobody = await get(world, "nobody", other)
    assert [each.status_code for each in answers] == [404, 404]
    assert answers[0].json()["detail"] == nobody.json()["detail"]
    assert (await get(world, "mine", world.admin)).json() == {"id": "mine", **NOTHING}


BUDGET = "/monthlyBudgetUsd"


def wrong(pointer: str, word: str, **body: object) -> Row:
    """A body with something wrong in it."""
    path = "/v1/tenants/acme"
    name = str(body)[:60]
    return Row(
        name=name, method="PUT", path=path, body=body, status=422, pointer=pointer, word=word
    )


ROWS = [
    wrong(BUDGET, "greater than or equal to 0.000001", monthlyBudgetUsd=0),
    wrong(BUDGET, "greater than or equal to 0.000001", monthlyBudgetUsd=-5),
    wrong(BUDGET, "greater than or equal to 0.000001", monthlyBudgetUsd=1e-9),
    wrong(BUDGET, "less than or equal to 100000000", monthlyBudgetUsd=100_000_001),
    wrong(BUDGET, "less than or equal to 100000000", monthlyBudgetUsd=1e300),
    wrong(BUDGET, "number", monthlyBudgetUsd="50"),
    wrong(BUDGET, "number", monthlyBudgetUsd=True),
    wrong(BUDGET, "number", monthlyBudgetUsd=[50]),
    wrong("/refuseOverBudget", "needs a monthlyBudgetUsd", refuseOverBudget=True),
    wrong("/refuseOverBudget", "boolean", refuseOverBudget="yes"),
    wrong("/refuseOverBudget", "boolean", refuseOverBudget=None),
    wrong("/locale", "'fr' or 'en'", locale="de"),
    wrong("/locale", "'fr' or 'en'", locale=None),
    wrong("/name", "at least 1", name=""),
    wrong("/name", "at most 200", name="n" * 201),
    wrong("/name", "one line", name="two\nlines"),
    wrong("/name", "string", name=7),
    wrong("/monthlyBudget", "Extra", monthlyBudget=50),
    wrong("/id", "Extra", id="other"),
    wrong("/tenantId", "Extra", tenantId="acme"),
    Row(
        name="NaN",
        method="PUT",
        path="/v1/tenants/acme",
        body=b'{"monthlyBudgetUsd":NaN}',
        status=400,
        word="not JSON",
    ),
    Row(
        name="a list", method="PUT", path="/v1/tenants/acme", body=[], status=422, word="",
        pointer="",
    ),
    Row(name="no body", method="PUT", path="/v1/tenants/acme", body=b"", status=400, word="empty"),
    Row(
        name="a query", method="GET", path="/v1/tenants/acme?tenantId=acme", status=422,
        word="no query parameter 'tenantId'", pointer="",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_what_is_wrong_is_said_with_its_place(world: World, row: Row) -> None:
    """A problem with its place, and the tenant stays as it was."""
    own = await world.tenant("acme")
    before = (await get(world, "acme", own)).json()
    assert_refused(await send(world, row), row)
    assert (await get(world, "acme", own)).json() == before
