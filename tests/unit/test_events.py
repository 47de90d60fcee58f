"""The event envelope: what is let in, and the bytes it becomes."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifications.envelope import errors_of, is_sound
from notifications.errors import InvalidEvent, RejectedMessage
from notifications.events import (
    MAX_EVENT_BYTES,
    Event,
    decode_message,
    decode_stored,
    is_tenant_id,
    is_user_id,
    read_event,
)

NOW = datetime(2026, 1, 31, 11, 0, tzinfo=UTC)
WHOLE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "evt-1",
    "source": "/payments",
    "type": "payment.received",
    "subject": "invoice-7",
    "time": "2026-01-31T12:00:00+01:00",
    "datacontenttype": "application/json",
    "tenantid": "acme",
    "userid": "ada",
    "jobid": "job_1",
    "jobtype": "video.analysis",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "data": {"amount": 12},
}
REQUIRED = ("specversion", "id", "source", "type", "tenantid")


def read(**changes: Any) -> Event:
    """The whole event with changes; None takes an attribute away."""
    document = {key: value for key, value in (WHOLE | changes).items() if value is not None}
    return read_event(document, tenant_id=None, now=NOW)


def complaints(**changes: Any) -> list[str]:
    """Where the envelope is refused."""
    with pytest.raises(InvalidEvent) as refused:
        read(**changes)
    return [error.pointer for error in refused.value.errors]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)
payloads = st.dictionaries(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=10), json_values, max_size=6
)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_attribute_that_is_missing_is_named(name: str) -> None:
    """An event without one of the five attributes is refused with a pointer to it."""
    assert complaints(**{name: None}) == [f"/{name}"]


def test_everything_that_is_wrong_is_listed_at_once() -> None:
    """A refusal lists all that is wrong, not only the first."""
    assert complaints(id="", source=5, tenantid="a b", data=[]) == [
        "/id",
        "/source",
        "/tenantid",
        "/data",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("specversion", "0.3"),
        ("specversion", 1.0),
        ("id", "a" * 91),
        ("id", "a b"),
        ("id", "café"),
        ("id", "a\n"),
        ("id", 7),
        ("source", "x" * 257),
        ("source", "a\u0007"),
        ("type", "x" * 65),
        ("type", ""),
        ("subject", "s" * 257),
        ("time", "2026-01-31"),
        ("time", "2026-01-31T12:00:00"),
        ("time", "yesterday"),
        ("time", "1969-12-31T23:59:59Z"),
        ("time", "2200-01-01T00:00:00Z"),
        ("time", 1_769_860_800),
        ("datacontenttype", "text/plain"),
        ("tenantid", "t" * 37),
        ("tenantid", "a:b"),
        ("tenantid", "a/b"),
        ("userid", "u" * 129),
        ("userid", "a b"),
        ("userid", "a\u200e\n"),
        ("jobid", ""),
        ("jobtype", "j" * 65),
        ("traceparent", "00-abc"),
        ("data", "text"),
        ("data", [1]),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(name: str, value: object) -> None:
    """A value outside its attribute's rule is refused with a pointer to that attribute."""
    assert complaints(**{name: value}) == [f"/{name}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "~" * 90),
        ("id", "!"),
        ("tenantid", "A-z_0" * 7),
        ("userid", "u" * 128),
        ("userid", "jürgen@example.org"),
        ("source", "x" * 256),
        ("time", "2026-01-31T12:00:00Z"),
        ("time", "2199-12-31T23:59:59.999+00:00"),
        ("subject", "é" * 256),
    ],
)
def test_a_value_at_the_edge_of_its_rule_is_taken(name: str, value: str) -> None:
    """The longest and the oddest values that the rules allow come through as they are."""
    assert orjson.loads(read(**{name: value}).body)[name] == value


@given(
    left_out=st.sets(st.sampled_from(sorted(WHOLE))),
    changes=st.dictionaries(
        st.sampled_from([*sorted(WHOLE), "colour"]),
        st.sampled_from([None, "", "1.0", 7]),
        max_size=2,
    ),
    tenant_id=st.sampled_from([None, "acme"]),
)
def test_what_is_sound_is_what_nothing_is_wrong_with(
    left_out: set[str], changes: dict[str, Any], tenant_id: str | None
) -> None:
    """The quick look at what is there never disagrees with the list of all that is wrong."""
    kept = {name: value for name, value in WHOLE.items() if name not in left_out}
    document = {**kept, **changes}
    assert is_sound(document, tenant_id) is (errors_of(document, tenant_id) == [])


def test_unknown_attributes_are_refused_by_name() -> None:
    """An attribute the hub does not know is refused, since it would be dropped without a word."""
    assert complaints(**{"dataschema": "x", "a/b": 1}) == ["/a~1b", "/dataschema"]


