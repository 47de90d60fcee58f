"""A database that goes away under a function app at work (design 6.5)."""

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from notifications.bus.topology import EVENTS_TOPIC
from notifications.messages import Message
from tests.functions_world import Azure, azure
from tests.hub_world import document, until
from tests.webhook_receivers import Receiver, answer

AWAY_S = float(os.environ.get("OUTAGE_S", "5"))
"""How long it is away; `make soak` has it away for a minute."""

EACH_SECOND = 20
AROUND_S = 1.0
SWEPT_S = 10.0
ALL_ARRIVE_WITHIN_S = 120.0 + 2 * AWAY_S
CHANNELS = ("realtime", "webhook")
STATES = "SELECT channel, state, count(*)::int FROM deliveries GROUP BY 1, 2 ORDER BY 1"


async def publish(app: Azure, first: int, seconds: float) -> int:
    """Have events come for a while, evenly, as another producer puts them on the bus; the number
    of the next one."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    count = int(seconds * EACH_SECOND)
    for number in range(count):
        body = json.dumps(document(f"event-{first + number}")).encode()
        await app.bus.publish(
            EVENTS_TOPIC, [Message(id=f"acme:event-{first + number}", body=body, properties={})]
        )
        await asyncio.sleep(max(began + (number + 1) / EACH_SECOND - loop.time(), 0))
    return first + count


@pytest.mark.long
async def test_an_outage_loses_and_multiplies_nothing(tmp_path: Path) -> None:
    """With the database gone under 20 events a second, functions wait, and what they cannot wait
    for goes back on the bus: afterwards each event is in the inbox, was posted and was counted
    once, no function failed and nothing is dead."""
    async with (
        azure(tmp_path) as app,
        Receiver([answer(200)]) as receiver,
        app.host().at_work(sweep_every_s=SWEPT_S) as host,
    ):
        endpoint = {"tenantId": "acme", "url": receiver.url()}
        await app.json("POST", "/v1/webhook-endpoints", json=endpoint, headers=app.admin)
        began = await publish(app, 0, AROUND_S)
        app.line.cut()
        during = await publish(app, began, AWAY_S)
        arrived = len(receiver.requests)
        await app.line.mend()
        count = await publish(app, during, AROUND_S)

        async def all_there() -> bool:
            return await rows(app, STATES) == [
                (channel, "delivered", count) for channel in CHANNELS
            ]

        async def all_counted() -> bool:
            return await rows(app, "SELECT sum(count)::int FROM event_counts") == [(count,)]

        for each in (all_there, all_counted):
            await until(each, each.__name__, within_s=ALL_ARRIVE_WITHIN_S, every_s=0.25)
        inbox = await rows(app, "SELECT count(*)::int FROM inbox")
        posts = Counter(each.headers["webhook-id"] for each in receiver.requests)
        dead = await app.json("GET", "/v1/dead-letters", headers=app.admin)

    assert arrived < during
    assert inbox == [(count,)]
    assert (len(posts), set(posts.values())) == (count, {1})
    assert host.failures == []
    assert dead["items"] == []
    assert set(host.calls) >= {"NotifySignalRWorker", "NotifyWebhookWorker", "MetricsWorker"}


async def rows(app: Azure, query: str) -> list[tuple[Any, ...]]:
    """What the database says."""
    url = app.variables["HUNTAZE_DATABASE_URL"]
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return await (await connection.execute(query.encode())).fetchall()
