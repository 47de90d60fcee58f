"""Job messages: what is sent to wake a worker, and what other producers ask for. Pure.

The hub's own messages and those of other producers look alike: the whole order. The row decides;
a message of a job that is there only wakes somebody.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from ai_workers.jobs import Job, Order
from notifications.bus.topology import JOB_TYPE
from notifications.errors import FieldError, InvalidInput, RejectedMessage
from notifications.events import MAX_EVENT_BYTES, decode_body, is_tenant_id, is_user_id
from notifications.messages import Message
from notifications.spans import TRACEPARENT

MAX_BYTES = MAX_EVENT_BYTES
"""The largest job message: what fits a Service Bus message with its properties."""

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
KEY = re.compile(r"[\x21-\x7e]{1,128}")


def check_size(order: Order) -> None:
    """Hold an order to what a message can carry.

    Raises:
        InvalidInput: It is too large.
    """
    if len(_encoded(order, 0)) > MAX_BYTES:
        raise InvalidInput([FieldError("/input", f"over {MAX_BYTES} bytes with what goes along")])


def message_of(job: Job, due_at: int, now: int) -> Message:
    """Wakes a worker for a job at `due_at`."""
    order = job.order
    traced = {} if order.traceparent is None else {TRACEPARENT: order.traceparent}
    return Message(
        # The first has the job's name; each further one a name of its own.
        id=f"{order.tenant_id}:{order.id}" + (f":{now}" if now != job.created_at else ""),
        body=_encoded(order, job.created_at),
        properties={JOB_TYPE: order.job_type, "tenantId": order.tenant_id, **traced},
        subject=order.job_type,
        due_at=due_at if due_at > now else None,
    )


def read_message(message: Message) -> Order:
    """The order in a message that anybody may have sent; its input is not looked at.

    Raises:
        RejectedMessage: Nobody can ever tell whose job it is, or what it is.
    """
    document = _decoded(message.body)
    wrong = [name for name, right in _CHECKS.items() if not right(document.get(name))]
    if wrong:
        raise RejectedMessage("envelope", "; ".join(f"/{n}: {_WANTED[n]}" for n in wrong))
    named = message.properties.get(JOB_TYPE)
    if named != document["jobType"]:
        raise RejectedMessage("envelope", f"/jobType: not the property {JOB_TYPE}, {named!r}")
    return Order(
        tenant_id=document["tenantId"],
        id=document["id"],
        job_type=document["jobType"],
        user_id=document.get("userId"),
        input=document["input"],
        idempotency_key=document.get("idempotencyKey"),
    )


def _decoded(body: bytes) -> Mapping[str, Any]:
    document = decode_body(body)
    if not isinstance(document, dict):
        raise RejectedMessage("envelope", "a job is a JSON object")
    return document


def _encoded(order: Order, created_at: int) -> bytes:
    at = datetime.fromtimestamp(created_at / 1000, UTC)
    return orjson.dumps(
        {
            "id": order.id,
            "jobType": order.job_type,
            "tenantId": order.tenant_id,
            "userId": order.user_id,
            "input": order.input,
            "idempotencyKey": order.idempotency_key,
            "createdAt": at.isoformat(timespec="milliseconds"),
        }
    )


def _fits(form: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


_CHECKS: Mapping[str, Callable[[object], bool]] = {
    "id": lambda value: _fits(JOB_ID, value),
    "jobType": lambda value: isinstance(value, str),
    "tenantId": is_tenant_id,
    "userId": lambda value: value is None or is_user_id(value),
    "input": lambda value: isinstance(value, dict),
    "idempotencyKey": lambda value: value is None or _fits(KEY, value),
}
_WANTED = {
    "id": "required: 1-64 characters of A-Z a-z 0-9 _ -",
    "jobType": "required: what is to be done",
    "tenantId": "required: 1-36 characters of A-Z a-z 0-9 _ -",
    "userId": "must be 1-128 characters, no spaces or control characters",
    "input": "required: a JSON object",
    "idempotencyKey": "must be 1-128 printable ASCII characters without spaces",
}