@pytest.mark.parametrize("document", [None, [], "x", 7, True])
def test_what_is_no_object_is_no_event(document: object) -> None:
    """JSON that is not an object is refused as a whole."""
    with pytest.raises(InvalidEvent) as refused:
        read_event(document, tenant_id="acme", now=NOW)
    assert [error.pointer for error in refused.value.errors] == [""]


def test_the_keys_tenant_is_taken_where_the_event_names_none() -> None:
    """An event without a tenant belongs to the tenant whose key sent it."""
    document = {key: value for key, value in WHOLE.items() if key != "tenantid"}
    assert read_event(document, tenant_id="zeta", now=NOW).tenant_id == "zeta"


def test_an_event_without_time_happened_now_and_without_data_has_none() -> None:
    """Missing time and data are filled in, so that the stored form is whole."""
    event = read(time=None, data=None)
    assert (event.time, event.data) == ("2026-01-31T11:00:00.000+00:00", {})
    assert orjson.loads(event.body)["data"] == {}


def test_the_canonical_bytes_are_pinned() -> None:
    """The bytes that are stored, sent and posted do not change from release to release."""
    assert read().body == (
        b'{"specversion":"1.0","id":"evt-1","source":"/payments","type":"payment.received",'
        b'"time":"2026-01-31T12:00:00+01:00","datacontenttype":"application/json",'
        b'"tenantid":"acme","subject":"invoice-7","userid":"ada","jobid":"job_1",'
        b'"jobtype":"video.analysis",'
        b'"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",'
        b'"data":{"amount":12}}'
    )


def test_absent_attributes_are_absent_from_the_bytes() -> None:
    """An optional attribute that is not there is left out, not written as null."""
    event = read(subject=None, userid=None, jobid=None, jobtype=None, traceparent=None)
    assert b"null" not in event.body
    assert set(orjson.loads(event.body)) == {*REQUIRED, "time", "datacontenttype", "data"}


def test_an_event_may_fill_its_limit_and_not_a_byte_more() -> None:
    """192 KiB of canonical bytes are taken; one more is refused as too large."""
    overhead = len(read(data={"x": ""}).body)
    full = "y" * (MAX_EVENT_BYTES - overhead)
    assert len(read(data={"x": full}).body) == MAX_EVENT_BYTES
    assert complaints(data={"x": full + "y"}) == [""]


@given(data=payloads)
@example(data={"least": -(2**63), "most": 2**64 - 1, "é": "\U0001f600\u2028", "": None})
def test_whatever_data_comes_in_comes_out(data: dict[str, Any]) -> None:
    """Any JSON data survives being stored and read again, with the same bytes."""
    event = read(data=data)
    again = decode_stored(event.body)
    assert again == event
    assert orjson.loads(again.body)["data"] == data
    assert read_event(orjson.loads(event.body), tenant_id=None, now=NOW).body == event.body


def test_data_nested_thirty_two_deep_comes_through() -> None:
    """The deepest nesting the contract lets in is encoded and read again."""
    data: dict[str, Any] = {"leaf": True}
    for _ in range(31):
        data = {"inner": data}
    assert decode_stored(read(data=data).body).data == data


@given(data=payloads, other=payloads)
def test_the_fingerprint_tells_contents_apart(data: dict[str, Any], other: dict[str, Any]) -> None:
    """Two events of one id have the same fingerprint exactly if their data is the same JSON."""
    same = orjson.dumps(data, option=orjson.OPT_SORT_KEYS) == orjson.dumps(
        other, option=orjson.OPT_SORT_KEYS
    )
    assert (read(data=data).fingerprint() == read(data=other).fingerprint()) is same


def test_the_fingerprint_ignores_key_order_time_and_trace() -> None:
    """Sending the same again later, in another order of keys, is the same event."""
    first = read(data={"a": 1, "b": {"c": 2, "d": 3}})
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"
    again = read(
        data={"b": {"d": 3, "c": 2}, "a": 1}, time="2026-02-01T00:00:00Z", traceparent=trace
    )
    assert first.fingerprint() == again.fingerprint()


@pytest.mark.parametrize("name", ["source", "type", "subject", "userid", "jobid", "jobtype"])
def test_the_fingerprint_sees_every_other_attribute(name: str) -> None:
    """Changing any attribute that counts makes it another content."""
    assert read().fingerprint() != read(**{name: "other"}).fingerprint()
    if name not in REQUIRED:
        assert read().fingerprint() != read(**{name: None}).fingerprint()


