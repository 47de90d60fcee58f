"""What the door makes of a client's message, and what it hands out."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.broker import Item, State
from notifications.door import encoding as put
from notifications.door import sections
from notifications.door.decoding import decode
from notifications.door.faults import Fault
from notifications.door.rules import described_rule, named_rule
from notifications.messages import DeadLetter, Message

NOON = 1_772_366_400_000

HEADER, ANNOTATIONS, PROPERTIES, APPLICATION = 0x70, 0x72, 0x73, 0x74
DATA, SEQUENCE, VALUE, FOOTER = 0x75, 0x76, 0x77, 0x78


def properties(*fields: bytes) -> bytes:
    return put.described(PROPERTIES, put.sequence(fields))


def application(**values: bytes) -> bytes:
    return put.described(APPLICATION, put.strings(values))


def data(body: bytes = b"x") -> bytes:
    return put.described(DATA, put.binary(body))


NAMED = properties(put.string("m"))


def read(encoded: bytes, *, own_bus: bool = False) -> Message:
    return sections.read(encoded, new_id="made", own_bus=own_bus)


def item(message: Message, **changes: Any) -> Item:
    made: dict[str, Any] = {
        "sequence_number": 7,
        "enqueued_at": NOON,
        "delivery_count": 2,
        "token": UUID(int=1),
        "locked_until": NOON + 5,
        **changes,
    }
    return Item(message=message, **made)


def shown(encoded: bytes) -> dict[int, Any]:
    """The sections of a message, by their numbers, decoded."""
    return {code: decode(value)[0] for code, value in sections.split(encoded)}


class TestRead:
    """A client's message as the bus knows it."""

    def test_fields(self) -> None:
        """Ids, texts, properties and times are where rules and receivers look for them."""
        fields = [put.NULL] * 13
        fields[0], fields[2], fields[3] = put.string("m"), put.string("to"), put.string("label")
        fields[4], fields[5], fields[6] = put.string("re"), put.ulong(5), put.symbol("text/x")
        fields[10], fields[12] = put.string("s"), put.string("rs")
        annotations = put.mapping(
            [
                (put.symbol("x-opt-scheduled-enqueue-time"), put.timestamp(NOON)),
                (put.symbol("x-opt-partition-key"), put.string("p")),
            ]
        )
        header = put.sequence([put.NULL, put.NULL, put.uint(60_000)])
        found = read(
            put.described(HEADER, header)
            + put.described(ANNOTATIONS, annotations)
            + properties(*fields)
            + data(b"one ")
            + data(b"two")
        )
        assert found == Message(
            id="m",
            body=b"one two",
            properties={},
            subject="label",
            content_type="text/x",
            due_at=NOON,
            wire=found.wire,
            system={
                "To": "to",
                "ReplyTo": "re",
                "CorrelationId": "5",
                "SessionId": "s",
                "ReplyToSessionId": "rs",
                "PartitionKey": "p",
                "TimeToLive": 60_000,
            },
        )

    def test_the_bare_message_is_kept(self) -> None:
        """What follows the annotations is kept byte for byte, footer and all."""
        bare = NAMED + application(a=put.int32(1)) + data() + put.described(FOOTER, put.mapping(()))
        header = put.described(HEADER, put.EMPTY_LIST)
        annotations = put.described(ANNOTATIONS, put.mapping(()))
        assert read(header + annotations + bare).wire == bare

    def test_other_bodies(self) -> None:
        """Values and sequences are the client's own affair: the bus sees no bytes."""
        for code, value in ((VALUE, put.string("x")), (SEQUENCE, put.sequence([put.uint(1)]))):
            found = read(NAMED + put.described(code, value))
            assert found.body == b""
            assert found.wire
            assert found.wire.endswith(value)

    def test_descriptors_in_a_long_form(self) -> None:
        """They are handed on in the short one, which clients insist on."""
        long = b"\x00\x80" + PROPERTIES.to_bytes(8) + put.sequence([put.string("m")])
        assert read(long + data()).wire == NAMED + data()

    @pytest.mark.parametrize(
        ("id_", "text"),
        [
            (put.string("m"), "m"),
            (put.ulong(7), "7"),
            (put.uuid(UUID(int=1)), str(UUID(int=1))),
            (put.binary(b"\xff"), "ff"),
        ],
    )
    def test_kinds_of_ids(self, id_: bytes, text: str) -> None:
        """Every kind of id that AMQP has is one; the client's own stays in the message."""
        found = read(properties(id_) + data())
        assert found.id == text
        assert found.wire == properties(id_) + data()

    @pytest.mark.parametrize("first", [b"", properties(), properties(put.NULL, put.NULL)])
    def test_an_id_is_made(self, first: bytes) -> None:
        """A message without an id gets one, in the bytes that receivers get, too."""
        found = read(first + data())
        assert found.id == "made"
        assert found.wire
        assert shown(found.wire)[PROPERTIES][0] == "made"

    def test_kinds_of_properties(self) -> None:
        """Rules see texts, numbers and truths; what else there is stays in the message."""
        found = read(
            NAMED
            + application(
                s=put.string("é"),
                i=put.int32(-1),
                u=put.ulong(1),
                d=put.double(1.5),
                b=put.TRUE,
                at=put.timestamp(NOON),
                id=put.uuid(UUID(int=1)),
                none=put.NULL,
                raw=put.binary(b"x"),
                decimal=b"\x94" + bytes(16),
            )
            + data()
        )
        assert found.properties == {"s": "é", "i": -1, "u": 1, "d": 1.5, "b": True}
        assert found.wire
        assert set(shown(found.wire)[APPLICATION]) >= {"at", "id", "none", "raw", "decimal"}

    def test_the_hub_s_word(self) -> None:
        """On a hub's own bus nobody speaks for the hub; elsewhere such names are like others."""
        encoded = NAMED + application(hubX=put.TRUE, HUBy=put.TRUE, a=put.TRUE) + data()
        assert read(encoded, own_bus=True).properties == {"a": True}
        assert read(encoded).properties == {"hubX": True, "HUBy": True, "a": True}

    @pytest.mark.parametrize(
        "encoded",
        [
            b"",
            b"\x40",
            data()[:-1],
            data() + NAMED,
            NAMED + NAMED,
            put.described(0x10, put.EMPTY_LIST),
            put.described(DATA, put.string("x")),
            put.described(PROPERTIES, put.string("x")),
            put.described(APPLICATION, put.string("x")),
            properties(put.double(1.5)) + data(),
            put.described(APPLICATION, put.mapping([(put.uint(1), put.uint(1))])),
        ],
    )
    def test_no_message(self, encoded: bytes) -> None:
        """What is no message is said to be none."""
        with pytest.raises(Fault, match="amqp:decode-error"):
            read(encoded)

    @pytest.mark.parametrize("due", [-(2**63), -62_135_596_800_001, 253_402_300_800_000, 2**63 - 1])
    def test_no_date(self, due: int) -> None:
        """A time to appear at is a date that clients can read, or the message is refused."""

        def scheduled(at: int) -> bytes:
            pairs = [(put.symbol("x-opt-scheduled-enqueue-time"), put.timestamp(at))]
            return put.described(ANNOTATIONS, put.mapping(pairs)) + NAMED + data()

        assert read(scheduled(253_402_300_799_999)).due_at == 253_402_300_799_999
        assert read(scheduled(-1)).due_at == -1
        with pytest.raises(Fault, match="years 1 to 9999"):
            read(scheduled(due))

    def test_a_long_id(self) -> None:
        """An id has at most 128 characters."""
        assert len(read(properties(put.string("m" * 128)) + data()).id) == 128
        with pytest.raises(Fault, match="argument"):
            read(properties(put.string("m" * 129)) + data())


