"""What an endpoint that never answers costs another one: publish to first attempt, in pairs.

At 100 events a second, every other one goes to an endpoint that either answers or never does; the
99th percentile of the others, from publishing to the first attempt at them, is compared. The two
take turns, so that a noisy machine disturbs both. A new hub each time: its lanes know nothing.

Open loop: requests leave on their schedule, whether or not earlier ones have been answered, and
the time counts from the schedule, so that a stall is seen by all that it delays.
"""

import argparse
import asyncio
import statistics
import time

import aiohttp
import harness

GOAL_RATIO = 1.5
GOAL_MS = 20.0
"""It is met where either holds."""

WARM_S = 2.0
LATE_S = 30


async def measure(
    hub: harness.RunningHub, swift: harness.Receiver, other: str, rate: int, seconds: float
) -> list[float]:
    """Milliseconds from schedule to first attempt, one for each event of the swift endpoint."""
    endpoints = [made(hub, swift.url), made(hub, other)]
    due: dict[int, float] = {}
    async with aiohttp.ClientSession(headers=hub.headers) as session:
        publishing = []
        begun = time.perf_counter()
        for number in range(int(rate * (WARM_S + seconds))):
            at = begun + number / rate
            await asyncio.sleep(max(at - time.perf_counter(), 0))
            if number % 2 == 0 and number >= rate * WARM_S:
                due[number] = at
            document = event(number, endpoints[number % 2])
            publishing.append(asyncio.create_task(publish(session, hub.url, document)))
        await asyncio.gather(*publishing)
    give_up = time.perf_counter() + LATE_S
    while not due.keys() <= (came := swift.arrivals()).keys():
        if time.perf_counter() > give_up:
            raise TimeoutError(f"{len(due.keys() - came.keys())} were never tried")
        await asyncio.sleep(0.1)
    return [(came[number] - at) * 1000 for number, at in due.items()]


def made(hub: harness.RunningHub, url: str) -> str:
    """A new endpoint's id."""
    answer = hub.post("/v1/webhook-endpoints", {"url": url, "eventTypes": ["webhook.test"]})
    answer.raise_for_status()
    return str(answer.json()["id"])


def event(number: int, endpoint: str) -> dict[str, object]:
    """An event for one endpoint."""
    return {
        "specversion": "1.0",
        "id": f"isolation-{number}",
        "source": "/bench",
        "type": "webhook.test",
        "data": {"endpointId": endpoint, "message": f"n{number}"},
    }


async def publish(session: aiohttp.ClientSession, url: str, document: object) -> None:
    """Publish one event."""
    async with session.post(f"{url}/v1/events", json=document) as response:
        if response.status != 202:
            raise RuntimeError(f"{response.status} {await response.text()}")


def run(*, hung: bool, rate: int, seconds: float) -> list[float]:
    """One side of a pair: half of the events go to an endpoint that answers, or never does."""
    with (
        harness.receiver() as swift,
        harness.receiver("--silent" if hung else "") as other,
        harness.running_hub() as hub,
    ):
        return asyncio.run(measure(hub, swift, other.url, rate, seconds))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=int, default=100)
    options = parser.parse_args()
    print("pair  answers p50/p99 ms  never answers p50/p99 ms  ratio")
    ratios, differences = [], []
    for pair in range(1, options.pairs + 1):
        # Each is first as often as the other.
        order = (False, True) if pair % 2 else (True, False)
        found = {hung: run(hung=hung, rate=options.rate, seconds=options.seconds) for hung in order}
        shares = {
            hung: [harness.percentile(each, share) for share in (0.5, 0.99)]
            for hung, each in found.items()
        }
        (half, most), (half_hung, most_hung) = shares[False], shares[True]
        ratios.append(most_hung / most)
        differences.append(most_hung - most)
        print(
            f"{pair:>4}  {half:>8.1f} / {most:>7.1f}  {half_hung:>14.1f} / {most_hung:>7.1f}"
            f"  {ratios[-1]:>5.2f}",
            flush=True,
        )
    ratio, more = statistics.median(ratios), statistics.median(differences)
    met = ratio <= GOAL_RATIO or more <= GOAL_MS
    print(f"isolation-ratio  median {ratio:.2f}, {more:+.1f} ms: {'met' if met else 'NOT MET'}")


if __name__ == "__main__":
    main()
