"""Answers whose status allows no body, and that have one all the same.

A handler that writes `ok` after a 204 is common: Python's own `http.server` lets it. aiohttp takes
what follows for the next answer, finds that it is not HTTP, and with that loses the status where
both came in one packet; the receiver said 2xx, though. Here the status outlives what follows it.
"""

import re
from typing import Any

from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

BODILESS = frozenset((204, 304))
"""Statuses whose answers end with their headers."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] (204|304)[ \r\n]")
_LONGEST = 16


class PatientHandler(ResponseHandler):
    """One connection; an answer that is malformed after its end is told by its status."""

    _begins = b""

    def set_response_params(self, **options: Any) -> None:
        """A request goes out: the next bytes are its answer's."""
        self._begins = b""
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        if not self._begins:
            self._begins = data[:_LONGEST]  # all of it, nearly always
        elif len(self._begins) < _LONGEST:
            self._begins += data[:_LONGEST]
        super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """What came in could not be read: `exc.code` is the status, where that is known."""
        if isinstance(exc, HttpProcessingError) and (found := _STATUS_LINE.match(self._begins)):
            exc.code = int(found[1])
        super().set_exception(exc, *cause)
