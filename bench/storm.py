"""A retry storm: deliveries that are all due in the same second, as after an outage of receivers.

A hub starts, and a hundred thousand deliveries to ten endpoints are due, which answer again. They
are to go out as fast as webhooks do otherwise, and what is published meanwhile for others is not to
wait behind them. The normal speed is measured before, with the same hub and receiver.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import harness
import rows
import webhooks
from backlogs import Backlog, fill
from usage import watching

STORM = "storm"
ENDPOINTS = 10
RATE = 100
WITHIN_S = 600
LATE_S = 300
GOAL = 1.0


def calm(
    data: Path, stormed: harness.Receiver, others: harness.Receiver, options: rows.Options
) -> tuple[list[str], str, float, float]:
    """The endpoints, the others' one, webhooks a second and the others' p99 without a storm."""
    with harness.running_hub(data=data) as hub:
        endpoints = [hub.endpoint(stormed.url, STORM) for _ in range(ENDPOINTS)]
        other = hub.endpoint(others.url)
        webhooks.durable(hub, others, other, 1_000)
        normal = webhooks.durable(hub, others, other, options.size(10_000, 3_000))
        others.forget()
        p99 = _p99(hub, others, other, seconds=options.size(10, 4))
    others.forget()
    return endpoints, other, normal, p99


def _p99(hub: harness.RunningHub, others: harness.Receiver, other: str, *, seconds: float) -> float:
    target = {"tenant": harness.TENANT, "endpoint": other}
    found = harness.open_loop(hub, "webhook", [target], rate=RATE, seconds=seconds)
    came = others.wait_for_numbers(list(found.due), LATE_S)
    waits = [(came[number] - at) * 1000 for number, at in found.due.items()]
    return rows.percentile(waits, 0.99)


def measured(options: rows.Options) -> Sequence[rows.Row]:
    """How fast the storm is over, and how long others waited meanwhile."""
    count = options.size(100_000, 10_000)
    with (
        tempfile.TemporaryDirectory(prefix="huntaze-bench-") as folder,
        harness.receiver() as stormed,
        harness.receiver() as others,
    ):
        data = Path(folder)
        endpoints, other, normal, before = calm(data, stormed, others, options)
        fill(data, Backlog(tenant=STORM, endpoints=endpoints, first=0, count=count, due_in_s=0))
        rows.tell(f"{count:,} deliveries are due; normally {normal:,.0f}/s, p99 {before:.1f} ms")
        with harness.running_hub(data=data) as hub, watching(data) as usage:
            begun = time.perf_counter()
            during = _p99(hub, others, other, seconds=min(count / normal, 20))
            stormed.wait_for(count, WITHIN_S)
            took = stormed.last() - begun
    rate = count / took
    rows.tell(f"storm over in {took:.1f} s, {rate:,.0f}/s; others' p99 {during:.1f} ms")
    limited_by = usage.limited_by()
    return [
        rows.Row(
            name="retry-storm",
            value=rate / normal,
            unit="of normal webhooks/s",
            at_least=GOAL,
            limited_by=limited_by,
        ),
        rows.Row(
            name="retry-storm-new-p99",
            value=during,
            unit="ms",
            limited_by=f"{before:.1f} ms without a storm; {limited_by}",
        ),
    ]


if __name__ == "__main__":
    rows.alone(measured, __doc__)
