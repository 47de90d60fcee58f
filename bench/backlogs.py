"""Fills a stopped hub's data folder with deliveries that wait, through the hub's own store code.

Publishing a million events to an endpoint that hangs would take longer than all other benches
together. So events are accepted, counted and given a delivery by `SqlLedger`, as the hub's own
consumers do it, in large commits. Each delivery has failed once and waits for its second attempt.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # these files, not those installed

from notifications.deliveries import Attempt, Delivery, Failed, webhook_lane
from notifications.events import Channel, Event, read_event
from notifications.owner import own
from notifications.records import Record, Result
from notifications.settings import Settings
from notifications.storage import Storage, open_storage
from notifications.timing import SystemDice

_AT_ONCE = 500
_DAY_MS = 86_400_000
_FAILED = Failed(reason="connection-refused", detail="nobody answered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What is to wait.

    Attributes:
        tenant: Whose.
        endpoints: Whom it waits for, in turn.
        first: The number of the first event: `n<number>` is its message.
        count: How many.
        due_in_s: When all of it is due, from when the first is written.
    """

    tenant: str
    endpoints: Sequence[str]
    first: int
    count: int
    due_in_s: float


def fill(data: Path, backlog: Backlog) -> None:
    """Write it into the folder of a hub that is stopped."""
    asyncio.run(_fill(data, backlog))


async def _fill(data: Path, backlog: Backlog) -> None:
    with own(data) as folder:
        async with open_storage(Settings(), folder, SystemDice(), {}) as storage:
            due_at = storage.clock.now() + int(backlog.due_in_s * 1000)
            end = backlog.first + backlog.count
            for first in range(backlog.first, end, _AT_ONCE):
                numbers = range(first, min(first + _AT_ONCE, end))
                await _write(storage, backlog, numbers, due_at)
            lanes = [webhook_lane(backlog.tenant, each) for each in backlog.endpoints]
            await storage.ledger.record(Record(wakes=dict.fromkeys(lanes, due_at)))


async def _write(storage: Storage, backlog: Backlog, numbers: range, due_at: int) -> None:
    ledger, now = storage.ledger, storage.clock.now()
    targets = [backlog.endpoints[number % len(backlog.endpoints)] for number in numbers]
    events = [
        _event(backlog.tenant, number, target)
        for number, target in zip(numbers, targets, strict=True)
    ]
    channels = [frozenset({Channel.WEBHOOK})] * len(events)
    accepted = await ledger.accept(events, channels, send=False)
    await ledger.count([each.key for each in accepted], ())
    results = [
        Result(
            before=None,
            after=Delivery(
                tenant_id=backlog.tenant,
                id=each.key + 1,
                event_key=each.key,
                channel=Channel.WEBHOOK,
                target=target,
                attempt=1,
                due_at=due_at,
                deadline=now + _DAY_MS,
                created_at=now,
            ),
            attempt=Attempt(round=1, number=1, at=now, duration_ms=1, outcome=_FAILED),
        )
        for each, target in zip(accepted, targets, strict=True)
    ]
    await ledger.record(Record(results=results))


def _event(tenant: str, number: int, target: str) -> Event:
    document = {
        "specversion": "1.0",
        "id": f"backlog-{number}",
        "source": "/bench",
        "type": "webhook.test",
        "data": {
            "endpointId": target,
            "message": f"n{number}",
            "metadata": {"text": "m" * 400},
        },
    }
    return read_event(document, tenant_id=tenant, now=datetime.now(UTC))
