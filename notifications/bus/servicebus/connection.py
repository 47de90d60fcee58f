"""Opening a namespace, and what its errors mean to the hub."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import ClientAuthenticationError
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import (
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusQuotaExceededError,
    ServiceBusServerBusyError,
)

from notifications.errors import ConfigurationError, Unavailable
from notifications.service_bus_address import ServiceBusAddress

# A refused message or a broken connection is told once, by whoever asked, in our own words.
logging.getLogger("azure.servicebus").setLevel(logging.CRITICAL)
logging.getLogger("azure.identity").setLevel(logging.ERROR)

ATTEMPT_S = 20.0
"""For opening a link, sending or asking once; the SDK tries again within its own limits."""

BUSY_S = 10.0
"""When to try again what was refused because the namespace is throttled: Azure's own advice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the SDK is left to wait for what.

    Attributes:
        patience_s: For more messages, where none is in hand: then it is looked whether anybody
            still waits.
        slice_s: The same, while others are in hand and may be settled.
        read_s: How long it holds its socket to read before it lets somebody write: its default of
            0.2 s would be added to the end of each message that is settled while others are waited
            for.
        backoff_s: Before it tries again, doubled with each of its three further tries: its own
            default, with which a namespace that does not answer is away after twelve seconds.
    """

    patience_s: float = 1.0
    slice_s: float = 0.05
    read_s: float = 0.05
    backoff_s: float = 0.8


USUAL = Pace()


@asynccontextmanager
async def open_client(
    address: ServiceBusAddress, *, pace: Pace = USUAL
) -> AsyncIterator[ServiceBusClient]:
    """A client of the namespace; connections are made when they are first needed.

    Args:
        address: The namespace.
        pace: How long it waits.

    Raises:
        ConfigurationError: The identity of this machine cannot be asked for.
    """
    limits: dict[str, Any] = {"try_timeout": ATTEMPT_S, "retry_backoff_factor": pace.backoff_s}
    if address.connection_string is not None:
        async with ServiceBusClient.from_connection_string(
            address.connection_string, **limits
        ) as client:
            yield client
        return
    credential = machine_identity(address)
    async with credential, ServiceBusClient(address.host, credential, **limits) as client:
        yield client


def machine_identity(address: ServiceBusAddress) -> Any:
    """What shows who this machine is: a managed identity, or whoever is signed in on it.

    Raises:
        ConfigurationError: The package for it is not installed.
    """
    try:
        from azure.identity.aio import DefaultAzureCredential
    except ImportError as error:
        raise ConfigurationError(
            f"{address.setting}: needs the package azure-identity: install it,"
            " or set a connection string"
        ) from error
    return DefaultAzureCredential()


def unavailable(error: BaseException, address: ServiceBusAddress, what: str) -> Unavailable:
    """What an error of the SDK is to the hub: away for now, with what to do about it.

    Args:
        error: Whatever the SDK raised.
        address: The namespace.
        what: The topic or subscription that was asked.
    """
    if isinstance(error, MessagingEntityNotFoundError):
        said = f"{address.host} has no {what}: `huntaze topology apply` makes what is missing"
    elif isinstance(error, MessagingEntityDisabledError):
        said = f"{what} of {address.host} is disabled: enable it in the namespace"
    elif isinstance(
        error,
        ServiceBusAuthenticationError | ServiceBusAuthorizationError | ClientAuthenticationError,
    ):
        said = f"{address.host} refuses what {address.setting} shows for {what}"
    elif isinstance(error, ServiceBusQuotaExceededError):
        said = f"{what} of {address.host} is full"
    elif isinstance(error, ServiceBusServerBusyError):
        return Unavailable(f"{address.host} is throttled ({what})", retry_after=BUSY_S)
    else:
        said = f"Service Bus at {address.host} does not answer for {what}: {_short(error)}"
    return Unavailable(said)


def _short(error: BaseException) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:200]
