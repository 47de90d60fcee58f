"""Users, and what is in their inboxes."""

from starlette.responses import Response

from notifications.errors import FieldError, InvalidInput
from notifications.events import is_user_id
from notifications.http.console.choosing import choice, only_tenant, suggested
from notifications.http.console.guard import Pages
from notifications.http.console.visits import Visit
from notifications.http.pagination import number_cursor, page_of, read_number

PER_PAGE = 50
ITEMS = 25
_STATES = ("unread", "read", "archived")
_CURSOR = "n"

pages = Pages()


async def users(visit: Visit) -> Response:
    """A tenant's users, by id."""
    tenant = await only_tenant(visit)
    if tenant is None:
        return await choice(visit, "/users", "users")
    if (named := visit.asked("id")) is not None:
        return visit.go("/user", tenant=tenant, id=named)
    after = visit.asked("after") or ""
    found = await visit.services.console.tenancy.users(tenant, after=after, limit=PER_PAGE + 1)
    page, further = page_of(found, PER_PAGE, lambda user: user.id)
    return visit.page(
        "users.html",
        nav="users",
        tenant=tenant,
        tenants=await suggested(visit),
        users=page,
        further=further,
        later=bool(after),
    )


async def user(visit: Visit) -> Response:
    """One user. Somebody whom the hub was never told of may have an inbox, too."""
    tenant, user_id = visit.its_tenant(), visit.required("id")
    if not is_user_id(user_id):
        raise InvalidInput([FieldError("/id", visit.looks.t("error.user_id"))])
    services, state = visit.services, visit.one_of("state", _STATES)
    found = await services.inbox.page(
        tenant,
        user_id,
        state=state,
        after=None,
        below=read_number(visit.asked("cursor"), _CURSOR),
        limit=ITEMS + 1,
    )
    page, further = page_of(found, ITEMS, lambda item: number_cursor(_CURSOR, item.seq))
    return visit.page(
        "user.html",
        nav="users",
        tenant=tenant,
        id=user_id,
        user=await services.directory.user(tenant, user_id),
        unread=await services.inbox.unread(tenant, user_id),
        states=_STATES,
        state=state or "",
        items=page,
        further=further,
        later=visit.asked("cursor") is not None,
    )


pages.get("/users", users)
pages.get("/user", user)
