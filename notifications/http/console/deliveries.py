"""Deliveries: what waits or was given up, one with its attempts, and its mail as it is rendered."""

import orjson
from starlette.responses import Response

from notifications.deliveries import State
from notifications.errors import NotFound
from notifications.events import Channel
from notifications.http.console.choosing import choice, names, only_tenant, suggested
from notifications.http.console.guard import Pages
from notifications.http.console.visits import Visit
from notifications.http.console.why import because, sentence
from notifications.http.pagination import number_cursor, page_of, read_number
from notifications.ids import parse_public_id, public_number
from notifications.records import DeliveryView, EventView, Mail
from notifications.rendering import RenderError
from notifications.routing import NOBODY

PER_PAGE = 25
_CURSOR = "d"
_STATES = ("exhausted", "parked", "pending")
_CHANNELS = tuple(channel.value for channel in Channel)
_AGAIN = (State.PENDING, State.PARKED, State.EXHAUSTED)

_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'self'; sandbox"
)
"""A mail is shown as it looks, and can do nothing: no script, no foreign picture, no form."""

pages = Pages()


async def deliveries(visit: Visit) -> Response:
    """A tenant's, newest first; by state, and then by channel or endpoint: that is by index."""
    tenant = await only_tenant(visit)
    if tenant is None:
        return await choice(visit, "/deliveries", "deliveries")
    state, channel = visit.one_of("state", _STATES), visit.one_of("channel", _CHANNELS)
    endpoint = visit.asked("endpoint")
    if endpoint is not None:
        channel = None
    found = await visit.services.queries.deliveries(
        tenant,
        endpoint_id=endpoint,
        state=state,
        channel=channel if state else None,
        below=read_number(visit.asked("cursor"), _CURSOR),
        limit=PER_PAGE + 1,
    )
    page, further = page_of(found, PER_PAGE, lambda view: number_cursor(_CURSOR, view.delivery.id))
    return visit.page(
        "deliveries.html",
        nav="deliveries",
        tenant=tenant,
        tenants=await suggested(visit),
        states=_STATES,
        channels=_CHANNELS,
        chosen={"state": state or "", "channel": channel or "", "endpoint": endpoint or ""},
        deliveries=[(public_number(view.delivery.id), view, _short(visit, view)) for view in page],
        names=await names(visit, tenant),
        further=further,
        later=visit.asked("cursor") is not None,
    )


async def delivery(visit: Visit) -> Response:
    """One, with every attempt: what was asked, and what was answered."""
    tenant = visit.its_tenant()
    view, event = await _found(visit, tenant)
    called, endpoint = await names(visit, tenant), None
    if view.delivery.channel is Channel.WEBHOOK:
        for each in await visit.services.directory.endpoints(tenant):
            if each.id == view.delivery.target:
                endpoint = each
    return visit.page(
        "delivery.html",
        nav="deliveries",
        tenant=tenant,
        id=public_number(view.delivery.id),
        view=view,
        delivery=view.delivery,
        nobody=NOBODY,
        text=sentence(view, called, visit.looks),
        names=called,
        attempts=[(each, because(each.outcome, visit.looks)) for each in view.attempts],
        event=event.event,
        body=orjson.dumps(orjson.loads(event.event.body), option=orjson.OPT_INDENT_2).decode(),
        endpoint=endpoint,
        again=view.delivery.state in _AGAIN and view.delivery.target != NOBODY,
    )


async def retry(visit: Visit) -> Response:
    """A new round, at once."""
    tenant, named = visit.its_tenant(), visit.required("id")
    number = parse_public_id(named)
    if number is None or await visit.services.rounds.retry(tenant, number) is None:
        raise NotFound(visit.looks.t("error.no_delivery"))
    return visit.go("/delivery", tenant=tenant, id=named, done="retried")


async def mail(visit: Visit) -> Response:
    """The mail of a delivery, as it would be rendered now."""
    tenant = visit.its_tenant()
    view, event = await _found(visit, tenant)
    rendered, wrong = await _rendered(visit, view, event)
    return visit.page(
        "mail.html",
        nav="deliveries",
        tenant=tenant,
        id=public_number(view.delivery.id),
        event=event.event,
        mail=rendered,
        wrong=wrong,
    )


async def mail_body(visit: Visit) -> Response:
    """Its HTML alone, for the frame that shows it."""
    view, event = await _found(visit, visit.its_tenant())
    rendered, wrong = await _rendered(visit, view, event)
    if rendered is None:
        raise NotFound(wrong or "")
    return Response(
        rendered.html,
        media_type="text/html; charset=utf-8",
        headers={
            "cache-control": "no-store",
            "content-security-policy": _MAIL_POLICY,
            "x-frame-options": "SAMEORIGIN",
        },
    )


async def _found(visit: Visit, tenant: str) -> tuple[DeliveryView, EventView]:
    number = parse_public_id(visit.required("id"))
    view = None if number is None else await visit.services.queries.delivery(tenant, number)
    event = None if view is None else await visit.services.queries.event(tenant, view.event_id)
    if view is None or event is None:
        raise NotFound(visit.looks.t("error.no_delivery"))
    return view, event


async def _rendered(
    visit: Visit, view: DeliveryView, event: EventView
) -> tuple[Mail | None, str | None]:
    """The mail, or why there is none."""
    delivery, t = view.delivery, visit.looks.t
    if delivery.channel is not Channel.EMAIL or delivery.target == NOBODY:
        return None, t("mail.none")
    user = await visit.services.directory.user(delivery.tenant_id, delivery.target)
    if user is None or not user.email:
        return None, t("mail.no_address", target=delivery.target)
    try:
        return visit.services.console.render_mail(event.event, user, delivery), None
    except RenderError as error:
        return None, t("mail.broken", error=str(error))


def _short(visit: Visit, view: DeliveryView) -> str:
    reason = view.delivery.reason
    return "" if reason is None else because(reason, visit.looks)


pages.get("/deliveries", deliveries)
pages.get("/delivery", delivery)
pages.post("/delivery/retry", retry)
pages.get("/mail", mail)
pages.get("/mail/body", mail_body)
