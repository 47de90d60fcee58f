"""What a backlog costs: an event's processor time beside it, memory, and starting after a kill.

Two hubs take turns, so that a noisy machine disturbs both: beside one a thousand deliveries wait in
the ledger for their second attempt, beside the other ten thousand, a hundred thousand, a million.
Webhooks are published through both, and the processor time that one costs is compared. Then the
larger one is killed with -9 and started again. How the backlogs are made is `backlogs.py`'s.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import harness
import rows
import webhooks
from backlogs import Backlog, fill

FEW = 1_000
SIZES = (10_000, 100_000, 1_000_000)
WAITING = "waiting"
ENDPOINTS = 10
HOUR_S = 3_600
GOAL_RATIO = 1.2
GOAL_MB = 250.0


class Store:
    """A hub's data folder with a backlog that grows."""

    def __init__(self, data: Path, url: str) -> None:
        self.data = data
        with harness.running_hub(data=data) as hub:
            # Nothing listens there; what waits for them is due in an hour.
            nowhere = "http://127.0.0.1:9/"
            self._endpoints = [hub.endpoint(nowhere, WAITING) for _ in range(ENDPOINTS)]
            self.swift = hub.endpoint(url)
        self._count = 0

    def grow(self, count: int) -> None:
        """Let so many wait."""
        backlog = Backlog(
            tenant=WAITING,
            endpoints=self._endpoints,
            first=self._count,
            count=count - self._count,
            due_in_s=HOUR_S,
        )
        fill(self.data, backlog)
        self._count = count


def compare(
    small: Store, big: Store, receiver: harness.Receiver, rounds: int, count: int
) -> tuple[float, float]:
    """The ratio of an event's costs, and the memory of the one with more, MB; then kills it."""
    with (
        harness.running_hub(data=small.data) as few,
        harness.running_hub(data=big.data) as many,
    ):
        pair = ((few, small), (many, big))
        costs: dict[int, list[float]] = {few.pid: [], many.pid: []}
        for hub, store in pair:
            webhooks.durable(hub, receiver, store.swift, 1_000)
        for number in range(rounds):
            for hub, store in pair if number % 2 else reversed(pair):
                used = hub.cpu_s()
                webhooks.durable(hub, receiver, store.swift, count)
                time.sleep(0.3)  # metrics count a little later, and that is a part of it
                costs[hub.pid].append(hub.cpu_s() - used)
        memory = many.resident_mb()
        many.kill()
    return statistics.median(costs[many.pid]) / statistics.median(costs[few.pid]), memory


def measured(options: rows.Options) -> Sequence[rows.Row]:
    """Cost, memory and start for each size; the largest has the goals."""
    sizes = SIZES[:2] if options.quick else SIZES
    rounds, count = options.size(7, 3), options.size(3_000, 1_000)
    found: list[rows.Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="huntaze-bench-") as folder,
        harness.receiver() as receiver,
    ):
        paths = [Path(folder) / name for name in ("few", "many")]
        for path in paths:
            path.mkdir()
        small, big = (Store(path, receiver.url) for path in paths)
        small.grow(FEW)
        for size in sizes:
            began = time.monotonic()
            big.grow(size)
            rows.tell(f"{size:,} deliveries wait, made in {time.monotonic() - began:.0f} s")
            ratio, memory = compare(small, big, receiver, rounds, count)
            with harness.running_hub(data=big.data) as hub:
                started = hub.started_s
            rows.tell(
                f"beside {size:,}: cost {ratio:.2f} times that beside {FEW:,},"
                f" {memory:.0f} MB, start after kill {started:.1f} s"
            )
            found += _rows(size, ratio, memory, started, last=size == sizes[-1])
    return sorted(found, key=lambda row: row.name.split("-")[1])


def _rows(
    size: int, ratio: float, memory: float, started: float, *, last: bool
) -> Sequence[rows.Row]:
    end = "" if last else f"-{size // 1000}k"
    beside = f"{size:,} deliveries wait"
    return [
        rows.Row(
            name=f"growth-cost-ratio{end}",
            value=ratio,
            unit=f"times beside {FEW:,}",
            at_most=GOAL_RATIO,
            limited_by=f"the hub's processor time; {beside}",
        ),
        rows.Row(
            name=f"growth-memory{end}",
            value=memory,
            unit="MB",
            at_most=GOAL_MB,
            limited_by=beside,
        ),
        rows.Row(name=f"growth-start{end}", value=started, unit="s", limited_by=beside),
    ]


if __name__ == "__main__":
    rows.alone(measured, __doc__)
