"""Webhook endpoints: how they are doing, and switching them."""

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from notifications.directory import Endpoint, EndpointState
from notifications.http.console.choosing import choice, only_tenant, suggested
from notifications.http.console.guard import Pages
from notifications.http.console.visits import Visit
from notifications.http.pagination import number_cursor, page_of, read_number
from notifications.ids import public_number

PER_PAGE = 25
RECENT = 10
_CURSOR = "w"

pages = Pages()


async def endpoints(visit: Visit) -> Response:
    """A tenant's, oldest first."""
    tenant = await only_tenant(visit)
    if tenant is None:
        return await choice(visit, "/endpoints", "endpoints")
    skip = read_number(visit.asked("cursor"), _CURSOR) or 0
    found = (await visit.services.endpoints.of(tenant))[skip : skip + PER_PAGE + 1]
    page, further = page_of(found, PER_PAGE, lambda _: number_cursor(_CURSOR, skip + PER_PAGE))
    health = await visit.services.health.health(tenant, [each.id for each in page])
    return visit.page(
        "endpoints.html",
        nav="endpoints",
        tenant=tenant,
        tenants=await suggested(visit),
        endpoints=[(each, health[each.id]) for each in page],
        further=further,
        later=skip > 0,
    )


async def endpoint(visit: Visit) -> Response:
    """One endpoint."""
    found = await visit.services.endpoints.get(visit.its_tenant(), visit.required("id"))
    return await _shown(visit, found)


async def pause(visit: Visit) -> Response:
    """Its deliveries wait."""
    return await _switched(visit, visit.services.endpoints.pause, "paused")


async def resume(visit: Visit) -> Response:
    """What waited begins again."""
    return await _switched(visit, visit.services.endpoints.resume, "resumed")


async def test(visit: Visit) -> Response:
    """Send a test event; to the delivery that it became."""
    tenant, endpoint_id = visit.its_tenant(), visit.required("id")
    visit.services.publishes.spend({tenant: 1})
    tried = await visit.services.endpoints.test(tenant, endpoint_id)
    number = public_number(tried.delivery.id)
    return visit.go("/delivery", tenant=tenant, id=number, done="tested")


async def rotate(visit: Visit) -> Response:
    """A new secret, which is shown this once."""
    services = visit.services
    found = await services.endpoints.rotate(visit.its_tenant(), visit.required("id"))
    return await _shown(visit, found, secret=services.endpoints.secret(found))


async def _switched(
    visit: Visit, switch: Callable[[str, str], Awaitable[Endpoint]], done: str
) -> Response:
    tenant, endpoint_id = visit.its_tenant(), visit.required("id")
    await switch(tenant, endpoint_id)
    return visit.go("/endpoint", tenant=tenant, id=endpoint_id, done=done)


async def _shown(visit: Visit, found: Endpoint, *, secret: str | None = None) -> Response:
    services = visit.services
    health = await services.health.health(found.tenant_id, [found.id])
    recent = await services.queries.deliveries(found.tenant_id, endpoint_id=found.id, limit=RECENT)
    return visit.page(
        "endpoint.html",
        nav="endpoints",
        tenant=found.tenant_id,
        endpoint=found,
        active=found.state is EndpointState.ACTIVE,
        health=health[found.id],
        public_key=services.endpoints.public_key(found),
        recent=[(public_number(view.delivery.id), view) for view in recent],
        secret=secret,
    )


pages.get("/endpoints", endpoints)
pages.get("/endpoint", endpoint)
pages.post("/endpoint/pause", pause)
pages.post("/endpoint/resume", resume)
pages.post("/endpoint/test", test)
pages.post("/endpoint/rotate", rotate)
