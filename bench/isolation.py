"""What a tenant whose endpoint hangs costs the others: publish to first attempt, in pairs.

A hundred tenants publish in turn, 300 events a second in all, each to its own endpoint. The
endpoint of one of them either answers as the others do, or lets every request wait for 30 s. The
99th percentile of the others, from when an event was due to its POST, is compared. The two take
turns, so that a noisy machine disturbs both. A new hub each time: its lanes know nothing.
"""

import statistics
from collections.abc import Sequence

import harness
import rows
from usage import Usage, watching

TENANTS = 100
RATE = 300
HANGS_S = "30"
GOAL_RATIO = 1.10
BOUND_RATIO = 1.25
GOAL_MS = 5.0
WARM_S = 2.0
LATE_S = 300


def run(*, hangs: bool, seconds: float) -> tuple[list[float], Usage]:
    """One side of a pair: the others' milliseconds from due to POST."""
    with (
        harness.receiver() as swift,
        harness.receiver(*(("--after", HANGS_S) if hangs else ())) as other,
        harness.running_hub() as hub,
    ):
        names = [f"t{number}" for number in range(TENANTS)]
        targets = [
            {
                "tenant": name,
                "endpoint": hub.endpoint(swift.url if name != "t0" else other.url, name),
            }
            for name in names
        ]
        with watching(hub.data) as usage:
            found = harness.open_loop(hub, "webhook", targets, rate=RATE, seconds=WARM_S + seconds)
        due = {
            number: at
            for number, at in found.due.items()
            if number % TENANTS and number >= RATE * WARM_S
        }
        came = swift.wait_for_numbers(list(due), LATE_S)
    return [(came[number] - at) * 1000 for number, at in due.items()], usage


def measured(options: rows.Options) -> Sequence[rows.Row]:
    """The ratio, and what it is in milliseconds."""
    pairs, seconds = options.size(5, 1), options.size(15, 4)
    ratios, more, usages = [], [], []
    for pair in range(1, pairs + 1):
        # Each is first as often as the other.
        order = (False, True) if pair % 2 else (True, False)
        found = {hangs: run(hangs=hangs, seconds=seconds) for hangs in order}
        calm, disturbed = (rows.percentile(found[hangs][0], 0.99) for hangs in (False, True))
        ratios.append(disturbed / calm)
        more.append(disturbed - calm)
        usages.append(found[True][1])
        rows.tell(
            f"isolation {pair}/{pairs}: p99 {calm:.1f} ms, beside one that hangs {disturbed:.1f}"
        )
    middle = sorted(range(pairs), key=lambda index: ratios[index])[pairs // 2]
    limited_by = usages[middle].limited_by()
    return [
        rows.Row(
            name="isolation-p99-ratio",
            value=statistics.median(ratios),
            unit="times",
            at_most=GOAL_RATIO,
            bound=BOUND_RATIO,
            limited_by=limited_by,
        ),
        rows.Row(
            name="isolation-p99-added",
            value=statistics.median(more),
            unit="ms",
            at_most=GOAL_MS,
            bound=GOAL_MS,
            limited_by=limited_by,
        ),
    ]


if __name__ == "__main__":
    rows.alone(measured, __doc__)