def test_the_fingerprint_is_pinned() -> None:
    """The fingerprint is stored: another way to compute it would turn duplicates into conflicts."""
    content = (
        b'{"data":{"amount":12},"jobid":"job_1","jobtype":"video.analysis","source":"/payments",'
        b'"subject":"invoice-7","type":"payment.received","userid":"ada"}'
    )
    assert read().fingerprint() == hashlib.sha256(content).digest()


def test_ids_outside_the_database_carry_the_tenant() -> None:
    """Two tenants' events of the same id have different message ids and webhook ids."""
    ours, theirs = read(tenantid="acme"), read(tenantid="zeta")
    assert (ours.message_id, theirs.message_id) == ("acme:evt-1", "zeta:evt-1")
    assert ours.webhook_id != theirs.webhook_id


@given(
    pairs=st.lists(
        st.tuples(
            st.text("abcXYZ019_-", min_size=1, max_size=6),
            st.text("ab:/.~", min_size=1, max_size=6),
        ),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_no_two_events_share_a_message_id(pairs: list[tuple[str, str]]) -> None:
    """A colon in an event id cannot make it look like another tenant's event."""
    first, second = (
        replace(read(), tenant_id=tenant_id, id=event_id).message_id
        for tenant_id, event_id in pairs
    )
    assert first != second


def test_the_webhook_id_is_pinned() -> None:
    """Receivers deduplicate by `webhook-id`: it must be the same in every release."""
    assert read().webhook_id == "evt_2d7de7697cf48ace8ac5fe66cdf8514c"


def test_a_message_of_another_producer_is_read_like_any_event() -> None:
    """A CloudEvent in another order of keys and with spaces becomes the canonical bytes."""
    body = orjson.dumps(dict(reversed(WHOLE.items())), option=orjson.OPT_INDENT_2)
    assert decode_message(body, now=NOW) == read()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not-json"),
        (b"hello", "not-json"),
        (b"\xff\xfe", "not-json"),
        (b'{"id": NaN}', "not-json"),
        (b"[]", "envelope"),
        (b"{}", "envelope"),
        (orjson.dumps(WHOLE | {"tenantid": "a b"}), "envelope"),
        (orjson.dumps({key: WHOLE[key] for key in WHOLE if key != "tenantid"}), "envelope"),
        (b" " * (MAX_EVENT_BYTES + 1), "too-large"),
    ],
)
def test_a_message_nobody_can_read_is_rejected_with_its_reason(body: bytes, reason: str) -> None:
    """What can never be read is told from what can, with a constant reason."""
    with pytest.raises(RejectedMessage) as rejected:
        decode_message(body, now=NOW)
    assert rejected.value.reason == reason


@pytest.mark.parametrize("value", ["a", "A-_9", "x" * 36])
def test_tenant_ids(value: str) -> None:
    """Letters, digits, dash and underscore name a tenant, up to 36 of them."""
    assert is_tenant_id(value)


@pytest.mark.parametrize("value", ["", "a b", "é", "a\n", "x" * 37, None, 7])
def test_what_is_no_tenant_id(value: object) -> None:
    """Nothing else names a tenant."""
    assert not is_tenant_id(value)


@pytest.mark.parametrize("value", ["", " ", "a b", "a\x7f", "a\n", "x" * 129, "\u202e", None, 7])
def test_what_is_no_user_id(value: object) -> None:
    """Nothing with spaces, control characters or invisible ones names a user."""
    assert not is_user_id(value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a":' * 33 + b"1" + b"}" * 33, "nested over 32 deep"),
        (b'{"a":123456789012345678901234567890}', "beyond 64 bits"),
    ],
)
def test_what_could_not_be_kept_as_sent_is_rejected_from_the_bus(data: bytes, said: str) -> None:
    """JSON that is too deep, or whose integers would change, is rejected with the reason."""
    body = (
        b'{"specversion":"1.0","id":"e","source":"/s","type":"t","tenantid":"acme","data":%b}'
        % data
    )
    with pytest.raises(RejectedMessage, match=said) as caught:
        decode_message(body, now=datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.reason == "not-json"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T12Z",
        "2026-W05-3T10:00:00+01:00",
        "20260101T000000Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00+01:00:30",
        "2026-01-01T00:00:00+0100",
    ],
)
def test_what_is_iso_but_not_rfc_3339_is_no_time(text: str) -> None:
    """Spellings that Python's parser takes and RFC 3339 does not are refused at /time."""
    assert complaints(time=text) == ["/time"]


def test_lower_case_letters_are_rfc_3339_too() -> None:
    """`t` and `z` may be lower case."""
    assert read(time="2026-01-31t12:00:00z").time == "2026-01-31t12:00:00z"
