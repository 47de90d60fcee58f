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
    return base64.urlsafe_b64encode(f"{kind}{number}".encode()).decode().rstrip("=")


def read_number(cursor: str | None, kind: str) -> int | None:
    """The number in a cursor; None where there is no cursor.

    Raises:
        InvalidInput: It is none of ours.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = text.decode("ascii")
    except (binascii.Error, ValueError):
        found = ""
    if found[:1] != kind or _NUMBER.fullmatch(found, 1) is None or int(found[1:]) > _LARGEST:
        raise InvalidInput([FieldError("", "the query parameter cursor is not one of this list's")])
    return int(found[1:])


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
