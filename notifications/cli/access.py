"""What several commands share: the settings, the data folder, and how to reach the hub."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from notifications.cli.host import host_of
from notifications.errors import ConfigurationError
from notifications.setting_forms import api_key, hub_url
from notifications.settings import ADMIN_KEY_FILE, Settings

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_DATA = Path(".huntaze")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A hub and the key that it is shown.

    Attributes:
        url: Where it answers, without a slash at the end.
        key: Sent as `Authorization: Bearer`.
    """

    url: str
    key: str = field(repr=False)


def data_option(command: Command) -> Command:
    """`--data`, the data folder."""
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        default=DEFAULT_DATA,
        show_default=True,
        help="The data folder.",
    )(command)


def hub_options(command: Command) -> Command:
    """`--url`, `--key` and `--data`: the hub to talk to."""
    for option in (
        click.option(
            "--data",
            type=click.Path(file_okay=False, path_type=Path),
            default=DEFAULT_DATA,
            show_default=True,
            help="The hub's data folder, for its admin key.",
        ),
        click.option(
            "--key", help="The API key.  [default: HUNTAZE_API_KEY, else the admin's in --data]"
        ),
        click.option("--url", help="The hub.  [default: HUNTAZE_URL, else http://127.0.0.1:8080]"),
    ):
        command = option(command)
    return command


def read_settings(context: click.Context) -> Settings:
    """The settings of the environment that the command was started in; warnings go to stderr.

    Raises:
        ConfigurationError: See `Settings.read`.
    """
    settings = Settings.read(host_of(context).variables)
    for warning in settings.warnings:
        click.echo(f"huntaze: {warning}", err=True)
    return settings


def find_hub(settings: Settings, *, url: str | None, key: str | None, data: Path) -> Access:
    """The hub to talk to: what the options say, else the settings, else the data folder.

    Raises:
        ConfigurationError: There is no key, or what is given is none or no address.
    """
    found = key or settings.api_key or next(iter(settings.admin_keys), None) or _admin_key(data)
    try:
        return Access(url=hub_url(url or settings.url), key=api_key(found))
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _admin_key(data: Path) -> str:
    path = data / ADMIN_KEY_FILE
    try:
        return path.read_text("utf-8").split(",")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigurationError(
            f"no key to show the hub: {path} cannot be read ({reason}); give --key,"
            " set HUNTAZE_API_KEY, or point --data at the hub's data folder"
        ) from error
