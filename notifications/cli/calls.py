"""How commands talk to a hub: the client, with what to do about a key that opens nothing."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import click

from notifications.cli.access import Access
from notifications.client import AsyncClient, NotAllowed, Retries
from notifications.client.exchanges import RETRIES
from notifications.errors import ConfigurationError

_UNAUTHORIZED = 401


def say(text: str) -> None:
    """Something that is not the answer: to stderr."""
    click.echo(f"huntaze: {text}", err=True)


@asynccontextmanager
async def open_hub(
    access: Access,
    tell: Callable[[str], None] = say,
    *,
    tenant_id: str | None = None,
    retries: Retries = RETRIES,
) -> AsyncIterator[AsyncClient]:
    """A client of the hub; its calls raise `notifications.client.HubError`.

    Args:
        access: The hub and the key.
        tell: Is told, in a few words, of each try that failed.
        tenant_id: Whose things, where the key is the admin's.
        retries: How often the same is asked.

    Raises:
        ConfigurationError: The hub does not take the key; says where a command gets it from.
    """
    try:
        async with AsyncClient(
            access.url, access.key, tenant_id=tenant_id, tell=tell, retries=retries
        ) as hub:
            yield hub
    except NotAllowed as error:
        if error.status != _UNAUTHORIZED:
            raise ConfigurationError(
                f"{access.url} does not take this key here: {error}"
            ) from error
        raise ConfigurationError(
            f"{access.url} does not take this key: give the hub's with --key,"
            " HUNTAZE_API_KEY, or --data"
        ) from error
