"""Dead letters: bus messages that nobody could deal with. Only the admin sees them."""

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from notifications import json_limits
from notifications.dead_letters import Chosen, DeadMessage, Moved
from notifications.events import read_time
from notifications.http.forms import Body, View, moment
from notifications.http.pagination import DEFAULT_LIMIT, Cursor, Limit, read_text, text_cursor
from notifications.http.routing import AdminRoute
from notifications.http.services import services_of

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"], route_class=AdminRoute)

MAX_NUMBERS = 1_000
MAX_MOVED = 500
"""Dead letters that one request moves: what a commit can carry without being felt."""

SHOWN_BYTES = 16 * 1024
"""As much of a body is shown; the message itself is kept whole."""

_LIST_CURSOR, _MOVE_CURSOR = "x", "y"
_LIST_PLACE = re.compile(r"([0-9]{1,18}):(.{1,260})", re.ASCII)
_MOVE_PLACE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
_LARGEST = (1 << 63) - 1


def _time(text: str | None) -> str | None:
    if text is not None and read_time(text) is None:
        wrong = "must be RFC 3339 with a zone, e.g. 2026-01-31T12:00:00Z, 1970-2199"
        raise PydanticCustomError("time", wrong)
    return text


Subscription = Annotated[str, Field(min_length=1, max_length=260)]
Reason = Annotated[str, Field(min_length=1, max_length=4_096)]


class Selection(Body):
    """Which dead letters are meant: those to which everything that is said applies."""

    subscription: Annotated[Subscription, Field(description="Whose dead letters.")]
    reason: Annotated[Reason | None, Field(description="Those that died of it.")] = None
    sequence_numbers: Annotated[
        list[Annotated[int, Field(ge=0, le=_LARGEST)]] | None,
        Field(min_length=1, max_length=MAX_NUMBERS, description="Those with these numbers."),
    ] = None
    before: Annotated[
        str | None,
        Field(max_length=40, description="Those that died before that time (RFC 3339)."),
        AfterValidator(_time),
    ] = None
    up_to: Annotated[
        int | None,
        Field(ge=0, le=_LARGEST, description="Those up to this number: as a dry run said it."),
    ] = None
    dry_run: Annotated[bool, Field(description="Only say how many it would be.")] = False
    limit: Annotated[int, Field(ge=1, le=MAX_MOVED, description="How many at most.")] = MAX_MOVED
    cursor: Annotated[
        str | None,
        Field(max_length=200, description="`nextCursor` of the answer before, to go on."),
    ] = None


class MovedOut(View):
    """How many there were, and whether there are more."""

    dry_run: bool
    count: int
    reasons: dict[str, int]
    up_to: Annotated[int, Field(description="What dies from now on has a higher number.")]
    next_cursor: str | None


class DeadLetterOut(View):
    """A message that nobody could deal with, and why."""

    subscription: str
    sequence_number: int
    reason: str
    description: str
    dead_at: str
    enqueued_at: str
    delivery_count: int
    message_id: str
    subject: str | None
    content_type: str | None
    properties: dict[str, str | int | float | bool]
    body_encoding: Annotated[
        Literal["json", "base64"], Field(description="How `body` is written here.")
    ]
    body_bytes: Annotated[int, Field(description="How long it is, whatever is shown of it.")]
    body: Annotated[Any, Field(description="JSON where it is JSON and short; else its beginning.")]


class DeadLetterPage(View):
    """Dead letters, by subscription and number."""

    items: list[DeadLetterOut]
    next_cursor: str | None


@router.get("", summary="List dead letters, oldest first")
async def list_dead_letters(
    request: Request,
    subscription: Annotated[
        str | None, Query(min_length=1, max_length=260, description="Whose; all where left out.")
    ] = None,
    reason: Annotated[
        str | None, Query(min_length=1, max_length=4_096, description="Those that died of it.")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> DeadLetterPage:
    """A page may have fewer than `limit`, even none, and yet a `nextCursor`: go on with that."""
    after = ("", 0)
    if cursor is not None:
        place = read_text(cursor, _LIST_CURSOR, _LIST_PLACE)
        after = (place[2], int(place[1]))
    page, end = await services_of(request).dead_letters.page(
        subscription, reason=reason, after=after, limit=limit
    )
    further = None if end is None else text_cursor(_LIST_CURSOR, f"{end[1]}:{end[0]}")
    return DeadLetterPage(items=[_out(each) for each in page], next_cursor=further)


@router.post("/replay", summary="Send dead letters again")
async def replay_dead_letters(request: Request, body: Selection) -> MovedOut:
    """Each becomes a new message to its own consumer alone. Moves one page; go on with
    `nextCursor` until there is none."""
    moved = await services_of(request).dead_letters.replay(
        _chosen(body), limit=body.limit, dry_run=body.dry_run
    )
    return _moved(body, moved)


@router.post("/purge", summary="Delete dead letters")
async def purge_dead_letters(request: Request, body: Selection) -> MovedOut:
    """For good. An event that nobody deals with any more shows as exhausted (purged). Moves one
    page; go on with `nextCursor` until there is none."""
    moved = await services_of(request).dead_letters.purge(
        _chosen(body), limit=body.limit, dry_run=body.dry_run
    )
    return _moved(body, moved)


def _chosen(body: Selection) -> Chosen:
    after, upto = 0, body.up_to
    if body.cursor is not None:
        place = read_text(body.cursor, _MOVE_CURSOR, _MOVE_PLACE, place="/cursor")
        after, upto = int(place[1]), int(place[2])
    before = read_time(body.before)
    return Chosen(
        subscription=body.subscription,
        reason=body.reason,
        numbers=None if body.sequence_numbers is None else frozenset(body.sequence_numbers),
        before=None if before is None else int(before.timestamp() * 1000),
        after=after,
        upto=upto,
    )


def _moved(body: Selection, moved: Moved) -> MovedOut:
    rest = moved.rest
    return MovedOut(
        dry_run=body.dry_run,
        count=moved.count,
        reasons=dict(moved.reasons),
        up_to=moved.upto,
        next_cursor=None if rest is None else _place(rest),
    )


def _place(rest: Chosen) -> str:
    return text_cursor(_MOVE_CURSOR, f"{rest.after}-{rest.upto}")


def _out(dead: DeadMessage) -> DeadLetterOut:
    message = dead.message
    return DeadLetterOut(
        subscription=dead.subscription,
        sequence_number=dead.sequence_number,
        reason=dead.reason,
        description=dead.description,
        dead_at=moment(dead.dead_at),
        enqueued_at=moment(dead.enqueued_at),
        delivery_count=dead.delivery_count,
        message_id=message.id,
        subject=message.subject,
        content_type=message.content_type,
        properties=dict(message.properties),
        **_body(message.body),
    )


def _body(body: bytes) -> Mapping[str, Any]:
    if len(body) <= SHOWN_BYTES:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
        else:
            if json_limits.complaint(body, document) is None:
                return {"body_encoding": "json", "body_bytes": len(body), "body": document}
    shown = base64.b64encode(body[:SHOWN_BYTES]).decode()
    return {"body_encoding": "base64", "body_bytes": len(body), "body": shown}