class TestBatch:
    """Many messages in one transfer."""

    def test_parts(self) -> None:
        """Each data section is a message; the envelope is none."""
        parts = [NAMED + data(b"1"), NAMED + data(b"2")]
        envelope = properties(put.string("envelope")) + b"".join(data(part) for part in parts)
        assert sections.parts_of(envelope, most=2) == parts
        with pytest.raises(Fault, match="resource-limit"):
            sections.parts_of(envelope, most=1)


class TestWrite:
    """What is handed out."""

    def test_header_and_annotations(self) -> None:
        """They say what the broker knows; the bare message is the sender's."""
        bare = NAMED + data()
        encoded = sections.write(item(read(bare), state=State.DEFERRED))
        assert encoded.endswith(bare)
        found = shown(encoded)
        assert found[HEADER][4] == 2
        assert found[ANNOTATIONS] == {
            "x-opt-sequence-number": 7,
            "x-opt-enqueue-sequence-number": 7,
            "x-opt-enqueued-time": NOON,
            "x-opt-message-state": 1,
            "x-opt-locked-until": NOON + 5,
        }

    def test_the_hub_s_own(self) -> None:
        """A message that no client sent is written from its fields."""
        message = Message(
            id="m",
            body=b"{}",
            properties={"s": "é", "i": 1, "l": 2**40, "d": 1.5, "b": True},
            subject="label",
        )
        found = shown(sections.write(item(message)))
        assert found[PROPERTIES] == ["m", None, None, "label", None, None, "application/json"]
        assert found[APPLICATION] == message.properties
        assert found[DATA] == b"{}"

    def test_dead_letters(self) -> None:
        """Why it died is among the properties, once, and where it did among the annotations."""
        bare = NAMED + application(a=put.uint(1), DeadLetterReason=put.string("before")) + data()
        dead = DeadLetter("why", "because")
        found = shown(sections.write(item(read(bare), dead=dead, source="t/subscriptions/s")))
        assert found[APPLICATION] == {
            "a": 1,
            "DeadLetterReason": "why",
            "DeadLetterErrorDescription": "because",
        }
        assert found[ANNOTATIONS]["x-opt-deadletter-source"] == "t/subscriptions/s"
        assert found[DATA] == b"x"

    @given(st.binary(max_size=400))
    def test_anything(self, encoded: bytes) -> None:
        """Any bytes are a message that can be handed out, or none."""
        try:
            found = read(encoded)
        except Fault:
            return
        sections.split(sections.write(item(found, dead=DeadLetter("why", "because"))))


