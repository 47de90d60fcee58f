"""How a Service Bus namespace is named in the settings: by a connection string, or by its host.

Pure. The host alone means that the machine's own identity is shown there.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

CONNECTION = "SERVICEBUS_CONNECTION"
"""The hub's own: may listen and send."""

CONNECTION_SEND = "SERVICEBUS_CONNECTION_SEND"
"""Producers': may send alone. Where it is set, the hub sends with it too."""

BY_IDENTITY = "__fullyQualifiedNamespace"
"""What is appended to either name where a host stands instead of a connection string."""

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)+")
_ENDPOINT = re.compile(r"sb://[A-Za-z0-9.\[\]:-]+/?")
_FORM = (
    "write it as Endpoint=sb://name.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceBusAddress:
    """A namespace, and what is shown there.

    Attributes:
        host: Its name, with the port where one is said.
        connection_string: What opens it; None where the machine's identity does.
        setting: The variable that it comes from, for whoever has to mend it.
    """

    host: str
    connection_string: str | None = field(default=None, repr=False)
    setting: str = CONNECTION


def connection_string(text: str) -> str:
    """A connection string of a namespace.

    Raises:
        ValueError: It is none; says why, and nothing of what is in it.
    """
    parts = read_parts(text)
    if _ENDPOINT.fullmatch(parts.get("endpoint", "")) is None:
        raise ValueError(f"that is no connection string: {_FORM}")
    if "entitypath" in parts:
        raise ValueError("that is the connection of one entity: take a policy of the namespace")
    by_key = parts.get("sharedaccesskeyname") and parts.get("sharedaccesskey")
    if not by_key and not parts.get("sharedaccesssignature"):
        raise ValueError(f"it holds no key: {_FORM}")
    return text


def namespace(text: str) -> str:
    """The host of a namespace.

    Raises:
        ValueError: It is none.
    """
    if _HOST.fullmatch(text) is None:
        raise ValueError(
            "that is no host of a namespace: write it as name.servicebus.windows.net"
            " (a connection string goes into the variable without the suffix)"
        )
    return text.lower()


def read_parts(text: str) -> Mapping[str, str]:
    """The parts of a connection string, by their names in small letters."""
    pairs = (each.partition("=") for each in text.split(";") if each.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def variables(
    setting: str,
) -> Sequence[tuple[str, Callable[[str], Callable[[str], ServiceBusAddress]]]]:
    """The two variables of a setting, and how their text is read, given the variable's name."""
    return ((setting, _by_connection_string), (setting + BY_IDENTITY, _by_host))


def _by_connection_string(setting: str) -> Callable[[str], ServiceBusAddress]:
    def read(text: str) -> ServiceBusAddress:
        parts = read_parts(connection_string(text))
        host = parts["endpoint"].removeprefix("sb://").rstrip("/").lower()
        return ServiceBusAddress(host=host, connection_string=text, setting=setting)

    return read


def _by_host(setting: str) -> Callable[[str], ServiceBusAddress]:
    return lambda text: ServiceBusAddress(host=namespace(text), setting=setting)


def lacking(own: ServiceBusAddress | None, database_url: str | None) -> Iterator[str]:
    """What Service Bus needs to be the bus, and is not set; each begins with its variable."""
    if own is None:
        yield (
            f"{CONNECTION}: is needed where HUNTAZE_BUS is servicebus: the namespace's connection"
            f" string, or set {CONNECTION}{BY_IDENTITY} to its host"
        )
    if database_url is None:
        yield (
            "HUNTAZE_DATABASE_URL: is needed where HUNTAZE_BUS is servicebus:"
            " the ledger has to be where every hub on that bus finds it"
        )


def apart(own: ServiceBusAddress, sending: ServiceBusAddress) -> Iterator[str]:
    """What is wrong between the two settings, each right by itself; begins with the variable."""
    if sending.host != own.host:
        yield (
            f"{sending.setting}: {sending.host} is another namespace than {own.host}"
            f" ({own.setting}): both have to be one"
        )
