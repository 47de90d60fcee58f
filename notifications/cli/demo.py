"""`huntaze demo`: a hub, a sample tenant, and everything that lands, as it lands."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import click
import httpx
import orjson
from click.core import ParameterSource

from notifications.cli.access import read_settings
from notifications.cli.board import Board, Expected
from notifications.cli.complaints import Complaint
from notifications.cli.demo_targets import RECEIVER, Receiver, browser, mailboxes
from notifications.cli.logs import set_up_logging
from notifications.cli.looks import terminal
from notifications.cli.serving import (
    Place,
    ServedHub,
    run,
    serve_local_hub,
    stop_signals,
    until_stopped,
)
from notifications.cli.up import PORT
from notifications.errors import HuntazeError
from notifications.events import Channel
from notifications.owner import DataFolder, own
from notifications.retries import DAY, SECOND, RetryTable
from notifications.settings import Settings, load_or_create_secrets

ENOUGH_S = 80
"""When `--once` gives up; leaves time to stop within 90 s."""

_HOST = "127.0.0.1"
_TENANT = "demo"
_FAILS_ONCE = "job.failed"
_RETRIES = RetryTable(delays=(1 * SECOND,) * 3 + (5 * SECOND,) * 7, lifetime=DAY)
_TOAST_S = 10
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
        return f"{self.id}@{_TENANT}.example"

    def document(self) -> dict[str, str]:
        """What the API is told of them."""
        return {
            "email": self.email,
            "name": self.name,
            "locale": self.locale,
            "role": self.role,
        }


CAMILLE = Person("camille", "Camille Exemple", "fr", "owner")
ALEX = Person("alex", "Alex Sample", "en", "member")

STORY: Sequence[tuple[str, Person | None]] = (
    ("job.queued", CAMILLE),
    ("job.started", CAMILLE),
    ("job.progress", CAMILLE),
    ("job.succeeded", CAMILLE),
    ("message.received", ALEX),
    ("payment.received", ALEX),
    ("job.failed", ALEX),
    ("budget.threshold", None),
)
"""What is published, and to whom; what concerns nobody alone goes to the tenant's owner."""


@click.command()
@click.option("--once", is_flag=True, help="End when all has landed: 0 if it did, 1 if not.")
@click.option(
    "--port", type=PORT, default=8080, show_default=True, help="The hub's port; 0 takes a free one."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data here.  [default: a temporary folder]",
)
@click.pass_context
def demo(context: click.Context, once: bool, port: int, data: Path | None) -> None:
    """See it work: a hub with a sample tenant, two users and a verifying webhook receiver.

    Publishes sample events and prints each toast, mail and webhook as it lands, with the time
    since the request that published it began. Then stays up, so that you can try it yourself.
    """
    settings = _settings(read_settings(context))
    set_up_logging(settings)
    # The usual port may be taken, and nobody has asked for it.
    asked = context.get_parameter_source("port") is not ParameterSource.DEFAULT
    with _folder(data) as path, own(path) as folder:
        run(_demo(settings, folder, Place(host=_HOST, port=port, or_any=not asked), once=once))


def _settings(settings: Settings) -> Settings:
    """The settings, changed so that there is something to see at once."""
    return replace(
        settings,
        webhook_allowed_networks=(*settings.webhook_allowed_networks, ip_network("127.0.0.0/8")),
        retry_notifications=_RETRIES,
        drain_seconds=min(settings.drain_seconds, 3),
        log_level="error" if settings.log_level == "info" else settings.log_level,
    )


@contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
        return
    path = Path(tempfile.mkdtemp(prefix="huntaze-demo-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


async def _demo(settings: Settings, folder: DataFolder, place: Place, *, once: bool) -> None:
    enough = asyncio.get_running_loop().time() + ENOUGH_S
    secrets = load_or_create_secrets(folder.path, settings)
    with stop_signals(settings.drain_seconds) as stop:
        async with serve_local_hub(settings, secrets, folder, place) as served:
            folder.announce(served.url)
            click.echo(f"ready {served.url}  (data in {folder.path})")
            board = Board(terminal(), time.perf_counter)
            async with _world(served, folder, board, secrets.admin_keys[0]) as world:
                story = _once(world, enough) if once else _for_ever(world, enough)
                await until_stopped(story, stop, served.serving)


# --------------------------------------------------------------------------- the sample tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A hub, the tenant's way in, and where things land.

    Attributes:
        url: The hub.
        key: The tenant's API key.
        api: A client that shows this key.
        board: Where things land.
        mail: The mail folder.
        run: Makes this run's ids unlike those of the one before on the same data.
    """

    url: str
    key: str
    api: httpx.AsyncClient
    board: Board
    mail: Path
    run: str


@asynccontextmanager
async def _world(
    served: ServedHub, folder: DataFolder, board: Board, admin_key: str
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        wanted = {"tenantId": _TENANT, "name": "demo"}
        async with _client(served.url, admin_key) as admin:
            key = (await _call(admin, "POST", "/v1/api-keys", wanted))["key"]
        api = await stack.enter_async_context(_client(served.url, key))
        receiver = Receiver(board, fails_once=_FAILS_ONCE)
        hook_url = await stack.enter_async_context(receiver.listening())
        hook = {"url": hook_url, "eventTypes": ["*"], "signatures": ["v1", "v1a"]}
        made = await _call(api, "POST", "/v1/webhook-endpoints", hook)
        receiver.trust(made["secret"], made["publicKey"])
        for person in (CAMILLE, ALEX):
            await _call(api, "PUT", f"/v1/users/{person.id}", person.document())
            where = await _call(api, "POST", f"/v1/realtime/negotiate?userId={person.id}")
            await stack.enter_async_context(
                browser(board, person.id, where["url"], where["protocol"])
            )

        async def event_of(delivery_id: str) -> str:
            return str((await _call(api, "GET", f"/v1/deliveries/{delivery_id}"))["eventId"])

        users = {person.email: person.id for person in (CAMILLE, ALEX)}
        await stack.enter_async_context(mailboxes(board, folder.mail, users, event_of))
        run = served.hub.dice.token(3).hex()
        yield World(url=served.url, key=key, api=api, board=board, mail=folder.mail, run=run)


def _client(url: str, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=30, trust_env=False
    )


async def _call(
    api: httpx.AsyncClient, method: str, path: str, body: object = None
) -> dict[str, Any]:
    answer = await api.request(method, path, json=body)
    if not answer.is_success:
        raise HuntazeError(f"{method} {path} answers {answer.status_code}: {answer.text}")
    found: dict[str, Any] = answer.json()
    return found


# --------------------------------------------------------------------------- the story


async def _once(world: World, enough: float) -> None:
    try:
        async with asyncio.timeout_at(enough):
            await _tell(world)
            await world.board.landed()
    except TimeoutError:
        missing = world.board.missing() or ["the samples were not published in time"]
        raise Complaint("\n".join(missing)) from None
    click.echo(f"\nall {world.board.count} landed")


async def _for_ever(world: World, enough: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(enough):
            await _tell(world)
            await world.board.landed()
    for missing in world.board.missing():
        click.echo(missing, err=True)
    click.echo(_how_to_try(world))
    await asyncio.Event().wait()


async def _tell(world: World) -> None:
    """Publish the story, each event once the toast before it is there."""
    types = {
        each["type"]: each for each in (await _call(world.api, "GET", "/v1/event-types"))["items"]
    }
    for number, (event_type, person) in enumerate(STORY, start=1):
        event = _event(
            types[event_type]["example"], f"demo-{world.run}-{number}", person, world.run
        )
        for channel in types[event_type]["channels"]:
            what = _WHAT[Channel(channel)]
            who = RECEIVER if what == "webhook" else (person or CAMILLE).id
            world.board.expect(Expected(event["id"], what, who))
        world.board.publishing(event["id"], event_type)
        await _call(world.api, "POST", "/v1/events", event)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TOAST_S):
                await world.board.landed("toast")


def _event(
    example: dict[str, Any], event_id: str, person: Person | None, run: str
) -> dict[str, Any]:
    event = {**example, "id": event_id}
    if person is not None:
        event["userid"] = person.id
    if "jobid" in event:
        event["jobid"] = event["subject"] = f"job-{run}"
    return event


def _how_to_try(world: World) -> str:
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
    failed = f"demo-{world.run}-{[name for name, _ in STORY].index(_FAILS_ONCE) + 1}"
    return f"""
Try it yourself, in another terminal:

# publish an event, and see it land here
curl -s {world.url}/v1/events {bearer} -H 'Content-Type: application/json' -d '{body}'

# what became of the event whose webhook was refused at first
curl -s {world.url}/v1/events/{failed} {bearer}

# {ALEX.id}'s inbox
curl -s '{world.url}/v1/inbox?userId={ALEX.id}' {bearer}

Mails are in {world.mail}. Ctrl-C ends the demo.
"""
