"""A user's inbox. What changes in one tab is told to the others."""

import logging
from typing import Annotated, Literal

from fastapi import APIRouter, BackgroundTasks, Query, Request

from notifications.errors import NotFound
from notifications.http.forms import ActingSubject, PathId, Subject, View
from notifications.http.pagination import (
    DEFAULT_LIMIT,
    Cursor,
    Limit,
    number_cursor,
    page_of,
    read_number,
)
from notifications.http.routing import UserRoute
from notifications.http.services import Services, services_of
from notifications.records import InboxItem

router = APIRouter(prefix="/v1/inbox", tags=["inbox"], route_class=UserRoute)

log = logging.getLogger("huntaze")

StateName = Literal["unread", "read", "archived"]
_UP, _DOWN = "u", "n"
"""Cursors of the two directions: what came after, and from the newest down."""


class ItemOut(View):
    """A notification in a user's inbox."""

    id: str
    seq: int
    event_id: str
    type: str
    title: str
    body: str
    url: str | None
    state: StateName
    progress: int | None
    created_at: str
    updated_at: str


class InboxPage(View):
    """Items; with `after` the lowest `seq` first, else the newest first."""

    items: list[ItemOut]
    next_cursor: str | None


class UnreadOut(View):
    """How many are unread."""

    unread: int


@router.get("", summary="List a user's inbox")
async def list_inbox(
    request: Request,
    subject: Subject,
    state: StateName | None = None,
    after: Annotated[
        int | None,
        Query(ge=0, lt=1 << 63, description="Only what changed after this `seq`, oldest first."),
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> InboxPage:
    """Every state, unless one is asked for."""
    services = services_of(request)
    kind, below = (_UP, None) if after is not None else (_DOWN, read_number(cursor, _DOWN))
    if after is not None and (gone_on := read_number(cursor, _UP)) is not None:
        after = gone_on
    found = await services.inbox.page(
        *subject, state=state, after=after, below=below, limit=limit + 1
    )
    page, further = page_of(found, limit, lambda item: number_cursor(kind, item.seq))
    return InboxPage(items=[_out(services, item) for item in page], next_cursor=further)


@router.get("/count", summary="How many are unread")
async def count_unread(request: Request, subject: Subject) -> UnreadOut:
    """Of all of the user's items."""
    return UnreadOut(unread=await services_of(request).inbox.unread(*subject))


@router.post("/read-all", status_code=204, summary="Mark every item read")
async def read_all(request: Request, subject: ActingSubject, later: BackgroundTasks) -> None:
    """Those that are archived stay so."""
    services = services_of(request)
    if await services.inbox.read_all(*subject):
        unread = await services.inbox.unread(*subject)
        later.add_task(_tell, services, subject, None, unread)


@router.post("/{id}/read", summary="Mark an item read")
async def mark_read(
    request: Request, subject: ActingSubject, item_id: PathId, later: BackgroundTasks
) -> ItemOut:
    """The item as it is now."""
    return await _mark(services_of(request), subject, item_id, "read", later)


@router.post("/{id}/unread", summary="Mark an item unread")
async def mark_unread(
    request: Request, subject: ActingSubject, item_id: PathId, later: BackgroundTasks
) -> ItemOut:
    """The item as it is now."""
    return await _mark(services_of(request), subject, item_id, "unread", later)


@router.post("/{id}/archive", summary="Archive an item")
async def archive(
    request: Request, subject: ActingSubject, item_id: PathId, later: BackgroundTasks
) -> ItemOut:
    """The item as it is now."""
    return await _mark(services_of(request), subject, item_id, "archived", later)


async def _mark(
    services: Services,
    subject: tuple[str, str],
    item_id: str,
    state: StateName,
    later: BackgroundTasks,
) -> ItemOut:
    placed = await services.inbox.mark(*subject, item_id, state)
    if placed is None or placed.item is None:
        raise NotFound("no such item")
    later.add_task(_tell, services, subject, placed.item, placed.unread)
    return _out(services, placed.item)


async def _tell(
    services: Services, subject: tuple[str, str], item: InboxItem | None, unread: int
) -> None:
    """Push the change to the user's other tabs; it is committed, whatever comes of this."""
    try:
        await services.push.push(*subject, services.inbox_forms.changed(item, unread))
    except Exception:
        log.exception("push.broken", extra={"tenantId": subject[0]})


def _out(services: Services, item: InboxItem) -> ItemOut:
    return ItemOut.model_validate(services.inbox_forms.item(item))
