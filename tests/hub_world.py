"""A hub in this process for tests of the API: real bus, ledger, channels; no server, no sockets."""

import ipaddress
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from notifications.api import create_app
from notifications.bootstrap import LocalHub, open_local_hub
from notifications.events import Event, read_event
from notifications.owner import own
from notifications.settings import Secrets, Settings

ADMIN_KEY = "an-admin-key-that-opens-everything-0001"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
SECRETS = Secrets(
    admin_keys=(ADMIN_KEY,),
    encryption_keys=(bytes(range(32)),),
    user_token_secrets=("a-user-token-secret-for-tests-only-0001",),
)
SETTINGS = Settings(webhook_allowed_networks=LOOPBACK, webhook_timeout=2.0)
BASE_URL = "http://hub.test"


@dataclass(slots=True)
class World:
    """A hub at work and a client of its API.

    Attributes:
        hub: Its parts.
        app: Its API.
        http: Calls it, as nobody unless headers are given.
        keys: Each tenant's key, made when it is first asked for.
    """

    hub: LocalHub
    app: FastAPI
    http: httpx.AsyncClient
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def admin(self) -> Mapping[str, str]:
        """The admin's headers."""
        return bearer(ADMIN_KEY)

    async def tenant(self, tenant_id: str) -> Mapping[str, str]:
        """A tenant's headers."""
        if tenant_id not in self.keys:
            made = await self.http.post(
                "/v1/api-keys", json={"tenantId": tenant_id, "name": "test"}, headers=self.admin
            )
            assert made.status_code == 201, made.text
            self.keys[tenant_id] = made.json()["key"]
        return bearer(self.keys[tenant_id])

    async def user(self, tenant_id: str, user_id: str) -> Mapping[str, str]:
        """A user's headers, with a token."""
        made = await self.http.post(
            "/v1/user-tokens", json={"userId": user_id}, headers=await self.tenant(tenant_id)
        )
        assert made.status_code == 200, made.text
        return bearer(made.json()["token"])


def bearer(key: str) -> dict[str, str]:
    """Headers that show a key or token."""
    return {"authorization": f"Bearer {key}"}


@asynccontextmanager
async def hub_world(data: Path, **changes: Any) -> AsyncIterator[World]:
    """A hub on a data folder; `changes` are to `SETTINGS`."""
    settings = replace(SETTINGS, **changes)
    with own(data) as folder:
        async with open_local_hub(settings, SECRETS, folder) as hub:
            app = create_app(hub)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as http:
                yield World(hub=hub, app=app, http=http)


def document(event_id: str = "event-1", **changes: Any) -> dict[str, Any]:
    """A sample event as it is sent; None takes a field away."""
    sample = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/messages",
        "type": "message.received",
        "tenantid": "acme",
        "userid": "ada",
        "data": {"from": {"name": "Zoé"}, "preview": "Bonjour !"},
        **changes,
    }
    return {name: value for name, value in sample.items() if value is not None}


def event(event_id: str = "event-1", **changes: Any) -> Event:
    """The same, read."""
    return read_event(document(event_id, **changes), tenant_id=None, now=datetime.now(UTC))
