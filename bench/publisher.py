"""Publishes webhook-only events in batches of 100, in a process of its own.

python bench/publisher.py URL KEY ENDPOINT COUNT RUN
"""

import asyncio
import sys

import aiohttp
import orjson

BATCH = 100
IN_FLIGHT = 4


def batch(run: str, first: int, endpoint: str) -> bytes:
    """A batch of events that only webhooks carry."""
    return orjson.dumps(
        [
            {
                "specversion": "1.0",
                "id": f"{run}-{number}",
                "source": "/bench",
                "type": "webhook.test",
                "data": {
                    "endpointId": endpoint,
                    "message": "a test",
                    "metadata": {"text": "m" * 400},
                },
            }
            for number in range(first, first + BATCH)
        ]
    )


async def main(url: str, key: str, endpoint: str, count: int, run: str) -> None:
    """Publish `count` events."""
    batches = [batch(run, first, endpoint) for first in range(0, count, BATCH)]
    waiting = iter(batches)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        print("go", flush=True)

        async def send() -> None:
            for body in waiting:
                async with session.post(f"{url}/v1/events", data=body) as response:
                    answer = await response.read()
                    if response.status != 202:
                        raise RuntimeError(f"{response.status} {answer[:500]!r}")

        await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))


if __name__ == "__main__":
    url, key, endpoint, count, run = sys.argv[1:]
    asyncio.run(main(url, key, endpoint, int(count), run))
