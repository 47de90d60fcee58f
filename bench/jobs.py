"""Jobs a second through the whole durable path, against what the waiting for the model allows.

Reply suggestions are asked for over HTTP, each in a request of its own, while the first of them
are done already; a model in a process of its own takes its time for every answer. What is measured
is the hub's own clock from the first job's acceptance to the last one's end, and the processor
time that one job cost the hub's process: with the events that tell of it, in all channels, and
with the requests that asked for it.
"""

import argparse
import asyncio
import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import harness

SHARE = 0.9
"""Of the pace that the model allows: the goal."""

COST_MS = 3.5
"""Processor time of one job in the hub's process: the goal, on a machine that does nothing else."""

IN_FLIGHT = 16
WITHIN_S = 300

INPUT: Mapping[str, object] = {
    "messages": [
        {"from": "creator", "text": "Thank you for coming to the live show last night!"},
        {"from": "fan", "text": "It was great! Will there be another session by the sea soon?"},
    ],
    "fan": {"name": "Leo", "tags": ["loyal", "pictures"]},
    "persona": "Direct, warm, and fond of jokes.",
    "count": 2,
    "language": "en",
}


@contextmanager
def model(seconds: float) -> Iterator[str]:
    """Run the model in a process of its own; where it is."""
    with subprocess.Popen(
        [sys.executable, harness.HERE / "model.py", str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdin
        port = int(process.stdout.readline())
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.stdin.close()


async def submit(hub: harness.RunningHub, count: int, run: str) -> None:
    """Ask for so many jobs."""
    numbers = iter(range(count))
    async with aiohttp.ClientSession(headers=hub.headers) as session:

        async def send() -> None:
            for number in numbers:
                asked = {
                    "jobType": "chat.suggest",
                    "userId": f"u{number % 50}",
                    "input": INPUT,
                    "idempotencyKey": f"{run}-{number}",
                }
                async with session.post(f"{hub.url}/v1/jobs", json=asked) as response:
                    if response.status != 202:
                        raise RuntimeError(f"{response.status} {await response.text()}")

        await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))


def ended(data: Path, run: str) -> tuple[int, int, float]:
    """How many of a run's jobs have ended, how many succeeded, and the seconds that all took."""
    query = (
        "SELECT count(finished_at), count(*) FILTER (WHERE state = 'succeeded'),"
        " max(finished_at) - min(created_at) FROM jobs WHERE idempotency_key GLOB ?"
    )
    with contextlib.closing(sqlite3.connect(data / "hub.db")) as database:
        done, succeeded, took = database.execute(query, (f"{run}-*",)).fetchone()
    return done, succeeded, (took or 0) / 1000


def measure(hub: harness.RunningHub, count: int, run: str) -> tuple[float, float]:
    """Seconds from the first acceptance to the last end, and processor seconds per job."""
    used = hub.cpu_s()
    asyncio.run(submit(hub, count, run))
    give_up = time.monotonic() + WITHIN_S
    while (found := ended(hub.data, run))[0] < count:
        if time.monotonic() > give_up:
            raise TimeoutError(f"{found[0]} of {count} jobs after {WITHIN_S} s")
        time.sleep(0.1)
    if found[1] < count:
        raise RuntimeError(f"{count - found[1]} of {count} jobs did not succeed")
    return found[2], (hub.cpu_s() - used) / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--model-seconds", type=float, default=0.2)
    options = parser.parse_args()
    allowed = options.count * options.model_seconds / options.concurrency
    goal = allowed / SHARE
    with model(options.model_seconds) as url:
        settings = {
            "HUNTAZE_AI_ENDPOINT": url,
            "HUNTAZE_AI_KEY": "bench",
            "HUNTAZE_AI_CONCURRENCY": str(options.concurrency),
        }
        with harness.running_hub(settings) as hub:
            measure(hub, 100, "warm")
            found, costs = [], []
            print(f"{'run':>3}  {'jobs':>6}  {'seconds':>7}  {'jobs/s':>6}  {'processor ms':>12}")
            for run in range(1, options.runs + 1):
                took, cost = measure(hub, options.count, f"run{run}")
                found.append(took)
                costs.append(cost * 1000)
                print(
                    f"{run:>3}  {options.count:>6}  {took:>7.2f}  {options.count / took:>6.0f}"
                    f"  {costs[-1]:>12.2f}",
                    flush=True,
                )
    half = statistics.median(found)
    met = half <= goal
    print(
        f"jobs  median {half:.2f} s, {allowed:.2f} s is what the model allows, goal {goal:.2f} s:"
        f" {'met' if met else 'NOT MET'}"
    )
    cost = statistics.median(costs)
    print(
        f"jobs  median {cost:.2f} ms of processor time each, goal {COST_MS:.2f} ms:"
        f" {'met' if cost <= COST_MS else 'NOT MET'} (load {os.getloadavg()[0]:.1f})"
    )


if __name__ == "__main__":
    main()
