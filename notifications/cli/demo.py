"""`huntaze demo`: a hub, a sample tenant, and everything that lands, as it lands."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from ipaddress import ip_network
from pathlib import Path

import click
import httpx
from click.core import ParameterSource

from notifications.cli.access import read_settings
from notifications.cli.board import Board
from notifications.cli.complaints import Complaint
from notifications.cli.demo_jobs import ask_for_jobs
from notifications.cli.demo_story import (
    ALEX,
    CAMILLE,
    FAILS_ONCE,
    RECEIVER,
    TENANT,
    World,
    call,
    event_types,
    how_to_try,
    tell,
    toasts_page,
)
from notifications.cli.demo_targets import Receiver, browser, mailboxes
from notifications.cli.demo_video import NAME as VIDEO
from notifications.cli.demo_video import make_video
from notifications.cli.doors import PORT
from notifications.cli.host import host_of
from notifications.cli.logs import set_up_logging
from notifications.cli.looks import terminal
from notifications.cli.running import run, stop_signals
from notifications.cli.serving import (
    Place,
    ServedHub,
    serve_local_hub,
    until_stopped,
)
from notifications.extensions import Extension
from notifications.owner import DataFolder, own
from notifications.retries import DAY, SECOND, RetryTable
from notifications.settings import Settings, load_or_create_secrets

ENOUGH_S = 80
"""When it no longer waits for what has not landed; leaves time to stop within 90 s."""

_RETRIES = RetryTable(delays=(1 * SECOND,) * 3 + (5 * SECOND,) * 7, lifetime=DAY)
_LOOK_AGAIN_S = 0.02


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

    Publishes sample events, asks for one AI job of each type, which the offline model answers,
    and prints each toast, mail, webhook and result as it lands, with the time since its request
    began. Retries come after a second here, not five. Then it stays up, so that you can try it
    yourself.
    """
    settings = demo_settings(read_settings(context))
    set_up_logging(settings)
    # The usual port may be taken, and nobody has asked for it.
    asked = context.get_parameter_source("port") is not ParameterSource.DEFAULT
    place = Place(host="127.0.0.1", port=port, or_any=not asked)
    with _folder(data) as path, own(path) as folder:
        run(_demo(settings, folder, place, host_of(context).extension(), once=once))


def demo_settings(settings: Settings) -> Settings:
    """The settings, changed so that there is something to see at once."""
    return replace(
        settings,
        email="folder",  # its users are made up: no server gets mails for them
        ai_endpoint=None,  # and no model is paid for their jobs
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


async def _demo(
    settings: Settings,
    folder: DataFolder,
    place: Place,
    extension: Extension | None,
    *,
    once: bool,
) -> None:
    enough = asyncio.get_running_loop().time() + ENOUGH_S
    secrets = load_or_create_secrets(folder.path, settings)
    with stop_signals(settings.drain_seconds) as stop:
        async with serve_local_hub(settings, secrets, folder, place, extension=extension) as served:
            folder.announce(served.url)
            click.echo(f"ready {served.url}  (data in {folder.path})\n")
            board = Board(terminal(), time.perf_counter)
            async with _world(served, folder, board, secrets.admin_keys[0]) as world:
                await until_stopped(_story(world, enough, once=once), stop, served.serving)


async def _story(world: World, enough: float, *, once: bool) -> None:
    missing: list[str] = []
    try:
        async with asyncio.timeout_at(enough):
            types = await event_types(world)
            await tell(world, types)
            await ask_for_jobs(world, {name: each["channels"] for name, each in types.items()})
            await world.board.landed()
    except TimeoutError:
        missing = world.board.missing() or ["the samples were not published in time"]
    if missing and once:
        raise Complaint("\n".join(missing))
    click.echo("\n".join(["", *missing] if missing else ["", f"all {world.board.count} landed"]))
    if not once:
        click.echo(how_to_try(world, await toasts_page(world, ALEX)))
        await asyncio.Event().wait()


@asynccontextmanager
async def _world(
    served: ServedHub, folder: DataFolder, board: Board, admin_key: str
) -> AsyncIterator[World]:
    """The sample tenant, and everybody whom the hub delivers to, connected and listening."""
    async with AsyncExitStack() as stack:
        async with _client(served.url, admin_key) as admin:
            made = await call(admin, "POST", "/v1/api-keys", {"tenantId": TENANT, "name": "demo"})
        api = await stack.enter_async_context(_client(served.url, made["key"]))
        video = await stack.enter_async_context(_receiver(api, board))
        for person in (CAMILLE, ALEX):
            await call(api, "PUT", f"/v1/users/{person.id}", person.document())
            where = await call(api, "POST", f"/v1/realtime/negotiate?userId={person.id}")
            await stack.enter_async_context(
                browser(board, person.id, where["url"], where["protocol"])
            )
        users = {person.email: person.id for person in (CAMILLE, ALEX)}
        await stack.enter_async_context(
            mailboxes(board, folder.mail, users, partial(_event_of, api))
        )
        yield World(
            url=served.url,
            key=made["key"],
            api=api,
            board=board,
            mail=folder.mail,
            video=video,
            run=served.hub.dice.token(3).hex(),
        )


@asynccontextmanager
async def _receiver(api: httpx.AsyncClient, board: Board) -> AsyncIterator[str]:
    """A webhook receiver, and the tenant's endpoint that leads to it while it listens; it serves a
    video, too: where."""
    video = await asyncio.to_thread(make_video)
    receiver = Receiver(board, RECEIVER, fails_once=FAILS_ONCE, video=video)
    async with receiver.listening() as url:
        wanted = {"url": f"{url}/webhooks", "eventTypes": ["*"], "signatures": ["v1", "v1a"]}
        made = await call(api, "POST", "/v1/webhook-endpoints", wanted)
        receiver.trust(made["secret"], made["publicKey"])
        yield f"{url}/{VIDEO}"
        # On data that is kept, the next run would knock at a door that is gone.
        await call(api, "POST", f"/v1/webhook-endpoints/{made['id']}/pause")


def _client(url: str, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=30, trust_env=False
    )


async def _event_of(api: httpx.AsyncClient, delivery_id: str) -> str:
    """The event of a delivery. The mail is there first, its row in the ledger a moment later."""
    while True:
        answer = await api.get(f"/v1/deliveries/{delivery_id}")
        if answer.status_code != HTTPStatus.NOT_FOUND:
            return str(answer.raise_for_status().json()["eventId"])
        await asyncio.sleep(_LOOK_AGAIN_S)
