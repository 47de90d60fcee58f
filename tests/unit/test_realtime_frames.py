"""The protocol's frames: every text is read as something, every frame is what SDKs expect."""

from typing import Any

import orjson
import pytest
from azure.messaging.webpubsubclient.models._models import WebPubSubJsonProtocol
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels.realtime import frames
from notifications.channels.realtime.frames import (
    PONG,
    AckError,
    CancelInvocation,
    CloseCode,
    Frame,
    Invoke,
    JoinGroup,
    LeaveGroup,
    Malformed,
    Ping,
    SendEvent,
    SendToGroup,
    SequenceAck,
    read_frame,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TYPES = [
    "ping",
    "joinGroup",
    "leaveGroup",
    "sendToGroup",
    "event",
    "invoke",
    "cancelInvocation",
    "sequenceAck",
]

KEYS = ["type", "group", "ackId", "data", "dataType", "noEcho", "invocationId", "sequenceId"]


def read(**document: Any) -> frames.ClientFrame:
    return read_frame(orjson.dumps(document).decode())


def sent(frame: Frame) -> Any:
    assert frame.size == len(str(frame.content).encode())
    return orjson.loads(frame.content)


def test_every_frame_of_the_protocol_is_read() -> None:
    """Each type gives its own value, with what it carries."""
    assert read(type="ping") == Ping()
    assert read(type="joinGroup", group="g", ackId=1) == JoinGroup(group="g", ack_id=1)
    assert read(type="leaveGroup", group="g") == LeaveGroup(group="g", ack_id=None)
    assert read(
        type="sendToGroup", group="g", ackId=0, noEcho=True, dataType="json", data={"a": 1}
    ) == SendToGroup(group="g", ack_id=0, no_echo=True, data_type="json", data={"a": 1})
    assert read(type="sendToGroup", group="g", dataType="text", data="é") == SendToGroup(
        group="g", ack_id=None, no_echo=False, data_type="text", data="é"
    )
    assert read(type="event", event="e", ackId=2**64 - 1) == SendEvent(ack_id=2**64 - 1)
    assert read(type="invoke", invocationId="i") == Invoke(invocation_id="i")
    assert read(type="cancelInvocation", invocationId="i") == CancelInvocation()
    assert read(type="sequenceAck", sequenceId=2**64 - 1) == SequenceAck(sequence_id=2**64 - 1)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", CloseCode.NOT_JSON),
        ("{", CloseCode.NOT_JSON),
        ("hello", CloseCode.NOT_JSON),
        ('{"type":"ping"}\x00', CloseCode.NOT_JSON),
        ("[" * 20_000, CloseCode.NOT_JSON),
        ('{"type":NaN}', CloseCode.NOT_JSON),
        ("[]", CloseCode.POLICY),
        ("null", CloseCode.POLICY),
        ('"ping"', CloseCode.POLICY),
        ("{}", CloseCode.POLICY),
        ('{"type":"dance"}', CloseCode.POLICY),
        ('{"type":["ping"]}', CloseCode.POLICY),
        ('{"type":"sequenceAck"}', CloseCode.POLICY),
        ('{"type":"sequenceAck","sequenceId":-1}', CloseCode.POLICY),
        ('{"type":"sequenceAck","sequenceId":1.5}', CloseCode.POLICY),
        ('{"type":"sequenceAck","sequenceId":"1"}', CloseCode.POLICY),
        ('{"type":"sequenceAck","sequenceId":18446744073709551616}', CloseCode.POLICY),
        ('{"type":"invoke"}', CloseCode.POLICY),
        ('{"type":"joinGroup","group":"g","ackId":-1}', CloseCode.POLICY),
        ('{"type":"joinGroup","group":"g","ackId":true}', CloseCode.POLICY),
        ('{"type":"joinGroup","group":"g","ackId":"1"}', CloseCode.POLICY),
        ('{"type":"joinGroup","group":"g","ackId":18446744073709551616}', CloseCode.POLICY),
    ],
)
def test_what_cannot_be_answered_closes(text: str, code: CloseCode) -> None:
    """Text that is no frame and carries no usable `ackId` names the code to close with."""
    frame = read_frame(text)
    assert isinstance(frame, Malformed)
    assert (frame.ack_id, frame.code) == (None, code)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "dance"},
        {},
        {"type": "joinGroup"},
        {"type": "joinGroup", "group": ""},
        {"type": "leaveGroup", "group": 7},
        {"type": "joinGroup", "group": "g" * 1025},
        {"type": "sendToGroup", "group": "g", "dataType": "tea", "data": 1},
        {"type": "sendToGroup", "group": "g", "dataType": ["json"], "data": 1},
        {"type": "sendToGroup", "group": "g", "dataType": "text", "data": 1},
        {"type": "sendToGroup", "group": "g", "dataType": "binary"},
        {"type": "sendToGroup", "group": "g", "dataType": "binary", "data": "no base64!"},
        {"type": "sendToGroup", "group": "g", "dataType": "protobuf", "data": "é"},
    ],
)
def test_what_can_be_answered_keeps_its_ack_id(document: dict[str, Any]) -> None:
    """A wrong frame with an `ackId` is one to answer, not one to close for."""
    frame = read(**document, ackId=9)
    assert isinstance(frame, Malformed)
    assert frame.ack_id == 9


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """There is no text that raises."""
    assert read_frame(text) is not None


