"""The conversation with a client that speaks SignalR's JSON hub protocol: it listens.

What is pushed is an invocation of `TARGET` with the data as its one argument. A client that calls
a method is told that nobody answers. Nothing is kept for who is away: it asks the inbox.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from notifications.channels.realtime.belonging import Belonging
from notifications.channels.realtime.connection import Connection, Manners
from notifications.channels.realtime.frames import CloseCode, Frame, Message
from notifications.channels.realtime.groups import Groups
from notifications.channels.realtime.sessions import Session
from notifications.channels.realtime.tokens import ClientClaims

TARGET = "notification"
"""The method that a push invokes at the client."""

END = "\x1e"
"""Behind each message."""

_INVOCATION, _COMPLETION, _STREAM, _PING, _CLOSE = 1, 3, 4, 6, 7
_NOBODY = "nobody answers calls here"


@dataclass(frozen=True, slots=True)
class Invocation(Message):
    """What a server had invoked at clients: as it goes out."""


def invocation(target: str, arguments: Any) -> Invocation:
    """A call of a client's method, which is not answered."""
    document = {"type": _INVOCATION, "target": target, "arguments": arguments}
    content = orjson.dumps(document).decode() + END
    return Invocation(content, len(content.encode()))


class SignalRSession(Belonging):
    """One client, for as long as its connection lasts. A `Session`."""

    def __init__(self, claims: ClientClaims, groups: Groups[Session], *, max_groups: int) -> None:
        super().__init__(claims, groups, max_groups=max_groups)
        self._agreed = False

    @property
    def manners(self) -> Manners:
        """The hub says why it closes, and that a client may come back."""
        return Manners(farewell=_farewell)

    def open(self, connection: Connection) -> None:
        """Wait for the client to say what it speaks; nothing may be sent before."""
        self.connection = connection

    def deliver(self, message: Message) -> bool:
        """Invoke the client's method; whether it is behind. Before the handshake is over nothing
        is sent: the client asks the inbox after it."""
        connection = self.connection
        if connection is None or not self._agreed:
            return False
        connection.write(message if isinstance(message, Invocation) else _pushed(message))
        return connection.behind

    def take(self, text: str) -> None:
        """Answer what the client said: any number of messages."""
        for part in text.removesuffix(END).split(END):
            document = _document(part)
            if document is None:
                self._end(CloseCode.NOT_JSON, "a message is a JSON object")
                return
            if not self._agreed:
                self._agree(document)
            else:
                self._answer(document)

    def _agree(self, document: dict[str, Any]) -> None:
        if document.get("protocol") != "json" or document.get("version") not in (1, 2):
            error = "this hub speaks the protocol json, version 1"
            self._write(_encoded({"error": error}))
            self._end(CloseCode.POLICY, error)
            return
        self._write(_encoded({}))
        self._agreed = True

    def _answer(self, document: dict[str, Any]) -> None:
        call = document.get("invocationId")
        match document.get("type"):
            case 6:
                # Clients wait half a minute for a sign of life, and ask twice in that time.
                self._write(_ALIVE)
            case 1 | 4 if isinstance(call, str):
                answer = {"type": _COMPLETION, "invocationId": call, "error": _NOBODY}
                self._write(_encoded(answer))
            case 7:
                self._end(CloseCode.GOING_AWAY, "closed by the client")

    def _write(self, frame: Frame) -> None:
        if self.connection is not None:
            self.connection.write(frame)

    def _end(self, code: CloseCode, reason: str) -> None:
        if self.connection is not None:
            self.connection.end(code, reason)


def _document(text: str) -> dict[str, Any] | None:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _pushed(message: Message) -> Frame:
    bare = message.bare().content
    assert isinstance(bare, str), "what the hub pushes is JSON"
    content = f'{{"type":{_INVOCATION},"target":"{TARGET}","arguments":[{bare}]}}{END}'
    return Frame(content, len(content.encode()))


def _farewell(reason: str) -> Frame:
    return _encoded({"type": _CLOSE, "error": reason, "allowReconnect": True})


def _encoded(document: dict[str, Any]) -> Frame:
    content = orjson.dumps(document).decode() + END
    return Frame(content, len(content.encode()))


_ALIVE = _encoded({"type": _PING})
