"""Cursors: where a list goes on. Opaque to callers, so that what is in them may change."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import Query

from notifications.errors import FieldError, InvalidInput

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many items a page has at most.")]
Cursor = Annotated[
    str | None,
    Query(max_length=200, description="`nextCursor` of the page before; left out for the first."),
]

_NUMBER = re.compile(r"[0-9]{1,19}")
_LARGEST = (1 << 63) - 1

T = TypeVar("T")


def number_cursor(kind: str, number: int) -> str:
    """A cursor that holds a number; `kind`, one letter, is the list's: none fits another."""
    return text_cursor(kind, str(number))


def read_number(cursor: str | None, kind: str) -> int | None:
    """The number in a cursor; None where there is no cursor.

    Raises:
        InvalidInput: It is none of ours.
    """
    if cursor is None:
        return None
    found = _decoded(cursor)
    if found[:1] != kind or _NUMBER.fullmatch(found, 1) is None or int(found[1:]) > _LARGEST:
        raise _not_ours()
    return int(found[1:])


def text_cursor(kind: str, text: str) -> str:
    """A cursor that holds a text; see `number_cursor`."""
    return base64.urlsafe_b64encode(f"{kind}{text}".encode()).decode().rstrip("=")


def read_text(cursor: str, kind: str, form: re.Pattern[str], *, place: str = "") -> re.Match[str]:
    """The text in a cursor, matched with the form it must have.

    Args:
        cursor: As it was sent.
        kind: See `number_cursor`.
        form: What may be in it.
        place: JSON pointer to where it was sent; empty for the query.

    Raises:
        InvalidInput: It is none of ours.
    """
    found = _decoded(cursor)
    match = form.fullmatch(found, len(kind)) if found.startswith(kind) else None
    if match is None:
        raise _not_ours(place)
    return match


def _decoded(cursor: str) -> str:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return text.decode("ascii")
    except (binascii.Error, ValueError):
        return ""


def _not_ours(place: str = "") -> InvalidInput:
    what = "" if place else "the query parameter cursor "
    return InvalidInput([FieldError(place, f"{what}is not one of this list's")])


def page_of(
    found: Sequence[T], limit: int, cursor_of: Callable[[T], str]
) -> tuple[Sequence[T], str | None]:
    """The page, and the cursor of the next.

    Args:
        found: Up to `limit` + 1 items: the one too many says that there is a next page.
        limit: Items of a page.
        cursor_of: The cursor with which a list goes on behind an item.
    """
    page = found[:limit]
    return page, cursor_of(page[-1]) if len(found) > limit else None
