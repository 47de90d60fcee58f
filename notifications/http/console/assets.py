"""The console's style and script: files as they are, with a tag that changes with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from notifications.errors import ConfigurationError, NotFound
from notifications.http.static_files import MEDIA_TYPES, digest, has_it

FOLDER = Path(__file__).parent.parent / "static" / "console"


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
    if has_it(request.headers.get("if-none-match", ""), found.etag):
        return Response(status_code=304, headers=headers)
    return Response(found.body, media_type=found.media_type, headers=headers)


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(
        body=body,
        etag=f'"{digest(body)}"',
        media_type=MEDIA_TYPES[path.suffix],
    )
