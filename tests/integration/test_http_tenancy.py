"""Who may do what: keys, tokens, tenants. Operations are taken from the OpenAPI document, so that a
new one is tested as soon as it is there."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from notifications.http.app import ROUTERS
from notifications.http.routing import KeyRoute, RawRoute, UserRoute
from tests.hub_world import World, bearer, document, hub_world, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODIES: dict[str, Any] = {
    "POST /v1/events": document("tenancy"),
    "PUT /v1/users/{id}": {"email": "eve@example.com"},
    "POST /v1/webhook-endpoints": {"url": "https://example.com/hook"},
    "PATCH /v1/webhook-endpoints/{id}": {"description": "taken over"},
    "POST /v1/user-tokens": {"userId": "ada"},
    "POST /v1/api-keys": {"name": "another"},
}
"""A right body for every operation that takes one."""


def operations(kind: type[KeyRoute]) -> list[str]:
    """Every operation behind the gate, as `METHOD path`."""
    return sorted(
        f"{method} {route.path_format}"
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, kind)
        for method in route.methods
    )


def takes_body(route: KeyRoute) -> bool:
    """Whether an operation reads a body: by a model, or past the framework."""
    raw = isinstance(route, RawRoute) and "POST" in route.methods
    return raw or route.body_field is not None


GUARDED = operations(KeyRoute)
USERS_OWN = operations(UserRoute)
CREATES = "PUT /v1/users/{id}"
"""Makes a user of the caller's own, whatever the id; see the test of the same ids."""

WITH_ID = [each for each in GUARDED if "{id}" in each and each != CREATES]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub with something of everything in tenant acme."""
    async with hub_world(tmp_path_factory.mktemp("hub")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def ids(world: World) -> dict[str, str]:
    """Ids of acme's things, by the path that they are at."""
    headers = await world.tenant("acme")
    await world.http.post("/v1/events", json=document("theirs"), headers=headers)
    made = await world.http.post(
        "/v1/webhook-endpoints", json={"url": "https://example.com/hook"}, headers=headers
    )
    await world.http.put("/v1/users/ada", json={"email": "ada@example.com"}, headers=headers)
    key = await world.http.get("/v1/api-keys", headers=headers)

    async def routed() -> Any:
        found = (await world.http.get("/v1/events/theirs", headers=headers)).json()
        return found["deliveries"] if found["state"] == "routed" else None

    deliveries = await until(routed, "the event to be routed")
    inbox = await world.http.get("/v1/inbox?userId=ada", headers=headers)
    return {
        "/v1/events": "theirs",
        "/v1/webhook-endpoints": made.json()["id"],
        "/v1/users": "ada",
        "/v1/deliveries": deliveries[0]["id"],
        "/v1/inbox": inbox.json()["items"][0]["id"],
        "/v1/api-keys": key.json()["items"][0]["id"],
    }


async def call(
    world: World, operation: str, headers: Any, *, ids: Any = None, query: str = ""
) -> httpx.Response:
    """Call an operation with a right body, and with ids of acme's things where it takes one."""
    method, path = operation.split(" ")
    if "{id}" in path:
        path = path.replace("{id}", (ids or {}).get(path.partition("/{id}")[0], "nothing"))
    if path.startswith(("/v1/inbox", "/v1/realtime")) and "userId" not in query:
        query += "&userId=ada"
    return await world.http.request(
        method,
        f"{path}?{query.lstrip('&')}" if query else path,
        json=BODIES.get(operation),
        headers=dict(headers),
    )


async def test_every_operation_that_takes_a_body_has_one_here() -> None:
    """The tests below know a right body for every operation that takes one."""
    taking = {
        f"{method} {route.path_format}"
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, KeyRoute) and takes_body(route)
        for method in route.methods & {"POST", "PUT", "PATCH"}
    }

    assert taking == set(BODIES)


@pytest.mark.parametrize("operation", GUARDED)
async def test_nobody_gets_in_without_a_key(world: World, operation: str) -> None:
    """No key, an unknown key, another scheme and an empty one are all 401, with a challenge."""
    for headers in (
        {},
        bearer("hz_nothing-that-was-ever-made"),
        bearer(""),
        bearer("a.b.c"),
        {"authorization": "Basic YWRtaW46YWRtaW4="},
        {"authorization": "Bearer"},
    ):
        answer = await call(world, operation, headers)

        assert answer.status_code == 401, headers
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_revoked_key_opens_nothing(world: World) -> None:
    """From the moment it is revoked, everything answers 401."""
    made = await world.http.post(
        "/v1/api-keys", json={"tenantId": "acme", "name": "short-lived"}, headers=world.admin
    )
    key = made.json()
    before = await world.http.get("/v1/events", headers=bearer(key["key"]))
    await world.http.delete(f"/v1/api-keys/{key['id']}", headers=world.admin)

    after = await world.http.get("/v1/events", headers=bearer(key["key"]))

    assert (before.status_code, after.status_code) == (200, 401)


