"""Other people's words, made harmless."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.text import clean, one_line, safe_url, shorten

ANY_TEXT = st.text(st.characters(), max_size=200)


@given(ANY_TEXT)
def test_one_line_is_one_line(text):
    """Whatever comes in, one line comes out, without control characters, and encodable."""
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert all(unicodedata.category(character) not in ("Cc", "Cs") for character in line)
    assert line.encode().decode() == line
    assert one_line(line) == line


@pytest.mark.parametrize("mark", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
def test_marks_that_reorder_are_dropped(mark):
    """Characters that turn the reading order of what follows do not come through."""
    assert clean(f"invoice{mark}fdp.exe") == "invoicefdp.exe"


@pytest.mark.parametrize("text", ["Zoé\u00a0!", "👩\u200d💻", "שלום", "নমস্কার", "é\u0301"])
def test_honest_text_stays(text):
    """Non-breaking spaces, joined emoji, other scripts and accents are left alone."""
    assert one_line(text) == text


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
def test_every_line_end_counts(end):
    """Each of Unicode's line ends is one line end, and one space in one line."""
    assert clean(f"a{end}b") == "a\nb"
    assert one_line(f"a{end}b") == "a b"


@given(ANY_TEXT, st.integers(min_value=2, max_value=50))
def test_shorten_keeps_the_limit(text, limit):
    """A shortened text is never longer than it may be, and one that fits is not touched."""
    short = shorten(text, limit)
    assert len(short) <= limit
    assert (short == text) == (len(text) <= limit) or short.endswith("…")


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com",
        "http://localhost:3000/a?b=c#d",
        "HTTPS://EXAMPLE.COM/É",
        "/jobs/1",
        "/",
        "https://example.com?q='x'",
    ],
)
def test_links_that_may_be_shown(url):
    """http, https and paths are links."""
    assert safe_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "ftp://example.com",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://",
        "https:///path",
        "https:example.com",
        "https://good.example@evil.example/",
        "https://good.example\\@evil.example",
        "https://example.com/\u202egnp",
        "https://example.com/ space",
        'https://example.com/"onclick="x',
        "https://example.com/<script>",
        "jobs/1",
        "",
        "https://example.com/" + "a" * 2048,
    ],
)
def test_what_is_no_link_is_none(url):
    """Anything else is no link at all."""
    assert safe_url(url) is None
