"""Publishes events in batches, in a process of its own.

python bench/publisher.py URL KEY ENDPOINT COUNT RUN [webhook|all] [BATCH] [IN_FLIGHT]

`webhook` events are carried by webhooks alone; `all` ones are a toast and a mail, too. Says `go`
before the first request, and afterwards how many a second were accepted. Batches of one are single
requests.
"""

import asyncio
import sys
import time

import aiohttp
import orjson

BATCH = 100
IN_FLIGHT = 4
USER = "u1"


def event(run: str, number: int, endpoint: str, kind: str) -> dict[str, object]:
    """An event of about 700 bytes."""
    filling = {"text": "m" * 400}
    said: dict[str, object] = {"specversion": "1.0", "id": f"{run}-{number}", "source": "/bench"}
    if kind == "webhook":
        data: dict[str, object] = {"endpointId": endpoint, "message": "a test"}
        return {**said, "type": "webhook.test", "data": {**data, "metadata": filling}}
    data = {"amount": 4900, "currency": "EUR", "payer": {"name": "Sample"}}
    more = {"type": "payment.received", "userid": USER, "data": {**data, "metadata": filling}}
    return {**said, **more}


async def main(
    url: str,
    key: str,
    endpoint: str,
    count: int,
    run: str,
    kind: str = "webhook",
    size: int = BATCH,
    in_flight: int = IN_FLIGHT,
) -> float:
    """Publish `count` events; how many a second were accepted."""
    events = [event(run, number, endpoint, kind) for number in range(count)]
    bodies = (
        [orjson.dumps(each) for each in events]
        if size == 1
        else [orjson.dumps(events[first : first + size]) for first in range(0, count, size)]
    )
    waiting = iter(bodies)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        print("go", flush=True)
        begun = time.perf_counter()

        async def send() -> None:
            for body in waiting:
                async with session.post(f"{url}/v1/events", data=body) as response:
                    answer = await response.read()
                    if response.status != 202:
                        raise RuntimeError(f"{response.status} {answer[:500]!r}")

        await asyncio.gather(*(send() for _ in range(in_flight)))
        return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    url, key, endpoint, count, run, *more = sys.argv[1:]
    kind = more[0] if more else "webhook"
    sizes = [int(each) for each in more[1:]]
    print(asyncio.run(main(url, key, endpoint, int(count), run, kind, *sizes)))
