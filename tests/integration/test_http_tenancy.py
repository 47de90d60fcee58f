"""Who may do what: keys, tokens, tenants. Every call is made out of the OpenAPI document, so that a
new operation is tested as soon as it is there."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from notifications.http.routing import USER_TOKEN
from tests.furnished import GUARDED, Things, call, everything, furnish
from tests.hub_world import World, bearer, document, hub_world, until
from tests.openapi_calls import DOCUMENT, Operation, put
from tests.webhook_receivers import answer, receiver

pytestmark = pytest.mark.asyncio(loop_scope="module")

USERS_OWN = [each for each in GUARDED if USER_TOKEN in each.schemes]
KEYS_ONLY = [each for each in GUARDED if USER_TOKEN not in each.schemes]
CREATES = ("PUT /v1/users/{id}", "PUT /v1/suppressions/{id}")
"""Make something of the caller's own, whatever the id; see the test of the same ids."""

WITH_ID = [each for each in GUARDED if each.has_id and str(each) not in CREATES]
NAMING_TENANT = [each for each in GUARDED if each.takes("tenantId") or each.tenant_field]
ASKING = [each for each in GUARDED if any(True for _ in each.query())]
TAKING_BODY = [each for each in GUARDED if each.body_schema is not None]
REFUSED = (403, 404)
"""Not there; or, of what is the admin's alone, not open."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub for all tests."""
    async with hub_world(tmp_path_factory.mktemp("hub")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hook() -> AsyncIterator[str]:
    """Where webhooks are taken."""
    async with receiver(answer()) as hook:
        yield hook.url()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def acme(world: World, hook: str) -> Things:
    """The tenant that is intruded upon; nobody of its own changes anything."""
    return await furnish(world, "acme", url=hook)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def intruder(world: World, hook: str) -> Things:
    """The tenant that intrudes, with things of its own."""
    return await furnish(world, "intruder", url=hook)


async def test_the_document_is_that_of_the_whole_application(world: World) -> None:
    """No operation is left out of these tests by being added elsewhere."""
    assert world.app.openapi()["paths"].keys() == DOCUMENT["paths"].keys()


async def test_whatever_has_an_id_has_one_here(acme: Things) -> None:
    """Of everything that an operation names by its id, acme has one."""
    assert {each.resource for each in WITH_ID} <= set(acme.ids)


@pytest.mark.parametrize("operation", GUARDED, ids=str)
@pytest.mark.fault("come without a key, or with another's", "attackers")
async def test_nobody_gets_in_without_a_key(world: World, operation: Operation) -> None:
    """No key, an unknown key, another scheme and an empty one are all 401, with a challenge."""
    for headers in (
        {},
        bearer("hz_nothing-that-was-ever-made"),
        bearer(""),
        bearer("a.b.c"),
        {"authorization": "Basic YWRtaW46YWRtaW4="},
        {"authorization": "Bearer"},
    ):
        answer = await call(world, operation, headers, user="ada")

        assert answer.status_code == 401, headers
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_revoked_key_opens_nothing(world: World) -> None:
    """From the moment it is revoked, everything answers 401."""
    made = await world.http.post(
        "/v1/api-keys", json={"tenantId": "short", "name": "short-lived"}, headers=world.admin
    )
    key = made.json()
    before = await world.http.get("/v1/events", headers=bearer(key["key"]))
    await world.http.delete(f"/v1/api-keys/{key['id']}", headers=world.admin)

    after = await world.http.get("/v1/events", headers=bearer(key["key"]))

    assert (before.status_code, after.status_code) == (200, 401)


# --------------------------------------------------------------------------- user tokens


@pytest.mark.parametrize("operation", KEYS_ONLY, ids=str)
async def test_a_user_token_opens_nothing_but_what_is_its_users(
    world: World, operation: Operation
) -> None:
    """403 on every route that is not about the token's user."""
    answer = await call(world, operation, await world.user("acme", "ada"), user="ada")

    assert answer.status_code == 403


@pytest.mark.parametrize("operation", USERS_OWN, ids=str)
async def test_a_user_token_opens_its_own_users_routes(
    world: World, intruder: Things, operation: Operation
) -> None:
    """What is the user's own is open, without naming the user."""
    headers = await world.user(intruder.tenant, intruder.user)

    answer = await call(world, operation, headers, ids=intruder.ids)

    assert answer.is_success, answer.text


@pytest.mark.parametrize("operation", USERS_OWN, ids=str)
async def test_a_user_token_opens_no_other_users_routes(
    world: World, acme: Things, operation: Operation
) -> None:
    """Another user, and another tenant, are not there for a user's token: in query and body."""
    headers = await world.user("acme", "bob")
    named = [({"userId": acme.user}, {}), ({"tenantId": "other"}, {})]
    if operation.body_schema is not None:
        named += [({}, {"userId": acme.user}), ({}, {"tenantId": "other"})]

    for query, body in named:
        answer = await call(world, operation, headers, ids=acme.ids, query=query, body=body)

        assert answer.status_code == 404, (query, body)


# --------------------------------------------------------------------------- other tenants


@pytest.mark.parametrize("operation", WITH_ID, ids=str)
@pytest.mark.fault("put another tenant's ids into any route, query or body", "attackers")
async def test_another_tenants_ids_are_not_found(
    world: World, acme: Things, intruder: Things, operation: Operation
) -> None:
    """With acme's ids another tenant finds nothing, and everything is still there afterwards."""
    before = await everything(world, acme)
    headers = await world.tenant(intruder.tenant)

    for user in (intruder.user, acme.user):
        answer = await call(world, operation, headers, ids=acme.ids, user=user)

        assert answer.status_code in REFUSED, answer.text
    assert await everything(world, acme) == before


@pytest.mark.parametrize("operation", NAMING_TENANT, ids=str)
async def test_another_tenant_cannot_be_named(
    world: World, acme: Things, intruder: Things, operation: Operation
) -> None:
    """Naming acme with another tenant's key, in query or body, is 404 and changes nothing."""
    before = await everything(world, acme)
    headers = await world.tenant(intruder.tenant)
    ways: list[dict[str, Any]] = []
    if operation.takes("tenantId"):
        ways.append({"query": {"tenantId": "acme"}})
    if operation.tenant_field:
        ways.append({"body": {operation.tenant_field: "acme"}})

    for way in ways:
        for things in (acme, intruder):
            answer = await call(world, operation, headers, ids=things.ids, user=things.user, **way)

            assert answer.status_code in REFUSED, answer.text
    assert await everything(world, acme) == before


@pytest.mark.parametrize("operation", ASKING, ids=str)
@pytest.mark.fault("put another tenant's ids into any route, query or body", "attackers")
async def test_a_query_finds_nothing_of_another_tenants(
    world: World, acme: Things, intruder: Things, operation: Operation
) -> None:
    """Whatever of acme's another tenant puts into any query parameter, no answer holds acme's."""
    headers = await world.tenant(intruder.tenant)
    values = sorted({*acme.ids.values(), *acme.cursors, "acme"})

    for parameter in operation.query():
        for value in values:
            answer = await call(
                world,
                operation,
                headers,
                ids=intruder.ids,
                user=intruder.user,
                query={parameter["name"]: value},
            )

            if answer.is_success:
                leaked = [word for word in acme.words if word in answer.text]
                assert not leaked, f"{parameter['name']}={value}: {answer.text}"


@pytest.mark.parametrize("operation", TAKING_BODY, ids=str)
@pytest.mark.fault("put another tenant's ids into any route, query or body", "attackers")
async def test_a_body_reaches_nothing_of_another_tenants(
    world: World, acme: Things, intruder: Things, operation: Operation
) -> None:
    """Whatever of acme's another tenant puts into any field, however deep, acme's things stay as
    they are, and no answer shows more of them than was sent."""
    before = await everything(world, acme)
    headers = await world.tenant(intruder.tenant)

    right = operation.body(userId=intruder.user) or {}
    for place in operation.texts():
        # The last overwrites what an answer may show of what was sent before.
        for value in (*sorted(acme.ids.values()), intruder.tenant):
            answer = await call(
                world,
                operation,
                headers,
                ids=intruder.ids,
                user=intruder.user,
                body=put(value, place, right),
            )

            if answer.is_success:
                theirs = (word for word in acme.words - {"acme"} if word not in value)
                leaked = [word for word in theirs if word in answer.text]
                assert leaked == [], f"{place}={value}: {answer.text}"
    assert await everything(world, acme) == before


async def test_every_field_that_takes_a_text_is_found() -> None:
    """Among the fields are some in lists, in objects, and under names that anybody may choose."""
    places = {str(each): each.texts() for each in TAKING_BODY}
    assert ("data", "payer", "name") in places["POST /v1/events"]
    assert ("data", "metadata", "x") in places["POST /v1/events"]
    assert ("input", "x") in places["POST /v1/jobs"]
    assert {("eventTypes", 0), ("headers", "x"), ("url",)} <= set(
        places["POST /v1/webhook-endpoints"]
    )
    assert ("tenantId",) not in places["POST /v1/api-keys"]


# --------------------------------------------------------------------------- the admin


EVERYBODYS = {
    "GET /v1/events",
    "GET /v1/api-keys",
    "DELETE /v1/api-keys/{id}",
    "GET /v1/metrics/jobs",
}
"""What the admin may ask of all tenants at once."""

OF_ONE_TENANT = [
    each
    for each in NAMING_TENANT
    if str(each) not in EVERYBODYS and each.tenant_field != "tenantid"
]


@pytest.mark.parametrize("operation", OF_ONE_TENANT, ids=str)
async def test_the_admin_must_name_the_tenant(world: World, operation: Operation) -> None:
    """Without a tenant the admin's call is 422, saying where one is missing."""
    answer = await call(world, operation, world.admin, user="ada")

    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] in ("", f"/{operation.tenant_field}")
    assert "required" in error["detail"]
    assert "tenantId" in error["pointer"] + error["detail"]


