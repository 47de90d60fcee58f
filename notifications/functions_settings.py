"""The settings as a function app needs them.

Several instances of it share everything, nothing on their disks outlives them, and there are no
sockets: what one machine makes up for itself has to be set here.
"""

from collections.abc import Callable, Iterator, Mapping

from notifications import service_bus_address as service_bus
from notifications.errors import ConfigurationError
from notifications.service_bus_address import ServiceBusAddress
from notifications.settings import Secrets, Settings

PARTS: Mapping[str, frozenset[str]] = {
    "all": frozenset({"channels", "workers"}),
    "channels": frozenset({"channels"}),
    "workers": frozenset({"workers"}),
}
"""What `HUNTAZE_FUNCTIONS` takes, and the parts of the app that are then there."""

_UNREAD = "@microsoft.keyvault("
_SECRETS = ("HUNTAZE_ADMIN_KEY", "HUNTAZE_ENCRYPTION_KEYS", "HUNTAZE_USER_TOKEN_SECRET")
_MUST_BE: Mapping[str, tuple[str, ...]] = {
    "HUNTAZE_BUS": ("servicebus",),
    "HUNTAZE_REALTIME": ("webpubsub", "signalr"),
    "HUNTAZE_EMAIL": ("acs", "smtp"),
}
_WHY: Mapping[str, str] = {
    "HUNTAZE_BUS": "its triggers are Service Bus's",
    "HUNTAZE_REALTIME": "it serves no sockets",
    "HUNTAZE_EMAIL": "nobody reads its disk",
}


def parts(variables: Mapping[str, str]) -> frozenset[str]:
    """Which parts of the app this one has: `channels`, `workers` or both.

    Raises:
        ConfigurationError: HUNTAZE_FUNCTIONS names none; then no function is indexed.
    """
    told = variables.get("HUNTAZE_FUNCTIONS", "").strip().lower() or "all"
    if told not in PARTS:
        raise ConfigurationError(f"HUNTAZE_FUNCTIONS: must be one of {', '.join(PARTS)}")
    return PARTS[told]


def read(variables: Mapping[str, str]) -> tuple[Settings, Secrets]:
    """Read and check everything.

    Raises:
        ConfigurationError: Names every variable that is wrong or missing; one line each.
    """
    wrong = {each.partition(":")[0]: each for each in lacking(variables)}
    settings = Settings()
    try:
        settings = Settings.read({n: v for n, v in variables.items() if n not in wrong})
    except ConfigurationError as error:
        # What is missing here is said in the words of a function app.
        for each in str(error).splitlines():
            wrong.setdefault(each.partition(":")[0], each)
    if wrong:
        raise ConfigurationError("\n".join(wrong.values()))
    return settings, Secrets(
        admin_keys=settings.admin_keys,
        encryption_keys=settings.encryption_keys,
        user_token_secrets=settings.user_token_secrets,
    )


def read_service_bus(
    variables: Mapping[str, str],
) -> tuple[ServiceBusAddress | None, ServiceBusAddress | None]:
    """The bus alone, whatever else is wrong: as `Settings` has it, and what it is sent with.

    Where what it is sent with is wrong, too, that is None: the other policy may be allowed to send.

    Raises:
        ConfigurationError: One of the others' variables is wrong.
    """
    own = _named(service_bus.CONNECTION, variables)
    try:
        settings = Settings.read(own | _named(service_bus.CONNECTION_SEND, variables))
    except ConfigurationError:
        settings = Settings.read(own)
    return settings.service_bus, settings.service_bus_send


def _named(connection: str, variables: Mapping[str, str]) -> dict[str, str]:
    """What is set of a connection's variables."""
    names = (name for name, _ in service_bus.variables(connection))
    return {name: variables[name] for name in names if name in variables}


def lacking(variables: Mapping[str, str]) -> Iterator[str]:
    """What a function app cannot do without and is not set; each begins with its variable."""

    def value(name: str) -> str:
        return variables.get(name, "").strip()

    for name in sorted(variables):
        if value(name).lower().startswith(_UNREAD):
            yield (
                f"{name}: the secret that it refers to could not be read: look whether it is in"
                " the vault, and whether the app's identity may read it"
            )
    for name in (*_SECRETS, "HUNTAZE_DATABASE_URL"):
        if not value(name):
            yield f"{name}: is needed by a function app, whose instances share it: set it"
    if not any(value(name) for name, _ in service_bus.variables(service_bus.CONNECTION)):
        yield (
            f"{service_bus.CONNECTION}: is needed by a function app: the namespace's connection"
            f" string, or set {service_bus.CONNECTION}{service_bus.BY_IDENTITY} to its host"
        )
    for name, right in _MUST_BE.items():
        if value(name).lower() not in right and not value(name).lower().startswith(_UNREAD):
            yield f"{name}: must be {' or '.join(right)} in a function app: {_WHY[name]}"
    yield from _complaint(parts, variables)


def _complaint(
    read_part: Callable[[Mapping[str, str]], object], variables: Mapping[str, str]
) -> Iterator[str]:
    try:
        read_part(variables)
    except ConfigurationError as error:
        yield str(error)
