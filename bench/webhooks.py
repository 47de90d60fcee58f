"""Webhooks a second through the whole durable path, as a ratio to the bare loop of the same run.

HTTP publish, ledger, bus, sign, POST, ledger (its last commits are over a moment after the last
POST, at which the clock is stopped); against a loop that only signs and POSTs. The two
take turns, so that a noisy machine disturbs both; the ratio is the median over the pairs. Beside
each rate stands the processor time that one webhook cost its process.

Once with events that only webhooks carry, and once with events that go out as a toast, a mail in
the mail folder and a webhook each; and against a loop without a client library, too.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import harness
import rows
from usage import watching

GOAL = 0.5
BOUND = 0.25
TRIED = "fewer messages, rows at the driver, cheaper values, no collector (bench/RESULTS.md)"
USER = "u1"
WITHIN_S = 300


def durable(
    hub: harness.RunningHub,
    receiver: harness.Receiver,
    endpoint: str,
    count: int,
    kind: str = "webhook",
) -> float:
    """Webhooks a second, from the first request to the last POST."""
    before = receiver.count()
    command = [sys.executable, harness.HERE / "publisher.py"]
    arguments = [hub.url, hub.key, endpoint, str(count), f"run{time.time_ns():x}", kind]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        begun = time.perf_counter()
        receiver.wait_for(before + count, within_s=WITHIN_S)
        took = time.perf_counter() - begun
    if process.returncode:
        raise RuntimeError("publishing failed")
    return count / took


def bare(receiver: harness.Receiver, count: int, *how: str) -> tuple[float, float]:
    """POSTs a second without the hub, and processor seconds per POST."""
    command = [sys.executable, harness.HERE / "bare_loop.py", receiver.url, str(count), *how]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate, cost = said.split()
    return float(rate), float(cost)


def measure(
    kind: str, name: str, options: rows.Options, *how: str, goal: float | None = None
) -> rows.Row:
    """The median ratio of interleaved pairs."""
    pairs, count = options.size(5, 3), options.size(10_000, 3_000)
    with harness.receiver() as receiver, harness.running_hub() as hub:
        endpoint = hub.endpoint(receiver.url)
        user = {"email": "u1@example.com", "name": "Sample", "tenantId": harness.TENANT}
        hub.as_admin("PUT", f"/v1/users/{USER}", user)
        durable(hub, receiver, endpoint, 1_000, kind)
        ratios, costs, busiest = [], [], []
        for pair in range(1, pairs + 1):
            alone, cost = bare(receiver, count, *how)
            used = hub.cpu_s()
            with watching(hub.data) as usage:
                whole = durable(hub, receiver, endpoint, count, kind)
            used = (hub.cpu_s() - used) / count
            ratios.append(whole / alone)
            costs.append(used / cost)
            busiest.append(usage)
            rows.tell(
                f"{name} {pair}/{pairs}: bare {alone:,.0f}/s {cost * 1e6:.0f} µs,"
                f" hub {whole:,.0f}/s {used * 1e6:.0f} µs, ratio {ratios[-1]:.2f}"
            )
    middle = sorted(range(pairs), key=lambda index: ratios[index])[pairs // 2]
    limited = busiest[middle].limited_by()
    more = f"; processor time {statistics.median(costs):.1f} times the bare loop's"
    return rows.Row(
        name=name,
        value=statistics.median(ratios),
        unit=f"of the {' '.join((*how, 'bare'))} loop",
        at_least=goal,
        limited_by=limited + more,
        tried=TRIED,
        bound=None if goal is None else BOUND,
    )


def measured(options: rows.Options) -> Sequence[rows.Row]:
    """Three rows."""
    return [
        measure("webhook", "webhooks-ratio", options, goal=GOAL),
        measure("all", "webhooks-all-channels", options),
        measure("webhook", "webhooks-raw-ratio", options, "raw"),
    ]


if __name__ == "__main__":
    rows.alone(measured, __doc__)
