"""Dead letters: what nobody could deal with, sending it again and deleting it, shown first."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from starlette.responses import Response

from notifications import json_limits
from notifications.dead_letters import Chosen, DeadMessage, Moved
from notifications.errors import FieldError, InvalidInput
from notifications.http.console.guard import Pages
from notifications.http.console.visits import Visit
from notifications.http.pagination import read_text, text_cursor
from notifications.text import shorten

PER_PAGE = 25
SHOWN = 4_000
"""Characters of a body that are shown."""

MOVED_AT_ONCE = 500
ROUNDS = 20
"""Commits that one request makes at most; what is left is asked for again."""

_CURSOR = "x"
_PLACE = re.compile(r"([0-9]{1,18}):(.{1,260})", re.ASCII)
_WHAT = ("replay", "purge")

pages = Pages()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a subscription's dead letters are.

    Attributes:
        subscription: Whose.
        moved: How many of each reason.
        more: Whether there are more than were looked at.
    """

    subscription: str
    moved: Moved
    more: bool


async def letters(visit: Visit) -> Response:
    """Oldest first, by subscription."""
    dead = visit.services.dead_letters
    subscription, reason = visit.asked("subscription"), visit.asked("reason")
    after = ("", 0)
    if (cursor := visit.asked("cursor")) is not None:
        place = read_text(cursor, _CURSOR, _PLACE)
        after = (place[2], int(place[1]))
    page, end = await dead.page(subscription, reason=reason, after=after, limit=PER_PAGE)
    return visit.page(
        "dead_letters.html",
        nav="dead-letters",
        standing=await _standing(visit),
        chosen={"subscription": subscription or "", "reason": reason or ""},
        letters=[(each, *_body(each)) for each in page],
        further=None if end is None else text_cursor(_CURSOR, f"{end[1]}:{end[0]}"),
        later=cursor is not None,
    )


async def preview(visit: Visit) -> Response:
    """What it would be: nothing is done yet."""
    chosen, what = _chosen(visit), _what(visit)
    dead = visit.services.dead_letters
    act = dead.replay if what == "replay" else dead.purge
    moved = await act(chosen, limit=MOVED_AT_ONCE, dry_run=True)
    return visit.page(
        "dead_letters_sure.html",
        nav="dead-letters",
        what=what,
        chosen=chosen,
        moved=moved,
        more=moved.rest is not None,
    )


async def move(visit: Visit) -> Response:
    """Do it, page by page; says how many it was, and asks again where there are more."""
    chosen: Chosen | None = _chosen(visit)
    what = _what(visit)
    dead = visit.services.dead_letters
    act = dead.replay if what == "replay" else dead.purge
    reasons: Counter[str] = Counter()
    for _ in range(ROUNDS):
        assert chosen is not None
        moved = await act(chosen, limit=MOVED_AT_ONCE)
        reasons.update(moved.reasons)
        chosen = moved.rest
        if chosen is None:
            break
    return visit.page(
        "dead_letters_done.html",
        nav="dead-letters",
        what=what,
        reasons=sorted(reasons.items()),
        count=reasons.total(),
        rest=chosen,
    )


async def _standing(visit: Visit) -> Sequence[Standing]:
    found = []
    for name in visit.services.console.subscriptions:
        chosen = Chosen(subscription=name)
        moved = await visit.services.dead_letters.replay(chosen, limit=1, dry_run=True)
        if moved.count:
            found.append(Standing(subscription=name, moved=moved, more=moved.rest is not None))
    return found


def _chosen(visit: Visit) -> Chosen:
    number = _number(visit, "number")
    return Chosen(
        subscription=visit.required("subscription"),
        reason=visit.asked("reason", longest=4_096),
        numbers=None if number is None else frozenset((number,)),
        after=_number(visit, "after") or 0,
        upto=_number(visit, "upto"),
    )


def _number(visit: Visit, name: str) -> int | None:
    text = visit.asked(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise InvalidInput([FieldError(f"/{name}", "must be a number")])
    return int(text)


def _what(visit: Visit) -> str:
    what = visit.one_of("what", _WHAT)
    if what is None:
        raise InvalidInput([FieldError("/what", "must be replay or purge")])
    return what


def _body(dead: DeadMessage) -> tuple[str, str | None, str | None]:
    """A letter's body for people, and the tenant and id of the event that it carries."""
    body = dead.message.body
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return shorten(body[:SHOWN].decode("utf-8", "replace"), SHOWN), None, None
    if json_limits.complaint(body, document) is not None:
        return shorten(body[:SHOWN].decode("utf-8", "replace"), SHOWN), None, None
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
    named = document if isinstance(document, dict) else {}
    tenant, event_id = named.get("tenantid"), named.get("id")
    if isinstance(tenant, str) and isinstance(event_id, str):
        return shorten(text, SHOWN), tenant, event_id
    return shorten(text, SHOWN), None, None


pages.get("/dead-letters", letters)
pages.post("/dead-letters/preview", preview)
pages.post("/dead-letters/move", move)
