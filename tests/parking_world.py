"""A heart with the real webhook channel over the real directory, and a customer that obeys."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from notifications.channels.webhooks.channel import WebhookChannel
from notifications.database import Database
from notifications.deliveries import Delivered, Failed, Outcome
from notifications.directory import Endpoint, EndpointState, SigningSecret
from notifications.events import Channel
from notifications.ports import ChannelAdapter
from notifications.stores.directory import SqlDirectory
from notifications.testing import ManualClock, SeededDice
from notifications.vault import Vault
from tests.heart_world import HeartWorld, heart_world

REFUSED = Failed(reason="http-500", status=500)
GONE = Failed(reason="gone", retryable=False, status=410)
ENDPOINT = Endpoint(
    tenant_id="acme",
    id="ep_1",
    url="https://customer.example/hook",
    secrets=(SigningSecret(key=bytes(32), private_key=bytes(range(32))),),
)


@dataclass(slots=True)
class RecordingSender:
    """Keeps what is posted and answers what it is told.

    Attributes:
        answer: What it returns, or what is raised.
        answers: The same for one URL.
        script: What the next posts return.
        posts: The headers of every post.
    """

    answer: Outcome | Exception = field(default_factory=lambda: Delivered(status=200))
    answers: dict[str, Outcome] = field(default_factory=dict)
    script: list[Outcome] = field(default_factory=list)
    posts: list[Mapping[str, str]] = field(default_factory=list)
    _held: asyncio.Event | None = None

    async def post(
        self, endpoint_url: str, headers: Mapping[str, str], body: bytes, *, owner: str = ""
    ) -> Outcome:
        self.posts.append(headers)
        if self._held is not None:
            await self._held.wait()
        if self.script:
            return self.script.pop(0)
        answer = self.answers.get(endpoint_url, self.answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hold(self) -> asyncio.Event:
        """Posts hang until the event is set."""
        self._held = asyncio.Event()
        return self._held


@dataclass(slots=True)
class Parking:
    """A heart with the real webhook channel over the real directory."""

    heart: HeartWorld
    directory: SqlDirectory
    sender: RecordingSender

    async def set(self, state: EndpointState, **changes: Any) -> None:
        """Change the endpoint."""
        await self.directory.save_endpoint(replace(ENDPOINT, state=state, **changes))

    def delivery(self) -> tuple[Any, ...]:
        """State, reason, round and attempt of the delivery."""
        (row,) = self.heart.rows("SELECT state, reason, round, attempt FROM deliveries")
        return row


@asynccontextmanager
async def parking_world(folder: Path, **options: Any) -> AsyncIterator[Parking]:
    """An active endpoint; `options` are the heart's."""
    made: dict[str, Any] = {"sender": RecordingSender()}

    def adapters(database: Database, clock: ManualClock) -> Mapping[Channel, ChannelAdapter]:
        made["directory"] = SqlDirectory(database, Vault((bytes(32),), SeededDice()), clock)
        return {Channel.WEBHOOK: WebhookChannel(made["directory"], made["sender"], clock)}

    async with heart_world(folder, adapters=adapters, **options) as heart:
        heart.listeners.append(made["directory"].forget)
        if not await made["directory"].endpoints("acme"):
            await made["directory"].save_endpoint(ENDPOINT)
        yield Parking(heart, made["directory"], made["sender"])
