"""What receivers' answers mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels.webhooks.answers import outcome_of, readable, retry_after_ms
from notifications.deliveries import Delivered, Failed
from notifications.retries import DAY
from tests.webhook_worlds import NOON


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        ("5", 5_000),
        ("0.25", 250),
        ("1.5", 1_500),
        (" 7 ", 7_000),
        ("86400", DAY),
        ("86401", DAY),
        ("999999999999999", DAY),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30_000),
        ("Sat, 31 Jan 2026 13:00:30 +0100", 30_000),
        ("Saturday, 31-Jan-26 12:00:30 GMT", 30_000),
        ("Sat Jan 31 12:00:30 2026", 30_000),
        ("Sun, 31 Jan 2100 12:00:30 GMT", DAY),
        (None, None),
        ("", None),
        ("0", None),
        ("-5", None),
        ("+5", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("٥", None),
        ("5 s", None),
        ("9" * 400, None),
        ("soon", None),
        ("Sat, 31 Jan 2026 11:59:59 GMT", None),
        ("Sat, 31 Jan 1970 12:00:30 GMT", None),
        ("Sat, 99 Foo 2026 12:00:30 GMT", None),
        ("Sat, 31 Jan 99999 12:00:30 GMT", None),
    ],
)
@pytest.mark.fault("answers 429 or 503 with any form of Retry-After", "receivers")
def test_retry_after(value: str | None, milliseconds: int | None) -> None:
    """Seconds, fractions and all HTTP dates are read, at most a day; past and rubbish are none."""
    assert retry_after_ms(value, NOON) == milliseconds


@given(st.text(max_size=40))
@pytest.mark.fault("answers 429 or 503 with any form of Retry-After", "receivers")
def test_any_retry_after_gets_an_answer(value: str) -> None:
    """Whatever the header holds, the wait is none or between nothing and a day."""
    wait = retry_after_ms(value, NOON)
    assert wait is None or 0 <= wait <= DAY


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_success(status: int) -> None:
    """Every 2xx is a success, and the start of its answer is kept."""
    expected = Delivered(status=status, detail="a" * 1024)
    assert outcome_of(status, b"a" * 2000, location=None, retry_after=None) == expected


@pytest.mark.parametrize("status", [101, 300, 304, 400, 401, 404, 409, 429, 500, 503, 599])
def test_all_else_is_a_failure_that_is_retried(status: int) -> None:
    """Every other answer save 410 is retried, with the wait it asks for."""
    assert outcome_of(status, b"no", location=None, retry_after=7) == Failed(
        reason=f"http-{status}", retryable=True, retry_after=7, status=status, detail="no"
    )


def test_410_is_final() -> None:
    """410 ends the delivery, whatever else it says."""
    assert outcome_of(410, b"bye", location=None, retry_after=7) == Failed(
        reason="gone", retryable=False, status=410, detail="bye"
    )


def test_redirect_says_where_it_led() -> None:
    """A redirect is a failure whose detail names the place that was not gone to."""
    outcome = outcome_of(302, b"<html>", location="http://169.254.169.254/", retry_after=None)
    assert isinstance(outcome, Failed)
    assert "http://169.254.169.254/" in (outcome.detail or "")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", None),
        (b"plain\ttext\r\n", "plain\ttext\n"),
        ("é€😀".encode(), "é€😀"),
        (b"a\x00b\x1bc", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
        (b"\xed\xa0\x80", "\N{REPLACEMENT CHARACTER}" * 3),
    ],
)
def test_readable(body: bytes, text: str | None) -> None:
    """Bodies become text without NULs and control characters, bad UTF-8 replaced."""
    assert readable(body, 1000) == text


def test_cut_in_the_middle_of_a_character() -> None:
    """A cut leaves half a character out."""
    assert readable("ééé".encode(), 3) == "é"
    assert readable("a😀".encode(), 4) == "a"


@given(st.binary(max_size=200), st.integers(1, 100))
def test_readable_is_bounded_and_storable(body: bytes, longest: int) -> None:
    """For any bytes the text is at most that long in UTF-8 and holds nothing PostgreSQL refuses."""
    text = readable(body, longest) or ""
    assert len(text.encode()) <= longest
    assert "\x00" not in text
