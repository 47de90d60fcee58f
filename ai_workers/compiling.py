"""Schemas of answers, ready to be asked."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson


def validator_of(schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """A schema's validator, compiled once; its complaints do not repeat the values."""
    return _compiled(orjson.dumps(schema))


@lru_cache(maxsize=64)
def _compiled(schema: bytes) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        orjson.loads(schema),
        mask="the value",
        pattern_options=jsonschema_rs.RegexOptions(),
        offline=True,
    )
