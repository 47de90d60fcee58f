"""The sender against receivers on loopback that do what receivers do."""

import asyncio
import gzip
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from notifications.addresses import Network
from notifications.channels.webhooks.answers import readable
from notifications.channels.webhooks.sender import READ_AT_MOST, WebhookSender
from notifications.connections import (
    MAX_LOOKUPS,
    OWNERS_LOOKUPS,
    ThreadedLookups,
)
from notifications.deliveries import TOO_MANY, Delivered, Failed, Outcome, attempted
from notifications.errors import ConfigurationError, Unavailable
from notifications.retries import DAY, NOTIFICATIONS
from tests.webhook_receivers import (
    Behaviour,
    Flood,
    Request,
    answer,
    drip,
    hang_up,
    never,
    raw,
    receiver,
    reset,
    self_signed,
)
from tests.webhook_worlds import LOOPBACK, SetClock, delivery

HEADERS = {"content-type": "application/cloudevents+json", "webhook-id": "evt_1"}
BODY = b'{"id":"payment-1"}'
SOON = 0.25
OK_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"


def sender(allowed: tuple[Network, ...] = LOOPBACK, **settings: object) -> WebhookSender:
    return WebhookSender(clock=SetClock(), allowed=allowed, **settings)  # type: ignore[arg-type]


async def outcome_of(*behaviours: Behaviour, **settings: object) -> Delivered | Failed:
    """What one post comes to, at a receiver that behaves like this."""
    async with receiver(*behaviours) as target, sender(**settings) as sends:
        outcome = await sends.post(target.url(), HEADERS, BODY)
        assert isinstance(outcome, Delivered | Failed)
        return outcome


# --------------------------------------------------------------------------- answers


async def test_request_on_the_wire() -> None:
    """The request is a POST of the bytes as given, under our user agent, asking no compression."""
    async with receiver(answer()) as target, sender() as sends:
        await sends.post(target.url("/a%2Fb?x=1%2B2#part"), HEADERS, BODY)
    [request] = target.requests
    assert request.line == "POST /a%2Fb?x=1%2B2 HTTP/1.1"
    assert request.body == BODY
    names = [name for name, _ in request.fields]
    assert sorted(names) == sorted(
        ["host", "user-agent", "accept", "accept-encoding", "content-length", *HEADERS]
    )
    assert request.headers["user-agent"] == "Huntaze-Webhooks/1.0"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_2xx_is_delivered(status: int) -> None:
    """Every 2xx is a success with its status."""
    assert await outcome_of(answer(status)) == Delivered(status=status)


@pytest.mark.parametrize(
    "bytes_",
    [
        b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 204 No Content\r\nContent-Length: 2\r\nServer: a\r\n\r\nok",
        b"HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n<html>thanks</html>",
    ],
    ids=["a length", "HTTP/1.0", "chunks", "a page"],
)
@pytest.mark.fault("answers 204, with a body or without", "receivers")
async def test_a_body_after_204_takes_nothing_from_it(bytes_: bytes) -> None:
    """The receiver said 2xx; what it sends besides, in one packet with it or after, is ignored, and
    the next request goes over a connection of its own."""
    async with receiver(raw(bytes_)) as target, sender() as sends:
        for number in (1, 2, 3):
            assert await sends.post(target.url(), HEADERS, BODY) == Delivered(status=204)
            assert len(target.requests) == number


@pytest.mark.parametrize("status", [101, 304, 400, 401, 404, 409, 500, 503, 599])
@pytest.mark.fault("answers 304, 4xx or 5xx", "receivers")
async def test_other_answers_fail_and_may_be_retried(status: int) -> None:
    """Every other answer is a failure with its status and, where there is one, its body."""
    body = b"" if status in (101, 304) else b"sorry"
    assert await outcome_of(answer(status, body)) == Failed(
        reason=f"http-{status}", status=status, detail=body.decode() or None
    )


