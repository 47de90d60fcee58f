"""Users, keys, user tokens and inboxes over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import jwt
import orjson
import pytest
import pytest_asyncio

from tests.hub_world import SECRETS, World, bearer, document, hub_world, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub for all tests."""
    async with hub_world(tmp_path_factory.mktemp("hub")) as world:
        yield world


async def call(
    world: World, method: str, path: str, body: object = None, *, tenant: str = "acme"
) -> httpx.Response:
    """Call with a tenant's key."""
    return await world.http.request(method, path, json=body, headers=await world.tenant(tenant))


# --------------------------------------------------------------------------- users


async def test_a_user_is_put_read_replaced_and_deleted(world: World) -> None:
    """What is put is read; a second put replaces the whole; after deleting it is 404."""
    whole = {
        "email": "ada@example.com",
        "name": "Ada Lovelace",
        "locale": "en",
        "timezone": "Europe/London",
        "role": "owner",
    }
    put = await call(world, "PUT", "/v1/users/ada", whole)
    read = await call(world, "GET", "/v1/users/ada")
    replaced = await call(world, "PUT", "/v1/users/ada", {"name": "Ada"})
    deleted = await call(world, "DELETE", "/v1/users/ada")
    gone = [(await call(world, m, "/v1/users/ada")).status_code for m in ("GET", "DELETE")]

    assert put.json() == read.json() == {"id": "ada", **whole}
    assert replaced.json() == {
        "id": "ada",
        "email": None,
        "name": "Ada",
        "locale": "fr",
        "timezone": "Europe/Paris",
        "role": "member",
    }
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert gone == [404, 404]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"email": "nobody"}, "/email"),
        ({"email": "a@b\r\nBcc: eve@example.org"}, "/email"),
        ({"email": "a" * 250 + "@example.com"}, "/email"),
        ({"name": "two\nlines"}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "n" * 201}, "/name"),
        ({"locale": "de"}, "/locale"),
        ({"locale": "FR"}, "/locale"),
        ({"timezone": "Mars/Olympus"}, "/timezone"),
        ({"timezone": "../../etc/passwd"}, "/timezone"),
        ({"role": "admin"}, "/role"),
        ({"role": ["owner"]}, "/role"),
        ({"e_mail": "x"}, "/e_mail"),
        ({"id": "other"}, "/id"),
    ],
    ids=str,
)
async def test_a_wrong_user_is_refused_with_its_place(
    world: World, body: dict[str, Any], pointer: str
) -> None:
    """422 with a pointer, and nothing is stored."""
    refused = await call(world, "PUT", "/v1/users/wrong", body)

    assert refused.status_code == 422
    assert [each["pointer"] for each in refused.json()["errors"]] == [pointer]
    assert (await call(world, "GET", "/v1/users/wrong")).status_code == 404


@pytest.mark.parametrize(
    "user_id", ["a%20b", "%00", "u" * 129, "%0a", "ada%0a", "a%0ab", "a%E2%80%AEb"]
)
async def test_a_wrong_user_id_is_refused(world: World, user_id: str) -> None:
    """422 for an id that no user can have."""
    assert (await call(world, "PUT", f"/v1/users/{user_id}", {})).status_code == 422


@pytest.mark.parametrize("user_id", ["auth0%7Cabc", "a/b", "zo%C3%A9", "a@b.example"])
async def test_ids_of_other_systems_are_taken(world: World, user_id: str) -> None:
    """Ids with slashes, bars and letters beyond ASCII are put, read and deleted."""
    statuses = [
        (await call(world, method, f"/v1/users/{user_id}", body)).status_code
        for method, body in (("PUT", {}), ("GET", None), ("DELETE", None))
    ]

    assert statuses == [200, 200, 204]


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"name": NaN}', "application/json", 400),
        (b'{"name": "\xff"}', "application/json", 400),
        (b"[" * 40 + b"]" * 40, "application/json", 400),
        (b"null", "application/json", 422),
        (b"[]", "application/json", 422),
        (b'"text"', "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"{}", "application/cloudevents+json", 415),
        (b"name=Ada", "application/x-www-form-urlencoded", 415),
    ],
)
async def test_bodies_of_models_are_read_as_strictly(
    world: World, content: bytes, media_type: str, status: int
) -> None:
    """Every route that takes a body reads it as events are read."""
    answer = await world.http.put(
        "/v1/users/strict",
        content=content,
        headers={**await world.tenant("acme"), "content-type": media_type},
    )

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_deleting_a_user_empties_the_inbox(world: World) -> None:
    """Nothing of the user's notifications is left."""
    await call(world, "PUT", "/v1/users/leaver", {})
    await notified(world, "leaver", 1)

    await call(world, "DELETE", "/v1/users/leaver")

    inbox = await call(world, "GET", "/v1/inbox?userId=leaver")
    count = await call(world, "GET", "/v1/inbox/count?userId=leaver")
    assert inbox.json()["items"] == []
    assert count.json() == {"unread": 0}


