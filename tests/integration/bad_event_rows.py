"""Rows of bad input where events are published."""

from typing import Any

import orjson

from notifications.events import MAX_EVENT_BYTES
from notifications.http.events import MAX_BATCH
from notifications.http.wire import MAX_BRACKETS, MAX_REQUEST_BYTES
from tests.bad_input import Row
from tests.hub_world import document

BAD = "bad"
"""The id of every bad event that has one."""


def bad(**changes: Any) -> dict[str, Any]:
    """An event that is bad in what is changed."""
    return document(**{"event_id": BAD, **changes})


def with_data(text: bytes) -> bytes:
    """An event with this text for its `preview`'s value, as it is."""
    whole = orjson.dumps(bad(data={"from": {"name": "Zoé"}, "preview": "PLACE"}))
    return whole.replace(b'"PLACE"', text)


def batch(count: int) -> list[dict[str, Any]]:
    """So many good events."""
    return [document(f"{BAD}-{number}") for number in range(count)]


def wrong(name: str, pointer: str, word: str, /, **changes: Any) -> Row:
    """An event that is bad in what is changed: 422 with this pointer and word."""
    return Row(name=name, body=bad(**changes), status=422, pointer=pointer, word=word)


def said(name: str, word: str, header: str, value: str) -> Row:
    """An event whose body is said to be something else: 415."""
    return Row(name=name, body=bad(), headers={header: value}, status=415, word=word)


LONG = b'"' + b"x" * MAX_EVENT_BYTES + b'"'

NOT_JSON = [
    Row(name="nothing", body=b"", status=400, word="empty"),
    Row(name="blanks", body=b" \n\t ", status=400, word="empty"),
    Row(name="words", body=b"hello", status=400, word="line 1, column 1"),
    Row(name="a form", body=b"id=1&type=x", status=400, word="not JSON"),
    Row(name="half an event", body=b'{"id": "a", ', status=400, word="not JSON"),
    Row(name="two events", body=b"{} {}", status=400, word="not JSON"),
    Row(name="lines of events", body=b"{}\n{}", status=400, word="line 2"),
    Row(name="a comment", body=b"{} // a", status=400, word="not JSON"),
    Row(name="a byte order mark", body=b"\xef\xbb\xbf{}", status=400, word="not JSON"),
    Row(name="UTF-16", body=with_data(b'"a"').decode().encode("utf-16"), status=400, word="UTF-8"),
    Row(name="Latin-1", body=with_data('"é"'.encode("latin-1")), status=400, word="UTF-8 at byte"),
    Row(name="overlong UTF-8", body=with_data(b'"\xc0\xaf"'), status=400, word="UTF-8"),
    Row(name="a surrogate in UTF-8", body=with_data(b'"\xed\xa0\x80"'), status=400, word="UTF-8"),
    Row(
        name="half a surrogate pair",
        body=with_data(b'"\\ud800"'),
        status=400,
        word="surrogate pair",
    ),
    Row(name="the other half", body=with_data(b'"\\udc00"'), status=400, word="surrogate pair"),
    Row(name="a pair the wrong way", body=with_data(b'"\\udc00\\ud800"'), status=400, word="pair"),
    Row(name="a control character", body=with_data(b'"\x01"'), status=400, word="not JSON"),
    Row(name="NaN", body=with_data(b"NaN"), status=400, word="not JSON"),
    Row(name="Infinity", body=with_data(b"Infinity"), status=400, word="not JSON"),
    Row(name="minus Infinity", body=with_data(b"-Infinity"), status=400, word="not JSON"),
    Row(
        name="a number beyond floats", body=with_data(b"1e999"), status=400, word="number at line 1"
    ),
    Row(
        name="an integer beyond 64 bits",
        body=with_data(b"1" * 30),
        status=400,
        word="64 bits at line 1, column",
    ),
    Row(name="33 deep", body=with_data(b"[" * 33 + b"]" * 33), status=400, word="32 deep at /"),
    Row(name="a million deep", body=b"[" * 100_000, status=400, word="32 deep"),
]

TOO_LARGE = [
    Row(name="an event over 192 KiB", body=with_data(LONG), status=413, word="196608"),
    Row(
        name="a request over 8 MiB", body=b" " * (MAX_REQUEST_BYTES + 1), status=413, word="8388608"
    ),
    Row(name="1,001 events", body=batch(MAX_BATCH + 1), status=413, word="1,000"),
    Row(name="brackets alone", body=b"[" * (MAX_BRACKETS + 1), status=413, word="200,000"),
    Row(
        name="an array of empty arrays",
        body=b"[" + b"[]," * MAX_BRACKETS + b"[]]",
        status=413,
        word="200,000",
    ),
]

HEADERS = [
    said("plain text", "application/json", "content-type", "text/plain"),
    said("a form's type", "application/json", "content-type", "application/x-www-form-urlencoded"),
    said("no type", "application/json", "content-type", ""),
    said("two types", "application/json", "content-type", "application/json, text/plain"),
    said("UTF-16 announced", "UTF-8", "content-type", "application/json; charset=utf-16"),
    said("Latin-1 announced", "UTF-8", "content-type", 'application/json;charset="ISO-8859-1"'),
    said("gzip announced", "Content-Encoding", "content-encoding", "gzip"),
    said("brotli and more", "Content-Encoding", "content-encoding", "identity, br"),
    Row(
        name="a tenant in the query",
        path="/v1/events?tenantId=acme",
        body=document(BAD),
        status=422,
        pointer="",
        word="tenantId",
    ),
]

