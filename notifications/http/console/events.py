"""Events: finding one, and what became of it over all channels."""

from collections.abc import Collection, Mapping

import orjson
from starlette.responses import Response

from notifications.dead_letters import DeadMessage
from notifications.errors import InvalidEvent, NotFound
from notifications.events import Channel, Event
from notifications.http.console import timeline
from notifications.http.console.choosing import names, suggested
from notifications.http.console.guard import Pages
from notifications.http.console.overview import went
from notifications.http.console.visits import Visit
from notifications.http.console.why import answer
from notifications.http.pagination import number_cursor, page_of, read_number
from notifications.http.services import Services
from notifications.records import EventView

PER_PAGE = 25
_CURSOR = "e"

pages = Pages()


async def events(visit: Visit) -> Response:
    """The list, newest first. A type or a user narrows a tenant's events down: that is by index."""
    tenant, event_id = visit.tenant(), visit.asked("id")
    if tenant is not None and event_id is not None:
        return visit.go("/event", tenant=tenant, id=event_id)
    services = visit.services
    user = visit.asked("user") if tenant else None
    found = await services.queries.events(
        tenant,
        # There is no index for both: it would cost a quarter more with each event.
        event_type=visit.asked("type") if tenant and user is None else None,
        user_id=user,
        below=read_number(visit.asked("cursor"), _CURSOR),
        limit=PER_PAGE + 1,
    )
    page, further = page_of(found, PER_PAGE, lambda view: number_cursor(_CURSOR, view.key))
    legs = await services.console.pulse.legs([view.key for view in page])
    return visit.page(
        "events.html",
        nav="events",
        tenant=tenant,
        tenants=await suggested(visit),
        types=[each.name for each in services.catalogue.types()],
        chosen={name: visit.asked(name) or "" for name in ("type", "user", "id")},
        events=[(view, went(legs[view.key])) for view in page],
        further=further,
        later=visit.asked("cursor") is not None,
    )


async def event(visit: Visit) -> Response:
    """One event, and why somebody got it or did not."""
    tenant = visit.its_tenant()
    view = await visit.services.queries.event(tenant, visit.required("id"))
    if view is None:
        raise NotFound(visit.looks.t("error.no_event"))
    document = orjson.loads(view.event.body)
    called = await names(visit, tenant)
    letters = await _letters(visit.services, view)
    return visit.page(
        "event.html",
        nav="events",
        tenant=tenant,
        view=view,
        event=view.event,
        answer=answer(view, carried(visit.services, view.event), called, visit.looks, letters),
        names=called,
        steps=timeline.steps(view, visit.looks, letters),
        data=orjson.dumps(document, option=orjson.OPT_INDENT_2).decode(),
    )


async def _letters(services: Services, view: EventView) -> Mapping[str, DeadMessage]:
    """By channel that has no delivery: the dead letter that its message became.

    It is there whatever the type's channels are today: a message is not sent for no reason.
    """
    there = {each.delivery.channel for each in view.deliveries}
    if len(there) == len(Channel):
        return {}
    found = await services.dead_letters.of_event(view.event.message_id)
    return {channel: found[channel] for channel in Channel if channel in found.keys() - there}


def carried(services: Services, event: Event) -> Collection[Channel]:
    """The channels that carry an event's type; those of a type that is gone are unknown."""
    try:
        return services.catalogue.channels(event.type)
    except InvalidEvent:
        return frozenset()


pages.get("/events", events)
pages.get("/event", event)
