"""What a hub costs when nothing happens: its processor time and how often it wakes up.

It has a tenant with an endpoint, and a client is connected, which gets nothing.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import harness
import rows

GOAL = 0.5
BOUND = 1.0
SETTLE_S = 5.0


def wakes(pid: int) -> int:
    """How often its threads were woken, all together, since it began."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def measured(options: rows.Options) -> Sequence[rows.Row]:
    """Percent of a core, and wake-ups a second."""
    seconds = options.size(30, 10)
    with harness.receiver() as receiver, harness.running_hub() as hub:
        hub.endpoint(receiver.url)
        url = hub.post("/v1/realtime/negotiate?userId=u1", None).raise_for_status().json()["url"]
        with harness.clients([url]):
            time.sleep(SETTLE_S)
            used, woken = hub.cpu_s(), wakes(hub.pid)
            time.sleep(seconds)
            used, woken = hub.cpu_s() - used, wakes(hub.pid) - woken
    share, often = used / seconds * 100, woken / seconds
    rows.tell(f"idle: {share:.2f} % of a core, {often:.1f} wake-ups/s")
    each = used / max(woken, 1) * 1e6
    return [
        rows.Row(
            name="idle-cpu",
            value=share,
            unit="% of a core",
            at_most=GOAL,
            bound=BOUND,
            limited_by=f"{often:.1f} wake-ups/s of {each:.0f} µs each",
        ),
        rows.Row(name="idle-wakeups", value=often, unit="a second", limited_by="the hub's timers"),
    ]


if __name__ == "__main__":
    rows.alone(measured, __doc__)
