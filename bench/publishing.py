"""Events accepted a second, each on disk before its answer: single requests, and batches of 100.

From the first request to the last answer; the hub delivers meanwhile, as it always does. The
generator is a process of its own.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import harness
import rows
from usage import watching

GOAL_BATCH = 10_000
TRIED = "values by place, cheaper values and checks, group commit (bench/RESULTS.md)"
WITHIN_S = 300
ROUNDS = 5


def accepted(
    hub: harness.RunningHub, endpoint: str, count: int, *, size: int, in_flight: int
) -> float:
    """How many a second were answered with 202."""
    sizes = ["webhook", str(size), str(in_flight)]
    arguments = [hub.url, hub.key, endpoint, str(count), f"run{time.time_ns():x}", *sizes]
    command = [sys.executable, harness.HERE / "publisher.py", *arguments]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(said.split()[-1])


def measure(
    name: str, options: rows.Options, *, size: int, count: int, in_flight: int, goal: float | None
) -> rows.Row:
    """The median of rounds; each begins when what was accepted before is delivered."""
    rates, limits = [], []
    rounds = options.size(ROUNDS, 3)
    with harness.receiver() as receiver, harness.running_hub() as hub:
        endpoint = hub.endpoint(receiver.url)
        sent = 1_000
        accepted(hub, endpoint, sent, size=100, in_flight=4)
        for _ in range(rounds):
            receiver.wait_for(sent, WITHIN_S)
            with watching(hub.data) as usage:
                rates.append(accepted(hub, endpoint, count, size=size, in_flight=in_flight))
            limits.append(usage.limited_by())
            sent += count
        receiver.wait_for(sent, WITHIN_S)
    rows.tell(f"{name}: {', '.join(f'{rate:,.0f}' for rate in rates)} events/s")
    middle = sorted(range(rounds), key=lambda index: rates[index])[rounds // 2]
    return rows.Row(
        name=name,
        value=statistics.median(rates),
        unit="events/s",
        at_least=goal,
        limited_by=limits[middle],
        tried=TRIED,
    )


def measured(options: rows.Options) -> Sequence[rows.Row]:
    """Both rows."""
    single, batch = options.size(5_000, 1_000), options.size(20_000, 5_000)
    return [
        measure("publish-single", options, size=1, count=single, in_flight=32, goal=None),
        measure("publish-batch", options, size=100, count=batch, in_flight=4, goal=GOAL_BATCH),
    ]


if __name__ == "__main__":
    rows.alone(measured, __doc__)
