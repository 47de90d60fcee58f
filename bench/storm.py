"""A retry storm: deliveries that are all due in the same second, as after an outage of receivers.

A hub starts, and a hundred thousand deliveries to ten endpoints are due, which answer again; then
thirty thousand to a thousand. They are to go out as fast as webhooks do otherwise, and what is
published meanwhile for others is not to wait behind them. The normal speed is measured before, with
the same hub and receiver; it has accepting and routing in it, which a retry has behind it, and no
claim, which a retry has.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import harness
import rows
import webhooks
from backlogs import Backlog, fill
from usage import watching

STORM = "storm"
ENDPOINTS = 10
LANES = 1_000
RATE = 100
WITHIN_S = 600
LATE_S = 300
GOAL = 1.0
GOAL_MS = 100.0
TRIED = "turns, drains apart from events, fewer claims at once (docs/decisions/0035)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """How one went.

    Attributes:
        ratio: Deliveries a second, as a share of normal webhooks a second.
        before: The others' p99 without it, ms.
        during: The others' p99 beside it, ms.
        limited_by: What kept it from being faster.
    """

    ratio: float
    before: float
    during: float
    limited_by: str


def calm(
    data: Path,
    stormed: harness.Receiver,
    others: harness.Receiver,
    options: rows.Options,
    lanes: int,
) -> tuple[list[str], str, float, float]:
    """The endpoints, the others' one, webhooks a second and the others' p99 without a storm."""
    with harness.running_hub(data=data) as hub:
        endpoints = [hub.endpoint(stormed.url, STORM) for _ in range(lanes)]
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
    """How fast a storm is over and how long others waited: in few lanes, and in many."""
    few = storm(options, ENDPOINTS, options.size(100_000, 10_000))
    many = storm(options, LANES, options.size(30_000, 5_000))
    return [*_rows("retry-storm", few), *_rows("retry-storm-lanes", many)]


def storm(options: rows.Options, lanes: int, count: int) -> Storm:
    """So many deliveries, due at once in so many lanes."""
    with (
        tempfile.TemporaryDirectory(prefix="huntaze-bench-") as folder,
        harness.receiver() as stormed,
        harness.receiver() as others,
    ):
        data = Path(folder)
        endpoints, other, normal, before = calm(data, stormed, others, options, lanes)
        fill(data, Backlog(tenant=STORM, endpoints=endpoints, first=0, count=count, due_in_s=0))
        rows.tell(
            f"{count:,} deliveries in {lanes:,} lanes are due;"
            f" normally {normal:,.0f}/s, p99 {before:.1f} ms"
        )
        with harness.running_hub(data=data) as hub, watching(data) as usage:
            begun = time.perf_counter()
            during = _p99(hub, others, other, seconds=min(count / normal, 20))
            stormed.wait_for(count, WITHIN_S)
            took = stormed.last() - begun
    rate = count / took
    rows.tell(f"storm over in {took:.1f} s, {rate:,.0f}/s; others' p99 {during:.1f} ms")
    return Storm(ratio=rate / normal, before=before, during=during, limited_by=usage.limited_by())


def _rows(name: str, found: Storm) -> Sequence[rows.Row]:
    return [
        rows.Row(
            name=name,
            value=found.ratio,
            unit="of normal webhooks/s",
            at_least=GOAL,
            limited_by=found.limited_by,
            tried=TRIED,
        ),
        rows.Row(
            name=f"{name}-new-p99",
            value=found.during,
            unit="ms",
            at_most=GOAL_MS,
            limited_by=f"{found.before:.1f} ms without a storm; {found.limited_by}",
            tried=TRIED,
        ),
    ]


if __name__ == "__main__":
    rows.alone(measured, __doc__)
