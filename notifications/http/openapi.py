"""The OpenAPI document: what the framework cannot know is added here."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from notifications.catalogue import Catalogue, EventType
from notifications.http.events import MAX_BATCH, MEDIA_TYPES
from notifications.http.problems import MEDIA_TYPE
from notifications.http.routing import SCHEMES

DESCRIPTION = """\
Publish an event once: it becomes a toast, a mail and signed webhooks, is retried for a day, and
is never lost. Errors are problem documents (RFC 9457). Lists are paged with `limit` and `cursor`.
"""

TAGS = (
    {"name": "events", "description": "Publishing events, and what became of them."},
    {"name": "deliveries", "description": "One event to one target, and its attempts."},
    {"name": "dead letters", "description": "Bus messages that nobody could deal with."},
    {"name": "webhook endpoints", "description": "Where a customer's webhooks go."},
    {"name": "replays", "description": "A range of events to an endpoint once more."},
    {"name": "jobs", "description": "Work asked of the AI workers."},
    {"name": "tenants", "description": "What an account set up: its language, its budget."},
    {"name": "users", "description": "Who is told, where, and in which language."},
    {"name": "suppressions", "description": "Addresses that get no mail."},
    {"name": "inbox", "description": "A user's notifications."},
    {"name": "realtime", "description": "User tokens, and where a client connects."},
    {"name": "API keys", "description": "Keys that open one tenant."},
    {"name": "health", "description": "Whether the hub lives and can work."},
)

_DIALECT = ("$schema", "$id")
_STRING_OR_NULL = ["string", "null"]


def document(app: FastAPI, catalogue: Catalogue) -> dict[str, Any]:
    """The whole document."""
    built = get_openapi(
        title="Huntaze notification hub",
        version=app.version,
        summary="Toasts, mails and signed webhooks from one event.",
        description=DESCRIPTION,
        tags=[dict(tag) for tag in TAGS],
        routes=app.routes,
    )
    components = built.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.update(_event_schemas(catalogue))
    schemas.update(Problem=_PROBLEM, Published=_PUBLISHED, BatchAnswer=_BATCH_ANSWER)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {name: dict(scheme) for name, scheme in SCHEMES.items()}
    _describe_publishing(built["paths"]["/v1/events"]["post"], catalogue)
    return built


def _describe_publishing(operation: dict[str, Any], catalogue: Catalogue) -> None:
    batch = {"type": "array", "items": _ref("CloudEvent"), "maxItems": MAX_BATCH}
    plain, one, many = MEDIA_TYPES
    examples = {
        each.name: {"value": {**each.example, "id": "sample-1", "tenantid": "sample"}}
        for each in catalogue.types()
    }
    operation["requestBody"] = {
        "required": True,
        "content": {
            plain: {"schema": {"oneOf": [_ref("CloudEvent"), batch]}, "examples": examples},
            one: {"schema": {"oneOf": [_ref("CloudEvent"), batch]}},
            many: {"schema": {"oneOf": [_ref("CloudEvent"), batch]}},
        },
    }
    answers = operation["responses"]
    answers["202"] = {
        "description": "Accepted; of a batch, all of it",
        "content": {
            "application/json": {"schema": {"oneOf": [_ref("Published"), _ref("BatchAnswer")]}}
        },
    }
    answers["207"] = {
        "description": "Some of a batch were accepted",
        "content": {"application/json": {"schema": _ref("BatchAnswer")}},
    }
    answers["422"] = {
        "description": "What was sent is wrong; of a batch, all of it",
        "content": {
            MEDIA_TYPE: {"schema": _ref("Problem")},
            "application/json": {"schema": _ref("BatchAnswer")},
        },
    }


def _event_schemas(catalogue: Catalogue) -> dict[str, Any]:
    types = catalogue.types()
    data = {f"data.{each.name}": _data_schema(each) for each in types}
    return {**data, "CloudEvent": {**_ENVELOPE, "oneOf": [_typed(each) for each in types]}}


def _data_schema(each: EventType) -> Any:
    """A type's schema as a component: what it refers to in itself lies elsewhere now."""
    schema = {name: value for name, value in each.schema.items() if name not in _DIALECT}
    return _rebased(schema, f"#/components/schemas/data.{each.name}")


def _rebased(value: Any, base: str) -> Any:
    if isinstance(value, dict):
        return {
            name: base + each.removeprefix("#") if name == "$ref" else _rebased(each, base)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_rebased(each, base) for each in value]
    return value


def _typed(each: EventType) -> dict[str, Any]:
    typed: dict[str, Any] = {
        "properties": {"type": {"const": each.name}, "data": _ref(f"data.{each.name}")}
    }
    if each.schema.get("required"):
        typed["required"] = ["data"]
    return typed


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _text(longest: int, what: str) -> Mapping[str, Any]:
    return {"type": _STRING_OR_NULL, "minLength": 1, "maxLength": longest, "description": what}


_ENVELOPE: Mapping[str, Any] = {
    "title": "CloudEvent",
    "description": "CloudEvents 1.0 in JSON, with the hub's extensions.",
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "additionalProperties": False,
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {
            "type": "string",
            "pattern": "^[!-~]{1,90}$",
            "description": (
                "Unique in the tenant: sent again, the event is a duplicate. Ids of the forms that"
                " the hub gives to its own events are refused: `<jobId>.queued`,"
                " `.started.<run>`, `.progress.<run>.<n>`, `.retrying.<run>`, `.end`,"
                " `<endpointId>.disabled.…`, `budget.<month>.<share>`."
            ),
        },
        "source": {"type": "string", "minLength": 1, "maxLength": 256},
        "type": {"type": "string"},
        "subject": _text(256, "What it is about."),
        "time": {
            "type": _STRING_OR_NULL,
            "format": "date-time",
            "description": "When it happened, with a zone; now where it is left out.",
        },
        "datacontenttype": {"enum": ["application/json", None]},
        "tenantid": {
            "type": _STRING_OR_NULL,
            "pattern": "^[A-Za-z0-9_-]{1,36}$",
            "description": "The Huntaze account; with a tenant's key it may be left out.",
        },
        "userid": _text(128, "Whom it concerns; the tenant's owners where it is left out."),
        "jobid": _text(128, "The job that it tells of."),
        "jobtype": _text(64, "That job's type."),
        "traceparent": {
            "type": _STRING_OR_NULL,
            "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        },
        "data": {"type": ["object", "null"]},
    },
}

_PROBLEM: Mapping[str, Any] = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "JSON pointer into the body; empty for the whole of it.",
                    },
                    "detail": {"type": "string"},
                },
            },
        },
    },
}

_PUBLISHED: Mapping[str, Any] = {
    "title": "Published",
    "type": "object",
    "required": ["id", "duplicate"],
    "properties": {"id": {"type": "string"}, "duplicate": {"type": "boolean"}},
}

_BATCH_ANSWER: Mapping[str, Any] = {
    "title": "BatchAnswer",
    "description": "One item for each event, in the order sent.",
    "type": "object",
    "required": ["items"],
    "properties": {
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "status"],
                "properties": {
                    "id": {"type": _STRING_OR_NULL},
                    "status": {"type": "integer"},
                    "duplicate": {"type": "boolean"},
                    "problem": {"$ref": "#/components/schemas/Problem"},
                },
            },
        }
    },
}
