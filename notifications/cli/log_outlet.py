"""Writing the log to whoever takes it, and to nobody where nobody does.

A pipe whose reader stands still takes 64 KiB and then blocks whoever writes: with the event loop
writing, a stuck log collector would stop the hub. So it is asked first whether there is room. What
finds none is left out and counted.
"""

import logging
import os
import select
import sys
from typing import TextIO

_PIECE = 4_096
"""Bytes that a pipe with room takes whole (PIPE_BUF)."""

_PATIENCE_MS = 100
"""How long a reader that was quick so far is waited for."""


def outlet(stream: TextIO | None = None) -> logging.Handler:
    """What writes records to a stream, by default stderr, and never waits for long."""
    stream = stream or sys.stderr
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return logging.StreamHandler(stream)  # it is in memory
    if not hasattr(select, "poll"):
        return logging.StreamHandler(stream)
    return _Outlet(descriptor, stream.encoding or "utf-8")


class _Outlet(logging.Handler):
    """Writes to a descriptor while there is room."""

    def __init__(self, descriptor: int, encoding: str) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._encoding = encoding
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._stuck = self._cut = False
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or leave it out."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - as the library's handlers do
            self.handleError(record)
            return
        if self._left_out and self._write(self.format(_gap(self._left_out))):
            self._left_out = 0
        if not self._write(line):
            self._left_out += 1

    def _write(self, line: str) -> bool:
        """Whether it was written; a line that was cut off is ended before the next."""
        text = f"\n{line}\n" if self._cut else f"{line}\n"
        left = memoryview(text.encode(self._encoding, "replace"))
        while left:
            if not self._has_room():
                return False
            try:
                written = os.write(self._descriptor, left[:_PIECE])
            except OSError:
                return False  # its reader is gone: there is nobody to tell
            left = left[written:]
            self._cut = bool(left)
        return True

    def _has_room(self) -> bool:
        ready = self._room.poll(0 if self._stuck else _PATIENCE_MS)
        self._stuck = not ready
        return bool(ready)


def _gap(lines: int) -> logging.LogRecord:
    """What is said where lines are missing."""
    warning = {"levelno": logging.WARNING, "levelname": "WARNING"}
    return logging.makeLogRecord(
        {"name": "huntaze", **warning, "msg": "log.left_out", "lines": lines}
    )
