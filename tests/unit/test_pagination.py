"""Cursors."""

import re
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifications.errors import InvalidInput
from notifications.http.pagination import (
    number_cursor,
    page_of,
    read_number,
    read_text,
    text_cursor,
)


@given(st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_a_cursor_comes_back_as_it_was_given(number: int) -> None:
    """Every number that a ledger gives out survives the way through a cursor."""
    cursor = number_cursor("d", number)

    assert read_number(cursor, "d") == number
    assert cursor.replace("-", "").replace("_", "").isalnum()


def test_no_cursor_is_the_beginning() -> None:
    """Without a cursor there is no number."""
    assert read_number(None, "d") is None


@given(st.text(max_size=40))
@example("ZA")
@example("ZDE5OTk5OTk5OTk5OTk5OTk5OTk5")
@example("ZC0x")
@example(number_cursor("e", 1))
def test_what_is_no_cursor_of_the_list_is_refused(text: str) -> None:
    """Whatever is sent is read as a cursor of this list or refused as the caller's error."""
    with suppress(InvalidInput):
        number = read_number(text, "d")
        assert number is not None
        assert read_number(number_cursor("d", number), "d") == number


def test_another_lists_cursor_is_refused() -> None:
    """A cursor of one list does not fit another."""
    with pytest.raises(InvalidInput):
        read_number(number_cursor("e", 1), "d")


_FORM = re.compile(r"([0-9]+):(.+)")


def test_a_cursor_may_hold_a_text_of_a_form() -> None:
    """What is put into a cursor comes out of it, and only that of the list it was made for."""
    cursor = text_cursor("x", "7:notify-email")

    assert read_text(cursor, "x", _FORM).groups() == ("7", "notify-email")
    for other in (text_cursor("y", "7:a"), text_cursor("x", "7"), "", "?", "é"):
        with pytest.raises(InvalidInput):
            read_text(other, "x", _FORM)


@pytest.mark.parametrize(
    ("found", "page", "further"),
    [([], [], None), ([1], [1], None), ([1, 2], [1, 2], None), ([1, 2, 3], [1, 2], "after 2")],
)
def test_a_page_knows_whether_there_is_another(
    found: list[int], page: list[int], further: str | None
) -> None:
    """Only one item more than a page holds means that there is a next page."""
    assert page_of(found, 2, lambda item: f"after {item}") == (page, further)
