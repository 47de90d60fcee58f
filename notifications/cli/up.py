"""`huntaze up`: the whole hub in one process."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from notifications.cli.access import data_option, read_settings
from notifications.cli.logs import set_up_logging
from notifications.cli.serving import Place, first_of, run, serve_local_hub
from notifications.owner import DataFolder, own
from notifications.settings import Secrets, Settings, load_or_create_secrets

log = logging.getLogger("huntaze")

PORT = click.IntRange(0, 65535)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=PORT, default=8080, show_default=True, help="The port; 0 takes a free one."
)
@data_option
@click.option(
    "--service-bus-port",
    type=PORT,
    default=0,
    show_default=True,
    help="The Service Bus door's AMQP port; not in this release.",
)
@click.option(
    "--service-bus-admin-port",
    type=PORT,
    default=0,
    show_default=True,
    help="The door's administration port; not in this release.",
)
@click.pass_context
def up(
    context: click.Context,
    host: str,
    port: int,
    data: Path,
    service_bus_port: int,
    service_bus_admin_port: int,
) -> None:
    """Run the whole hub in one process, on the data folder.

    When all is up it prints `ready` and its address, and writes them to hub.json in the folder.
    SIGTERM and Ctrl-C finish what is in hand, for at most HUNTAZE_DRAIN_SECONDS; whatever is not
    done then is done at the next start.
    """
    for option, value in (
        ("--service-bus-port", service_bus_port),
        ("--service-bus-admin-port", service_bus_admin_port),
    ):
        if value:
            raise click.BadParameter(
                "this release has no Service Bus door: leave it out, or 0", param_hint=option
            )
    settings = read_settings(context)
    set_up_logging(settings)
    with own(data) as folder:
        secrets = load_or_create_secrets(folder.path, settings)
        run(_up(settings, secrets, folder, Place(host=host, port=port)))


async def _up(settings: Settings, secrets: Secrets, folder: DataFolder, place: Place) -> None:
    with stop_signals(settings.drain_seconds) as stop:
        async with serve_local_hub(settings, secrets, folder, place) as served:
            folder.announce(served.url)
            click.echo(f"ready {served.url}")
            log.info("hub.ready", extra={"url": served.url, "data": str(folder.path)})
            await first_of(stop, served.serving)
            folder.withdraw()
            log.info("hub.stopping", extra={"atMostSeconds": settings.drain_seconds})
    log.info("hub.stopped")


@contextmanager
def stop_signals(drain_seconds: int) -> Iterator[asyncio.Event]:
    """Set the event at the first SIGTERM or SIGINT; end the block early when time is up.

    Time is up `drain_seconds` after the first signal, or at the second one. The ledger knows what
    was left, so that ending early loses nothing.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    stop = asyncio.Event()
    deadline: list[asyncio.TimerHandle] = []

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
            return
        stop.set()
        deadline.append(loop.call_later(drain_seconds, task.cancel))

    signals = (signal.SIGTERM, signal.SIGINT)
    for each in signals:
        loop.add_signal_handler(each, on_signal)
    try:
        yield stop
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        task.uncancel()
        log.warning("hub.drain_cut_short", extra={"afterSeconds": drain_seconds})
    finally:
        for handle in deadline:
            handle.cancel()
        for each in signals:
            loop.remove_signal_handler(each)
