"""The demo's story: a sample tenant, two users, and what happens to them."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from notifications.cli.board import Board, Expected
from notifications.errors import HuntazeError
from notifications.events import Channel

TENANT = "demo"
RECEIVER = "receiver"

FAILS_ONCE = "job.failed"
"""The event type whose first webhook is refused, so that a retry is seen."""

PATIENCE_S = 10
"""How long the story waits for one thing to land before it goes on."""

_WHAT = {Channel.REALTIME: "toast", Channel.EMAIL: "mail", Channel.WEBHOOK: "webhook"}


@dataclass(frozen=True, slots=True)
class Person:
    """A sample user."""

    id: str
    name: str
    locale: str
    role: str

    @property
    def email(self) -> str:
        """A sample address."""
        return f"{self.id}@{TENANT}.example"

    def document(self) -> dict[str, str]:
        """What the API is told of them."""
        return {"email": self.email, "name": self.name, "locale": self.locale, "role": self.role}


CAMILLE = Person("camille", "Camille Exemple", "fr", "owner")
ALEX = Person("alex", "Alex Sample", "en", "member")

STORY: Sequence[tuple[str, Person | None]] = (
    ("message.received", ALEX),
    ("payment.received", ALEX),
    (FAILS_ONCE, ALEX),
    ("budget.threshold", None),
)
"""What is published, and whom it concerns; what concerns nobody alone goes to the owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A hub, the tenant's way in, and where things land.

    Attributes:
        url: The hub.
        key: The tenant's API key.
        api: A client that shows this key.
        board: Where things land.
        mail: The mail folder.
        video: Where a short video is served.
        run: Makes this run's ids unlike those of the one before on the same data.
    """

    url: str
    key: str
    api: httpx.AsyncClient
    board: Board
    mail: Path
    video: str
    run: str


async def call(
    api: httpx.AsyncClient, method: str, path: str, body: object = None
) -> Mapping[str, Any]:
    """Call the hub, which is to say yes.

    Raises:
        HuntazeError: It says no.
    """
    answer = await api.request(method, path, json=body)
    if not answer.is_success:
        raise HuntazeError(f"{method} {path} answers {answer.status_code}: {answer.text}")
    found: Mapping[str, Any] = answer.json()
    return found


def what_lands(channel: str) -> str:
    """What an event is where a channel brings it."""
    return _WHAT[Channel(channel)]


async def event_types(world: World) -> Mapping[str, Mapping[str, Any]]:
    """The hub's event types, by name."""
    catalogue = await call(world.api, "GET", "/v1/event-types")
    return {each["type"]: each for each in catalogue["items"]}


async def tell(world: World, types: Mapping[str, Mapping[str, Any]]) -> None:
    """Publish the story and wait until it has landed, but for what is retried."""
    for number, (event_type, person) in enumerate(STORY, start=1):
        event = {**types[event_type]["example"], "id": f"demo-{world.run}-{number}"}
        if person is not None:
            event["userid"] = person.id
        if "jobid" in event:
            event["jobid"] = event["subject"] = f"job-{world.run}"
        awaited = [
            Expected(event["id"], what_lands(channel), _who(channel, person))
            for channel in types[event_type]["channels"]
        ]
        world.board.publishing(event["id"], event_type, awaited)
        await call(world.api, "POST", "/v1/events", event)
        if event_type == FAILS_ONCE:  # its retry may land while the story goes on
            awaited = [each for each in awaited if each.what != "webhook"]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await world.board.landed(awaited)


def _who(channel: str, person: Person | None) -> str:
    return RECEIVER if channel == Channel.WEBHOOK else (person or CAMILLE).id


async def toasts_page(world: World, person: Person) -> str:
    """Where somebody's toasts and inbox can be seen in a browser, for an hour."""
    body = {"userId": person.id, "expiresInSeconds": 3600}
    token = (await call(world.api, "POST", "/v1/user-tokens", body))["token"]
    return f"{world.url}/toasts#token={token}&locale={person.locale}"


def how_to_try(world: World, page: str) -> str:
    """Lines to paste into another terminal, and the page of ALEX."""
    bearer = f"-H 'Authorization: Bearer {world.key}'"
    event = {
        "specversion": "1.0",
        "id": "ID",
        "source": "/demo",
        "type": "message.received",
        "userid": ALEX.id,
        "data": {"from": {"name": "You"}, "preview": "Hello from curl"},
    }
    # The id must be new each time, so the shell makes it.
    body = orjson.dumps(event).decode().replace("ID", "try-'$(date +%s)'")
    refused = f"demo-{world.run}-{[name for name, _ in STORY].index(FAILS_ONCE) + 1}"
    return f"""
See the toasts and the inbox of {ALEX.id} in a browser, for an hour:

{page}

Try it yourself, in another terminal:

# publish an event, and see it land here and in the browser
curl -s {world.url}/v1/events {bearer} -H 'Content-Type: application/json' -d '{body}'

# what became of the event whose webhook was refused at first
curl -s {world.url}/v1/events/{refused} {bearer}

# the inbox of {ALEX.id}
curl -s '{world.url}/v1/inbox?userId={ALEX.id}' {bearer}

The jobs in the console: {world.url}/console/jobs?tenant={TENANT}
It asks for the admin key: HUNTAZE_ADMIN_KEY, or the file {world.mail.parent / "admin.key"}

Mails are in {world.mail}. Ctrl-C ends the demo.
"""