@pytest.mark.parametrize("operation", OF_ONE_TENANT, ids=str)
async def test_the_admin_names_the_tenant_in_the_body_or_else_in_the_query(
    world: World, hook: str, operation: Operation
) -> None:
    """Named where the operation takes it, the admin reaches the tenant's things."""
    things = await furnish(world, f"spare-{OF_ONE_TENANT.index(operation)}", url=hook)
    way = (
        {"body": {"tenantId": things.tenant, "url": hook}}
        if operation.tenant_field
        else {"query": {"tenantId": things.tenant}}
    )

    answer = await call(world, operation, world.admin, ids=things.ids, user=things.user, **way)

    assert answer.is_success or answer.status_code == 409, answer.text


async def test_the_admin_cannot_name_two_tenants_at_once(world: World, acme: Things) -> None:
    """One tenant in the query and another in the body is a 422, and nothing is done."""
    path = f"/v1/webhook-endpoints/{acme.ids['/v1/webhook-endpoints']}/pause"

    answer = await world.http.post(
        f"{path}?tenantId=acme", json={"tenantId": "other"}, headers=world.admin
    )

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/tenantId"


@pytest.mark.parametrize("operation", sorted(EVERYBODYS))
async def test_the_admin_who_names_no_tenant_sees_everybodys(
    world: World, hook: str, operation: str
) -> None:
    """Lists of events and keys hold every tenant's; a key is revoked whosever it is."""
    (found,) = [each for each in GUARDED if str(each) == operation]
    made = await world.http.post(
        "/v1/api-keys", json={"tenantId": "nobodys", "name": "spare"}, headers=world.admin
    )

    answered = await call(world, found, world.admin, ids={"/v1/api-keys": made.json()["id"]})

    assert answered.is_success


