"""What an event's envelope may hold: CloudEvents' attributes and the hub's extensions. Pure."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from notifications.errors import FieldError

_EVENT_ID = re.compile(r"[\x21-\x7e]{1,90}")
_TENANT_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
_USER_ID = re.compile(r"[^\x00-\x20\x7f]{1,128}")
# Narrower than `datetime.fromisoformat`, which also takes weeks, commas and missing minutes.
_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_Check = Callable[[object], FieldError | None]


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


def is_sound(document: Mapping[str, Any], tenant_id: str | None) -> bool:
    """Whether `errors_of` would find nothing. Most are: it asks only of what is there."""
    if not document.keys() >= _REQUIRED or (tenant_id is None and "tenantid" not in document):
        return False
    for name, value in document.items():
        check = _CHECKS.get(name)
        if check is None or check(value) is not None:
            return not errors_of(document, tenant_id)
    return True


def errors_of(document: Mapping[str, Any], tenant_id: str | None) -> list[FieldError]:
    """Everything that is wrong with an envelope, in one order.

    Args:
        document: Decoded JSON.
        tenant_id: The tenant the event is taken to belong to where it names none.
    """
    errors = []
    for name, check in _CHECKS.items():
        value = document.get(name)
        if name == "tenantid" and value is None and tenant_id is not None:
            continue
        error = check(value)
        if error is not None:
            errors.append(error)
    unknown = sorted(str(name) for name in document if name not in _CHECKS)[:10]
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


def _text(name: str, longest: int, *, required: bool = False) -> _Check:
    def check(value: object) -> FieldError | None:
        if value is None:
            return FieldError(f"/{name}", "required") if required else None
        if not isinstance(value, str) or not 1 <= len(value) <= longest or not value.isprintable():
            return FieldError(
                f"/{name}", f"must be a string of 1-{longest} characters, no control characters"
            )
        return None

    return check


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


def _check_tenant(value: object) -> FieldError | None:
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


_REQUIRED = frozenset(("specversion", "id", "source", "type"))
_CHECKS: Mapping[str, _Check] = {
    "specversion": _check_version,
    "id": _check_id,
    "source": _text("source", 256, required=True),
    "type": _text("type", 64, required=True),
    "subject": _text("subject", 256),
    "time": _check_time,
    "datacontenttype": _check_content_type,
    "tenantid": _check_tenant,
    "userid": _check_user,
    "jobid": _text("jobid", 128),
    "jobtype": _text("jobtype", 64),
    "traceparent": _check_traceparent,
    "data": _check_data,
}
"""Every attribute there is, in the order in which what is wrong is listed."""