@pytest.mark.fault("answers 410", "receivers")
async def test_410_is_gone() -> None:
    """410 ends the delivery for good."""
    assert await outcome_of(answer(410, b"bye")) == Failed(
        reason="gone", retryable=False, status=410, detail="bye"
    )


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        ("7", 7_000),
        ("0.5", 500),
        ("Sat, 31 Jan 2026 12:01:00 GMT", 60_000),
        ("Fri, 30 Jan 2026 12:01:00 GMT", None),
        ("9999999", DAY),
        ("later", None),
        ("-1", None),
    ],
)
@pytest.mark.fault("answers 429 or 503 with any form of Retry-After", "receivers")
async def test_retry_after(status: int, value: str, milliseconds: int | None) -> None:
    """Each form of Retry-After arrives in the outcome as milliseconds."""
    outcome = await outcome_of(answer(status, headers={"Retry-After": value}))
    assert outcome == Failed(reason=f"http-{status}", status=status, retry_after=milliseconds)


@pytest.mark.fault("answers 429 without Retry-After", "receivers")
async def test_429_without_retry_after_waits_longer_than_the_table() -> None:
    """A receiver that says it is too much is not asked again seconds later."""
    outcome = await outcome_of(answer(429))
    assert outcome == Failed(reason="http-429", status=429)
    tried = delivery(deadline=DAY)
    again = attempted(tried, outcome, now=0, table=NOTIFICATIONS, dice=0.0)
    assert again.due_at == TOO_MANY > NOTIFICATIONS.delays[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["http://169.254.169.254/latest/meta-data/", "{other}"])
@pytest.mark.fault("redirects: 301, 302, 303, 307 or 308, inside too", "receivers")
async def test_redirects_are_not_followed(status: int, place: str) -> None:
    """A redirect, to metadata or to another receiver, is a failure, and nobody else is called."""
    async with receiver(answer()) as other:
        location = place.format(other=other.url())
        outcome = await outcome_of(answer(status, b"<html>", {"Location": location}))
        assert isinstance(outcome, Failed)
        assert (outcome.reason, outcome.retryable) == (f"http-{status}", True)
        assert location in (outcome.detail or "")
        assert other.accepted == 0


async def test_long_header_of_an_answer_is_no_fault() -> None:
    """A receiver behind a long content security policy is delivered to."""
    assert await outcome_of(answer(headers={"X-Policy": "a" * 20_000})) == Delivered(status=200)


async def test_cookies_are_not_kept() -> None:
    """What one answer sets as a cookie is not sent with the next request."""
    async with receiver(answer(headers={"Set-Cookie": "a=b; Path=/"})) as target, sender() as sends:
        for _ in range(2):
            await sends.post(target.url(host="localhost"), HEADERS, BODY)
    assert [request.headers.get("cookie") for request in target.requests] == [None, None]


@pytest.mark.fault("answer a webhook with a zip bomb", "attackers")
async def test_compressed_answers_are_not_unpacked() -> None:
    """A compressed answer, which nobody asked for, is kept as it is: no bomb goes off."""
    packed = gzip.compress(b"a" * 10_000_000)
    outcome = await outcome_of(answer(500, packed, {"Content-Encoding": "gzip"}))
    assert outcome.status == 500
    assert outcome.detail == readable(packed, READ_AT_MOST)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy named in the environment sees nothing: it would connect past the guard."""
    async with receiver(answer(500)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url("/"))
        assert await outcome_of(answer()) == Delivered(status=200)
        assert proxy.accepted == 0


# --------------------------------------------------------------------------- bodies


async def test_success_keeps_one_kilobyte_and_the_connection() -> None:
    """Of a success 1 KiB is kept; the rest is read, so that the connection can be used again."""
    async with receiver(answer(200, b"a" * 5_000)) as target, sender() as sends:
        outcomes = [await sends.post(target.url(), HEADERS, BODY) for _ in range(3)]
    assert outcomes == [Delivered(status=200, detail="a" * 1024)] * 3
    assert target.accepted == 1


async def test_failure_keeps_sixteen_kilobytes() -> None:
    """Of a failure 16 KiB are kept."""
    outcome = await outcome_of(answer(500, b"a" * 100_000))
    assert outcome.detail == "a" * READ_AT_MOST


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.fault("sends a gigabyte", "receivers")
async def test_endless_body_is_cut_off(status: int) -> None:
    """Of a gigabyte no more than the sockets' buffers is taken, and the connection is dropped."""
    flood = Flood(status)
    async with receiver(flood) as target, sender() as sends:
        begun = time.monotonic()
        outcome = await sends.post(target.url(), HEADERS, BODY)
        assert time.monotonic() - begun < 5
        await asyncio.wait_for(target.broken.wait(), 5)
    assert outcome.status == status
    assert flood.sent < 16 * 1024 * 1024
    assert target.accepted == 1


