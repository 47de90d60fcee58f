"""The catalogue: which events there are."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from notifications.http.forms import View
from notifications.http.routing import KeyRoute
from notifications.http.services import services_of

router = APIRouter(prefix="/v1/event-types", tags=["events"], route_class=KeyRoute)


class EventTypeOut(View):
    """One type of event."""

    type: str
    versions: list[str]
    channels: list[str]
    description: str
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    example: dict[str, Any]


class EventTypePage(View):
    """All of them, by name: there is never a next page."""

    items: list[EventTypeOut]
    next_cursor: str | None = None


@router.get("", summary="List event types")
async def list_event_types(request: Request) -> EventTypePage:
    """Types, versions, the JSON Schema of their data, a whole example, and who carries them."""
    items = [
        EventTypeOut(
            type=each.name,
            versions=list(each.versions),
            channels=sorted(each.channels),
            description=str(each.schema.get("description", "")),
            schema_=dict(each.schema),
            example=dict(each.example),
        )
        for each in services_of(request).catalogue.types()
    ]
    return EventTypePage(items=items)
