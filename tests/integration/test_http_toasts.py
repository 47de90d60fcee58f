"""What is served at `/toasts`, and how."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from notifications.http.toasts import FOLDER, assets
from tests.hub_world import World, hub_world

COMPONENT = "/toasts/huntaze-toasts.js"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A hub at work."""
    async with hub_world(tmp_path) as world:
        yield world


async def test_the_component_is_one_module_for_pages_anywhere(world: World) -> None:
    """Without a key, as JavaScript, and open to other origins: modules are fetched with CORS."""
    answer = await world.http.get(COMPONENT)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.content == (FOLDER / "huntaze-toasts.js").read_bytes()


async def test_the_component_depends_on_nothing(world: World) -> None:
    """It imports no other file and evaluates no string."""
    text = (await world.http.get(COMPONENT)).text

    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert forbidden not in text
    assert "import " not in text.replace(" * ", "").partition("const PROTOCOL")[2]


async def test_who_has_it_is_not_sent_it_again(world: World) -> None:
    """304 without a body for its tag, among others or made weak on the way; else all of it."""
    first = await world.http.get(COMPONENT)
    tag = first.headers["etag"]

    for named in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = await world.http.get(COMPONENT, headers={"if-none-match": named})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), named
    other = await world.http.get(COMPONENT, headers={"if-none-match": '"other"'})
    assert other.status_code == 200
    assert first.headers["cache-control"] == "no-cache"


async def test_it_travels_packed_where_that_is_understood(world: World) -> None:
    """With gzip it is a third, under a tag of its own; who refuses gzip gets it as it is."""
    plain = await world.http.get(COMPONENT, headers={"accept-encoding": "gzip;q=0, identity"})
    packed = await world.http.get(COMPONENT, headers={"accept-encoding": "br, gzip"})

    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 3
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == "accept-encoding"


async def test_the_page_has_a_strict_policy(world: World) -> None:
    """Nothing inline, nothing from elsewhere, no frame around it, no string as markup."""
    answer = await world.http.get("/toasts")
    policy = answer.headers["content-security-policy"]

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert re.search(r"\son[a-z]+=", answer.text) is None
    assert re.search(r"<script[^>]*>[^<]", answer.text) is None


async def test_head_is_answered_like_get(world: World) -> None:
    """The same headers, no body."""
    for path in ("/toasts", COMPONENT):
        head, whole = await world.http.head(path), await world.http.get(path)
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize("path", ["/toasts/nothing.js", "/toasts/page.html", "/toasts/..%2fapp.py"])
async def test_nothing_else_is_served(world: World, path: str) -> None:
    """404 as a problem for what is not among the files; the page has its one address."""
    answer = await world.http.get(path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_it_takes_no_other_method(world: World) -> None:
    """405 says what it takes."""
    answer = await world.http.post("/toasts")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_every_file_that_the_page_names_is_there() -> None:
    """The page's own files are among those that are served."""
    html = assets()["page.html"].body.decode()
    for name in ("icon.svg", "page.css", "page.js", "huntaze-toasts.js"):
        assert f'"toasts/{name}"' in html
        assert name in assets()