@pytest.mark.parametrize(
    ("head", "piece", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x", None),
        (b"HTTP/1.1 200 OK\r\nx-a: ", b"x", None),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", None),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b"x", 200),
        (b"HTTP/1.1 500 No\r\n\r\n", b"x", 500),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 200),
    ],
)
@pytest.mark.fault("drips its answer byte by byte", "receivers")
async def test_drip_ends_at_the_time_limit(head: bytes, piece: bytes, status: int | None) -> None:
    """Bytes that trickle in, anywhere in the answer, hold the attempt no longer than the limit."""
    async with receiver(drip(head, piece=piece)) as target, sender(timeout=SOON) as sends:
        begun = time.monotonic()
        outcome = await sends.post(target.url(), HEADERS, BODY)
        took = time.monotonic() - begun
        await asyncio.wait_for(target.broken.wait(), 5)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.status) == ("timeout", True, status)
    assert SOON * 0.9 <= took < SOON + 2


@pytest.mark.fault("answers 100 for ever", "receivers")
async def test_interim_answers_end_at_the_time_limit() -> None:
    """A receiver that sends `100 Continue` for ever holds the attempt no longer than the limit."""

    async def interim(_: object, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    outcome = await outcome_of(interim, timeout=SOON)
    assert outcome == Failed(reason="timeout", detail="no answer within 0.25 s")


@pytest.mark.fault("drips its answer byte by byte", "receivers")
async def test_410_counts_though_its_body_never_ends() -> None:
    """A 410 is gone as soon as its headers are there."""
    head = b"HTTP/1.1 410 Gone\r\ncontent-length: 9999\r\n\r\n"
    outcome = await outcome_of(drip(head), timeout=SOON)
    assert outcome == Failed(reason="gone", retryable=False, status=410)


async def test_success_whose_body_never_ends_is_a_timeout() -> None:
    """A 200 that does not end within the limit is a failure that says so."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"
    outcome = await outcome_of(drip(head), timeout=SOON)
    assert outcome == Failed(
        reason="timeout", status=200, detail="answered 200, but not to the end within 0.25 s"
    )


# --------------------------------------------------------------------------- faults


@pytest.mark.fault("answers after the limit", "receivers")
async def test_an_answer_after_the_limit_is_none() -> None:
    """A 200 that comes too late is a timeout that is retried, and is taken for no other answer."""
    late = asyncio.Event()

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        await late.wait()
        await answer()(request, writer)

    async with receiver(behave, answer(500)) as target, sender(timeout=SOON) as sends:
        first = await sends.post(target.url(), HEADERS, BODY)
        late.set()
        second = await sends.post(target.url(), HEADERS, BODY)
    assert first == Failed(reason="timeout", detail="no answer within 0.25 s")
    assert second == Failed(reason="http-500", status=500)
    assert [request.connection for request in target.requests] == [1, 2]


@pytest.mark.fault("answers 100, and then something else", "receivers")
async def test_what_follows_an_interim_answer_is_the_answer() -> None:
    """After `100 Continue` comes the answer that counts."""
    went_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    ok = went_on + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    no = went_on + b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"
    assert await outcome_of(raw(ok)) == Delivered(status=200)
    assert await outcome_of(raw(no)) == Failed(reason="http-500", status=500)


@pytest.mark.fault("never answers", "receivers")
async def test_no_answer_is_a_timeout() -> None:
    """A receiver that never answers costs the time limit and no more."""
    begun = time.monotonic()
    outcome = await outcome_of(never, timeout=SOON)
    assert outcome == Failed(reason="timeout", detail="no answer within 0.25 s")
    assert isinstance(outcome, Failed)
    assert outcome.timed_out
    assert SOON * 0.9 <= time.monotonic() - begun < SOON + 2


@pytest.mark.fault("refuses the connection", "receivers")
async def test_nobody_listens() -> None:
    """A closed port is a connection failure."""
    async with receiver() as target:
        url = target.url()
    async with sender() as sends:
        outcome = await sends.post(url, HEADERS, BODY)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable, outcome.status) == ("connection", True, None)
    assert "refused" in (outcome.detail or "").lower()


@pytest.mark.fault("has a name that does not exist", "receivers")
async def test_unknown_name() -> None:
    """A name that does not exist is a DNS failure, which is retried."""
    async with sender() as sends:
        outcome = await sends.post("https://nothing.invalid/", HEADERS, BODY)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("dns", True)
    assert "nothing.invalid" in (outcome.detail or "")


@pytest.mark.parametrize(
    "behaviour",
    [
        hang_up(),
        reset(),
        hang_up(OK_HEAD + b"half"),
        reset(OK_HEAD + b"half"),
        hang_up(b"HTTP/1.1 200 OK\r\ncontent-"),
        hang_up(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nab"),
    ],
)
@pytest.mark.fault("resets or hangs up before its answer, or within it", "receivers")
async def test_connection_that_breaks(behaviour: Behaviour) -> None:
    """A connection that ends before the answer does is a failure, and the POST is not doubled."""
    async with receiver(behaviour) as target, sender() as sends:
        outcome = await sends.post(target.url(), HEADERS, BODY)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("connection", True)
    assert len(target.requests) == 1


@pytest.mark.fault("resets or hangs up before its answer, or within it", "receivers")
async def test_refusal_counts_though_its_body_breaks() -> None:
    """A 503 whose body is cut off is a 503, with its Retry-After and what was read."""
    head = b"HTTP/1.1 503 No\r\nretry-after: 9\r\ncontent-length: 100\r\n\r\nbusy"
    assert await outcome_of(hang_up(head)) == Failed(
        reason="http-503", status=503, retry_after=9_000, detail="busy"
    )


@pytest.mark.parametrize(
    "rubbish",
    [
        b"<html>HTTP/0.9 has no status and no headers</html>\r\n",
        bytes(range(256)) * 64,
        b"\x00\xff\x00\xff\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/9.9 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    ],
)
@pytest.mark.fault("speaks HTTP/0.9, or sends what is no HTTP", "receivers")
async def test_rubbish_instead_of_http(rubbish: bytes) -> None:
    """What is no HTTP is a failure that may be retried, never an exception."""
    outcome = await outcome_of(raw(rubbish), timeout=3.0)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("protocol", True)
    assert len(outcome.detail or "") <= 500


@pytest.mark.parametrize(
    "url", ["https://1.2.3.4.5/", "https://256.1.1.1/", "https:///x", "ftp://x/"]
)
async def test_url_that_cannot_be_posted_to(url: str) -> None:
    """A stored URL that could never work ends the delivery instead of raising."""
    async with sender() as sends:
        outcome = await sends.post(url, HEADERS, BODY)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("invalid-url", False)


async def test_cancelling_passes_through_and_drops_the_connection() -> None:
    """A post that is cancelled, as at the end of the process, is no outcome."""
    arrived = asyncio.Event()

    async def tell(*_: object) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async with receiver(tell) as target, sender() as sends:
        task = asyncio.create_task(sends.post(target.url(), HEADERS, BODY))
        await asyncio.wait_for(arrived.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            while sends.open_connections:  # nothing tells when a socket is closed
                await asyncio.sleep(0.005)


# --------------------------------------------------------------------------- connections


async def test_connections_are_kept_and_shared() -> None:
    """Requests one after the other use one connection, and 50 at once no more than 50."""
    async with receiver(answer(200, b"ok")) as target, sender() as sends:
        for _ in range(5):
            await sends.post(target.url(), HEADERS, BODY)
        assert target.accepted == 1
        for _ in range(3):
            await asyncio.gather(*(sends.post(target.url(), HEADERS, BODY) for _ in range(50)))
        assert target.accepted <= 50
        assert len(target.requests) == 155


async def test_hundreds_in_flight_at_one_host_wait_for_nobody() -> None:
    """Two hundred requests are at one receiver at once: the lanes are the bound, not the pool."""
    together = asyncio.Event()
    arrived = 0

    async def meet(request: object, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 200:
            together.set()
        await together.wait()
        await answer()(request, writer)  # type: ignore[arg-type]

    async with receiver(meet) as target, sender(timeout=10.0) as sends:
        posts = (sends.post(target.url(), HEADERS, BODY) for _ in range(200))
        outcomes = await asyncio.gather(*posts)
    assert outcomes == [Delivered(status=200)] * 200


async def test_number_of_idle_connections_is_bounded() -> None:
    """Past the bound connections are closed after their answer instead of kept."""
    async with receiver(answer()) as target, sender(connections=4) as sends:
        for _ in range(3):
            await asyncio.gather(*(sends.post(target.url(), HEADERS, BODY) for _ in range(40)))
            assert 1 <= sends.open_connections <= 4
    assert sends.open_connections == 0


async def test_kept_connection_that_the_receiver_closed_is_no_failure() -> None:
    """A request on a kept connection that breaks is sent again at once, on a new one."""
    async with receiver(answer(), reset(), answer(201)) as target, sender() as sends:
        assert await sends.post(target.url(), HEADERS, BODY) == Delivered(status=200)
        assert await sends.post(target.url(), HEADERS, BODY) == Delivered(status=201)
    assert [request.connection for request in target.requests] == [1, 1, 2]
    assert target.requests[1].body == target.requests[2].body == BODY


@pytest.mark.fault("it has no file descriptors left for webhooks", "ourselves")
async def test_out_of_sockets_is_our_fault() -> None:
    """Without a free file descriptor the attempt is no failure of the receiver's."""
    async with receiver(answer()) as target, sender() as sends:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        taken = []
        try:
            while True:
                try:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
                except OSError:
                    break
            with pytest.raises(Unavailable, match="EMFILE"):
                await sends.post(target.url(), HEADERS, BODY)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in taken:
                os.close(descriptor)
        assert await sends.post(target.url(), HEADERS, BODY) == Delivered(status=200)


async def test_closing_is_nobodys_failure() -> None:
    """A request that closing interrupts, or that comes after, is no failure of its receiver."""
    arrived = asyncio.Event()

    async def tell(*_: object) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async with receiver(tell) as target:
        sends = sender()
        await sends.start()
        task = asyncio.create_task(sends.post(target.url(), HEADERS, BODY))
        await asyncio.wait_for(arrived.wait(), 5)
        await sends.close()
        with pytest.raises(Unavailable):
            await task
        with pytest.raises(Unavailable):
            await sends.post(target.url(), HEADERS, BODY)
        await sends.close()
    assert len(target.requests) == 1


# --------------------------------------------------------------------------- lookups


@pytest.mark.fault("has a name whose lookup hangs", "receivers")
async def test_lookup_that_hangs_is_a_timeout() -> None:
    """A name whose server does not answer costs the time limit, and is asked for once."""

    class Hanging(ThreadedLookups):
        asked = 0

        async def resolve(self, *_: object, **__: object) -> list[ResolveResult]:
            Hanging.asked += 1
            return await asyncio.Event().wait()  # type: ignore[return-value]

    async with sender(timeout=SOON, resolver=Hanging()) as sends:
        outcome = await sends.post("https://hooks.example/", HEADERS, BODY)
    assert outcome == Failed(reason="timeout", detail="no answer within 0.25 s")
    assert Hanging.asked == 1


async def test_failed_lookup_is_made_once() -> None:
    """A lookup that fails is not repeated within the attempt."""

    class Failing(ThreadedLookups):
        asked = 0

        async def resolve(self, *_: object, **__: object) -> list[ResolveResult]:
            Failing.asked += 1
            raise OSError("no such name")

    async with sender(resolver=Failing()) as sends:
        outcome = await sends.post("https://hooks.example/", HEADERS, BODY)
    assert outcome == Failed(reason="dns", detail="hooks.example was not found: no such name")
    assert Failing.asked == 1


async def test_more_lookups_than_threads() -> None:
    """Lookups beyond the bound wait their turn, abandoned ones give their place back."""
    lookups = ThreadedLookups()
    abandoned = [asyncio.create_task(lookups.resolve("localhost", 80)) for _ in range(MAX_LOOKUPS)]
    await asyncio.sleep(0)
    for task in abandoned:
        task.cancel()
    found = await asyncio.gather(*(lookups.resolve("localhost", 443) for _ in range(200)))
    assert all({"127.0.0.1", "::1"} & {each["host"] for each in answers} for answers in found)
    with pytest.raises(OSError):
        await lookups.resolve("nothing.invalid", 443)


async def test_one_tenants_names_that_hang_leave_threads_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tenant whose names never answer holds its share of the lookups, and nobody else waits."""
    gate, hanging = threading.Event(), []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **named: Any) -> Any:
        if host.endswith(".hangs.example"):
            hanging.append(host)
            gate.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real("localhost", *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with receiver(answer()) as target, sender(timeout=20.0) as sends:

        async def post(host: str, owner: str) -> Outcome:
            return await sends.post(f"http://{host}:{target.port}/", HEADERS, BODY, owner=owner)

        stuck = [
            asyncio.create_task(post(f"n{number}.hangs.example", "hung"))
            for number in range(2 * MAX_LOOKUPS)
        ]
        try:
            async with asyncio.timeout(15):
                while len(hanging) < OWNERS_LOOKUPS:
                    await asyncio.sleep(0.005)
                assert await post("answers.example", "other") == Delivered(status=200)
            assert len(hanging) == OWNERS_LOOKUPS
        finally:
            gate.set()
        async with asyncio.timeout(15):
            outcomes = await asyncio.gather(*stuck)
        assert {outcome.reason for outcome in outcomes if isinstance(outcome, Failed)} == {"dns"}
        assert len(hanging) == 2 * MAX_LOOKUPS


# --------------------------------------------------------------------------- TLS


@pytest.mark.fault("has a certificate that nobody vouches for", "receivers")
async def test_self_signed_certificate_is_a_tls_failure(tmp_path: Path) -> None:
    """A certificate that nobody vouches for is refused before anything is sent."""
    certificate = self_signed(tmp_path)
    async with receiver(answer(), tls=certificate.server_context()) as target, sender() as sends:
        outcome = await sends.post(target.url(), HEADERS, BODY)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("tls", True)
    assert "certificate" in (outcome.detail or "")
    assert target.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_ca_file_is_trusted(tmp_path: Path, host: str) -> None:
    """A certificate in the CA file is accepted, and the connection is kept."""
    certificate = self_signed(tmp_path)
    async with (
        receiver(answer(), tls=certificate.server_context()) as target,
        sender(ca_file=certificate.path) as sends,
    ):
        for _ in range(2):
            assert await sends.post(target.url(host=host), HEADERS, BODY) == Delivered(status=200)
    assert target.accepted == 1


@pytest.mark.fault("has a certificate of another name", "receivers")
async def test_certificate_of_another_name_is_a_tls_failure(tmp_path: Path) -> None:
    """A trusted certificate for another host is refused."""
    certificate = self_signed(tmp_path, name="other.example", address="127.0.0.9")
    async with (
        receiver(answer(), tls=certificate.server_context()) as target,
        sender(ca_file=certificate.path) as sends,
    ):
        outcome = await sends.post(target.url(), HEADERS, BODY)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "tls"
    assert target.requests == []


@pytest.mark.fault("has a certificate that has expired", "receivers")
async def test_expired_certificate_is_a_tls_failure(tmp_path: Path) -> None:
    """One of the right name, by somebody trusted, is refused once its time is over."""
    certificate = self_signed(tmp_path, expired=True)
    async with (
        receiver(answer(), tls=certificate.server_context()) as target,
        sender(ca_file=certificate.path) as sends,
    ):
        outcome = await sends.post(target.url(), HEADERS, BODY)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("tls", True)
    assert "expired" in (outcome.detail or "")
    assert target.requests == []


@pytest.mark.fault("speaks no TLS where it should", "receivers")
async def test_https_to_a_receiver_without_tls() -> None:
    """https to a port that speaks something else is a TLS failure."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, sender() as sends:
        outcome = await sends.post(f"https://127.0.0.1:{port}/", HEADERS, BODY)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("tls", True)


@pytest.mark.fault("sends a gigabyte", "receivers")
async def test_flood_over_tls_is_cut_off(tmp_path: Path) -> None:
    """An endless body over TLS is dropped without waiting for the other side to say goodbye."""
    certificate, flood = self_signed(tmp_path), Flood(200)
    async with (
        receiver(flood, tls=certificate.server_context()) as target,
        sender(ca_file=certificate.path) as sends,
    ):
        outcome = await sends.post(target.url(), HEADERS, BODY)
        async with asyncio.timeout(5):
            while sends.open_connections:  # nothing tells when a socket is closed
                await asyncio.sleep(0.005)
    assert outcome.status == 200


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_ca_file_that_cannot_be_used_stops_the_start(
    tmp_path: Path, content: str | None
) -> None:
    """A CA file that is missing or holds none is a configuration error that names the setting."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match="HUNTAZE_WEBHOOK_CA_FILE"):
        await sender(ca_file=path).start()


# --------------------------------------------------------------------------- the other event loop


@pytest.mark.parametrize(
    "claim",
    [
        test_request_on_the_wire,
        test_connections_are_kept_and_shared,
        test_number_of_idle_connections_is_bounded,
        test_kept_connection_that_the_receiver_closed_is_no_failure,
        test_out_of_sockets_is_our_fault,
        test_cancelling_passes_through_and_drops_the_connection,
        test_no_answer_is_a_timeout,
        test_nobody_listens,
        test_unknown_name,
    ],
)
def test_same_under_uvloop(claim: Callable[[], Coroutine[None, None, None]]) -> None:
    """What holds under asyncio's loop holds under uvloop, which the hub runs on."""
    uvloop = pytest.importorskip("uvloop")
    uvloop.run(claim())


def test_flood_over_tls_is_cut_off_under_uvloop(tmp_path: Path) -> None:
    """uvloop drops an endless TLS answer too, and its socket is counted off."""
    uvloop = pytest.importorskip("uvloop")
    uvloop.run(test_flood_over_tls_is_cut_off(tmp_path))
