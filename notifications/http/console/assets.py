"""The console's style and script: files as they are, with a tag that changes with them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from notifications.errors import ConfigurationError, NotFound

FOLDER = Path(__file__).parent.parent / "static" / "console"

_MEDIA_TYPES: Mapping[str, str] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file as it is sent."""

    body: bytes
    etag: str
    media_type: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every file, by name.

    Raises:
        ConfigurationError: The installation lacks them.
    """
    found = {path.name: _asset(path) for path in sorted(FOLDER.glob("*.*"))}
    if not found:
        raise ConfigurationError(f"{FOLDER} is missing: install the hub again")
    return found


async def asset(request: Request) -> Response:
    """One of them."""
    found = assets().get(request.path_params["name"])
    if found is None:
        raise NotFound("There is nothing at this path.")
    headers = {
        "cache-control": "no-cache",  # kept, but asked for: a release reaches every page at once
        "etag": found.etag,
        "cross-origin-resource-policy": "same-origin",
    }
    if _has_it(request.headers.get("if-none-match", ""), found.etag):
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type=found.media_type, headers=headers)


def _has_it(named: str, etag: str) -> bool:
    """Whether `If-None-Match` names it; caches on the way may have made the tag a weak one."""
    tags = (tag.strip().removeprefix("W/") for tag in named.split(","))
    return named.strip() == "*" or etag in tags


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(
        body=body,
        etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        media_type=_MEDIA_TYPES[path.suffix],
    )
