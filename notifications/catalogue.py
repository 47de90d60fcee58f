"""The event types there are, what their data must look like, and which channels carry them.

An event type is a folder in `schemas/events`: `v1.json` is the JSON Schema of its `data` and
`v1.example.json` a whole event. It is shown where `templates/toast/<type>` exists and mailed
where `templates/email/<type>` does; webhooks carry every type.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import jsonschema_rs
import orjson

from notifications.errors import ConfigurationError, FieldError, InvalidEvent
from notifications.events import Channel, Event

_VERSION = re.compile(r"v([1-9][0-9]*)\.json")
_ENVELOPE_ONLY_IN_FLIGHT = frozenset(("id", "tenantid"))
_MAX_ERRORS = 50
_JSON_TYPES = {"integer": "a whole number", "object": "a JSON object", "array": "an array"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """One type of event.

    Attributes:
        name: e.g. `job.succeeded`.
        versions: The versions of its data that are taken, oldest first: `("v1",)`.
        schema: JSON Schema 2020-12 of the newest version's `data`.
        example: A whole event of the newest version, without `id` and `tenantid`.
        channels: The channels that carry it.
    """

    name: str
    versions: tuple[str, ...]
    schema: Mapping[str, Any]
    example: Mapping[str, Any]
    channels: frozenset[Channel]


class Catalogue:
    """All event types, with their validators compiled."""

    def __init__(
        self,
        types: Sequence[EventType],
        validators: Mapping[str, tuple[jsonschema_rs.Draft202012Validator, ...]],
    ) -> None:
        """Use `load`; this is for what it found: `validators` are newest first."""
        self._types = {found.name: found for found in types}
        self._validators = dict(validators)
        self._newest = {name: versions[0].is_valid for name, versions in validators.items()}

    @classmethod
    def load(cls, schemas_dir: Path, templates_dir: Path) -> Self:
        """Read and compile every schema.

        Args:
            schemas_dir: Holds `events/<type>/v<n>.json`.
            templates_dir: Holds `toast/<type>` and `email/<type>`.

        Raises:
            ConfigurationError: A file is missing or wrong; names it and says how.
        """
        folder = schemas_dir / "events"
        if not folder.is_dir():
            raise ConfigurationError(f"no event schemas: {folder} is not a folder")
        types, validators = [], {}
        for each in sorted(path for path in folder.iterdir() if path.is_dir()):
            found, compiled = _load_type(each, templates_dir)
            types.append(found)
            validators[found.name] = compiled
        return cls(types, validators)

    def types(self) -> Sequence[EventType]:
        """All types, by name."""
        return tuple(self._types.values())

    def channels(self, event_type: str) -> frozenset[Channel]:
        """The channels that carry a type.

        Raises:
            InvalidEvent: There is no such type.
        """
        found = self._types.get(event_type)
        if found is None:
            raise self._unknown(event_type)
        return found.channels

    def check(self, event: Event) -> None:
        """Check an event's type and data. Data that an older version takes is right too.

        Raises:
            InvalidEvent: Lists what is wrong, by the newest version, with pointers into the event.
        """
        newest = self._newest.get(event.type)
        if newest is None:
            raise self._unknown(event.type)
        if newest(event.data):
            return
        versions = self._validators[event.type]
        if any(version.is_valid(event.data) for version in versions[1:]):
            return
        raise InvalidEvent(list(explain(versions[0], self._types[event.type].schema, event.data)))

    def _unknown(self, event_type: str) -> InvalidEvent:
        close = difflib.get_close_matches(event_type, self._types, n=3, cutoff=0.5)
        guess = f"; did you mean {', '.join(close)}?" if close else "; see GET /v1/event-types"
        return InvalidEvent([FieldError("/type", f"no such event type{guess}")])


def _load_type(
    folder: Path, templates_dir: Path
) -> tuple[EventType, tuple[jsonschema_rs.Draft202012Validator, ...]]:
    numbers = sorted(
        (int(match[1]) for path in folder.iterdir() if (match := _VERSION.fullmatch(path.name))),
        reverse=True,
    )
    if not numbers:
        raise ConfigurationError(f"{folder}: an event type needs a v1.json")
    loaded = [_load_version(folder, number) for number in numbers]
    schema, example, _ = loaded[0]
    found = EventType(
        name=folder.name,
        versions=tuple(f"v{number}" for number in reversed(numbers)),
        schema=schema,
        example=example,
        channels=_channels(folder.name, templates_dir),
    )
    return found, tuple(validator for _, _, validator in loaded)


def _load_version(
    folder: Path, number: int
) -> tuple[dict[str, Any], dict[str, Any], jsonschema_rs.Draft202012Validator]:
    schema = read_schema(folder / f"v{number}.json")
    validator = compiled(schema, folder / f"v{number}.json")
    path = folder / f"v{number}.example.json"
    example = read_schema(path)
    if example.get("type") != folder.name:
        raise ConfigurationError(f'{path}: its "type" must be "{folder.name}"')
    if not _ENVELOPE_ONLY_IN_FLIGHT.isdisjoint(example):
        raise ConfigurationError(f'{path}: leave out "id" and "tenantid"')
    wrong = list(explain(validator, schema, example.get("data")))
    if wrong:
        raise ConfigurationError(f"{path}: {wrong[0].pointer}: {wrong[0].detail}")
    return schema, example, validator


def read_schema(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ConfigurationError: Names the file and says what is wrong with it.
    """
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: must be a JSON object")
    return document


