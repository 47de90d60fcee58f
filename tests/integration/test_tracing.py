"""Traces, metrics and logs of a hub at work, as a collector gets them."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from ai_workers.extension import AiWorkers
from notifications.api import create_app
from notifications.bootstrap import open_local_hub
from notifications.owner import own
from notifications.retries import DAY, RetryTable
from notifications.settings import Settings
from notifications.shipped import SCHEMAS
from tests.hub_world import BASE_URL, SECRETS, SETTINGS, bearer, document, until
from tests.new_file import new_file
from tests.otlp_receiver import OtlpReceiver, assert_whole, otlp_receiver, path
from tests.webhook_receivers import Receiver, answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

TENANT = "acme"
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CHANNELS = ("POST", "attempt email", "attempt realtime")
SOON = RetryTable(delays=(50, 50), lifetime=DAY)
OFTEN = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_METRIC_EXPORT_INTERVAL": "200"}
"""OpenTelemetry's own variables: a test waits for what is sent every five and sixty seconds."""


@dataclass(slots=True, kw_only=True)
class World:
    """A hub that is traced.

    Attributes:
        http: Its API, with the tenant's key.
        seen: What the collector got.
        customer: Where the tenant's webhooks arrive.
    """

    http: httpx.AsyncClient
    seen: OtlpReceiver
    customer: Receiver

    async def publish(self, event_id: str, **headers: str) -> None:
        """Publish an event that goes to every channel."""
        event = document(event_id, type="payment.received", data=PAYMENT)
        answered = await self.http.post("/v1/events", json=event, headers=headers)
        assert answered.status_code == 202, answered.text

    async def read(self, event_id: str) -> Mapping[str, Any]:
        """An event and what became of it."""
        found: Mapping[str, Any] = (await self.http.get(f"/v1/events/{event_id}")).json()
        return found

    async def trace_of(self, event_id: str) -> str:
        """The trace that an event's timeline names."""
        return str((await self.read(event_id))["traceId"])


PAYMENT = orjson.loads((SCHEMAS / "events/payment.received/v1.example.json").read_bytes())["data"]


@asynccontextmanager
async def traced_hub(data: Path, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A hub with its API as the admin sees it."""
    with own(data) as folder:
        if settings.database_url is None:
            new_file(folder.database)
        async with open_local_hub(settings, SECRETS, folder, extension=AiWorkers()) as hub:
            transport = httpx.ASGITransport(create_app(hub))
            headers = bearer(SECRETS.admin_keys[0])
            async with httpx.AsyncClient(
                transport=transport, base_url=BASE_URL, headers=headers
            ) as http:
                yield http


async def furnish(http: httpx.AsyncClient, url: str) -> None:
    """A user with an address, and an endpoint for payments; from now on as the tenant."""
    key = await http.post("/v1/api-keys", json={"tenantId": TENANT, "name": "test"})
    http.headers.update(bearer(key.json()["key"]))
    user = {"email": "ada@example.com", "name": "Ada", "locale": "fr", "role": "owner"}
    assert (await http.put("/v1/users/ada", json=user)).status_code < 300
    endpoint = {"url": url, "eventTypes": ["payment.received", "job.succeeded"]}
    assert (await http.post("/v1/webhook-endpoints", json=endpoint)).status_code == 201


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub for all tests; each publishes under ids of its own."""
    customer = Receiver([answer(200)])
    with otlp_receiver() as seen, pytest.MonkeyPatch.context() as environment:
        for name, value in OFTEN.items():
            environment.setenv(name, value)
        settings = replace(SETTINGS, otlp_endpoint=seen.url, retry_notifications=SOON)
        async with customer, traced_hub(tmp_path_factory.mktemp("hub"), settings) as http:
            await furnish(http, customer.url())
            yield World(http=http, seen=seen, customer=customer)


async def test_an_event_is_one_trace_from_publish_to_each_attempt(world: World) -> None:
    """Published by itself, an event begins a trace: publish, each subscription, each attempt."""
    await world.publish("one")
    trace_id = await world.trace_of("one")
    spans = await world.seen.trace(trace_id, until=CHANNELS)

    root = assert_whole(spans)
    assert (root.name, root.kind) == ("send huntaze-events", "PRODUCER")
    for name in CHANNELS:
        (leaf,) = [span for span in spans if span.name == name]
        assert path(spans, leaf) == ["send huntaze-events", "process huntaze-events", name]
    taken = {span.subscription for span in spans if span.kind == "CONSUMER"}
    assert taken == {"notify-signalr", "notify-email", "notify-webhook", "metrics"}