async def test_two_tenants_with_the_same_ids_never_cross(world: World) -> None:
    """The same user, event and item ids in two tenants are two of each, and stay apart."""
    tenants = ("twin-a", "twin-b")
    for tenant in tenants:
        headers = await world.tenant(tenant)
        user = {"email": f"ada@{tenant}.example", "role": "owner"}
        await world.http.put("/v1/users/ada", json=user, headers=headers)
        event = document("same", tenantid=tenant, data={
            "from": {"name": tenant}, "preview": f"for {tenant}",
        })  # fmt: skip
        answer = await world.http.post("/v1/events", json=event, headers=headers)
        assert answer.json() == {"id": "same", "duplicate": False}

    for tenant in tenants:
        headers = await world.tenant(tenant)

        async def inbox(headers: Any = headers) -> Any:
            return (await world.http.get("/v1/inbox?userId=ada", headers=headers)).json()["items"]

        items = await until(inbox, "the item")
        listed = (await world.http.get("/v1/events", headers=headers)).json()["items"]
        deliveries = (await world.http.get("/v1/deliveries", headers=headers)).json()["items"]
        users = (await world.http.get("/v1/users/ada", headers=headers)).json()
        assert [item["body"] for item in items] == [f"for {tenant}"]
        assert [item["event"]["data"]["preview"] for item in listed] == [f"for {tenant}"]
        assert {each["eventId"] for each in deliveries} == {"same"}
        assert users["email"] == f"ada@{tenant}.example"

    await world.http.delete("/v1/users/ada", headers=await world.tenant("twin-a"))
    left = await world.http.get("/v1/inbox?userId=ada", headers=await world.tenant("twin-b"))
    assert len(left.json()["items"]) == 1
