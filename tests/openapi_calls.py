"""Calls made out of the OpenAPI document: operations, and a right request for each.

A new route is called, and so tested, as soon as it is in the document.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ai_workers.extension import ROUTERS as OF_JOBS
from notifications.http import openapi
from notifications.http.app import ROUTERS, HubApp
from notifications.shipped import load_catalogue

SAMPLES: Mapping[str, Any] = {
    "url": "http://127.0.0.1:9/hook",
    "userId": "ada",
    "email": "eve@example.com",
    "eventTypes": ["*"],
    "timezone": "Europe/Paris",
    "input": {"text": "one two three"},
}
"""Values of properties whose schema cannot say all that they must be, by name."""


Place = tuple[str | int, ...]
"""Where something is in a body: names, and 0 for what is in a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the document.

    Attributes:
        method: `GET`, ...
        path: With its parameters in braces.
        spec: What the document says of it.
        document: The whole document.
    """

    method: str
    path: str
    spec: Mapping[str, Any]
    document: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def schemes(self) -> frozenset[str]:
        """What opens it; empty: anybody may ask."""
        return frozenset(name for each in self.spec.get("security", ()) for name in each)

    @property
    def resource(self) -> str:
        """The path up to its first parameter."""
        return self.path.partition("/{")[0]

    @property
    def has_id(self) -> bool:
        """Whether its path names one thing."""
        return "{" in self.path

    def query(self) -> Iterator[Mapping[str, Any]]:
        """Its query parameters."""
        return (each for each in self.spec.get("parameters", ()) if each["in"] == "query")

    def answers(self, *statuses: str) -> bool:
        """Whether it may answer with one of these."""
        return not self.spec["responses"].keys().isdisjoint(statuses)

    def takes(self, name: str) -> bool:
        """Whether it has a query parameter of that name."""
        return any(each["name"] == name for each in self.query())

    @property
    def body_schema(self) -> Mapping[str, Any] | None:
        """The schema of its JSON body, the first of several that it may be; None without one."""
        content = self.spec.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
        return None if schema is None else self._resolved(schema)

    def body(self, **given: Any) -> Any:
        """A right body with nothing in it that is not required, and what is given; None without.

        Given values that its schema does not know are left out.
        """
        content = self.spec.get("requestBody", {}).get("content", {}).get("application/json", {})
        schema = self.body_schema
        if schema is None:
            return None
        if "examples" in content:
            whole = dict(next(iter(content["examples"].values()))["value"])
        else:
            required = schema.get("required", ())
            properties = schema.get("properties", {})
            whole = {name: self._value(name, properties[name]) for name in required}
        known = schema.get("properties", {})
        return whole | {name: value for name, value in given.items() if name in known}

    def texts(self) -> Sequence[Place]:
        """Where its body takes a text, however deep; never in what says whose it is."""
        found = dict.fromkeys(self._texts(self.body_schema or {}, ()))
        return [place for place in found if place[0] != self.tenant_field]

    def _texts(self, schema: Mapping[str, Any], at: Place) -> Iterator[Place]:
        for each in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
            one = each
            while "$ref" in one:  # what an event's own schema defines is of one type alone
                name = one["$ref"].rpartition("/")[2]
                one = self.document["components"]["schemas"].get(name, {})
            if at and "string" in str(one.get("type")):
                yield at
            if "items" in one:
                yield from self._texts(one["items"], (*at, 0))
            for name, inner in one.get("properties", {}).items():
                yield from self._texts(inner, (*at, name))
            others = one.get("additionalProperties", "properties" not in one)
            if one.get("type") == "object" and others:
                yield from self._texts({"type": "string"} if others is True else others, (*at, "x"))

    @property
    def tenant_field(self) -> str | None:
        """The name under which its body says whose it is."""
        known = (self.body_schema or {}).get("properties", {})
        return next((name for name in ("tenantId", "tenantid") if name in known), None)

    def _value(self, name: str, schema: Mapping[str, Any]) -> Any:
        if name in SAMPLES:
            return SAMPLES[name]
        schema = self._resolved(schema)
        for key in ("default", "const"):
            if key in schema:
                return schema[key]
        if "examples" in schema or "enum" in schema:
            return (schema.get("examples") or schema["enum"])[0]
        properties = schema.get("properties", {})
        plain = {
            "string": "x" * max(1, schema.get("minLength", 0)),
            "integer": schema.get("minimum", 1),
            "number": schema.get("minimum", 1),
            "boolean": False,
            "array": [],
            "object": {
                each: self._value(each, properties[each]) for each in schema.get("required", ())
            },
        }
        assert schema.get("type") in plain, f"{self}: say in SAMPLES what {name!r} is like"
        return plain[schema["type"]]

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """A schema, with references followed and of alternatives the first."""
        while True:
            if "$ref" in schema:
                name = schema["$ref"].rpartition("/")[2]
                schema = self.document["components"]["schemas"][name]
            elif "anyOf" in schema:
                schema = schema["anyOf"][0]
            elif "oneOf" in schema and "properties" not in schema:
                schema = schema["oneOf"][0]
            else:
                return schema


def put(value: object, at: Place, into: object = None) -> Any:
    """What something becomes with a value at a place in it; a list, with it alone."""
    if not at:
        return value
    name, *rest = at
    if isinstance(name, int):
        return [put(value, tuple(rest))]
    whole = dict(into) if isinstance(into, Mapping) else {}
    return {**whole, name: put(value, tuple(rest), whole.get(name))}


def operations_of(document: Mapping[str, Any]) -> list[Operation]:
    """Every operation of a document, by path and method."""
    return sorted(
        (
            Operation(method=method.upper(), path=path, spec=spec, document=document)
            for path, methods in document["paths"].items()
            for method, spec in methods.items()
        ),
        key=lambda each: (each.path, each.method),
    )


def build() -> dict[str, Any]:
    """The document of the application's routes."""
    app = HubApp(version="1.0")
    for router in (*ROUTERS, *OF_JOBS):
        app.router.routes.extend(router.routes)
    return openapi.document(app, CATALOGUE)


CATALOGUE = load_catalogue()
DOCUMENT = build()
