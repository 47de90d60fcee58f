"""Bad input below the documents: bodies that lie or dawdle, heads that do not end, odd paths. Each
is answered or hung up on, and the hub takes the next good event."""

import asyncio
import itertools
import select
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

import orjson
import pytest
import pytest_asyncio

from notifications.cli.protocol import Patience
from notifications.http.wire import MAX_REQUEST_BYTES
from tests.hub_world import document
from tests.raw_http import Wire, chunked, wired

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = Patience(head_s=0.5, body_s=0.5)
"""So short that a test need not wait."""

JSON = "content-type: application/json"
POST = "POST /v1/events HTTP/1.1"
_numbers = itertools.count()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def wire(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wire]:
    """One hub for all tests."""
    async with wired(tmp_path_factory.mktemp("hub"), SHORT) as wire:
        yield wire


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def goes_on(wire: Wire, caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """After each, the hub accepts a good event, and has written no error down."""
    yield
    assert await wire.takes(f"good-{next(_numbers)}")
    errors = [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    assert errors == []


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is sent, and what must be answered.

    Attributes:
        name: What it is.
        pieces: What is sent, given the head that carries the key.
        status: 0: hung up on without an answer.
        kind: The last part of the problem's type.
        word: The detail contains it.
        hang_up: The sender closes its side after the last piece.
    """

    name: str
    pieces: Callable[[Wire], Iterable[bytes]]
    status: int
    kind: str = ""
    word: str = ""
    hang_up: bool = False


def body(event_id: str) -> bytes:
    """A good event."""
    return orjson.dumps(document(event_id))


def posting(*lines: str, content: bytes = b"") -> Callable[[Wire], Iterable[bytes]]:
    """A publishing request with these header lines."""
    return lambda wire: [wire.head(POST, *lines) + content]


def getting(target: str, method: str = "GET") -> Callable[[Wire], Iterable[bytes]]:
    """A request for a target as it is."""
    return lambda wire: [wire.head(f"{method} {target} HTTP/1.1")]


CHUNKED = "transfer-encoding: chunked"
LENGTH = "content-length: {}"
BIG = b'{"id":"' + b"x" * MAX_REQUEST_BYTES + b'"}'

BODIES = [
    Row(
        name="in chunks, without a length",
        pieces=posting(JSON, CHUNKED, content=chunked([body("chunks")[:9], body("chunks")[9:]])),
        status=202,
    ),
    Row(
        name="in chunks, over the limit",
        pieces=posting(JSON, CHUNKED, content=chunked([BIG[:4_000_000], BIG[4_000_000:]])),
        status=413,
        kind="too-large",
        word="8388608",
    ),
    Row(
        name="chunks of no length at all",
        pieces=posting(JSON, CHUNKED, content=b"zz\r\n{}\r\n0\r\n\r\n"),
        status=400,
        kind="not-json",
        word="HTTP/1.1",
    ),
    Row(
        name="chunks that do not end",
        pieces=posting(JSON, CHUNKED, content=chunked([b'{"id":'], end=False)),
        status=408,
        kind="too-slow",
        word="0.5 s",
    ),
    Row(
        name="a length and chunks at once",
        pieces=posting(JSON, CHUNKED, LENGTH.format(4), content=chunked([b"{}"])),
        status=400,
        kind="not-json",
    ),
    Row(
        name="two lengths",
        pieces=posting(JSON, LENGTH.format(2), LENGTH.format(3), content=b"{}"),
        status=400,
        kind="not-json",
    ),
    Row(
        name="a length that is no number",
        pieces=posting(JSON, LENGTH.format("many"), content=b"{}"),
        status=400,
        kind="not-json",
    ),
    Row(
        name="a length below nothing",
        pieces=posting(JSON, LENGTH.format(-1), content=b"{}"),
        status=400,
        kind="not-json",
    ),
    Row(
        name="a length beyond all numbers",
        pieces=posting(JSON, LENGTH.format("9" * 30), content=b"{}"),
        status=400,
        kind="not-json",
    ),
    Row(
        name="a length over the limit",
        pieces=posting(JSON, LENGTH.format(MAX_REQUEST_BYTES + 1)),
        status=413,
        kind="too-large",
    ),
    Row(
        name="a length that promises more than comes",
        pieces=posting(JSON, LENGTH.format(500), content=body("more")),
        status=408,
        kind="too-slow",
        word="did not come whole",
    ),
    Row(
        name="a length that promises less than comes",
        pieces=posting(JSON, LENGTH.format(10), content=body("less")),
        status=400,
        kind="not-json",
    ),
    Row(
        name="a body that breaks off",
        pieces=posting(JSON, LENGTH.format(500), content=b'{"id":'),
        hang_up=True,
        status=0,
    ),
    Row(
        name="a body that never begins",
        pieces=posting(JSON, LENGTH.format(500)),
        status=408,
        kind="too-slow",
    ),
    Row(
        name="a compressed body",
        pieces=posting(JSON, "content-encoding: gzip", LENGTH.format(2), content=b"\x1f\x8b"),
        status=415,
        kind="unsupported-media-type",
        word="Content-Encoding",
    ),
    Row(
        name="another coding of the transfer",
        pieces=posting(JSON, "transfer-encoding: gzip, chunked", content=chunked([b"\x1f\x8b"])),
        status=400,
        kind="not-json",
    ),
    Row(
        name="no media type",
        pieces=posting(LENGTH.format(2), content=b"{}"),
        status=415,
        kind="unsupported-media-type",
        word="application/json",
    ),
    Row(
        name="another charset",
        pieces=posting(f"{JSON}; charset=utf-16", LENGTH.format(2), content=b"{}"),
        status=415,
        kind="unsupported-media-type",
        word="UTF-8",
    ),
]

HEADS = [
    Row(
        name="no HTTP at all",
        pieces=lambda _: [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n"],
        status=400,
        kind="not-json",
        word="HTTP/1.1",
    ),
    Row(
        name="a header of 70,000 bytes",
        pieces=posting(JSON, "x-long: " + "x" * 70_000, LENGTH.format(2), content=b"{}"),
        status=431,
        kind="head-too-large",
        word="65,536",
    ),
    Row(
        name="ten thousand headers",
        pieces=posting(JSON, *(f"x-{n}: {n}" for n in range(10_000)), content=b"{}"),
        status=431,
        kind="head-too-large",
    ),
    Row(
        name="a header that does not end",
        pieces=lambda wire: [wire.head(POST)[:-2] + b"x-long: ", *[b"x" * 10_000] * 10],
        status=431,
        kind="head-too-large",
    ),
    Row(
        name="a path of 70,000 bytes",
        pieces=getting("/v1/events/" + "x" * 70_000),
        status=431,
        kind="head-too-large",
    ),
    Row(
        name="a header with a line break in its value",
        pieces=lambda wire: [wire.head("GET /v1/events HTTP/1.1", "x-a: a\nx-b\rb: c")],
        status=400,
        kind="not-json",
    ),
    Row(
        name="a header with a NUL",
        pieces=lambda wire: [wire.head("GET /v1/events HTTP/1.1", "x-a: a\0b")],
        status=400,
        kind="not-json",
    ),
    Row(
        name="a head that does not end",
        pieces=lambda wire: [wire.head(POST)[:-2]],
        status=408,
        kind="too-slow",
        word="head",
    ),
    Row(name="nothing at all", pieces=lambda _: [b""], status=0),
    Row(
        name="a method that nothing takes",
        pieces=getting("/v1/events", "PROPFIND"),
        status=405,
        kind="method-not-allowed",
        word="GET, POST",
    ),
    Row(name="TRACE", pieces=getting("/v1/events", "TRACE"), status=405, word="GET, POST"),
    Row(name="a method of no HTTP", pieces=getting("/v1/events", "BREW"), status=400),
    Row(name="CONNECT", pieces=getting("hub:443", "CONNECT"), status=400),
    Row(name="OPTIONS of everything", pieces=getting("*", "OPTIONS"), status=404),
]

PATHS = {
    "dots": "/v1/events/../../etc/passwd",
    "dots that are escaped": "/v1/users/%2e%2e%2f%2e%2e",
    "a slash that is escaped": "/v1/webhook-endpoints/a%2fb",
    "a NUL": "/v1/users/%00",
    "a line break": "/v1/users/a%0d%0aset-cookie:%20a",
    "overlong UTF-8": "/v1/users/%c0%ae%c0%ae",
    "half of a surrogate pair": "/v1/users/%ed%a0%80",
    "no UTF-8": "/v1/users/%ff",
    "a broken escape": "/v1/users/%zz",
    "two slashes": "//v1/events",
    "another host's address": "http://evil.example/v1/nothing",
    "a backslash": "/v1\\events",
    "capitals": "/V1/EVENTS",
}
"""Targets of which there is nothing."""


@pytest.mark.parametrize("target", PATHS.values(), ids=PATHS)
async def test_odd_paths_lead_nowhere(wire: Wire, target: str) -> None:
    """404 as a problem document, whatever the path is made of."""
    reply = await wire.send(wire.head(f"GET {target} HTTP/1.1"))

    assert reply.status == 404
    assert reply.problem["type"] == "urn:huntaze:problem:not-found"
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize("row", [*BODIES, *HEADS], ids=lambda row: row.name)
async def test_bad_input_on_the_wire(wire: Wire, row: Row) -> None:
    """Each row is answered as it says, with a problem document, or hung up on in time."""
    reply = await wire.send(*row.pieces(wire), hang_up=row.hang_up)

    assert reply.status == row.status, reply
    if row.kind:
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.problem["type"] == f"urn:huntaze:problem:{row.kind}"
        assert reply.problem["status"] == row.status
        assert row.word in reply.problem["detail"]


@pytest.mark.fault("send a request drop by drop", "attackers")
async def test_a_body_that_comes_drop_by_drop_is_bounded_in_time(wire: Wire) -> None:
    """Bytes that keep coming do not buy more time: 408, and the connection is closed."""
    drops = [b"x"] * 200
    begun = time.monotonic()

    reply = await wire.send(wire.head(POST, JSON, LENGTH.format(500)), *drops, pause_s=0.02)

    assert reply.status == 408
    assert reply.headers["connection"] == "close"
    assert time.monotonic() - begun < 10


async def test_who_sends_on_after_a_refusal_still_reads_it(wire: Wire) -> None:
    """The answer to a body that is too large is there for a client that sends all of it first."""
    host, port = wire.url.removeprefix("http://").split(":")
    size = MAX_REQUEST_BYTES + 1
    head = wire.head(POST, JSON, LENGTH.format(size))

    def send_all_then_read() -> bytes:
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head)
            select.select([connection], [], [], 20)  # the server has refused it
            for _ in range(0, size, 65_536):
                connection.sendall(b"x" * 65_536)
            return connection.recv(1_000)

    answer = await asyncio.to_thread(send_all_then_read)

    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.fault("send a request drop by drop", "attackers")
async def test_a_head_that_comes_drop_by_drop_is_bounded_in_time(wire: Wire) -> None:
    """A header now and then does not hold a connection."""
    reply = await wire.send(b"GET / HTTP/1.1\r\n", *[b"x-a: b\r\n"] * 100, pause_s=0.02)

    assert reply.status == 408


async def test_who_was_refused_without_a_key_cannot_go_on_dawdling(wire: Wire) -> None:
    """401 comes at once; the connection is closed though the body keeps coming."""
    host, port = wire.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(wire.head(POST, JSON, LENGTH.format(100_000), key=False))
    assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    give_up = time.monotonic() + 20

    while not (reader.at_eof() or writer.is_closing()) and time.monotonic() < give_up:
        writer.write(b"x")
        try:
            async with asyncio.timeout(0.05):
                while await reader.read(1_000):
                    pass
        except (TimeoutError, ConnectionError):
            pass

    assert time.monotonic() < give_up
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_requests_one_after_the_other_are_not_hurried(wire: Wire) -> None:
    """A connection that is used for longer than any limit stays open while whole requests come."""
    host, port = wire.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    give_up = time.monotonic() + 2 * SHORT.head_s
    while time.monotonic() < give_up:
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: hub\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(len(b'{"status":"ok"}'))
    writer.close()
    await writer.wait_closed()


async def test_requests_in_a_row_are_each_answered(wire: Wire) -> None:
    """Three requests in one piece get three answers, in order."""
    host, port = wire.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    one = b"GET /v1/%b HTTP/1.1\r\nhost: hub\r\n\r\n"
    writer.write(
        one % b"a" + one % b"b" + b"GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    )

    answer = (await asyncio.wait_for(reader.read(), 10)).decode()

    assert answer.count("HTTP/1.1 404 Not Found") == 2
    assert answer.index("/v1/a") < answer.index("/v1/b") < answer.index("HTTP/1.1 200 OK")
    writer.close()
    await writer.wait_closed()
