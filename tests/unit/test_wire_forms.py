"""Wire forms: an event becomes a message and comes back; former releases' are still read."""

import json
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.bus import journal, tables
from notifications.errors import RejectedMessage
from notifications.events import Channel, Event, Known, decode_message, decode_stored, read_event
from notifications.messages import Message, Received
from notifications.routing import (
    addressed,
    event_carried,
    event_message,
    is_drain,
    named_in,
    noted,
    resend,
)
from notifications.shipped import load_catalogue

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
CATALOGUE = load_catalogue()
FORMER = [
    (path.stem, example)
    for path in sorted((Path(__file__).parents[1] / "wire").glob("events-*.json"))
    for example in json.loads(path.read_text("utf-8"))
]
"""What each release put on the bus and into the ledger; nothing is ever taken out of here."""

printable = st.characters(exclude_categories=("C", "Z"))
texts = st.text(printable, min_size=1, max_size=40)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=4)
    ),
    max_leaves=12,
)
ascii_ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=90)
documents = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "id": ascii_ids,
        "source": texts,
        "type": st.sampled_from([each.name for each in CATALOGUE.types()]),
        "tenantid": st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=36),
    },
    optional={
        "subject": texts,
        "userid": texts,
        "jobid": texts,
        "jobtype": texts,
        "time": st.sampled_from(["2026-01-31T12:00:00Z", "1999-12-31T23:59:59.999999999+14:00"]),
        "traceparent": st.just("00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
        "data": st.dictionaries(st.text(max_size=9), values, max_size=4),
    },
)
events = documents.map(lambda document: read_event(document, tenant_id=None, now=NOW))


def received(message: Message) -> Received:
    """The message in its consumer's hand."""
    return Received(
        message=message,
        subscription="notify-webhook",
        sequence_number=1,
        delivery_count=1,
        enqueued_at=0,
    )


@given(event=events)
def test_an_event_comes_back_from_its_message_as_it_was(event: Event) -> None:
    """Read as a stranger's message or as the hub's own, from the bus or the ledger, an event is
    the same, with the same bytes, ids and fingerprint."""
    message = event_message(event)
    for again in (decode_message(message.body, now=NOW), decode_stored(message.body)):
        assert again == event
        assert again.body is message.body or again.body == message.body
        assert again.fingerprint() == event.fingerprint()
        assert again.webhook_id == event.webhook_id
    assert named_in(message.body) == (event.tenant_id, event.id)
    assert message.id == event_carried(message) == event.message_id
    assert not is_drain(message)


@given(event=events, key=st.integers(0, 2**63 - 1), channels=st.sets(st.sampled_from(Channel)))
def test_what_the_hub_notes_on_its_message_is_what_the_ledger_knows(
    event: Event, key: int, channels: set[Channel]
) -> None:
    """A consumer that need not ask the ledger learns just what it would have been told."""
    known = Known(key=key, event=event, channels=frozenset(channels))
    assert noted(event_message(event, decoded=known)) == known
    assert noted(event_message(event)) is None


@given(event=events, tries=st.integers(0, 9))
def test_a_copy_for_one_consumer_carries_the_very_event(event: Event, tries: int) -> None:
    """However often a message is sent again, its event is the same to the byte, and known by it."""
    message = addressed(event, "webhook", message_id="again-1", due_at=None)
    for number in range(tries):
        again = resend(
            received(message), "webhook", message_id=f"again-{number}", now=0, lifetime=86_400_000
        )
        assert again is not None
        message = again
    assert message.body == event.body
    assert event_carried(message) == event.message_id
    assert decode_message(message.body, now=NOW) == event


@given(event=events)
def test_a_message_survives_the_embedded_bus_s_tables(event: Event) -> None:
    """Body, properties and names are those that were sent, whatever script they are in."""
    message = event_message(event)
    row = {
        "message_id": message.id,
        "body": message.body,
        "properties": orjson.dumps(dict(message.properties)),
        "subject": message.subject,
        "content_type": message.content_type,
        "system": None,
        "wire": message.wire,
    }
    assert set(row) <= {column.name for column in tables.messages.c}
    assert journal.message_of(row) == message


@given(body=st.one_of(st.binary(max_size=200), values.map(orjson.dumps)))
def test_whatever_is_no_event_is_rejected_with_its_reason(body: bytes) -> None:
    """No message can raise anything else in who reads it, and a reason is one short word."""
    with pytest.raises(RejectedMessage) as rejected:
        decode_message(body, now=NOW)
    assert rejected.value.reason in {"not-json", "envelope", "too-large"}
    assert rejected.value.description


@pytest.mark.parametrize(
    "example", [each.example for each in CATALOGUE.types()], ids=[e.name for e in CATALOGUE.types()]
)
def test_every_schema_s_example_goes_all_the_way(example: dict[str, Any]) -> None:
    """The example of each type is a whole event that its own schema takes back from the bus."""
    document = {**example, "id": "sample", "tenantid": "acme"}
    event = read_event(document, tenant_id=None, now=NOW)
    again = decode_message(event_message(event).body, now=NOW)
    CATALOGUE.check(again)
    assert again.data == example["data"]


@pytest.mark.parametrize(
    "example", [e for _, e in FORMER], ids=[e["message"]["id"] for _, e in FORMER]
)
def test_what_a_former_release_wrote_is_still_read(example: dict[str, Any]) -> None:
    """An upgrade leaves nothing on the bus or in the ledger that cannot be read: not the bytes, not
    the fingerprint that tells duplicates, not the message's id and properties."""
    body = example["body"].encode()
    event = decode_message(body, now=NOW)
    CATALOGUE.check(event)
    assert decode_stored(body) == event
    assert event.body == body
    assert event.fingerprint().hex() == example["fingerprint"]
    message = event_message(event)
    assert {
        "id": message.id,
        "subject": message.subject,
        "contentType": message.content_type,
        "properties": dict(message.properties),
    } == example["message"]


def test_every_type_of_this_release_is_in_its_pinned_forms() -> None:
    """A new type is written down the way it first goes out."""
    pinned = {json.loads(example["body"])["type"] for _, example in FORMER}
    assert pinned >= {each.name for each in CATALOGUE.types()}
