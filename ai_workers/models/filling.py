"""The least that satisfies a JSON Schema, for models that make up nothing. Pure.

Knows what schemas of answers are made of: objects, arrays, texts, numbers, choices, references.
"""

from collections.abc import Mapping
from typing import Any

_DEEPEST = 12
_WORD = "–"


def filled(schema: Mapping[str, Any], text: str = _WORD) -> Any:
    """The least value of a schema: what is required, as short and as small as it may be.

    Args:
        schema: JSON Schema 2020-12; references lead to its own `$defs`.
        text: What texts say where they may say anything; cut and repeated as their bounds want.

    Raises:
        ValueError: It is nested without an end.
    """
    return _fill(schema, schema, text, 0)


def _fill(schema: Mapping[str, Any], root: Mapping[str, Any], text: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError(f"the schema is nested over {_DEEPEST} deep")
    if "$ref" in schema:
        found: Any = root
        for step in str(schema["$ref"]).removeprefix("#/").split("/"):
            found = found[step]
        return _fill(found, root, text, depth + 1)
    for known in ("const", "default"):
        if known in schema:
            return schema[known]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return _fill(schema[choice][0], root, text, depth + 1)
    return _of_kind(schema, root, text, depth)


def _of_kind(schema: Mapping[str, Any], root: Mapping[str, Any], text: str, depth: int) -> Any:
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {
            name: _fill(properties.get(name, {"type": "string"}), root, text, depth + 1)
            for name in schema.get("required", ())
        }
    if kind == "array":
        one = schema.get("items", {"type": "string"})
        return [_fill(one, root, text, depth + 1) for _ in range(schema.get("minItems", 0))]
    if kind == "string":
        return _text(schema, text)
    if kind in ("integer", "number"):
        least = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        return max(least, 0) if schema.get("maximum", 0) >= 0 else least
    return False if kind == "boolean" else None


def _text(schema: Mapping[str, Any], text: str) -> str:
    """As much of the text as fits, often enough to be long enough."""
    least = schema.get("minLength", 0)
    while len(text) < least:
        text += f" {text}" if text else _WORD
    return text[: schema.get("maxLength", len(text))]
