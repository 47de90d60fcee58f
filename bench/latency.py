"""Publish to toast and publish to webhook, at 100 and at 1,000 events a second.

A toast is there when its frame comes to a connected client, a webhook when its POST comes to the
receiver. Single publishes in an open loop, in a process of its own: latency counts from when an
event was due. How a toast gets from the frame into a page is `toasts.py`'s.
"""

from collections.abc import Mapping, Sequence

import harness
import rows
from usage import Usage, watching

GOALS = {("0.5", 100): 5.0, ("0.99", 100): 20.0}
SHARES = {"p50": "0.5", "p99": "0.99", "p99.9": "0.999"}
RATES = (100, 1_000)
WARM_S = 2.0
LATE_S = 300.0
USER = "u1"


def toasts(hub: harness.RunningHub, rate: int, seconds: float) -> list[float]:
    """Milliseconds from due to frame."""
    negotiated = hub.post(f"/v1/realtime/negotiate?userId={USER}", None)
    target = {"tenant": harness.TENANT, "user": USER}
    found = harness.open_loop(
        hub,
        "toast",
        [target],
        rate=rate,
        seconds=WARM_S + seconds,
        socket=negotiated.raise_for_status().json()["url"],
    )
    return _latencies(found.due, found.seen, rate)


def webhooks(
    hub: harness.RunningHub, receiver: harness.Receiver, rate: int, seconds: float
) -> list[float]:
    """Milliseconds from due to POST."""
    target = {"tenant": harness.TENANT, "endpoint": hub.endpoint(receiver.url)}
    receiver.forget()
    found = harness.open_loop(hub, "webhook", [target], rate=rate, seconds=WARM_S + seconds)
    came = receiver.wait_for_numbers(list(found.due), LATE_S)
    return _latencies(found.due, came, rate)


def _latencies(due: Mapping[int, float], came: Mapping[int, float], rate: int) -> list[float]:
    warm = rate * WARM_S
    return [(came[number] - at) * 1000 for number, at in due.items() if number >= warm]


def _rows(kind: str, rate: int, found: Sequence[float], usage: Usage) -> list[rows.Row]:
    made = [
        rows.Row(
            name=f"{kind}-{name}-{rate}",
            value=rows.percentile(found, float(share)),
            unit="ms",
            at_most=GOALS.get((share, rate)),
            limited_by=usage.limited_by(),
        )
        for name, share in SHARES.items()
    ]
    shown = ", ".join(f"{row.value or 0:.1f}" for row in made)
    rows.tell(f"{kind} at {rate}/s: p50, p99, p99.9 {shown} ms")
    return made


def measured(options: rows.Options) -> Sequence[rows.Row]:
    """Twelve rows."""
    seconds = options.size(20, 4)
    found: list[rows.Row] = []
    with harness.receiver() as receiver:
        for rate in RATES:
            with harness.running_hub() as hub:
                with watching(hub.data) as usage:
                    came = toasts(hub, rate, seconds)
                found += _rows("toast", rate, came, usage)
                with watching(hub.data) as usage:
                    came = webhooks(hub, receiver, rate, seconds)
                found += _rows("webhook", rate, came, usage)
    return sorted(found, key=lambda row: row.name.partition("-")[0])


if __name__ == "__main__":
    rows.alone(measured, __doc__)
