"""A hub in this process whose traces are taken, with somebody on every channel."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson

from ai_workers.extension import AiWorkers
from notifications.api import create_app
from notifications.bootstrap import OpenHub, open_local_hub
from notifications.owner import own
from notifications.settings import Settings
from notifications.shipped import SCHEMAS
from tests.hub_world import BASE_URL, SECRETS, bearer
from tests.new_file import new_file

TENANT = "acme"
CHANNELS = ("POST", "attempt email", "attempt realtime")
"""The spans of an event's first attempts."""

PAYMENT = orjson.loads((SCHEMAS / "events/payment.received/v1.example.json").read_bytes())["data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A hub whose traces are taken.

    Attributes:
        hub: Its parts.
        http: Its API, with the admin's key until it is furnished.
    """

    hub: OpenHub
    http: httpx.AsyncClient


@asynccontextmanager
async def traced_hub(data: Path, settings: Settings) -> AsyncIterator[Traced]:
    """A hub at work."""
    with own(data) as folder:
        if settings.database_url is None:
            new_file(folder.database)
        async with open_local_hub(settings, SECRETS, folder, extension=AiWorkers()) as hub:
            transport = httpx.ASGITransport(create_app(hub))
            headers = bearer(SECRETS.admin_keys[0])
            async with httpx.AsyncClient(
                transport=transport, base_url=BASE_URL, headers=headers
            ) as http:
                yield Traced(hub=hub, http=http)


async def furnish(http: httpx.AsyncClient, url: str) -> None:
    """A user with an address, and an endpoint for payments; from now on as the tenant."""
    key = await http.post("/v1/api-keys", json={"tenantId": TENANT, "name": "test"})
    http.headers.update(bearer(key.json()["key"]))
    user = {"email": "ada@example.com", "name": "Ada", "locale": "fr", "role": "owner"}
    assert (await http.put("/v1/users/ada", json=user)).status_code < 300
    endpoint = {"url": url, "eventTypes": ["payment.received", "job.succeeded"]}
    assert (await http.post("/v1/webhook-endpoints", json=endpoint)).status_code == 201
