"""HTTP/1.1 as uvicorn speaks it, with an end to its patience.

uvicorn waits for ever for a head or a body that has begun, and reads a head of any size; so that
who sends a byte now and then, with or without a key, would hold a connection and its memory. And it
hangs up on who is still sending, whose machine may then throw away the answer that says why.
"""

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, cast

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from notifications.http.problems import MEDIA_TYPE, Problem
from notifications.http.wire import BODY_WITHIN_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long, and how much, a client may make the server wait.

    Attributes:
        head_s: For the head of a request, from the connection or from its first byte on.
        body_s: For its body, after which the API answers 408. Who was answered before the body
            came, as without a key, is hung up on `head_s` later.
        head_bytes: The longest request line and headers, together.
        linger_s: How long what still comes is thrown away, once the answer is sent.
    """

    head_s: float = 15.0
    body_s: float = BODY_WITHIN_S
    head_bytes: int = 64 * 1024
    linger_s: float = 2.0


class _Reading(Enum):
    NOTHING = "nothing"
    HEAD = "head"
    BODY = "body"


class _HeadTooLargeError(Exception):
    """Ends the parsing of a request."""


class PatientProtocol(HttpToolsProtocol):
    """One connection. A request that comes whole in one piece never sees a timer."""

    patience: ClassVar[Patience] = Patience()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._reading = _Reading.NOTHING
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._unparsed = 0
        self._hung_up = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._connection = transport
        super().connection_made(cast("asyncio.Transport", _Lingering(self, transport)))
        self._wait(self.patience.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._hung_up:
            return
        self._unparsed += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._reading is _Reading.NOTHING:
            self._stop()
            self._unparsed = 0
        elif self._reading is _Reading.BODY:
            self._unparsed = 0
            if self._timer is None:
                self._wait(self.patience.body_s + self.patience.head_s)
        elif self._unparsed > self.patience.head_bytes:
            self._refuse_head()  # a line that has not ended yet is not counted by the parser
        elif self._timer is None:
            self._wait(self.patience.head_s)

    def on_message_begin(self) -> None:
        self._reading = _Reading.HEAD
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value) + len(b": \r\n"))

    def on_headers_complete(self) -> None:
        self._reading = _Reading.BODY
        self._stop()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._reading = _Reading.NOTHING
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._reading = _Reading.NOTHING
        self._stop()
        self.transport = self._connection
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours is a problem document
        if self._head_bytes > self.patience.head_bytes:
            self._refuse_head()
        else:
            self._refuse(Problem(status=400, detail="This is no HTTP/1.1 request."))

    def hang_up(self) -> None:
        """Send nothing more, but let who is still sending read the answer before the end."""
        if self._hung_up or self._connection.is_closing():
            return
        self._stop()
        if self._reading is _Reading.NOTHING or not self._connection.can_write_eof():
            self._connection.close()
            return
        self._hung_up = True
        self._connection.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(self.patience.linger_s, self._connection.close)

    @property
    def hung_up(self) -> bool:
        """Whether nothing more is sent."""
        return self._hung_up or self._connection.is_closing()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.patience.head_bytes:
            raise _HeadTooLargeError

    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._reading is _Reading.HEAD:
            within = f"within {self.patience.head_s:g} s"
            self._refuse(Problem(status=408, detail=f"The request's head did not come {within}."))
        else:
            self.transport.close()

    def _refuse_head(self) -> None:
        most = self.patience.head_bytes
        detail = f"Request line and headers have at most {most:,} bytes together."
        self._refuse(Problem(status=431, detail=detail))

    def _refuse(self, problem: Problem) -> None:
        """Answer past the application, which never heard of the request, and hang up."""
        body = orjson.dumps(problem.document(""))
        head = (
            STATUS_LINE[problem.status],
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n".encode(),
            b"connection: close\r\n\r\n",
        )
        self.transport.write(b"".join((*head, body)))
        self.transport.close()


class _Lingering:
    """The transport as uvicorn sees it: closing it hangs up without haste."""

    def __init__(self, protocol: PatientProtocol, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        self._protocol.hang_up()

    def is_closing(self) -> bool:
        return self._protocol.hung_up


def patient_protocol(patience: Patience) -> type[PatientProtocol]:
    """The protocol with a patience of its own: uvicorn makes the connections, and asks for none."""
    return type("PatientProtocol", (PatientProtocol,), {"patience": patience})
