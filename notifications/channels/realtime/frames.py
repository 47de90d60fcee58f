"""The frames of Web PubSub's JSON protocols: one JSON object in each text message. Pure.

From a client: `read_frame` gives a value for every text there is. To a client: one function per
frame, each giving a `Frame` that can be sent to any number of connections as it is. Messages can
also be had with a sequence id, for the reliable protocol, and bare, for clients without protocol.
"""

import base64
import binascii
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

import orjson

MAX_GROUP_CHARACTERS = 1024
_DATA_TYPES = ("json", "text", "binary", "protobuf")


class CloseCode(IntEnum):
    """Why the hub closes a connection (RFC 6455, section 7.4.1)."""

    GOING_AWAY = 1001
    """The hub is stopping: connect again."""
    UNSUPPORTED = 1003
    """A binary message; the protocol has none."""
    NOT_JSON = 1007
    """A text message that is not JSON."""
    POLICY = 1008
    """JSON that is no frame of the protocol, with no `ackId` to answer to. To clients of the
    reliable protocol also: there is nothing to recover, connect afresh."""
    TOO_BIG = 1009
    """A message over the limit."""
    INTERNAL = 1011
    """A fault of the hub's."""
    TRY_AGAIN_LATER = 1013
    """The client did not keep up: connect again, and ask the inbox for what is missing."""


class AckError(StrEnum):
    """Names of errors in acks. To SDKs `Duplicate` is a success, the others are failures."""

    FORBIDDEN = "Forbidden"
    DUPLICATE = "Duplicate"
    NOT_FOUND = "NotFound"
    BAD_REQUEST = "BadRequest"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it goes out.

    Attributes:
        content: The message of the websocket, text or binary.
        size: Its bytes on the wire, which is what backlogs are bounded by.
    """

    content: str | bytes
    size: int


_PUSH = '{"type":"message","from":"server","dataType":"json","data":'
_PUSH_BYTES = _PUSH.encode()


@dataclass(frozen=True, slots=True)
class Message(Frame):
    """A frame that brings data: JSON from the hub, unless a subclass says otherwise."""

    content: str

    def numbered(self, sequence_id: int) -> Frame:
        """The same for a client of the reliable protocol, as the message of this number."""
        head = f'{{"sequenceId":{sequence_id},'
        # The brace that `content` begins with makes way for the head.
        return Frame(head + self.content[1:], self.size + len(head) - 1)

    def bare(self) -> Frame:
        """The data alone, for a client that speaks no protocol."""
        return Frame(self.content[len(_PUSH) : -1], self.size - len(_PUSH) - 1)


@dataclass(frozen=True, slots=True)
class GroupMessage(Message):
    """A frame that brings what a client sent to a group.

    Attributes:
        sent: What it sent.
    """

    sent: "SendToGroup"

    def bare(self) -> Frame:
        """JSON and text as text, the other types as the bytes that their base64 stands for."""
        if self.sent.data_type == "json":
            encoded = orjson.dumps(self.sent.data)
            return Frame(encoded.decode(), len(encoded))
        if self.sent.data_type == "text":
            return Frame(self.sent.data, len(self.sent.data.encode()))
        decoded = base64.b64decode(self.sent.data)
        return Frame(decoded, len(decoded))


# --------------------------------------------------------------------------- from a client


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Is anybody there?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinGroup:
    """Send me what is sent to this group."""

    group: str
    ack_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveGroup:
    """Send me that no longer."""

    group: str
    ack_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendToGroup:
    """Send this to everybody in the group; not to me, where `no_echo`."""

    group: str
    ack_id: int | None
    no_echo: bool
    data_type: str
    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SendEvent:
    """Tell the application; the hub has none that listens."""

    ack_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoke:
    """Call the application; the hub has none that answers."""

    invocation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelInvocation:
    """Forget that call; it was answered at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceAck:
    """All messages up to this number have arrived; of the reliable protocol."""

    sequence_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """No frame of the protocol.

    Attributes:
        detail: What is wrong, for the person who writes the client.
        ack_id: What to answer to; None where the connection is closed instead.
        code: What it is closed with.
    """

    detail: str
    ack_id: int | None = None
    code: CloseCode = CloseCode.POLICY


ClientFrame = (
    Ping
    | JoinGroup
    | LeaveGroup
    | SendToGroup
    | SendEvent
    | Invoke
    | CancelInvocation
    | SequenceAck
    | Malformed
)
"""What a client may say."""


