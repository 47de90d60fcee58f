"""Tenants and their API keys."""

from starlette.responses import Response

from notifications.errors import FieldError, InvalidInput, NotFound
from notifications.http.console.guard import Pages
from notifications.http.console.visits import Visit
from notifications.http.keys import MAX_NAME, make_key
from notifications.http.pagination import page_of
from notifications.text import one_line

PER_PAGE = 50
_MOST = 101

pages = Pages()


async def tenants(visit: Visit) -> Response:
    """Every tenant that there is anything of, with what waits or was given up."""
    if (named := visit.tenant()) is not None:
        return visit.go("/tenant", tenant=named)
    after = visit.asked("after") or ""
    tenancy = visit.services.console.tenancy
    found = await tenancy.tenants(after=after, limit=PER_PAGE + 1)
    page, further = page_of(found, PER_PAGE, lambda each: each)
    held = await tenancy.held(page, most=_MOST)
    return visit.page(
        "tenants.html",
        nav="tenants",
        tenants=[(each, held[each]) for each in page],
        most=_MOST,
        further=further,
        later=bool(after),
    )


async def tenant(visit: Visit) -> Response:
    """One tenant."""
    return await _shown(visit, visit.its_tenant())


async def make(visit: Visit) -> Response:
    """A new key, which is shown this once."""
    of_tenant = visit.its_tenant()
    name = visit.asked("name", longest=MAX_NAME) or "default"
    if one_line(name) != name:
        raise InvalidInput([FieldError("/name", visit.looks.t("error.name"))])
    _, text = await make_key(visit.services, of_tenant, name)
    return await _shown(visit, of_tenant, made=text)


async def revoke(visit: Visit) -> Response:
    """It opens nothing from now on."""
    of_tenant = visit.its_tenant()
    if not await visit.services.keys.revoke(visit.required("id"), of_tenant):
        raise NotFound(visit.looks.t("error.no_key"))
    return visit.go("/tenant", tenant=of_tenant, done="revoked")


async def _shown(visit: Visit, of_tenant: str, *, made: str | None = None) -> Response:
    services = visit.services
    held = await services.console.tenancy.held([of_tenant], most=_MOST)
    return visit.page(
        "tenant.html",
        nav="tenants",
        tenant=of_tenant,
        held=held[of_tenant],
        most=_MOST,
        keys=await services.keys.page(of_tenant),
        endpoints=len(await services.endpoints.of(of_tenant)),
        made=made,
    )


pages.get("/tenants", tenants)
pages.get("/tenant", tenant)
pages.post("/keys/make", make)
pages.post("/keys/revoke", revoke)
