"""The bare loop: the same signed POSTs to the same receiver, by the same client, and nothing else.

    python bench/bare_loop.py URL COUNT

Prints POSTs per second, and processor seconds per POST. No queue, no ledger, no retries: the most
that any sender in Python could reach on this machine, which the hub is measured against.
"""

import asyncio
import base64
import hashlib
import hmac
import sys
import time

import aiohttp
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


async def run(url: str, count: int) -> float:
    """POST `count` signed events; how many a second."""
    numbers = iter(range(count))
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def send() -> None:
            for number in numbers:
                body = body_of(number)
                stamp = str(int(time.time()))
                name = f"evt_{number:032x}"
                signed = f"{name}.{stamp}.".encode() + body
                digest = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
                headers = {
                    "content-type": "application/cloudevents+json",
                    "webhook-id": name,
                    "webhook-timestamp": stamp,
                    "webhook-signature": f"v1,{digest}",
                }
                async with session.post(url, data=body, headers=headers) as response:
                    await response.read()

        begun = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))
        return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    import uvloop

    wanted = int(sys.argv[2])
    rate = uvloop.run(run(sys.argv[1], wanted))
    print(rate, time.process_time() / wanted)