def read_frame(text: str) -> ClientFrame:
    """Read what a client sent, whatever it is."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return Malformed(detail="not JSON", code=CloseCode.NOT_JSON)
    if not isinstance(document, dict):
        return Malformed(detail="a frame is a JSON object")
    ack_id = document.get("ackId")
    if ack_id is not None and not _is_uint64(ack_id):
        return Malformed(detail="ackId must be an unsigned 64-bit integer")
    return _read(document, ack_id)


def _read(document: dict[str, Any], ack_id: int | None) -> ClientFrame:
    match document.get("type"):
        case "ping":
            return Ping()
        case "joinGroup" | "leaveGroup" | "sendToGroup":
            return _read_group_frame(document, ack_id)
        case "event":
            return SendEvent(ack_id=ack_id)
        case "invoke" if isinstance(document.get("invocationId"), str):
            return Invoke(invocation_id=document["invocationId"])
        case "cancelInvocation":
            return CancelInvocation()
        case "sequenceAck" if _is_uint64(document.get("sequenceId")):
            return SequenceAck(sequence_id=document["sequenceId"])
    return Malformed(detail="unknown frame type", ack_id=ack_id)


def _read_group_frame(document: dict[str, Any], ack_id: int | None) -> ClientFrame:
    group = document.get("group")
    if not isinstance(group, str) or not 1 <= len(group) <= MAX_GROUP_CHARACTERS:
        detail = f"group must be 1-{MAX_GROUP_CHARACTERS} characters"
        return Malformed(detail=detail, ack_id=ack_id)
    if document["type"] == "joinGroup":
        return JoinGroup(group=group, ack_id=ack_id)
    if document["type"] == "leaveGroup":
        return LeaveGroup(group=group, ack_id=ack_id)
    data, data_type = document.get("data"), document.get("dataType", "json")
    if data_type not in _DATA_TYPES or not (data_type == "json" or isinstance(data, str)):
        detail = "dataType must be json, text, binary or protobuf; data is a string but for json"
        return Malformed(detail=detail, ack_id=ack_id)
    if data_type in ("binary", "protobuf") and not _is_base64(data):
        return Malformed(detail=f"data must be base64 where dataType is {data_type}", ack_id=ack_id)
    no_echo = document.get("noEcho") is True
    return SendToGroup(group=group, ack_id=ack_id, no_echo=no_echo, data_type=data_type, data=data)


def _is_base64(data: Any) -> bool:
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _is_uint64(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64


# --------------------------------------------------------------------------- to a client


def connected(user_id: str, connection_id: str, reconnection_token: str | None = None) -> Frame:
    """The first frame: from now on the client is told. With a token it can come back."""
    greeting = {
        "type": "system",
        "event": "connected",
        "userId": user_id,
        "connectionId": connection_id,
    }
    if reconnection_token is not None:
        greeting["reconnectionToken"] = reconnection_token
    return _frame(greeting)


def disconnected(reason: str) -> Frame:
    """The last frame, where the hub closes."""
    return _frame({"type": "system", "event": "disconnected", "message": reason})


def ack(ack_id: int) -> Frame:
    """It was done."""
    return _frame({"type": "ack", "ackId": ack_id, "success": True})


def ack_error(ack_id: int, name: AckError, message: str) -> Frame:
    """It was not done, or not again."""
    error = {"name": name, "message": message}
    return _frame({"type": "ack", "ackId": ack_id, "success": False, "error": error})


def invoke_error(invocation_id: str, name: AckError, message: str) -> Frame:
    """Nobody answers that call."""
    error = {"name": name, "message": message}
    return _frame(
        {
            "type": "invokeResponse",
            "invocationId": invocation_id,
            "success": False,
            "error": error,
        }
    )


def server_message(data: bytes) -> Message:
    """A push. `data` is JSON and goes in as it is: it was serialised once, by whoever made it."""
    encoded = _PUSH_BYTES + data + b"}"
    return Message(encoded.decode(), len(encoded))


def published(data_type: str, data: Any, *, group: str | None = None) -> GroupMessage:
    """What a server sends over the service's REST API: to a group, or to whom it likes."""
    head = {"from": "server"} if group is None else {"from": "group", "group": group}
    encoded = orjson.dumps({"type": "message", **head, "dataType": data_type, "data": data})
    sent = SendToGroup(
        group=group or "", ack_id=None, no_echo=False, data_type=data_type, data=data
    )
    return GroupMessage(encoded.decode(), len(encoded), sent)


def group_message(group: str, from_user_id: str, sent: SendToGroup) -> GroupMessage:
    """What a client sent to a group."""
    encoded = orjson.dumps(
        {
            "type": "message",
            "from": "group",
            "group": group,
            "fromUserId": from_user_id,
            "dataType": sent.data_type,
            "data": sent.data,
        }
    )
    return GroupMessage(encoded.decode(), len(encoded), sent)


def _frame(document: dict[str, Any]) -> Frame:
    encoded = orjson.dumps(document)
    return Frame(encoded.decode(), len(encoded))


PONG = _frame({"type": "pong"})
"""Somebody is."""
