"""Events: CloudEvents 1.0 with the hub's extensions. Pure: no I/O, no clock.

An event is decoded once, where it enters (HTTP or bus), by `read_event`; its canonical bytes
(`Event.body`) are then stored and sent unchanged everywhere.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson

from notifications import json_limits
from notifications.envelope import errors_of, is_sound
from notifications.envelope import is_tenant_id as is_tenant_id
from notifications.envelope import is_traceparent as is_traceparent
from notifications.envelope import is_user_id as is_user_id
from notifications.envelope import read_time as read_time
from notifications.errors import FieldError, InvalidEvent, RejectedMessage
from notifications.values import quick

MAX_EVENT_BYTES = 192 * 1024
"""The largest event on the wire, in bytes: what fits a Service Bus message with its properties."""

_NO_TRACE = "0" * 32


class Channel(StrEnum):
    """The ways a delivery can go."""

    REALTIME = "realtime"
    EMAIL = "email"
    WEBHOOK = "webhook"


@quick
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


@quick
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
    if not is_sound(document, tenant_id):
        raise InvalidEvent(errors_of(document, tenant_id))
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
        "time": document.get("time") or _written(now),
        "datacontenttype": "application/json",
        "tenantid": document.get("tenantid") or tenant_id or "",
    }
    for name in ("subject", "userid", "jobid", "jobtype", "traceparent"):
        value = document.get(name)
        if value is not None:
            canonical[name] = value
    canonical["data"] = document.get("data") or {}
    return canonical


@lru_cache(maxsize=1)
def _written(moment: datetime) -> str:
    """A time as it is written; those of one request are the same."""
    return moment.isoformat(timespec="milliseconds")
