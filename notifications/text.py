"""Making what other people wrote harmless to show. Pure.

None of this is about markup: escaping is the template's. It is about characters that reorder or
hide what surrounds them, lines where there is to be one, lengths, and links.
"""

import re
from collections.abc import Iterable, Sequence

MAX_URL = 2048

_BREAKS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x1f\x7f]")
_SPACES = re.compile(r"[ \t\n]+")
_UNWANTED = re.compile(
    "["
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # control characters
    "\u202a-\u202e\u2066-\u2069"  # embeddings, overrides, isolates: reorder their neighbours
    "\u2060-\u2064\ufeff\ufff9-\ufffb"  # invisible operators and annotations
    "\ud800-\udfff"  # halves of surrogate pairs: cannot be encoded
    "\U000e0000-\U000e001f"  # deprecated language tags
    "]"
)
_ABSOLUTE = re.compile(r"https?://[^\s/?#\\@<>\"'`]+(?:[/?#][^\s\\<>\"`]*)?", re.IGNORECASE)
_PATH = re.compile(r"/(?!/)[^\s\\<>\"`]*")


def has_controls(text: str) -> bool:
    """Whether an ASCII control character is in it."""
    return _CONTROLS.search(text) is not None


def clean(text: str) -> str:
    """Without control characters and what reorders or hides text; line ends are `\\n`."""
    if text.isprintable():
        return text
    return _UNWANTED.sub("", _BREAKS.sub("\n", text))


def one_line(text: str) -> str:
    """Cleaned, in one line, without spaces around. Non-breaking spaces stay."""
    if text.isprintable() and "  " not in text:
        return text.strip(" ")
    return _SPACES.sub(" ", clean(text)).strip(" ")


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters; what is cut off is marked by `…`."""
    if len(text) <= limit:
        return text
    return text[: limit - 1].rstrip() + "…"


def safe_url(text: str) -> str | None:
    """A link that may be shown: http, https, or a path on the same site; anything else is None.

    A URL that carries a user name is refused too: it shows one host and leads to another.
    """
    if len(text) > MAX_URL or not text.isprintable():
        return None
    if _ABSOLUTE.fullmatch(text) or _PATH.fullmatch(text):
        return text
    return None


def told_by_place(faults: Sequence[tuple[Iterable[object], str]], *, most: int) -> str:
    """What is wrong in a file, in one line: each place and what is said of it, `most` of them."""
    told = [f"{'/'.join(map(str, place)) or 'the file'}: {what}" for place, what in faults[:most]]
    more = len(faults) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")