@pytest.mark.parametrize("operation", sorted(set(GUARDED) - set(USERS_OWN)))
async def test_a_user_token_opens_nothing_but_what_is_its_users(
    world: World, operation: str
) -> None:
    """403 on every route that is not about the token's user."""
    answer = await call(world, operation, await world.user("acme", "ada"))

    assert answer.status_code == 403


@pytest.mark.parametrize("operation", USERS_OWN)
async def test_a_user_token_opens_its_own_users_routes(
    world: World, ids: dict[str, str], operation: str
) -> None:
    """What is the user's own is open, without naming the user."""
    method, path = operation.split(" ")
    path = path.replace("{id}", ids["/v1/inbox"])

    answer = await world.http.request(method, path, headers=await world.user("acme", "ada"))

    assert answer.is_success, answer.text


@pytest.mark.parametrize("operation", USERS_OWN)
async def test_a_user_token_opens_no_other_users_routes(
    world: World, ids: dict[str, str], operation: str
) -> None:
    """Another user, and another tenant, are not there for a user's token."""
    headers = await world.user("acme", "bob")

    another_user = await call(world, operation, headers, ids=ids, query="userId=ada")
    another_tenant = await call(
        world, operation, headers, ids=ids, query="userId=bob&tenantId=other"
    )

    assert (another_user.status_code, another_tenant.status_code) == (404, 404)


@pytest.mark.parametrize("operation", WITH_ID)
async def test_another_tenants_ids_are_not_found(
    world: World, ids: dict[str, str], operation: str
) -> None:
    """With acme's ids another tenant finds nothing, and everything is still there afterwards."""
    headers = await world.tenant("intruder")

    answer = await call(world, operation, headers, ids=ids)

    assert answer.status_code == 404, answer.text
    await assert_untouched(world, ids)


@pytest.mark.parametrize("operation", GUARDED)
async def test_another_tenant_cannot_be_named(
    world: World, ids: dict[str, str], operation: str
) -> None:
    """Naming acme with another tenant's key, in query or body, is 404 and changes nothing."""
    headers = await world.tenant("intruder")
    method, path = operation.split(" ")
    if operation in BODIES:
        path = path.replace("{id}", ids.get(path.partition("/{id}")[0], ""))
        body = {**BODIES[operation]}
        body["tenantid" if path == "/v1/events" else "tenantId"] = "acme"
        answer = await world.http.request(method, path, json=body, headers=headers)
    else:
        answer = await call(world, operation, headers, ids=ids, query="tenantId=acme")

    if operation == "GET /v1/event-types":
        assert answer.status_code == 200  # the same for everybody
    else:
        assert answer.status_code == 404, answer.text
    await assert_untouched(world, ids)


async def assert_untouched(world: World, ids: dict[str, str]) -> None:
    """What acme had is there as it was."""
    headers = await world.tenant("acme")
    endpoint, user, inbox, keys = await asyncio.gather(
        world.http.get(f"/v1/webhook-endpoints/{ids['/v1/webhook-endpoints']}", headers=headers),
        world.http.get("/v1/users/ada", headers=headers),
        world.http.get("/v1/inbox?userId=ada", headers=headers),
        world.http.get("/v1/api-keys", headers=headers),
    )
    assert (endpoint.json()["state"], endpoint.json()["description"]) == ("active", "")
    assert user.json()["email"] == "ada@example.com"
    assert ids["/v1/inbox"] in [item["id"] for item in inbox.json()["items"]]
    assert ids["/v1/api-keys"] in [item["id"] for item in keys.json()["items"]]


EVERYBODYS = {"GET /v1/events", "GET /v1/api-keys", "DELETE /v1/api-keys/{id}"}
NOBODYS = {"GET /v1/event-types", "POST /v1/events"}


@pytest.mark.parametrize("operation", sorted(set(GUARDED) - EVERYBODYS - NOBODYS))
async def test_the_admin_must_name_the_tenant(world: World, operation: str) -> None:
    """Without a tenant the admin's call is 422, saying where one is missing."""
    answer = await call(world, operation, world.admin)

    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == ("/tenantId" if operation in BODIES else "")
    assert "required" in error["detail"]


@pytest.mark.parametrize("operation", sorted(EVERYBODYS))
async def test_the_admin_who_names_no_tenant_sees_everybodys(
    world: World, ids: dict[str, str], operation: str
) -> None:
    """Lists of events and keys hold every tenant's; a key is revoked whosever it is."""
    made = await world.http.post(
        "/v1/api-keys", json={"tenantId": "acme", "name": "spare"}, headers=world.admin
    )
    spare = {**ids, "/v1/api-keys": made.json()["id"]}

    assert (await call(world, operation, world.admin, ids=spare)).is_success


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
