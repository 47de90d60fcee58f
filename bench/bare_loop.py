"""The bare loop: the same signed POSTs to the same receiver, by the same client, and nothing else.

    python bench/bare_loop.py URL COUNT [raw]

Prints POSTs per second, and processor seconds per POST. No queue, no ledger, no retries: what the
hub is measured against. The client is aiohttp, the fastest of the libraries that were tried
(docs/decisions/0003-webhook-client.md). With `raw` there is none: bytes are written to 64
connections and the answers' ends counted, without TLS, names, limits or checks. No sender that has
to be relied upon can be that; it is the most that Python does on this machine.
"""

import asyncio
import base64
import hashlib
import hmac
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httptools
import orjson

IN_FLIGHT = 64
KEY = b"k" * 32


def body_of(number: int) -> bytes:
    """An event of the size the hub posts in the other half of the comparison."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"bench-{number}",
            "source": "/bench",
            "type": "webhook.test",
            "time": "2026-01-01T00:00:00Z",
            "datacontenttype": "application/json",
            "tenantid": "bench",
            "data": {
                "endpointId": "ep_" + "x" * 20,
                "message": "a test",
                "metadata": {"text": "m" * 400},
            },
        }
    )


def signed(number: int) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of one."""
    body = body_of(number)
    stamp = str(int(time.time()))
    name = f"evt_{number:032x}"
    digest = hmac.digest(KEY, f"{name}.{stamp}.".encode() + body, hashlib.sha256)
    return body, {
        "content-type": "application/cloudevents+json",
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


class Raw(asyncio.Protocol):
    """A connection that posts the next once the last was answered."""

    def __init__(self, head: bytes, numbers: Iterator[int], done: asyncio.Semaphore) -> None:
        self._head = head
        self._numbers = numbers
        self._done = done
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._next()

    def _next(self) -> None:
        number = next(self._numbers, None)
        if number is None:
            self._done.release()
            return
        body, headers = signed(number)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(
            b"%b%bcontent-length: %d\r\n\r\n%b" % (self._head, lines.encode(), len(body), body)
        )


async def run_raw(url: str, count: int) -> float:
    """The same without a client."""
    parts, numbers = urlsplit(url), iter(range(count))
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\n".encode()
    loop, done = asyncio.get_running_loop(), asyncio.Semaphore(0)
    begun = time.perf_counter()
    for _ in range(IN_FLIGHT):
        await loop.create_connection(lambda: Raw(head, numbers, done), parts.hostname, parts.port)
    for _ in range(IN_FLIGHT):
        await done.acquire()
    return count / (time.perf_counter() - begun)


async def run(url: str, count: int) -> float:
    """POST `count` signed events; how many a second."""
    numbers = iter(range(count))
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def send() -> None:
            for number in numbers:
                body, headers = signed(number)
                async with session.post(url, data=body, headers=headers) as response:
                    await response.read()

        begun = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))
        return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    import uvloop

    wanted = int(sys.argv[2])
    loop = run_raw if sys.argv[3:] == ["raw"] else run
    rate = uvloop.run(loop(sys.argv[1], wanted))
    print(rate, time.process_time() / wanted)
