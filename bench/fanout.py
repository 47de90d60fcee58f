"""One event to a thousand connected sockets, and one to a hundred endpoints: until the last has it.

From the request that publishes it to the last frame, or POST. The sockets are 25 each of 40 owners
of a tenant, whom an event without a user is for.
"""

import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import harness
import rows
from usage import watching

OWNERS, SOCKETS_EACH = 40, 25
ENDPOINTS = 100
PAUSE_S = 0.2
WITHIN_S = 60


@contextmanager
def connected(hub: harness.RunningHub, owners: int) -> Iterator["subprocess.Popen[str]"]:
    """Connected clients, in a process of their own."""
    urls = []
    for number in range(owners):
        user = {"tenantId": harness.TENANT, "email": f"o{number}@example.com", "name": "Sample"}
        hub.as_admin("PUT", f"/v1/users/o{number}", {**user, "role": "owner"})
        for _ in range(SOCKETS_EACH):
            answer = hub.post(f"/v1/realtime/negotiate?userId=o{number}", None)
            urls.append(answer.raise_for_status().json()["url"])
    with harness.clients(urls) as process:
        yield process


def sockets(options: rows.Options) -> rows.Row:
    """Milliseconds until the last of a thousand frames, the median of events."""
    owners, events = options.size(OWNERS, 8), options.size(30, 5)
    found = []
    with harness.running_hub() as hub, connected(hub, owners) as process:
        assert process.stdout
        with watching(hub.data) as usage:
            for number in range(events):
                begun = time.perf_counter()
                _publish(hub, f"s{number}", {"from": {"name": "Sample"}}, "message.received")
                found.append((float(process.stdout.readline()) - begun) * 1000)
                time.sleep(PAUSE_S)
    return _row("fanout-sockets", f"ms to {owners * SOCKETS_EACH:,}", found, usage.limited_by())


def endpoints(options: rows.Options) -> rows.Row:
    """Milliseconds until the last of a hundred POSTs, the median of events."""
    events = options.size(30, 5)
    found = []
    with harness.receiver() as receiver, harness.running_hub() as hub:
        for _ in range(ENDPOINTS):
            hub.endpoint(receiver.url, types=["message.received"])
        with watching(hub.data) as usage:
            for number in range(events):
                receiver.forget()
                begun = time.perf_counter()
                _publish(hub, f"e{number}", {"from": {"name": "Sample"}}, "message.received")
                receiver.wait_for(ENDPOINTS, WITHIN_S)
                found.append((receiver.last() - begun) * 1000)
                time.sleep(PAUSE_S)
    return _row("fanout-endpoints", f"ms to {ENDPOINTS}", found, usage.limited_by())


def _publish(hub: harness.RunningHub, name: str, data: object, event_type: str) -> None:
    event = {"specversion": "1.0", "id": name, "source": "/bench", "type": event_type}
    hub.post("/v1/events", {**event, "data": data}).raise_for_status()


def _row(name: str, unit: str, found: Sequence[float], limited_by: str) -> rows.Row:
    median = statistics.median(found)
    rows.tell(f"{name}: median {median:.1f}, worst {max(found):.1f} ms")
    return rows.Row(name=name, value=median, unit=unit, limited_by=limited_by)


def measured(options: rows.Options) -> Sequence[rows.Row]:
    """Both rows."""
    return [sockets(options), endpoints(options)]


if __name__ == "__main__":
    rows.alone(measured, __doc__)
