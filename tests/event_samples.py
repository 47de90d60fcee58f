"""Events, users and deliveries for tests of the catalogue, the templates and the mails."""

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from notifications.catalogue import Catalogue, EventType
from notifications.deliveries import Delivery
from notifications.directory import Locale, Role, User
from notifications.events import Channel, Event, read_event

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "schemas"
TEMPLATES = ROOT / "templates"
NOW = datetime(2026, 1, 31, 11, 0, tzinfo=UTC)

CATALOGUE = Catalogue.load(SCHEMAS, TEMPLATES)
TYPES: Mapping[str, EventType] = {found.name: found for found in CATALOGUE.types()}
SHOWN = sorted(name for name, found in TYPES.items() if Channel.REALTIME in found.channels)
MAILED = sorted(name for name, found in TYPES.items() if Channel.EMAIL in found.channels)


def event(document: Mapping[str, Any], **changes: Any) -> Event:
    """An event read from a document, as it enters."""
    whole = {"id": "evt-1", "tenantid": "acme", "time": NOW.isoformat(), **document, **changes}
    return read_event(whole, tenant_id=None, now=NOW)


def example(name: str, **data: Any) -> Event:
    """A type's example, with values of its data changed."""
    document = copy.deepcopy(dict(TYPES[name].example))
    document["data"].update(data)
    return event(document)


def minimal_data(name: str) -> dict[str, Any]:
    """The example's data with nothing in it that its schema does not require."""
    return _required(TYPES[name].schema, TYPES[name].schema, TYPES[name].example["data"])


def minimal(name: str) -> Event:
    """An event with nothing in it that is not required."""
    document = dict(TYPES[name].example) | {"data": minimal_data(name)}
    for optional in ("subject", "userid", "jobid", "jobtype"):
        document.pop(optional, None)
    return event(document)


def _required(whole: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> Any:
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    if schema.get("type") != "object":
        return value
    names = schema.get("required", ())
    return {name: _required(whole, schema["properties"][name], value[name]) for name in names}


def user(locale: Locale = Locale.EN, **changes: Any) -> User:
    """Somebody with an address."""
    fields: dict[str, Any] = {
        "tenant_id": "acme",
        "id": "usr_sample",
        "email": "sam.sample@example.com",
        "name": "Sam Sample",
        "locale": locale,
        "timezone": "Europe/Paris",
        "role": Role.MEMBER,
    }
    return User(**fields | changes)


def delivery(target: str = "usr_sample", number: int = 1_234_567) -> Delivery:
    """A delivery by mail."""
    return Delivery(
        tenant_id="acme",
        id=number,
        event_key=1,
        channel=Channel.EMAIL,
        target=target,
        deadline=int(NOW.timestamp() * 1000) + 86_400_000,
        created_at=int(NOW.timestamp() * 1000),
    )
