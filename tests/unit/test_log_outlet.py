"""Writing the log to a pipe that may have no reader."""

import io
import json
import logging
import os
import time
from collections.abc import Iterator

import pytest

from notifications.cli.log_outlet import outlet
from notifications.cli.logs import JsonLines

LINES = 3_000
"""More than a pipe holds."""


class Pipe:
    """A logger that writes to a pipe, and the pipe's other end."""

    def __init__(self) -> None:
        self.end, writing = os.pipe()
        self.stream = os.fdopen(writing, "w")
        handler = outlet(self.stream)
        handler.setFormatter(JsonLines())
        self.log = logging.Logger("test")  # noqa: LOG001 - nobody else's
        self.log.addHandler(handler)

    def read(self) -> list[dict[str, object]]:
        """All that is in the pipe."""
        os.set_blocking(self.end, False)
        data = b""
        while True:
            try:
                data += os.read(self.end, 1 << 20)
            except BlockingIOError:
                return [json.loads(line) for line in data.splitlines() if line[-1:] == b"}"]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.stream.close()
    os.close(made.end)


def test_regression_a_reader_that_stands_still_holds_up_nobody_for_long(pipe: Pipe) -> None:
    """Lines beyond what the pipe holds are left out at once; how many is told when it is read
    again, before the next one."""
    begun = time.monotonic()
    for number in range(LINES):
        pipe.log.warning("said", extra={"number": number})
    took = time.monotonic() - begun
    whole = [line for line in pipe.read() if line["name"] == "said"]
    pipe.log.warning("again")
    gap, again = pipe.read()[-2:]
    assert took < 5
    assert [line["number"] for line in whole] == list(range(len(whole)))
    assert (gap["name"], gap["level"]) == ("log.left_out", "warning")
    assert LINES - len(whole) - 1 <= int(str(gap["lines"])) <= LINES - len(whole)
    assert again["name"] == "again"


def test_regression_a_line_that_was_cut_off_spoils_no_other(pipe: Pipe) -> None:
    """The reader stops within a line; the next one it reads begins on a line of its own."""
    for _ in range(10):
        pipe.log.warning("long", extra={"text": "x" * 10_000})
    pipe.read()
    pipe.log.warning("again")
    assert [line["name"] for line in pipe.read()] == ["log.left_out", "again"]


def test_a_long_line_arrives_whole(pipe: Pipe) -> None:
    """What is longer than a piece comes in order."""
    pipe.log.warning("long", extra={"text": "é" * 20_000})
    (line,) = pipe.read()
    assert line["text"] == "é" * 20_000


def test_a_reader_that_is_gone_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    """A closed pipe is written to in vain, and nothing is said of it."""
    pipe = Pipe()
    os.close(pipe.end)
    pipe.log.warning("said")
    pipe.stream.close()
    assert capfd.readouterr() == ("", "")


def test_a_stream_in_memory_will_do() -> None:
    """What has no descriptor is written to as it is."""
    stream = io.StringIO()
    outlet(stream).emit(logging.makeLogRecord({"msg": "said"}))
    assert stream.getvalue() == "said\n"
