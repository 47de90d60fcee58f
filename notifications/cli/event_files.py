"""Event files: one event, an array of events, or JSON lines, read piece by piece.

Events keep the very text they have in the file: the hub judges what its publisher wrote, and not
what a decoder in between made of it.
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, BinaryIO

from notifications.errors import ConfigurationError, HuntazeError

CHUNK = 256 * 1024
"""Bytes read at once; what is held in memory is this and the event at hand."""

_BLANK = re.compile(r"[ \t\r\n]+")

MAX_TEXT = 8 * 1024 * 1024
"""Characters that one event may have: what the hub takes in one request."""


_LONGEST_TOKEN = len(r"\ud83d\ude00")
"""How far before the end of a text cut short the decoder may stumble, strings aside."""


class UnreadableFile(HuntazeError):
    """The file is no JSON from some place on; says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event of a file.

    Attributes:
        label: Its id, or its place in the file where it has none.
        text: As it is written in the file.
        missing: The attributes among `id` and `tenantid` that it lacks.
        wrong: Why it cannot be sent at all, or None.
        position: Bytes of the file up to its end, about.
    """

    label: str
    text: str
    missing: frozenset[str] = frozenset()
    wrong: str | None = None
    position: int = 0

    def given(self, name: str, value: str) -> "Entry":
        """With an attribute that it lacks; unchanged where it has it."""
        if name not in self.missing:
            return self
        rest = self.text[1:].lstrip()
        comma = "" if rest.startswith("}") else ","
        return replace(
            self,
            label=value if name == "id" else self.label,
            text=f"{{{json.dumps(name)}:{json.dumps(value)}{comma}{rest}",
            missing=self.missing - {name},
        )


def read_entries(stream: BinaryIO) -> Iterator[Entry]:
    """The events of a file, in order, whichever of its three forms it has.

    A line that is no JSON is an entry that says so; the lines after it are read.

    Raises:
        UnreadableFile: An array or a single event is no JSON.
    """
    source = _Source(stream)
    if source.peek() == "[":
        yield from _array(source)
        return
    number, first = source.line_number, source.line()
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        source.back(first)
        yield from _document(source)
    else:
        yield from _lines(number, first, source)


def with_attributes(
    entries: Iterator[Entry], *, tenant_id: str | None, event_id: str | None
) -> Iterator[Entry]:
    """Entries with what they lack.

    Args:
        entries: The file's.
        tenant_id: For each that names no tenant.
        event_id: For the only one, where it has no id.

    Raises:
        ConfigurationError: There are several, and an id for one.
    """
    if event_id is not None:
        first, second = next(entries, None), next(entries, None)
        if second is not None:
            raise ConfigurationError("--id is for a file with one event; this one has several")
        entries = iter([first.given("id", event_id)] if first else [])
    if tenant_id is None:
        return entries
    return (entry.given("tenantid", tenant_id) for entry in entries)


def _array(source: "_Source") -> Iterator[Entry]:
    source.take("[")
    place = 0
    while source.peek() != "]":
        if place:
            source.take(",")
        place += 1
        yield source.entry(f"event {place}")
    source.take("]")
    source.end()


def _lines(number: int, first: str, source: "_Source") -> Iterator[Entry]:
    lines = chain([first], iter(source.line, ""))
    for each, line in enumerate(lines, start=number):
        if text := line.strip():
            yield _line(text, f"line {each}", source.position)


def _line(text: str, place: str, position: int) -> Entry:
    try:
        decoder = _Decoder()
        value = decoder.decode(text)
    except json.JSONDecodeError as error:
        why = f"not JSON at column {error.colno}: {error.msg}"
        return Entry(label=place, text=text, wrong=why, position=position)
    except (ValueError, RecursionError) as error:
        return Entry(label=place, text=text, wrong=f"not JSON: {error}", position=position)
    return _entry(value, text, place, decoder.wrong, position)


def _document(source: "_Source") -> Iterator[Entry]:
    if source.peek():
        yield source.entry("event 1")
        source.end()


def _entry(value: Any, text: str, place: str, wrong: str | None, position: int) -> Entry:
    if not isinstance(value, dict):
        return Entry(label=place, text=text, wrong="an event is a JSON object", position=position)
    found = value.get("id")
    return Entry(
        label=found if isinstance(found, str) and found.isprintable() and found else place,
        text=text,
        missing=frozenset(name for name in ("id", "tenantid") if name not in value),
        wrong=wrong,
        position=position,
    )


class _Decoder(json.JSONDecoder):
    """Notes what Python's decoder takes for JSON and is none."""

    def __init__(self) -> None:
        super().__init__(parse_constant=self._note)
        self.wrong: str | None = None

    def _note(self, name: str) -> None:
        self.wrong = f"not JSON: {name}"


class _Source:
    """The text of a binary stream, held only as far as it is needed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._ended = False
        self._broken = ""
        self._lines_before = 0
        self.position = 0

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            blank = _BLANK.match(self._text, self._at)
            self._at = blank.end() if blank else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def take(self, character: str) -> None:
        """Pass over this character, which must be next."""
        if self.peek() != character:
            raise self._unreadable(f"{character} is missing", self._at)
        self._at += 1

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self.peek():
            raise self._unreadable("something follows the end of the JSON", self._at)

    def line(self) -> str:
        """The next line with its end; empty at the end of the file."""
        while (end := self._text.find("\n", self._at)) < 0:
            if not self._fill():
                end = len(self._text)
                break
        line, self._at = self._text[self._at : end + 1], min(end + 1, len(self._text))
        return line

    @property
    def line_number(self) -> int:
        """The number of the line that is next, from 1."""
        return self._lines_before + self._text.count("\n", 0, self._at) + 1

    def back(self, line: str) -> None:
        """Un-read a line."""
        self._at -= len(line)

    def entry(self, place: str) -> Entry:
        """The JSON value that is next."""
        self.peek()
        while True:
            decoder = _Decoder()
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise self._unreadable("nested too deep", self._at) from None
            except json.JSONDecodeError as error:
                if self._may_go_on(error) and self._fill():
                    continue
                raise self._unreadable(error.msg, error.pos) from None
            except ValueError as error:  # a number of thousands of digits
                raise self._unreadable(str(error), self._at) from None
            text, self._at = self._text[self._at : end], end
            return _entry(value, text, place, decoder.wrong, self.position)

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether what is wrong may only be that the text at hand ends here."""
        at_the_end = error.pos >= len(self._text) - _LONGEST_TOKEN
        return at_the_end or error.msg.startswith("Unterminated string")

    def _fill(self) -> bool:
        """Read on; whether there was more."""
        if self._ended:
            return False
        if len(self._text) - self._at > MAX_TEXT:
            raise self._unreadable("an event of over 8 MiB", self._at)
        if self._broken:
            raise self._unreadable(self._broken, len(self._text))
        read = self._stream.read(CHUNK)
        self._ended = not read
        self.position += len(read)
        self._lines_before += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + self._decoded(read)
        self._at = 0
        return not self._ended

    def _decoded(self, read: bytes) -> str:
        """As text; what comes before a wrong byte is still good."""
        try:
            return self._utf8.decode(read, final=self._ended)
        except UnicodeDecodeError as error:
            self._ended, self._broken = False, f"not UTF-8 ({error.reason})"
            return error.object[: error.start].decode("utf-8-sig")

    def _unreadable(self, why: str, at: int) -> UnreadableFile:
        line = self._lines_before + self._text.count("\n", 0, at) + 1
        return UnreadableFile(f"not JSON at line {line}: {why}")
