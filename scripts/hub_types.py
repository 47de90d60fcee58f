#!/usr/bin/env python3
"""TypeScript types of the API, made from its OpenAPI document.

    .venv/bin/python scripts/hub_types.py

writes `notifications/http/static/toasts/hub-types.d.ts`. A test fails while that file is not what
this makes of the document.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from notifications.http import openapi
from notifications.http.app import ROUTERS, HubApp
from notifications.shipped import load_catalogue

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "notifications" / "http" / "static" / "toasts" / "hub-types.d.ts"
HEAD = """\
// Types of the Huntaze hub's API. Made from its OpenAPI document by scripts/hub_types.py:
// change the API, run that, and commit what it writes.
"""
_NAMED = re.compile(r"[A-Za-z_$][\w$]*")
_PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean",
          "null": "null"}  # fmt: skip


def main() -> None:
    """Write the file."""
    TARGET.write_text(types_of(document()), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")


def document() -> dict[str, Any]:
    """The API's own document."""
    app = HubApp(version="1.0")
    for router in ROUTERS:
        app.router.routes.extend(router.routes)
    return openapi.document(app, load_catalogue())


def types_of(api: Mapping[str, Any]) -> str:
    """One exported type for each schema, in the order of their names."""
    schemas = api["components"]["schemas"]
    return "\n".join([HEAD, *(_exported(name, each) for name, each in _named(schemas))])


def _named(schemas: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each schema, and what it defines within itself for its own use."""
    for name in sorted(schemas):
        yield name, schemas[name]
        for inner, each in schemas[name].get("$defs", {}).items():
            yield f"{name}.{inner}", each


def _exported(name: str, schema: Mapping[str, Any]) -> str:
    said = schema.get("description") or schema.get("title")
    return f"{_comment(said, '')}export type {type_name(name)} = {_type(schema, '')};\n"


def type_name(name: str) -> str:
    """`data.job.failed` is `DataJobFailed`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"\W+", name))


def _type(schema: Any, indent: str) -> str:
    if not isinstance(schema, Mapping) or not schema:
        return "unknown"
    if "$ref" in schema:
        return _reference(schema["$ref"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    parts = [*_choices(schema, indent)]
    own = _own(schema, indent)
    if own is not None:
        parts.insert(0, own)
    return " & ".join(parts) if parts else "unknown"


def _choices(schema: Mapping[str, Any], indent: str) -> Iterator[str]:
    for kind in ("oneOf", "anyOf"):
        if kind in schema and not _only_requires(schema[kind]):
            found = dict.fromkeys(_type(each, indent) for each in schema[kind])
            text = " | ".join(found)
            yield f"({text})" if len(found) > 1 and _own(schema, indent) else text


def _only_requires(choices: list[Any]) -> bool:
    """Choices that say which properties go together say nothing of types."""
    return all(set(each) <= {"required", "not"} for each in choices)


def _own(schema: Mapping[str, Any], indent: str) -> str | None:
    kinds = schema.get("type", "object" if "properties" in schema else None)
    if kinds is None:
        return None
    found = [
        _of_kind(kind, schema, indent) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    ]
    return " | ".join(found)


def _of_kind(kind: str, schema: Mapping[str, Any], indent: str) -> str:
    if kind == "array":
        inner = _type(schema.get("items"), indent)
        return f"({inner})[]" if " " in inner and not inner.endswith("}") else f"{inner}[]"
    if kind == "object":
        return _object(schema, indent)
    return _PLAIN[kind]


def _object(schema: Mapping[str, Any], indent: str) -> str:
    properties = schema.get("properties")
    if not properties:
        values = schema.get("additionalProperties")
        return f"Record<string, {_type(values, indent)}>"
    deeper = indent + "  "
    required = schema.get("required", ())
    lines = [
        f"{_comment(each.get('description'), deeper)}{deeper}{_key(name)}"
        f"{'' if name in required else '?'}: {_type(each, deeper)};\n"
        for name, each in properties.items()
    ]
    return "{\n" + "".join(lines) + indent + "}"


def _key(name: str) -> str:
    return name if _NAMED.fullmatch(name) else json.dumps(name)


def _reference(target: str) -> str:
    """A component, or a definition within one, by where it lies."""
    _, _, path = target.partition("#/components/schemas/")
    return type_name(".".join(part for part in path.split("/") if part != "$defs"))


def _comment(text: object, indent: str) -> str:
    if not isinstance(text, str):
        return ""
    line = " ".join(text.split()).replace("*/", "* /")
    return f"{indent}/** {line} */\n"


if __name__ == "__main__":
    main()
