"""Tenants: what an account has set up for all that it does, its budget for AI jobs among it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from notifications.directory import Locale
from notifications.errors import FieldError, InvalidInput, NotFound
from notifications.http.auth import principal_of
from notifications.http.forms import Body, Line, PathId, View
from notifications.http.routing import KeyRoute
from notifications.http.services import services_of
from notifications.tenants import BUDGET_STEP, NANO, Tenant

router = APIRouter(prefix="/v1/tenants", tags=["tenants"], route_class=KeyRoute)

_LEAST_USD = BUDGET_STEP / NANO
_MOST_USD = 100_000_000


class TenantIn(Body):
    """What a tenant sets up, whole: what is left out takes its default."""

    name: Annotated[Line, Field(min_length=1, max_length=200)] | None = None
    locale: Literal["fr", "en"] = "fr"
    monthly_budget_usd: (
        Annotated[
            float,
            Field(
                ge=_LEAST_USD,
                le=_MOST_USD,
                allow_inf_nan=False,
                description="For AI jobs, by calendar month in UTC; to a millionth of a dollar.",
            ),
        ]
        | None
    ) = None
    refuse_over_budget: Annotated[
        bool, Field(description="Whether new jobs are refused once the budget is spent.")
    ] = False


class TenantOut(View):
    """A tenant."""

    id: str
    name: str | None
    locale: Literal["fr", "en"]
    monthly_budget_usd: float | None
    refuse_over_budget: bool


@router.put("/{id}", summary="Set up a tenant")
async def put_tenant(request: Request, tenant_id: PathId, body: TenantIn) -> TenantOut:
    """With the admin's key, or the tenant's own. The tenant has to be there: it is from its first
    key, user, endpoint or event.
    """
    if body.refuse_over_budget and body.monthly_budget_usd is None:
        wrong = "needs a monthlyBudgetUsd: without one nothing is ever refused"
        raise InvalidInput([FieldError("/refuseOverBudget", wrong)])
    tenant = Tenant(
        id=principal_of(request).tenant(tenant_id),
        name=body.name,
        locale=Locale(body.locale),
        budget_nano_usd=_nano(body.monthly_budget_usd),
        refuse_over_budget=body.refuse_over_budget,
    )
    if not await services_of(request).tenants.save(tenant):
        raise NotFound("no such tenant")
    return _out(tenant)


@router.get("/{id}", summary="One tenant")
async def get_tenant(request: Request, tenant_id: PathId) -> TenantOut:
    """As it was last set up."""
    found = await services_of(request).tenants.find(principal_of(request).tenant(tenant_id))
    if found is None:
        raise NotFound("no such tenant")
    return _out(found)


def _nano(usd: float | None) -> int | None:
    return None if usd is None else round(usd * NANO / BUDGET_STEP) * BUDGET_STEP


def _out(tenant: Tenant) -> TenantOut:
    budget = tenant.budget_nano_usd
    return TenantOut(
        id=tenant.id,
        name=tenant.name,
        locale=tenant.locale.value,
        monthly_budget_usd=None if budget is None else budget / NANO,
        refuse_over_budget=tenant.refuse_over_budget,
    )
