"""Publish to socket: from a request's first byte to the frame at a connected client.

Open loop: requests leave on their schedule, whether or not earlier ones have been answered, and
latency counts from the scheduled time, so that a stall is seen by all that it delays.
"""

import argparse
import asyncio
import time

import aiohttp
import harness

PROTOCOLS = {
    "plain": "json.webpubsub.azure.v1",
    "reliable": "json.reliable.webpubsub.azure.v1",
}
_ACK_EVERY = 100


def event(number: int, user: str) -> dict[str, object]:
    """An event with a toast."""
    return {
        "specversion": "1.0",
        "id": f"lat-{number}-{time.time_ns()}",
        "source": "/bench",
        "type": "message.received",
        "userid": user,
        "data": {
            "from": {"name": "Sample"},
            "preview": "hello",
        },
    }


async def measure(
    hub: harness.RunningHub, rate: int, seconds: float, protocol: str = "plain"
) -> list[float]:
    """Milliseconds from schedule to frame, one per event."""
    sent: dict[str, float] = {}
    latencies: list[float] = []
    async with aiohttp.ClientSession(headers=hub.headers) as session:
        async with session.post(f"{hub.url}/v1/realtime/negotiate?userId=u1") as response:
            url = (await response.json())["url"]
        async with session.ws_connect(url, protocols=[PROTOCOLS[protocol]]) as socket:
            await socket.receive_json()
            wanted = int(rate * seconds)

            async def listen() -> None:
                while len(latencies) < wanted:
                    message = await socket.receive_json()
                    name = message["data"]["item"]["eventId"]
                    latencies.append((time.perf_counter() - sent[name]) * 1000)
                    number = message.get("sequenceId", 1)
                    if number % _ACK_EVERY == 0:
                        await socket.send_json({"type": "sequenceAck", "sequenceId": number})

            listening = asyncio.create_task(listen())
            publishing = []
            begun = time.perf_counter()
            for number in range(wanted):
                due = begun + number / rate
                await asyncio.sleep(max(due - time.perf_counter(), 0))
                document = event(number, "u1")
                sent[str(document["id"])] = due
                publishing.append(asyncio.create_task(publish(session, hub.url, document)))
            await asyncio.gather(*publishing)
            await asyncio.wait_for(listening, 30)
    return latencies


async def publish(session: aiohttp.ClientSession, url: str, document: object) -> None:
    """Publish one event."""
    async with session.post(f"{url}/v1/events", json=document) as response:
        if response.status != 202:
            raise RuntimeError(f"{response.status} {await response.text()}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rates", type=int, nargs="*", default=[100, 500])
    parser.add_argument("--protocols", nargs="*", default=["plain", "reliable"], choices=PROTOCOLS)
    options = parser.parse_args()
    with harness.running_hub() as hub:
        asyncio.run(measure(hub, 50, 2))
        print(f"{'protocol':>8}  {'events/s':>8}  {'p50 ms':>7}  {'p99 ms':>7}  {'p99.9 ms':>8}")
        for rate in options.rates:
            for protocol in options.protocols:
                found = asyncio.run(measure(hub, rate, options.seconds, protocol))
                half, most, all_ = (harness.percentile(found, at) for at in (0.5, 0.99, 0.999))
                line = f"{protocol:>8}  {rate:>8}  {half:>7.1f}  {most:>7.1f}  {all_:>8.1f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
