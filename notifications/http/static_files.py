"""What the modules that send files share: what they are, their tags, and who has them already."""

import hashlib
from collections.abc import Mapping

MEDIA_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",
}


def digest(body: bytes) -> str:
    """Changes with the bytes: the heart of their `ETag`."""
    return hashlib.sha256(body).hexdigest()[:32]


def has_it(if_none_match: str, etag: str) -> bool:
    """Whether `If-None-Match` names it; caches on the way may have made the tag a weak one."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag in tags
