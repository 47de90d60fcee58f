"""`POST /v1/email/reports?code=`: what Azure's Event Grid tells of mails that were taken.

Who calls shows a key in the address, as Event Grid keeps it there. Events come in batches, more
than once, in any order: the same report again changes nothing. What is no report of a mail of ours
is answered like one that is, since the service would only send it again.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from notifications.errors import FieldError, InvalidInput
from notifications.http import wire
from notifications.http.problems import Refused, unavailable
from notifications.http.services import services_of
from notifications.mailing import Fate, MailReport, read_mail_guid

router = APIRouter(prefix="/v1/email", include_in_schema=False)

log = logging.getLogger("huntaze")

MAX_EVENTS = 5_000
"""The most that Event Grid puts in a batch."""

AGAIN_IN_S = 30
"""When a report is worth sending again whose mail is not written down yet."""

_AT_ONCE = 100
"""Reports that are taken in side by side: they share commits."""

_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
_DELIVERY = "Microsoft.Communication.EmailDeliveryReportReceived"

_FATES: Mapping[str, Fate] = {
    "bounced": Fate.BOUNCED,
    "suppressed": Fate.BOUNCED,  # the service's own list: it bounced before
    "filteredspam": Fate.COMPLAINED,
    "quarantined": Fate.UNDELIVERED,
    "failed": Fate.UNDELIVERED,
}
"""By status, in lower case; others tell of no failure."""


@router.post("/reports")
async def take_reports(request: Request) -> Response:
    """Take a batch in; 503 where some are to be sent again."""
    services = services_of(request)
    _check(request.query_params.get("code", ""), services.email_reports_key)
    body = await wire.read_body(request, within_s=services.body_within_s)
    events = wire.decode(body)
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        detail = f"must be an array of at most {MAX_EVENTS} events, as Event Grid sends it"
        raise InvalidInput([FieldError("", detail)])
    code = _validation_code(events)
    if code is not None:
        log.info("email_reports.subscribed")
        return JSONResponse({"validationResponse": code})
    reports = list(_reports(events, services.clock.wall()))
    taken: list[bool] = []
    for start in range(0, len(reports), _AT_ONCE):
        some = reports[start : start + _AT_ONCE]
        taken += await asyncio.gather(*map(services.mail_reports.take, some))
    for report, done in zip(reports, taken, strict=True):
        fields = {"fate": report.fate.value, "number": report.number, "taken": done}
        log.info("email_reports.report", extra=fields)
    if not all(taken):
        return unavailable(AGAIN_IN_S).response(request.url.path)
    return Response(status_code=200)


def _check(shown: str, key: str | None) -> None:
    """Let a call through. By digest: the time it takes tells nothing of the key or its length."""
    right = hmac.compare_digest(_digest(shown), _digest(key or ""))
    if key is None or not right:
        log.warning("email_reports.refused", extra={"configured": key is not None})
        raise Refused(401, "The code is not the one that this hub takes reports with.")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()


def _validation_code(events: list[Any]) -> str | None:
    """What Event Grid wants to hear when somebody subscribes this address."""
    for event in events:
        if isinstance(event, dict) and event.get("eventType") == _VALIDATION:
            data = event.get("data")
            code = data.get("validationCode") if isinstance(data, dict) else None
            if isinstance(code, str):
                return code
    return None


def _reports(events: list[Any], now: datetime) -> Iterator[MailReport]:
    for event in events:
        if not isinstance(event, dict) or event.get("eventType") != _DELIVERY:
            continue
        data = event.get("data")
        if not isinstance(data, dict):
            continue
        # Names are written in more than one way.
        fields = {str(name).lower(): value for name, value in data.items()}
        fate = _FATES.get(str(fields.get("status")).lower())
        mail = read_mail_guid(str(fields.get("messageid")))
        recipient = fields.get("recipient")
        if fate is None or mail is None or not isinstance(recipient, str):
            continue
        number, round_number = mail
        at = _moment(fields.get("deliveryattempttimestamp"), now)
        yield MailReport(number=number, round=round_number, recipient=recipient, fate=fate, at=at)


def _moment(text: Any, now: datetime) -> int:
    """When it was, ms since the epoch; now, where that is not said or not yet."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else now
    except ValueError:
        at = now
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return int(min(at, now).timestamp() * 1000)