# --------------------------------------------------------------------------- keys


async def test_a_key_is_shown_once(world: World) -> None:
    """201 with `hz_…`; the list names the key without its text; it opens its tenant."""
    made = await world.http.post(
        "/v1/api-keys", json={"tenantId": "keys", "name": "CI"}, headers=world.admin
    )
    key = made.json()

    listed = await world.http.get("/v1/api-keys", headers=bearer(key["key"]))

    text = key.pop("key")
    assert made.status_code == 201
    assert text.startswith("hz_")
    assert len(text) > 40
    assert listed.json()["items"] == [key]
    assert text not in listed.text


async def test_a_tenant_makes_and_revokes_keys_of_its_own(world: World) -> None:
    """With its key a tenant makes another for itself, and can revoke it."""
    made = await call(world, "POST", "/v1/api-keys", {"name": "second"}, tenant="keys-2")
    opened = await world.http.get("/v1/events", headers=bearer(made.json()["key"]))
    revoked = await call(world, "DELETE", f"/v1/api-keys/{made.json()['id']}", tenant="keys-2")
    closed = await world.http.get("/v1/events", headers=bearer(made.json()["key"]))

    assert made.json()["tenantId"] == "keys-2"
    assert [each.status_code for each in (opened, revoked, closed)] == [200, 204, 401]


async def test_keys_are_listed_by_pages(world: World) -> None:
    """Following `nextCursor` leads through all keys, oldest first."""
    made = [
        (await call(world, "POST", "/v1/api-keys", {"name": str(n)}, tenant="keys-3")).json()["id"]
        for n in range(4)
    ]
    first = (await call(world, "GET", "/v1/api-keys?limit=3", tenant="keys-3")).json()
    query = f"/v1/api-keys?limit=3&cursor={first['nextCursor']}"
    second = (await call(world, "GET", query, tenant="keys-3")).json()

    seen = [item["id"] for item in (*first["items"], *second["items"])]
    assert seen[1:] == made  # the first is the one that was made to call at all
    assert second["nextCursor"] is None


@pytest.mark.parametrize("body", [{"name": ""}, {"name": "n" * 101}, {"name": "a\nb"}, {"name": 7}])
async def test_a_wrong_key_name_is_refused(world: World, body: dict[str, Any]) -> None:
    """422."""
    assert (await call(world, "POST", "/v1/api-keys", body)).status_code == 422


# --------------------------------------------------------------------------- user tokens


async def test_a_user_token_says_who_and_until_when(world: World) -> None:
    """An HS256 JWT with user, tenant and expiry, under the hub's secret."""
    made = await call(world, "POST", "/v1/user-tokens", {"userId": "ada", "expiresInSeconds": 60})

    token, secret = made.json()["token"], SECRETS.user_token_secrets[0]
    claims = jwt.decode(token, secret, algorithms=["HS256"])
    assert (claims["sub"], claims["tid"]) == ("ada", "acme")
    assert made.json()["expiresAt"].endswith("Z")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"userId": ""},
        {"userId": "a b"},
        {"userId": "u" * 129},
        {"userId": 7},
        {"userId": "ada", "expiresInSeconds": 59},
        {"userId": "ada", "expiresInSeconds": 86_401},
        {"userId": "ada", "expiresInSeconds": "60"},
        {"userId": "ada", "expiresInSeconds": 60.5},
        {"userId": "ada", "expiresInSeconds": True},
    ],
    ids=str,
)
async def test_a_wrong_token_request_is_refused(world: World, body: dict[str, Any]) -> None:
    """422 for no user, and for a life under a minute or over a day."""
    assert (await call(world, "POST", "/v1/user-tokens", body)).status_code == 422


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "ada", "tid": "acme"},
        {"sub": "ada", "tid": "acme", "exp": 1},
        {"sub": "ada", "exp": 4_000_000_000},
        {"tid": "acme", "exp": 4_000_000_000},
        {"sub": "ada", "tid": "acme", "exp": 4_000_000_000, "aud": "http://x/client/hubs/huntaze"},
    ],
    ids=str,
)
async def test_a_token_that_is_not_quite_one_opens_nothing(
    world: World, claims: dict[str, Any]
) -> None:
    """Without expiry, expired, without user or tenant, or meant for a socket: 401."""
    token = jwt.encode(claims, SECRETS.user_token_secrets[0], algorithm="HS256")

    answer = await world.http.get("/v1/inbox", headers=bearer(token))

    assert answer.status_code == 401


