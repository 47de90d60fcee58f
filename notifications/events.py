"""Events: CloudEvents 1.0 with the hub's extensions. Pure: no I/O, no clock.

An event is decoded once, where it enters (HTTP or bus), by `read_event`; its canonical bytes
(`Event.body`) are then stored and sent unchanged everywhere.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from notifications import json_limits
from notifications.errors import FieldError, InvalidEvent, RejectedMessage

MAX_EVENT_BYTES = 192 * 1024
"""The largest event on the wire, in bytes: what fits a Service Bus message with its properties."""

_EVENT_ID = re.compile(r"[\x21-\x7e]{1,90}")
_TENANT_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
_USER_ID = re.compile(r"[^\x00-\x20\x7f]{1,128}")
# Narrower than `datetime.fromisoformat`, which also takes weeks, commas and missing minutes.
_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_NO_TRACE = "0" * 32
_EXTENSIONS = ("tenantid", "userid", "jobid", "jobtype", "traceparent")
_KNOWN = frozenset(
    ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data")
) | frozenset(_EXTENSIONS)


class Channel(StrEnum):
    """The ways a delivery can go."""

    REALTIME = "realtime"
    EMAIL = "email"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An immutable fact.

    Attributes:
        id: Unique in the tenant; 1-90 printable ASCII characters.
        source: URI reference of what published it.
        type: One of the catalogue's types, e.g. `job.succeeded`.
        subject: What it is about, or None.
        time: RFC 3339 with a zone: when it happened.
        tenant_id: The Huntaze account it belongs to.
        user_id: The person it concerns, or None for the tenant's owners.
        job_id: The job that it tells of, or None.
        job_type: That job's type, or None.
        traceparent: W3C trace context it was published under, or None.
        data: The payload, as its type's schema says.
        body: The canonical bytes: what is stored, put on the bus and posted.
        hop: W3C trace context of the step that puts it on the bus, where that is traced and the
            event began elsewhere; None is `traceparent`. It is not stored.
    """

    id: str
    source: str
    type: str
    subject: str | None
    time: str
    tenant_id: str
    user_id: str | None
    job_id: str | None
    job_type: str | None
    traceparent: str | None
    data: Mapping[str, Any]
    body: bytes
    hop: str | None = field(default=None, compare=False, repr=False)

    @property
    def message_id(self) -> str:
        """The id of the event's bus message. Carries the tenant: ids are unique only within it."""
        return f"{self.tenant_id}:{self.id}"

    @property
    def webhook_id(self) -> str:
        """The `webhook-id` of every attempt of this event at every endpoint."""
        return "evt_" + hashlib.sha256(self.message_id.encode()).hexdigest()[:32]

    @property
    def trace_id(self) -> str | None:
        """The trace that it is in: 32 hex digits, not all zero."""
        named = None if self.traceparent is None else self.traceparent[3:35]
        return None if named == _NO_TRACE else named

    def fingerprint(self) -> bytes:
        """SHA-256 over what makes two events of one id the same: not the time, not the trace."""
        content = {
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "userid": self.user_id,
            "jobid": self.job_id,
            "jobtype": self.job_type,
            "data": self.data,
        }
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()

    def log_context(self) -> dict[str, str]:
        """The fields that name this event, and the trace it is in, in a log line."""
        named = {"tenantId": self.tenant_id, "eventId": self.id, "type": self.type}
        return named if self.trace_id is None else {**named, "traceId": self.trace_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An event as the ledger knows it.

    Attributes:
        key: The event's number in the ledger.
        event: The event.
        channels: The channels that carry it, fixed at acceptance.
        routed: Targets that have a row already, of the channel that was asked about.
    """

    key: int
    event: Event
    channels: frozenset[Channel]
    routed: frozenset[str] = frozenset()


def is_tenant_id(value: object) -> bool:
    """Whether `value` may name a tenant: `[A-Za-z0-9_-]{1,36}`."""
    return isinstance(value, str) and _TENANT_ID.fullmatch(value) is not None


def is_user_id(value: object) -> bool:
    """Whether `value` may name a user: 1-128 characters, no spaces or control characters."""
    return isinstance(value, str) and _USER_ID.fullmatch(value) is not None and value.isprintable()


def is_traceparent(value: object) -> bool:
    """Whether `value` is a W3C trace context of version 00."""
    return isinstance(value, str) and _TRACEPARENT.fullmatch(value) is not None


def read_time(value: object) -> datetime | None:
    """A time as RFC 3339 writes it, with a zone, 1970-2199; None where it is none."""
    if not isinstance(value, str) or _RFC_3339.fullmatch(value) is None:
        return None
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and 1970 <= moment.year < 2200 else None


def read_event(document: object, *, tenant_id: str | None, now: datetime) -> Event:
    """Check an event's envelope and give it its canonical bytes.

    Args:
        document: Decoded JSON.
        tenant_id: The tenant the event is taken to belong to where it names none.
        now: Its `time` where it has none.

    Raises:
        InvalidEvent: Lists everything that is wrong with the envelope.
    """
    if not isinstance(document, Mapping):
        raise InvalidEvent([FieldError("", "an event is a JSON object")])
    errors = list(_envelope_errors(document, tenant_id))
    if errors:
        raise InvalidEvent(errors)
    canonical = _canonical(document, tenant_id, now)
    body = orjson.dumps(canonical)
    if len(body) > MAX_EVENT_BYTES:
        raise InvalidEvent([FieldError("", f"over {MAX_EVENT_BYTES} bytes")])
    return _event(canonical, body)


def traced(event: Event, traceparent: str) -> Event:
    """An event that goes on from a step of a trace.

    Where it says itself which trace it began in, that stands, as CloudEvents has it; else this step
    is where it began. One that would become too large is left as it is.
    """
    if event.traceparent is not None:
        return replace(event, hop=traceparent)
    document = orjson.loads(event.body)
    data = document.pop("data")
    body = orjson.dumps({**document, "traceparent": traceparent, "data": data})
    return (
        event if len(body) > MAX_EVENT_BYTES else replace(event, traceparent=traceparent, body=body)
    )


def decode_stored(body: bytes) -> Event:
    """Rebuild an event from its canonical bytes, which `read_event` checked when it entered."""
    return _event(orjson.loads(body), body)


def _event(document: Mapping[str, Any], body: bytes) -> Event:
    """The event of a canonical document and its bytes."""
    return Event(
        id=document["id"],
        source=document["source"],
        type=document["type"],
        subject=document.get("subject"),
        time=document["time"],
        tenant_id=document["tenantid"],
        user_id=document.get("userid"),
        job_id=document.get("jobid"),
        job_type=document.get("jobtype"),
        traceparent=document.get("traceparent"),
        data=document["data"],
        body=body,
    )


def decode_message(body: bytes, *, now: datetime) -> Event:
    """Read an event from a bus message that anybody may have sent.

    Raises:
        RejectedMessage: It can never be read, with the reason.
    """
    document = decode_body(body)
    try:
        return read_event(document, tenant_id=None, now=now)
    except InvalidEvent as error:
        raise RejectedMessage("envelope", str(error)) from error


def decode_body(body: bytes) -> Any:
    """The JSON in a bus message that anybody may have sent.

    Raises:
        RejectedMessage: It is too large, none, or cannot be kept as it was sent.
    """
    if len(body) > MAX_EVENT_BYTES:
        raise RejectedMessage("too-large", f"{len(body)} bytes, at most {MAX_EVENT_BYTES}")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RejectedMessage("not-json", str(error)) from error
    complaint = json_limits.complaint(body, document)
    if complaint is not None:
        raise RejectedMessage("not-json", complaint)
    return document


def _canonical(document: Mapping[str, Any], tenant_id: str | None, now: datetime) -> dict[str, Any]:
    """A checked envelope as it is written: what is left out is filled in, in one order."""
    canonical: dict[str, Any] = {
        "specversion": "1.0",
        "id": document["id"],
        "source": document["source"],
        "type": document["type"],
        "time": document.get("time") or now.isoformat(timespec="milliseconds"),
        "datacontenttype": "application/json",
        "tenantid": document.get("tenantid") or tenant_id or "",
    }
    for name in ("subject", "userid", "jobid", "jobtype", "traceparent"):
        value = document.get(name)
        if value is not None:
            canonical[name] = value
    canonical["data"] = document.get("data") or {}
    return canonical


def _envelope_errors(document: Mapping[str, Any], tenant_id: str | None) -> list[FieldError]:
    checks = (
        _check_version(document.get("specversion")),
        _check_id(document.get("id")),
        _check_text("source", document.get("source"), 256, required=True),
        _check_text("type", document.get("type"), 64, required=True),
        _check_text("subject", document.get("subject"), 256),
        _check_time(document.get("time")),
        _check_content_type(document.get("datacontenttype")),
        _check_tenant(document.get("tenantid"), tenant_id),
        _check_user(document.get("userid")),
        _check_text("jobid", document.get("jobid"), 128),
        _check_text("jobtype", document.get("jobtype"), 64),
        _check_traceparent(document.get("traceparent")),
        _check_data(document.get("data")),
    )
    errors = [error for error in checks if error is not None]
    if not _KNOWN.issuperset(document):
        unknown = sorted(str(name) for name in document if name not in _KNOWN)[:10]
        errors += [
            FieldError(_pointer(name), "unknown attribute; your own values go into data")
            for name in unknown
        ]
    return errors


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _check_version(value: object) -> FieldError | None:
    return None if value == "1.0" else FieldError("/specversion", 'must be "1.0"')


def _check_id(value: object) -> FieldError | None:
    if isinstance(value, str) and _EVENT_ID.fullmatch(value):
        return None
    return FieldError("/id", "required: 1-90 printable ASCII characters without spaces")


def _check_text(
    name: str, value: object, longest: int, *, required: bool = False
) -> FieldError | None:
    if value is None:
        return FieldError(f"/{name}", "required") if required else None
    if not isinstance(value, str) or not 1 <= len(value) <= longest or not value.isprintable():
        return FieldError(
            f"/{name}", f"must be a string of 1-{longest} characters, no control characters"
        )
    return None


def _check_time(value: object) -> FieldError | None:
    if value is None:
        return None
    wrong = FieldError(
        "/time", "must be RFC 3339 with a zone, e.g. 2026-01-31T12:00:00Z, 1970-2199"
    )
    return wrong if read_time(value) is None else None


def _check_content_type(value: object) -> FieldError | None:
    if value in (None, "application/json"):
        return None
    return FieldError("/datacontenttype", 'must be "application/json" or left out')


def _check_tenant(value: object, default: str | None) -> FieldError | None:
    if value is None and default is not None:
        return None
    if value is None:
        return FieldError("/tenantid", "required: the tenant this event belongs to")
    if not is_tenant_id(value):
        return FieldError("/tenantid", "must be 1-36 characters of A-Z a-z 0-9 _ -")
    return None


def _check_user(value: object) -> FieldError | None:
    if value is None or is_user_id(value):
        return None
    return FieldError("/userid", "must be 1-128 characters, no spaces or control characters")


def _check_traceparent(value: object) -> FieldError | None:
    if value is None or is_traceparent(value):
        return None
    return FieldError("/traceparent", "must be a W3C trace context of version 00")


def _check_data(value: object) -> FieldError | None:
    if value is None or isinstance(value, dict):
        return None
    return FieldError("/data", "must be a JSON object")
