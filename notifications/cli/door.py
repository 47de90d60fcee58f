"""`huntaze door`: a Service Bus of one's own on this machine, for clients that have no Azure."""

import logging
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import click

from notifications.cli.access import read_settings
from notifications.cli.doors import PORT, Ports, open_doors
from notifications.cli.logs import set_up_logging
from notifications.cli.running import calm_the_collector, run, stop_signals
from notifications.door.admin.listener import AdminDoor
from notifications.door.config_apply import apply
from notifications.door.config_file import MAX_BYTES, Configured, read
from notifications.door.listener import Door
from notifications.door_alone import FILE, Alone, open_alone
from notifications.errors import ConfigurationError, InvalidInput
from notifications.owner import own
from notifications.ports import Clock, Dice
from notifications.settings import Settings
from notifications.timing import SystemClock, SystemDice

log = logging.getLogger("huntaze")


@click.command()
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Topics, subscriptions and rules: the Config.json of Microsoft's emulator.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=PORT, default=5672, show_default=True, help="AMQP; 0 takes a free port."
)
@click.option(
    "--admin-port",
    type=PORT,
    default=5300,
    show_default=True,
    help="The management API and /health over http; 0 takes a free port.",
)
@click.option(
    "--admin-tls-port",
    type=PORT,
    default=5301,
    show_default=True,
    help="The management API over https; 0 takes a free port.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep messages and topology in this folder.  [default: gone when it ends]",
)
@click.pass_context
def door(
    context: click.Context,
    config: Path | None,
    host: str,
    port: int,
    admin_port: int,
    admin_tls_port: int,
    data: Path | None,
) -> None:
    """Run a Service Bus of your own that unmodified SDKs use, without Azure, Docker or a hub.

    When it is up it prints `ready` and its addresses. Connect with the emulator's connection
    string: Endpoint=sb://localhost;SharedAccessKeyName=RootManageSharedAccessKey;
    SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;
    """
    settings = read_settings(context)
    set_up_logging(settings)
    wanted = [] if config is None else _configured(config)
    ports = Ports(amqp=port, http=admin_port, https=admin_tls_port)
    with _folder(data) as folder:
        run(_door(settings, folder, host, ports, wanted))


def _configured(path: Path) -> Sequence[Configured]:
    try:
        with path.open("rb") as file:
            return read(file.read(MAX_BYTES + 1))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except InvalidInput as error:
        raise _wrong(error) from error


def _wrong(error: InvalidInput) -> ConfigurationError:
    lines = [f"{each.pointer or '/'}: {each.detail}" for each in error.errors]
    return ConfigurationError("--config: " + "\n--config: ".join(lines))


@contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    if data is not None:
        with own(data) as folder:
            yield folder.path
        return
    with tempfile.TemporaryDirectory(prefix="huntaze-door-") as made:
        yield Path(made)


async def _door(
    settings: Settings, folder: Path, host: str, ports: Ports, wanted: Sequence[Configured]
) -> None:
    clock, dice = SystemClock(), SystemDice()
    calm_the_collector()
    with stop_signals(settings.drain_seconds) as stop:
        async with (
            open_alone(folder / FILE, clock, dice) as alone,
            _open(settings, folder, host, ports, alone, clock, dice, wanted),
        ):
            await stop.wait()
            log.info("door.stopping")


@asynccontextmanager
async def _open(
    settings: Settings,
    folder: Path,
    host: str,
    ports: Ports,
    alone: Alone,
    clock: Clock,
    dice: Dice,
    wanted: Sequence[Configured],
) -> AsyncIterator[None]:
    try:
        await apply(wanted, alone.topology, alone.topology)
    except InvalidInput as error:
        raise _wrong(error) from error
    keys = dict(settings.servicebus_keys)
    async with AsyncExitStack() as stack:
        wire = Door(alone.broker, clock=clock, dice=dice, keys=keys)
        admin = AdminDoor(alone.topology, alone.topology, clock=clock, keys=keys, folder=folder)
        addresses = await open_doors(stack, wire, admin, host, ports)
        click.echo("ready " + " ".join(addresses))
        yield