@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        st.sampled_from(TYPES) | JSON,
    )
)
def test_any_object_is_read(document: dict[str, Any]) -> None:
    """There is no object that raises, and what is not malformed is of its type."""
    frame = read(**document)
    assert isinstance(frame, Malformed) or document["type"] in TYPES


def test_microsoft_s_client_understands_the_frames() -> None:
    """The Python SDK's own parser reads each frame as what it is."""
    parse: Any = WebPubSubJsonProtocol.parse_messages
    greeting = parse(frames.connected("acme/lea", "c1").content)
    assert (greeting.connection_id, greeting.user_id) == ("c1", "acme/lea")
    assert greeting.reconnection_token is None
    assert parse(frames.connected("acme/lea", "c1", "t").content).reconnection_token == "t"
    assert parse(frames.server_message(b"1").numbered(7).content).sequence_id == 7
    assert parse(frames.disconnected("why").content).message == "why"
    assert parse(frames.server_message('{"é":1}'.encode()).content).data == {"é": 1}
    done = parse(frames.ack(3).content)
    assert (done.ack_id, done.success, done.error) == (3, True, None)
    failed = parse(frames.ack_error(4, AckError.FORBIDDEN, "no").content)
    assert (failed.ack_id, failed.success, failed.error.name) == (4, False, "Forbidden")
    sent_frame = SendToGroup(group="g", ack_id=1, no_echo=False, data_type="text", data="hi")
    told = parse(frames.group_message("g", "acme/lea", sent_frame).content)
    assert (told.group, told.from_user_id, told.data) == ("g", "acme/lea", "hi")


def test_the_frames_without_a_parser() -> None:
    """Pong and the answer to a call have the documented shape."""
    assert sent(PONG) == {"type": "pong"}
    assert sent(frames.invoke_error("i", AckError.NOT_FOUND, "nobody")) == {
        "type": "invokeResponse",
        "invocationId": "i",
        "success": False,
        "error": {"name": "NotFound", "message": "nobody"},
    }


@given(JSON)
def test_a_push_carries_its_data_unchanged(data: Any) -> None:
    """The data's bytes are embedded as they are, and the size is that of the wire."""
    encoded = orjson.dumps(data)
    frame = frames.server_message(encoded)
    assert encoded.decode() in frame.content
    assert sent(frame) == {"type": "message", "from": "server", "dataType": "json", "data": data}


@given(JSON, st.integers(1, 2**64 - 1))
def test_a_numbered_message_is_the_same_message(data: Any, number: int) -> None:
    """It gains its sequence id and loses nothing; its size is that of the wire."""
    message = frames.server_message(orjson.dumps(data))
    assert sent(message.numbered(number)) == {**sent(message), "sequenceId": number}


@given(JSON)
def test_a_push_to_a_client_without_protocol_is_its_data(data: Any) -> None:
    """Not a byte more than was pushed."""
    encoded = orjson.dumps(data)
    assert frames.server_message(encoded).bare() == Frame(encoded.decode(), len(encoded))


@pytest.mark.parametrize(
    ("data_type", "data", "bare"),
    [
        ("json", {"é": [1, None]}, '{"é":[1,null]}'),
        ("json", "text", '"text"'),
        ("text", "é", "é"),
        ("binary", "AP8=", b"\x00\xff"),
        ("protobuf", "AP8=", b"\x00\xff"),
    ],
)
def test_what_a_group_is_told_without_protocol(
    data_type: str, data: Any, bare: str | bytes
) -> None:
    """JSON and text are text, binary data is what its base64 stands for."""
    told = SendToGroup(group="g", ack_id=1, no_echo=False, data_type=data_type, data=data)
    encoded = bare.encode() if isinstance(bare, str) else bare
    message = frames.group_message("g", "acme/lea", told)
    assert message.bare() == Frame(bare, len(encoded))
    assert sent(message)["data"] == data
