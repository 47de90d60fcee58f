"""A hub in this process for tests of the API: real bus, ledger, channels; no server, no sockets."""

import asyncio
import ipaddress
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
from fastapi import FastAPI
from fastapi.routing import APIRoute

from notifications.api import create_app
from notifications.bootstrap import OpenHub, open_local_hub
from notifications.events import Event, read_event
from notifications.owner import own
from notifications.settings import Secrets, Settings
from tests.job_workers import extension
from tests.new_file import new_file
from tests.postgres_server import migrated_database

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

    hub: OpenHub
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


_made: dict[frozenset[tuple[str, ...]], "Promises"] = {}


def on(store: str) -> dict[str, Any]:
    """What to change for a hub whose ledger is on this database."""
    return {"database_url": migrated_database()} if store == "postgresql" else {}


@asynccontextmanager
async def hub_world(data: Path, **changes: Any) -> AsyncIterator[World]:
    """A hub on a data folder; `changes` are to `SETTINGS`. Every answer is held against the
    OpenAPI document."""
    settings = replace(SETTINGS, **changes)
    with own(data) as folder:
        if not folder.database.exists():
            new_file(folder.database)
        beside = extension(data / "schemas")
        async with open_local_hub(settings, SECRETS, folder, extension=beside) as hub:
            app = create_app(hub)
            promises = _promises(app)
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url=BASE_URL,
                event_hooks={"response": [promises.check]},
            ) as http:
                yield World(hub=hub, app=app, http=http)


def _promises(app: FastAPI) -> "Promises":
    """Those of an application, made once for all with the same routes: it takes long."""
    routes = frozenset(
        (route.path, *sorted(route.methods)) for route in app.routes if isinstance(route, APIRoute)
    )
    if routes not in _made:
        _made[routes] = Promises(app.openapi())
    return _made[routes]


class Promises:
    """What an OpenAPI document promises about answers."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        paths = {
            re.compile(re.sub(r"\\{\w+\\}", ".+", re.escape(path))): operations
            for path, operations in document["paths"].items()
        }
        self._paths = sorted(paths.items(), key=lambda each: each[0].pattern.count(".+"))
        self._compiled: dict[int, jsonschema_rs.Validator] = {}

    async def check(self, response: httpx.Response) -> None:
        """An answer of a known operation is one of those it documents, in status and in form."""
        operation = self._operation(response.request)
        if operation is None:
            return
        await response.aread()
        where = f"{response.request.method} {response.request.url.path}: {response.status_code}"
        promised = operation["responses"].get(str(response.status_code))
        assert promised is not None, f"{where} is not documented: {response.text}"
        content = promised.get("content")
        if not content:
            assert response.content in (b"", b"null"), f"{where} has a body"
            return
        media_type = response.headers["content-type"].partition(";")[0]
        assert media_type in content, f"{where}: {media_type} is not documented"
        schema = content[media_type].get("schema")
        if schema and media_type.endswith("json"):
            self._validator(schema).validate(response.json())

    def _validator(self, schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
        found = self._compiled.get(id(schema))  # it is a part of the document, and stays
        if found is None:
            whole = {**schema, "components": self._document["components"]}
            found = self._compiled[id(schema)] = jsonschema_rs.validator_for(whole)
        return found

    def _operation(self, request: httpx.Request) -> Mapping[str, Any] | None:
        fitting = (
            operations[request.method.lower()]
            for path, operations in self._paths
            if path.fullmatch(request.url.path) and request.method.lower() in operations
        )
        return next(fitting, None)


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


async def until(
    condition: Callable[[], Awaitable[Any]],
    what: str,
    *,
    within_s: float = 15.0,
    every_s: float = 0.01,
) -> Any:
    """Wait until a condition gives something true, and give that."""
    give_up = time.monotonic() + within_s
    while not (found := await condition()):
        assert time.monotonic() < give_up, f"waited {within_s} s for {what}"
        await asyncio.sleep(every_s)
    return found
