"""`/toasts`: the `<huntaze-toasts>` component, its types, and a page that shows it.

Files as they are, read once. They hold nothing that is anybody's: the page gets its token from the
fragment of its address, which browsers keep to themselves.
"""

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from notifications.errors import ConfigurationError, NotFound
from notifications.http.services import services_of
from notifications.http.static_files import MEDIA_TYPES, digest, has_it

FOLDER = Path(__file__).parent / "static" / "toasts"
PAGE = "page.html"

router = APIRouter(prefix="/toasts", include_in_schema=False)

_CONNECTS = "connect-src 'self'"

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; {_CONNECTS};"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing inline and nothing from elsewhere; no string becomes markup or code."""

_ASSET_HEADERS = {
    "cache-control": "no-cache",  # kept, but asked for: a release reaches every page at once
    # Modules are fetched with CORS, and pages of other origins are what this file is for.
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
}
_PAGE_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
}


_REFUSED = re.compile(r";\s*q=0(\.0*)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file as it is sent.

    Attributes:
        body: Its bytes.
        packed: The same with gzip: a third of it.
        digest: Changes with them.
        media_type: What they are.
    """

    body: bytes
    packed: bytes
    digest: str
    media_type: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every file of the folder, by name.

    Raises:
        ConfigurationError: The installation lacks them.
    """
    found = {path.name: _asset(path) for path in sorted(FOLDER.glob("*.*"))}
    if PAGE not in found:
        raise ConfigurationError(f"{FOLDER / PAGE} is missing: install the hub again")
    return found


@router.api_route("", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """The page."""
    headers = _PAGE_HEADERS
    if (elsewhere := services_of(request).clients_at) is not None:
        policy = CONTENT_SECURITY_POLICY.replace(_CONNECTS, f"{_CONNECTS} {elsewhere}")
        headers = {**headers, "content-security-policy": policy}
    return _answer(request, assets()[PAGE], headers)


@router.api_route("/{name}", methods=["GET", "HEAD"])
async def asset(request: Request, name: str) -> Response:
    """The component, and what the page is made of."""
    found = assets().get(name)
    if found is None or name == PAGE:
        raise NotFound("There is nothing at this path.")
    return _answer(request, found, _ASSET_HEADERS)


def _answer(request: Request, found: Asset, headers: Mapping[str, str]) -> Response:
    packs = "gzip" in _listed(request.headers.get("accept-encoding", ""))
    # Other bytes, another tag.
    etag = f'"{found.digest}-gzip"' if packs else f'"{found.digest}"'
    headers = {**headers, "etag": etag, "vary": "accept-encoding"}
    if has_it(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    if packs:
        headers["content-encoding"] = "gzip"
    body = found.packed if packs else found.body
    return Response(body, media_type=found.media_type, headers=headers)


def _listed(header: str) -> list[str]:
    """A header's items that are not refused by a weight of nothing."""
    items = (item.strip() for item in header.split(","))
    return [item.partition(";")[0].strip() for item in items if not _REFUSED.search(item)]


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(
        body=body,
        packed=gzip.compress(body, mtime=0),
        digest=digest(body),
        media_type=MEDIA_TYPES[path.suffix],
    )
