"""The hub on Functions: its triggers as the host indexes and calls them."""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from azure.functions.servicebus import ServiceBusMessage

import function_app
from notifications.bus.topology import CONSUMERS, EVENTS_TOPIC, JOBS_TOPIC
from notifications.functions import NotCompletedError

ROOT = Path(__file__).parent.parent.parent
# The library lets an app be indexed once per process.
INDEXED = {found.get_function_name(): found for found in function_app.app.get_functions()}


@pytest.fixture
async def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """A data folder of the function app's own, and its hub closed at the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUNTAZE_RETRY_NOTIFICATIONS", "200ms")
    yield tmp_path / ".huntaze"
    await function_app.hub.close()


def user_function(name: str) -> Callable[[ServiceBusMessage], Any]:
    return INDEXED[name].get_user_function()


def message(body: bytes, **properties: object) -> ServiceBusMessage:
    """A message as the host hands it over: naive dates, counts from 1."""
    return ServiceBusMessage(
        body=body,
        application_properties=properties,
        user_properties=properties,
        message_id="t1:e1",
        content_type="application/cloudevents+json",
        delivery_count=1,
        sequence_number=7,
        enqueued_time_utc=datetime(2026, 11, 1, 12, 0),  # noqa: DTZ001 - that is how it comes
        trigger_metadata=None,
    )


def event_body() -> bytes:
    event = json.loads((ROOT / "schemas/events/message.received/v1.example.json").read_text())
    return json.dumps({**event, "id": "e1", "tenantid": "t1", "userid": "u1"}).encode()


def rows(data: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(data / "hub.db")) as connection:
        return connection.execute(query).fetchall()


def test_a_trigger_for_each_consumer_is_indexed_with_a_binary_body() -> None:
    """Indexing finds exactly the consumers of both topics, each taking bytes."""
    found = {
        name: json.loads(function.get_function_json())["bindings"][0]
        for name, function in INDEXED.items()
    }
    assert {name: binding["subscriptionName"] for name, binding in found.items()} == {
        "NotifySignalRWorker": "notify-signalr",
        "NotifyEmailWorker": "notify-email",
        "NotifyWebhookWorker": "notify-webhook",
        "MetricsWorker": "metrics",
        "VideoAnalysisWorker": "video-analysis",
        "ChatSuggestionsWorker": "chat-suggestions",
        "ContentSuggestionsWorker": "content-suggestions",
        "ContentAnalysisWorker": "content-analysis",
    }
    for binding in found.values():
        assert binding["type"] == "serviceBusTrigger"
        of_events = binding["subscriptionName"] in CONSUMERS.values()
        assert binding["topicName"] == (EVENTS_TOPIC if of_events else JOBS_TOPIC)
        assert binding["dataType"] == "BINARY"
        assert binding["connection"] == "SERVICEBUS_CONNECTION"


async def test_a_trigger_delivers_an_event_that_another_producer_put_on_the_topic(
    data: Path,
) -> None:
    """A foreign producer's message becomes one row in its user's inbox, however often it comes."""
    notify = user_function("NotifySignalRWorker")
    await notify(message(event_body(), type="message.received", tenantId="t1"))
    await notify(message(event_body(), type="message.received", tenantId="t1"))
    assert rows(data, "SELECT tenant_id, user_id, event_id FROM inbox") == [("t1", "u1", "e1")]
    delivered = rows(data, "SELECT channel, target, state FROM deliveries")
    assert delivered == [("realtime", "u1", "delivered")]


async def test_a_trigger_gives_back_what_nobody_can_read(data: Path) -> None:
    """A body that is no event makes the trigger raise the reason, and leaves nothing behind."""
    with pytest.raises(NotCompletedError, match="not-json"):
        await user_function("NotifyWebhookWorker")(message(b"\xff not an event"))
    assert rows(data, "SELECT count(*) FROM events") == [(0,)]


async def test_metrics_counts_an_event_once(data: Path) -> None:
    """The metrics trigger counts an event once however often its message comes."""
    for _ in range(3):
        await user_function("MetricsWorker")(message(event_body()))
    assert rows(data, "SELECT tenant_id, type, count FROM event_counts") == [
        ("t1", "message.received", 1)
    ]
