"""A tenant that has something of everything, made by every operation that makes something."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.hub_world import World, document, until
from tests.openapi_calls import DOCUMENT, Operation, operations_of

OPERATIONS = operations_of(DOCUMENT)
GUARDED = [each for each in OPERATIONS if each.schemes]
MAKING = [each for each in GUARDED if each.method == "POST" and each.path != "/v1/events"]


@dataclass(frozen=True, slots=True)
class Things:
    """A tenant's things.

    Attributes:
        tenant: Its id, which is also written into all that it has.
        user: The id of its one user.
        ids: By resource, the id of one thing.
        cursors: Where its lists go on.
    """

    tenant: str
    user: str
    ids: Mapping[str, str]
    cursors: frozenset[str]

    @property
    def words(self) -> frozenset[str]:
        """What every id, name and text of its is made of: to be in no answer to anybody else."""
        return frozenset((self.tenant, *self.ids.values()))


async def call(
    world: World,
    operation: Operation,
    headers: Mapping[str, str],
    *,
    user: str | None = None,
    ids: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> httpx.Response:
    """Call an operation, with a right body where it takes one.

    Args:
        world: The hub.
        operation: What is called.
        headers: Who calls.
        user: Whom it is about, where it asks.
        ids: By resource, what stands for `{id}`; else it is something that is not there.
        query: More query parameters.
        body: More of the body; what its schema does not know is left out.
    """
    path = operation.path.replace("{id}", (ids or {}).get(operation.resource, "nothing"))
    asked = dict(query or {})
    if user is not None and operation.takes("userId"):
        asked.setdefault("userId", user)
    given = {"userId": user} if user is not None and not operation.takes("userId") else {}
    return await world.http.request(
        operation.method,
        path,
        params=asked,
        json=operation.body(**{**given, **(body or {})}),
        headers=dict(headers),
    )


async def furnish(world: World, tenant: str, *, url: str) -> Things:
    """Give a tenant something of everything; `url` is a receiver's that takes webhooks.

    What every answer shows of it holds the tenant's name, so that it is known when it leaks.
    """
    headers = await world.tenant(tenant)
    user, event_id = f"{tenant}-ada", f"{tenant}-event"
    profile = {"email": f"ada@{tenant}.example", "name": f"Ada of {tenant}"}
    await world.http.put(f"/v1/users/{user}", json=profile, headers=headers)
    for name in ("bob", "eve"):
        path = f"/v1/suppressions/{name}@{tenant}.example"
        await world.http.put(path, json={"reason": f"of {tenant}"}, headers=headers)
    own = {"url": url, "description": f"of {tenant}", "name": f"of {tenant}"}
    for operation in MAKING:
        if not operation.has_id:
            await _make(world, operation, headers, user=user, body=own)
    event = document(event_id, tenantid=tenant, userid=user, data={
        "from": {"name": tenant}, "preview": f"for {tenant}",
    })  # fmt: skip
    for each in (event, {**event, "id": f"{event_id}-2"}):
        sent = await world.http.post("/v1/events", json=each, headers=headers)
        assert sent.status_code == 202, sent.text
    await until(lambda: settled(world, headers), f"all of {tenant}'s deliveries")
    things = Things(tenant, user, *await _found(world, headers, user, tenant))
    for operation in MAKING:
        if operation.has_id and operation.answers("201", "202"):
            await _make(world, operation, headers, user=user, ids=things.ids, body=own)
    things = Things(tenant, user, *await _found(world, headers, user, tenant))
    # Not as often as it could be: each time all that there is of it is read.
    await until(lambda: _at_rest(world, things), f"all that {tenant} began", every_s=0.1)
    return things


async def _make(
    world: World, operation: Operation, headers: Mapping[str, str], **given: Any
) -> None:
    made = await call(world, operation, headers, **given)
    # 403: the admin's alone; 409: there is nothing to be done, as to retry what was delivered.
    assert made.is_success or made.status_code in (403, 409), f"{operation}: {made.text}"


async def _at_rest(world: World, things: Things) -> bool:
    """Whether nothing of a tenant's is on its way any more."""
    seen = str(await everything(world, things))
    return not any(f"'state': '{state}'" in seen for state in ("running", "pending", "accepted"))


async def settled(world: World, headers: Mapping[str, str]) -> bool:
    """Whether all of a tenant's events are routed and delivered."""
    events = (await world.http.get("/v1/events", headers=dict(headers))).json()["items"]
    waiting = await world.http.get("/v1/deliveries?state=pending", headers=dict(headers))
    return all(each["state"] == "routed" for each in events) and not waiting.json()["items"]


async def everything(world: World, things: Things) -> dict[str, Any]:
    """All that a tenant can read of its things, by what was asked."""
    headers = await world.tenant(things.tenant)
    seen = {}
    for operation in GUARDED:
        if operation.method == "GET":
            answer = await call(world, operation, headers, user=things.user, ids=things.ids)
            assert answer.status_code in (200, 403), f"{operation}: {answer.text}"
            seen[str(operation)] = answer.json()
    return seen


async def _found(
    world: World, headers: Mapping[str, str], user: str, tenant: str
) -> tuple[dict[str, str], frozenset[str]]:
    """The ids and cursors that the tenant's lists show."""
    ids, cursors = {"/v1/users": user, "/v1/tenants": tenant}, set()
    for operation in GUARDED:
        if operation.method != "GET" or not operation.takes("limit"):
            continue
        answer = await call(world, operation, headers, user=user, query={"limit": "1"})
        if answer.status_code != 200:
            continue  # the admin's alone
        page = answer.json()
        for item in page["items"]:
            ids[operation.resource] = item.get("id") or item.get("address") or item["event"]["id"]
        if page["nextCursor"]:
            cursors.add(page["nextCursor"])
    return ids, frozenset(cursors)