async def test_negotiate_answers_where_to_connect(world: World) -> None:
    """A WebSocket URL at the very host that was asked, and the client's subprotocol."""
    by_key = await call(world, "POST", "/v1/realtime/negotiate?userId=ada")
    by_token = await world.http.post(
        "/v1/realtime/negotiate", headers=await world.user("acme", "ada")
    )

    for answer in (by_key.json(), by_token.json()):
        assert answer["url"].startswith("ws://hub.test/client/hubs/huntaze?access_token=")
        assert answer["protocol"] == "json.webpubsub.azure.v1"


# --------------------------------------------------------------------------- inbox


async def notified(world: World, user: str, count: int) -> list[dict[str, Any]]:
    """So many notifications for a user, newest first."""
    before = (await call(world, "GET", f"/v1/inbox?userId={user}&limit=200")).json()["items"]
    events = [document(f"{user}-{len(before) + n}", userid=user) for n in range(count)]
    await call(world, "POST", "/v1/events", events)

    async def there() -> Any:
        items = (await call(world, "GET", f"/v1/inbox?userId={user}&limit=200")).json()["items"]
        return items if len(items) == len(before) + count else None

    found: list[dict[str, Any]] = await until(there, "the notifications")
    return found


async def test_an_inbox_is_read_marked_and_archived(world: World) -> None:
    """Each change answers the item as it is then, and the count follows."""
    (item,) = await notified(world, "reader", 1)
    assert item["state"] == "unread"
    assert item["title"] == "Zoé vous a écrit"

    states = []
    for action in ("read", "unread", "archive"):
        answer = await call(world, "POST", f"/v1/inbox/{item['id']}/{action}?userId=reader")
        count = await call(world, "GET", "/v1/inbox/count?userId=reader")
        states.append((answer.json()["state"], count.json()["unread"]))

    assert states == [("read", 0), ("unread", 1), ("archived", 0)]


async def test_an_inbox_is_paged_in_both_directions(world: World) -> None:
    """Cursors lead through the whole inbox from the newest down, and up from a seq."""
    items = await notified(world, "pager", 5)
    ids = [item["id"] for item in items]

    async def walk(query: str) -> list[str]:
        seen, cursor = [], ""
        while True:
            path = f"/v1/inbox?userId=pager&limit=2&{query}{cursor}"
            page = (await call(world, "GET", path)).json()
            seen += [item["id"] for item in page["items"]]
            if page["nextCursor"] is None:
                return seen
            cursor = f"&cursor={page['nextCursor']}"

    assert await walk("") == ids
    assert await walk("after=0") == ids[::-1]
    assert await walk(f"after={items[2]['seq']}") == ids[1::-1]
    assert await walk("state=read") == []


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=9223372036854775808", "state=new"])
async def test_a_wrong_inbox_query_is_refused(world: World, query: str) -> None:
    """422 for what is no seq and no state."""
    assert (await call(world, "GET", f"/v1/inbox?userId=ada&{query}")).status_code == 422


async def test_the_user_must_be_named_with_a_key(world: World) -> None:
    """An API key opens every user's inbox, so it names whose."""
    refused = await call(world, "GET", "/v1/inbox")

    assert refused.status_code == 422
    assert "userId" in refused.json()["errors"][0]["detail"]


async def test_an_absent_item_is_not_found(world: World) -> None:
    """404 for marking what is not there."""
    for action in ("read", "unread", "archive"):
        answer = await call(world, "POST", f"/v1/inbox/itm_absent/{action}?userId=ada")
        assert answer.status_code == 404


async def test_reading_all_is_told_once_and_only_when_something_changed(world: World) -> None:
    """204; a second time nothing is pushed."""
    await notified(world, "allreader", 2)
    pushed: list[tuple[str, str, Any]] = []

    async def push(tenant_id: str, user_id: str, data: bytes) -> Any:
        pushed.append((tenant_id, user_id, orjson.loads(data)))

    services = world.app.state.services
    spying = type("Spy", (), {"push": staticmethod(push)})()
    world.app.state.services = replace(services, push=spying)
    try:
        for _ in range(2):
            answer = await call(world, "POST", "/v1/inbox/read-all?userId=allreader")
            assert answer.status_code == 204
            await asyncio.sleep(0)
    finally:
        world.app.state.services = services

    assert pushed == [("acme", "allreader", {"kind": "inbox", "item": None, "unread": 0})]
