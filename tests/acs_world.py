"""The hub's own endpoint for mails under a real server, and mailers that hand mails to it."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from notifications.azure_resource import AzureResource
from notifications.channels.email.acs import AcsMailer
from notifications.channels.email.mailers import service_routes
from notifications.mailing import MailLimits
from notifications.ports import Clock
from notifications.settings import Settings
from notifications.sqlite_file import SqliteDatabase
from notifications.stores.mailing import SqlMailBudget
from notifications.timing import SystemClock, SystemDice
from tests.mail_servers import SENDER, eventually
from tests.new_file import new_file

SECRET = "a-user-token-secret-for-tests-only-0001"
KEY = base64.b64encode(SECRET.encode()).decode()
WIDE = MailLimits(per_minute=10_000, per_hour=10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcsEndpoint:
    """An endpoint, and where its mails land."""

    url: str
    folder: Path

    @property
    def resource(self) -> AzureResource:
        """How it is reached with its key."""
        return AzureResource(endpoint=self.url, key=KEY)

    def mails(self) -> list[bytes]:
        """Those that arrived."""
        return [each.read_bytes() for each in sorted(self.folder.glob("*.eml"))]


@contextlib.asynccontextmanager
async def acs_endpoint(folder: Path, *, sender: str = SENDER) -> AsyncIterator[AcsEndpoint]:
    """The endpoint on a free port of this machine."""
    routes = service_routes(
        Settings(email_from=sender), folder, [SECRET], SystemClock(), SystemDice()
    )
    app = Starlette(
        routes=[Route(path, each, methods=["GET", "POST"]) for path, each in routes.items()]
    )
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, lifespan="off", log_config=None, timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield AcsEndpoint(url=f"http://127.0.0.1:{port}", folder=folder)
    finally:
        server.should_exit = True
        await running


@contextlib.asynccontextmanager
async def budget(
    folder: Path, limits: MailLimits = WIDE, clock: Clock | None = None
) -> AsyncIterator[SqlMailBudget]:
    """An account's budget, in a database of its own."""
    path = folder / "hub.db"
    new_file(path)
    database = SqliteDatabase(path, clock or SystemClock())
    database.start()
    try:
        yield SqlMailBudget(database, limits)
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def acs_mailer(
    resource: AzureResource,
    folder: Path,
    limits: MailLimits = WIDE,
    clock: Clock | None = None,
    **options: Any,
) -> AsyncIterator[AcsMailer]:
    """A mailer that hands mails to that resource."""
    clock = clock or SystemClock()
    async with (
        budget(folder, limits, clock) as account,
        AcsMailer(resource, SENDER, clock, account, limits, **options) as mailer,
    ):
        yield mailer
