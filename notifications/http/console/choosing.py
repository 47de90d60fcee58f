"""Which tenant a page is about, and what its targets are called."""

from collections.abc import Mapping, Sequence

from starlette.responses import Response

from notifications.http.console.visits import Visit

SUGGESTED = 50
"""Tenants that a field for one suggests."""


async def suggested(visit: Visit) -> Sequence[str]:
    """The first tenants, for fields that ask for one."""
    return await visit.services.console.tenancy.tenants(after="", limit=SUGGESTED)


async def only_tenant(visit: Visit) -> str | None:
    """The tenant that was named, or the only one that there is."""
    tenant = visit.tenant()
    if tenant is not None:
        return tenant
    found = await visit.services.console.tenancy.tenants(after="", limit=2)
    return found[0] if len(found) == 1 else None


async def choice(visit: Visit, path: str, nav: str) -> Response:
    """A page that asks which tenant `path` is to be about."""
    return visit.page("choose.html", nav=nav, to=path, tenants=await suggested(visit))


async def names(visit: Visit, tenant: str) -> Mapping[str, str]:
    """What a tenant's endpoints are called: by their URLs."""
    return {each.id: each.url for each in await visit.services.directory.endpoints(tenant)}