class TestRules:
    """Rules as management requests speak of them."""

    @pytest.mark.parametrize(
        ("told", "descriptor", "fields"),
        [
            ({"sql-filter": {"expression": "a = 1"}}, 0x1370000006, ["a = 1", 20]),
            ({"sql-filter": {"expression": "1=1"}}, 0x1370000007, ()),
            ({"sql-filter": {"expression": "1=0"}}, 0x1370000008, ()),
            (
                {"correlation-filter": {"label": "l", "properties": {"n": 1}}},
                0x1370000009,
                [None, None, None, None, "l", None, None, None, {"n": 1}],
            ),
        ],
    )
    def test_there_and_back(self, told: dict[str, Any], descriptor: int, fields: Any) -> None:
        """A rule is listed as it was added."""
        rule = named_rule({"rule-name": "r", "rule-description": told})
        found, _ = decode(described_rule(rule))
        assert found.value[0].descriptor == descriptor
        assert found.value[0].value == fields
        assert found.value[2] == "r"

    @pytest.mark.parametrize(
        "told",
        [
            {},
            {"sql-filter": {"expression": 1}},
            {"sql-filter": {"expression": "1=1"}, "sql-rule-action": {"expression": "SET a = 1"}},
            {"correlation-filter": {"properties": {"n": None}}},
        ],
    )
    def test_no_rule(self, told: dict[str, Any]) -> None:
        """What is no rule, or has an action, is refused."""
        with pytest.raises(Fault):
            named_rule({"rule-name": "r", "rule-description": told})
