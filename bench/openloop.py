"""Publishes on a schedule, whether or not earlier events have been answered. A process of its own.

Reads its orders from standard input as JSON, and when all is published and seen writes into the
file that is named there when each event was due and when its frame came: seconds, as
`perf_counter`, which all processes of a machine share. Latency counts from when an event was due,
so that a stall is seen by all that it delays.

A thread keeps the schedule: the event loop's own timers are as coarse as a millisecond.
"""

import asyncio
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import orjson
from wire import Publisher, Socket

_EVENT_ID = re.compile(rb'"eventId":"[^"]*-([0-9]+)"')
_CONNECTIONS = 32
_ANSWERED_WITHIN_S = 240.0
_SEEN_WITHIN_S = 120.0


def toast(run: str, number: int, target: dict[str, str]) -> dict[str, Any]:
    """An event with a toast."""
    return {
        "specversion": "1.0",
        "id": f"{run}-{number}",
        "source": "/bench",
        "type": "message.received",
        "tenantid": target["tenant"],
        "userid": target["user"],
        "data": {"from": {"name": "Sample"}, "preview": "hello"},
    }


def webhook(run: str, number: int, target: dict[str, str]) -> dict[str, Any]:
    """An event for one endpoint."""
    return {
        "specversion": "1.0",
        "id": f"{run}-{number}",
        "source": "/bench",
        "type": "webhook.test",
        "tenantid": target["tenant"],
        "data": {"endpointId": target["endpoint"], "message": f"n{number}"},
    }


async def main(orders: dict[str, Any]) -> dict[str, Any]:
    """Publish what is ordered: `seconds` at `rate`, to the targets in turn."""
    make = toast if orders["kind"] == "toast" else webhook
    targets, run, rate = orders["targets"], orders["run"], orders["rate"]
    count = int(rate * orders["seconds"])
    bodies = [
        orjson.dumps(make(run, number, targets[number % len(targets)])) for number in range(count)
    ]
    seen: dict[str, float] = {}

    def heard(text: bytes) -> None:
        named = _EVENT_ID.search(text)
        if named:
            seen[named[1].decode()] = time.perf_counter()

    if orders.get("socket"):
        await Socket(orders["socket"], heard).connect(orders["socket"])
    publisher = Publisher(orders["url"], orders["key"])
    await publisher.open(_CONNECTIONS)
    begun = time.perf_counter() + 0.1
    await _keep(publisher, bodies, begun, rate)
    await publisher.drain(_ANSWERED_WITHIN_S)
    give_up = time.perf_counter() + _SEEN_WITHIN_S
    while orders.get("socket") and len(seen) < count:
        if time.perf_counter() > give_up:
            raise TimeoutError(f"{len(seen)} of {count} frames came")
        await asyncio.sleep(0.01)
    due = {str(number): begun + number / rate for number in range(count)}
    return {"due": due, "seen": seen}


async def _keep(publisher: Publisher, bodies: list[bytes], begun: float, rate: float) -> None:
    """Send each body when it is due."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def keep() -> None:
        for number, body in enumerate(bodies):
            wait = begun + number / rate - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            loop.call_soon_threadsafe(publisher.send, body)
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=keep, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    import gc

    import uvloop

    gc.disable()  # it would stop for what a bench of a minute need not give back
    sys.setswitchinterval(0.0005)
    orders = orjson.loads(sys.stdin.readline())
    Path(orders["answer"]).write_bytes(orjson.dumps(uvloop.run(main(orders))))