def compiled(schema: dict[str, Any], path: Path) -> jsonschema_rs.Draft202012Validator:
    """A validator of a schema, which `path` holds.

    Raises:
        ConfigurationError: It is no JSON Schema; names the file.
    """
    try:
        return jsonschema_rs.Draft202012Validator(
            schema, pattern_options=jsonschema_rs.RegexOptions(), offline=True
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise ConfigurationError(f"{path}: not a JSON Schema: {error}") from error


def _channels(event_type: str, templates_dir: Path) -> frozenset[Channel]:
    carried = {Channel.WEBHOOK}
    for channel, folder in ((Channel.REALTIME, "toast"), (Channel.EMAIL, "email")):
        if (templates_dir / folder / event_type).is_dir():
            carried.add(channel)
    return frozenset(carried)


# ------------------------------------------------------------------ errors for people

_NO_FIELD = "not a field of this type; your own values go into /data/metadata"
_RULES = {
    "minimum": "must be at least {limit}",
    "maximum": "must be at most {limit}",
    "exclusiveMinimum": "must be more than {limit}",
    "exclusiveMaximum": "must be less than {limit}",
    "minLength": "must have at least {limit} character(s)",
    "maxLength": "must have at most {limit} characters",
    "minItems": "must have at least {limit} item(s)",
    "maxItems": "must have at most {limit} items",
    "minProperties": "must have at least {limit} field(s)",
    "maxProperties": "must have at most {limit} fields",
    "multipleOf": "must be a multiple of {multiple_of}",
}


def explain(
    validator: jsonschema_rs.Draft202012Validator,
    schema: Mapping[str, Any],
    data: object,
    *,
    below: str = "/data",
    no_field: str = _NO_FIELD,
) -> Iterator[FieldError]:
    """What is wrong with data, for people; `below` is the pointer to where it stands.

    Says what would be right. Never repeats a value: it may be long, or a secret.
    """
    for error in islice(validator.iter_errors(data), _MAX_ERRORS):
        yield from _explain(error, schema, below, no_field)


def _explain(
    error: jsonschema_rs.ValidationError, schema: Mapping[str, Any], below: str, no_field: str
) -> Iterator[FieldError]:
    at = below + "".join(_step(part) for part in error.instance_path)
    kind: Any = error.kind
    if kind.name == "required":
        yield FieldError(at + _step(kind.property), "required")
    elif kind.name == "additionalProperties":
        for name in kind.unexpected[:_MAX_ERRORS]:
            yield FieldError(at + _step(name[:64]), no_field)
    elif kind.name == "falseSchema":
        yield FieldError(at, no_field)
    else:
        yield FieldError(at, _rule(kind, _at(schema, error.schema_path[:-1])))


def _rule(kind: Any, where: Any) -> str:
    if kind.name == "type":
        return f"must be {' or '.join(_JSON_TYPES.get(name, f'a {name}') for name in kind.types)}"
    if kind.name == "enum":
        return f"must be one of {', '.join(map(str, kind.options))}"
    if kind.name in ("pattern", "propertyNames"):
        return str(where.get("errorMessage") or f"breaks the rule {kind.name!r} of its schema")
    known = _RULES.get(kind.name)
    if known is None:
        return f"breaks the rule {kind.name!r} of its schema"
    return known.format_map({name: getattr(kind, name, "") for name in ("limit", "multiple_of")})


def _at(schema: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        schema = schema[part]
    return schema


def _step(part: str | int) -> str:
    return "/" + str(part).replace("~", "~0").replace("/", "~1")