WHEN = "RFC 3339 with a zone"
DATES = {
    "without a zone": "2026-01-31T12:00:00",
    "a date alone": "2026-01-31",
    "month 13": "2026-13-01T00:00:00Z",
    "month 0": "2026-00-01T00:00:00Z",
    "30 February": "2026-02-30T00:00:00Z",
    "29 February of no leap year": "2026-02-29T00:00:00Z",
    "hour 24": "2026-01-31T24:00:00Z",
    "a leap second": "2016-12-31T23:59:60Z",
    "year 0": "0000-01-01T00:00:00Z",
    "before computers": "1969-12-31T23:59:59Z",
    "far in the future": "9999-12-31T23:59:59Z",
    "a year of five digits": "12026-01-31T12:00:00Z",
    "a zone that is none": "2026-01-31T12:00:00+25:00",
    "a zone's name": "2026-01-31T12:00:00 Europe/Paris",
    "seconds since 1970": "1769860800",
    "a week": "2026-W05-6T12:00:00Z",
    "a blank for the T": "2026-01-31 12:00:00Z",
    "blanks around": " 2026-01-31T12:00:00Z ",
    "other digits": "２０２６-01-31T12:00:00Z",
    "a line break after it": "2026-01-31T12:00:00Z\n",
    "nothing": "",
}
IDS = {
    "empty": "",
    "too long": "x" * 91,
    "with a space": "a b",
    "a space alone": " ",
    "with a line break": "a\nb",
    "with a tab": "a\tb",
    "with a NUL": "a\0b",
    "with DEL": "a\x7fb",
    "not ASCII": "é",
    "with an emoji": "👍",
    "a number": 7,
    "true": True,
    "null": None,
    "a list": ["a"],
    "an object": {"a": 1},
}
NAMES = {
    "empty": "",
    "too long": "x" * 129,
    "with a space": "a b",
    "with a line break": "ada\r\nBcc: eve@example.com",
    "with a NUL": "a\0b",
    "that reads backwards": "a\u202eb",
    "a number": 7,
    "a list": ["ada"],
}

EVENTS = [
    Row(name="a number for an event", body=7, status=422, pointer="", word="JSON object"),
    Row(name="null for an event", body=b"null", status=422, pointer="", word="JSON object"),
    Row(name="an empty event", body={}, status=422, pointer="/id", word="required"),
    wrong("no specversion", "/specversion", '"1.0"', specversion=None),
    wrong("another specversion", "/specversion", '"1.0"', specversion="0.3"),
    wrong("specversion as a number", "/specversion", '"1.0"', specversion=1.0),
    *(
        Row(
            name=f"id: {name}", body={**bad(), "id": value}, status=422, pointer="/id", word="ASCII"
        )
        for name, value in IDS.items()
    ),
    *(wrong(f"time: {name}", "/time", WHEN, time=value) for name, value in DATES.items()),
    *(wrong(f"user: {name}", "/userid", "1-128", userid=value) for name, value in NAMES.items()),
    wrong("no type", "/type", "required", type=None),
    wrong("an unknown type", "/type", "did you mean job.succeeded", type="job.succeded"),
    wrong("a type of nowhere", "/type", "GET /v1/event-types", type="zzz"),
    wrong("a type that is a path", "/type", "no such event type", type="../../etc/passwd"),
    wrong("a type that is a list", "/type", "string", type=["job.failed"]),
    Row(name="another tenant", body=bad(tenantid="other"), status=404, word="not this key's"),
    wrong("a tenant that is none", "/tenantid", "A-Z a-z 0-9 _ -", tenantid="a/b"),
    wrong("a tenant too long", "/tenantid", "1-36", tenantid="t" * 37),
    wrong("a tenant that is a number", "/tenantid", "1-36", tenantid=1),
    wrong("no source", "/source", "required", source=None),
    wrong("a source of no length", "/source", "1-256", source=""),
    wrong("a source with a header", "/source", "control", source="/a\r\nx: y"),
    wrong(
        "a subject with a header", "/subject", "control", subject="Hello\r\nBcc: eve@example.com"
    ),
    wrong("a subject with half a line break", "/subject", "control", subject="Hello\rBcc: eve"),
    wrong(
        "a subject with Unicode's line break", "/subject", "control", subject="Hello\u2028Bcc: eve"
    ),
    wrong("a job id with a header", "/jobid", "control", jobid="1\nx"),
    wrong(
        "another content type", "/datacontenttype", "application/json", datacontenttype="text/xml"
    ),
    wrong("a trace that is none", "/traceparent", "W3C", traceparent="00-abc"),
    wrong("data that is a list", "/data", "JSON object", data=[]),
    wrong("data that is a text", "/data", "JSON object", data="{}"),
    Row(
        name="data in base 64",
        body={**bad(data=None), "data_base64": "e30="},
        status=422,
        pointer="/data_base64",
        word="unknown",
    ),
    wrong("data without a field", "/data/from", "required", data={"preview": "x"}),
    wrong(
        "data of a wrong type",
        "/data/from/name",
        "string",
        data={"from": {"name": 7}, "preview": "x"},
    ),
    wrong(
        "data with a field too many",
        "/data/a~1b~0c",
        "/data/metadata",
        data={"from": {"name": "x"}, "preview": "x", "a/b~c": 1},
    ),
    wrong("an unknown attribute", "/priority", "unknown attribute", priority="high"),
    Row(
        name="an attribute that is huge",
        body=bad(**{"x" * 100_000: 1}),
        status=422,
        pointer="/" + "x" * 254 + "…",
        word="unknown attribute",
    ),
    wrong("an attribute of the hub's", "/hubConsumer", "unknown attribute", hubConsumer="email"),
]

ROWS = [*NOT_JSON, *TOO_LARGE, *HEADERS, *EVENTS]
