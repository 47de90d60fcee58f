"""The settings: read once from the environment, checked before anything starts.

The only place that knows the variables' names; `docs/settings.md` explains each. Values that are
wrong are all reported at once, and no report repeats a secret.
"""

import base64
import difflib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from notifications import service_bus_address as service_bus
from notifications import setting_forms as forms
from notifications.azure_resource import (
    AzureResource,
    read_keyed_in_base64,
    read_resource,
    read_signalr,
)
from notifications.errors import ConfigurationError
from notifications.mailing import STANDARD_LIMITS, MailLimits
from notifications.ports import Dice
from notifications.retries import LIGHT, MINUTE, NOTIFICATIONS, VIDEO, RetryTable
from notifications.secret_files import SecretFiles
from notifications.service_bus_address import ServiceBusAddress
from notifications.setting_forms import Network
from notifications.smtp_url import Relay, read_relay
from notifications.timing import SystemDice

log = logging.getLogger("huntaze")

PREFIX = "HUNTAZE_"
ADMIN_KEY_FILE = "admin.key"
ENCRYPTION_KEYS_FILE = "encryption.keys"
USER_TOKEN_SECRET_FILE = "user-token.secret"  # noqa: S105 - a file's name
SECRET_FILES = (ADMIN_KEY_FILE, ENCRYPTION_KEYS_FILE, USER_TOKEN_SECRET_FILE)

_SECRET_BYTES = 32

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator decided. The defaults are a hub on one machine.

    Attributes:
        admin_keys: Open everything; newest first. Empty: generated into the data folder.
        encryption_keys: 32 bytes each, newest first. Empty: generated.
        user_token_secrets: Sign user tokens, newest first. Empty: generated.
        database_url: The PostgreSQL database that holds the ledger; None is a file of this machine.
        bus: What carries the messages.
        service_bus: The namespace that does, where `bus` is `servicebus`.
        service_bus_send: The same with what it is sent with, where that is another policy.
        servicebus_keys: Policies of the Service Bus door and their keys, beside the emulator's.
        realtime: What pushes to browsers.
        realtime_hub: The name under which clients reach it.
        webpubsub: Azure Web PubSub, where `realtime` is `webpubsub`.
        signalr: Azure SignalR Service, where `realtime` is `signalr`.
        email: What carries the mails.
        email_from: Who mails come from.
        smtp: The mail server that takes them, where `email` is `smtp`.
        acs: Azure Communication Services, where `email` is `acs`.
        acs_limits: What that account may send.
        email_reports_key: What who reports on mails must show; None takes no reports.
        app_url: Where the app is: what paths in mails lead to; None leaves such links out.
        webhook_allowed_networks: What the address guard lets through.
        webhook_timeout: Seconds for one attempt, everything included.
        webhook_ca_file: Certificates to trust beside the system's.
        retry_notifications: When toasts, mails and webhooks are tried again.
        retry_video: When the analysis of a video is run again, and how long it has.
        retry_light: The same for all other jobs.
        ai_endpoint: Where models answer; None is the offline model.
        ai_key: What is shown there; None where the machine's identity is.
        ai_models_video: The models that are asked, in order: the next where one is gone.
        ai_models_chat: The same for reply suggestions.
        ai_models_suggest: The same for content suggestions.
        ai_models_analyze: The same for content analysis.
        ai_prices: A file with what models cost; None is this release's own.
        ai_concurrency: Jobs that run at once in a process.
        allowed_origins: Web origins whose pages may call the API.
        limit_publishes: Events that a tenant may publish each second, in the long run.
        limit_endpoints: Endpoints that a tenant may have.
        limit_keys: API keys that a tenant may have.
        retention_days: How long events and deliveries are kept.
        park_days: How long deliveries of a paused endpoint are kept for it.
        drain_seconds: How long a stopping hub finishes what it has in hand.
        functions: Which functions a function app has.
        log_level: From which level on: `debug`, `info`, `warning` or `error`.
        log_form: `text` or `json`.
        otlp_endpoint: Who takes traces, metrics and logs by OTLP; None sends none.
        insights: The connection string of Application Insights; None sends it nothing.
        trace_ratio: Which part of the traces that begin here is kept, 0-1.
        url: Where commands find the hub.
        api_key: What commands show it; None is the admin key in the data folder.
        warnings: One sentence each on variables that look like ours and are not.
    """

    admin_keys: tuple[str, ...] = field(default=(), repr=False)
    encryption_keys: tuple[bytes, ...] = field(default=(), repr=False)
    user_token_secrets: tuple[str, ...] = field(default=(), repr=False)
    database_url: str | None = field(default=None, repr=False)
    bus: str = "embedded"
    service_bus: ServiceBusAddress | None = None
    service_bus_send: ServiceBusAddress | None = None
    servicebus_keys: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    realtime: str = "local"
    realtime_hub: str = "huntaze"
    webpubsub: AzureResource | None = None
    signalr: AzureResource | None = None
    email: str = "folder"
    email_from: str = "Huntaze <notifications@huntaze.example>"
    smtp: Relay | None = None
    acs: AzureResource | None = None
    acs_limits: MailLimits = STANDARD_LIMITS
    email_reports_key: str | None = field(default=None, repr=False)
    app_url: str | None = None
    webhook_allowed_networks: tuple[Network, ...] = ()
    webhook_timeout: float = 15.0
    webhook_ca_file: Path | None = None
    retry_notifications: RetryTable = NOTIFICATIONS
    retry_video: RetryTable = VIDEO
    retry_light: RetryTable = LIGHT
    ai_endpoint: str | None = None
    ai_key: str | None = field(default=None, repr=False)
    ai_models_video: tuple[str, ...] = ("Phi-4-multimodal-instruct",)
    ai_models_chat: tuple[str, ...] = ("Phi-4-mini-instruct",)
    ai_models_suggest: tuple[str, ...] = ("DeepSeek-V4-Flash", "DeepSeek-V3.2")
    ai_models_analyze: tuple[str, ...] = ("DeepSeek-V4-Flash", "DeepSeek-V3.2")
    ai_prices: Path | None = None
    ai_concurrency: int = 8
    allowed_origins: tuple[str, ...] = ()
    limit_publishes: int = 2_000
    limit_endpoints: int = 100
    limit_keys: int = 100
    retention_days: int = 30
    park_days: int = 7
    drain_seconds: int = 20
    functions: str = "all"
    log_level: str = "info"
    log_form: str = "text"
    otlp_endpoint: str | None = None
    insights: str | None = field(default=None, repr=False)
    trace_ratio: float = 1.0
    url: str = "http://127.0.0.1:8080"
    api_key: str | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read and check every variable. One that is empty counts as not set.

        Raises:
            ConfigurationError: Names every variable that is wrong, what is wrong with it and what
                would be right; one line each.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for variable in VARIABLES:
            text = environ.get(variable.name, "").strip()
            if not text:
                continue
            try:
                values.update(variable.read(text))
            except ValueError as error:
                problems.append(f"{variable.name}: {error}")
        settings = cls(**values, warnings=tuple(_warnings(environ)))
        # What is wrong by itself was left out above: it contradicts nothing.
        wrong = {each.partition(":")[0] for each in problems}
        problems += [
            each for each in _contradictions(settings) if each.partition(":")[0] not in wrong
        ]
        if problems:
            raise ConfigurationError("\n".join(problems))
        return settings


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: its name, the fields it fills, and how its text is read."""

    name: str
    fields: tuple[str, ...]
    form: Callable[[str], Any] = field(repr=False)

    def read(self, text: str) -> Mapping[str, Any]:
        """The fields and their values.

        Raises:
            ValueError: What is wrong and what would be right, without the variable's name.
        """
        value = self.form(text)
        if len(self.fields) == 1:
            return {self.fields[0]: value}
        return dict(zip(self.fields, value, strict=True))


_MODELS = forms.each_of(forms.model_name)

VARIABLES: Sequence[Variable] = (
    Variable("HUNTAZE_ADMIN_KEY", ("admin_keys",), forms.each_of(forms.admin_key, secret=True)),
    Variable(
        "HUNTAZE_ENCRYPTION_KEYS",
        ("encryption_keys",),
        forms.each_of(forms.encryption_key, secret=True),
    ),
    Variable(
        "HUNTAZE_USER_TOKEN_SECRET",
        ("user_token_secrets",),
        forms.each_of(forms.token_secret, secret=True),
    ),
    Variable("HUNTAZE_DATABASE_URL", ("database_url",), forms.database_url),
    Variable("HUNTAZE_BUS", ("bus",), forms.one_of("embedded", "servicebus")),
    *(
        Variable(name, (field_name,), form(name))
        for own, field_name in (
            (service_bus.CONNECTION, "service_bus"),
            (service_bus.CONNECTION_SEND, "service_bus_send"),
        )
        for name, form in service_bus.variables(own)
    ),
    Variable(
        "HUNTAZE_SERVICEBUS_KEYS",
        ("servicebus_keys",),
        forms.each_of(forms.policy_key, secret=True),
    ),
    Variable("HUNTAZE_REALTIME", ("realtime",), forms.one_of("local", "webpubsub", "signalr")),
    Variable("HUNTAZE_REALTIME_HUB", ("realtime_hub",), forms.hub_name),
    Variable("HUNTAZE_WEBPUBSUB_CONNECTION", ("webpubsub",), read_resource),
    Variable("HUNTAZE_SIGNALR_CONNECTION", ("signalr",), read_signalr),
    Variable("HUNTAZE_EMAIL", ("email",), forms.one_of("folder", "smtp", "acs")),
    Variable("HUNTAZE_EMAIL_FROM", ("email_from",), forms.mailbox),
    Variable("HUNTAZE_SMTP_URL", ("smtp",), read_relay),
    Variable("HUNTAZE_ACS_CONNECTION", ("acs",), read_keyed_in_base64),
    Variable("HUNTAZE_ACS_LIMITS", ("acs_limits",), forms.mail_limits),
    Variable("HUNTAZE_EMAIL_REPORTS_KEY", ("email_reports_key",), forms.reports_key),
    Variable("HUNTAZE_APP_URL", ("app_url",), forms.origin),
    Variable(
        "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS",
        ("webhook_allowed_networks",),
        forms.each_of(forms.network),
    ),
    Variable("HUNTAZE_WEBHOOK_TIMEOUT", ("webhook_timeout",), forms.seconds(100, 1 * MINUTE)),
    Variable("HUNTAZE_WEBHOOK_CA_FILE", ("webhook_ca_file",), forms.certificates),
    Variable("HUNTAZE_RETRY_NOTIFICATIONS", ("retry_notifications",), forms.retry_table),
    Variable("HUNTAZE_RETRY_VIDEO", ("retry_video",), forms.job_table(VIDEO.lifetime)),
    Variable("HUNTAZE_RETRY_LIGHT", ("retry_light",), forms.job_table(LIGHT.lifetime)),
    Variable("HUNTAZE_AI_ENDPOINT", ("ai_endpoint",), forms.ai_endpoint),
    Variable("HUNTAZE_AI_KEY", ("ai_key",), forms.ai_key),
    *(
        Variable(f"HUNTAZE_AI_MODELS_{kind}", (f"ai_models_{kind.lower()}",), _MODELS)
        for kind in ("VIDEO", "CHAT", "SUGGEST", "ANALYZE")
    ),
    Variable("HUNTAZE_AI_PRICES", ("ai_prices",), forms.json_file),
    Variable("HUNTAZE_AI_CONCURRENCY", ("ai_concurrency",), forms.whole(1, 1_000)),
    Variable("HUNTAZE_ALLOWED_ORIGINS", ("allowed_origins",), forms.each_of(forms.origin)),
    Variable("HUNTAZE_LIMIT_PUBLISHES", ("limit_publishes",), forms.whole(1, 1_000_000)),
    Variable("HUNTAZE_LIMIT_ENDPOINTS", ("limit_endpoints",), forms.whole(1, 100_000)),
    Variable("HUNTAZE_LIMIT_KEYS", ("limit_keys",), forms.whole(1, 100_000)),
    Variable("HUNTAZE_RETENTION_DAYS", ("retention_days",), forms.whole(1, 3650)),
    Variable("HUNTAZE_PARK_DAYS", ("park_days",), forms.whole(1, 3650)),
    Variable("HUNTAZE_DRAIN_SECONDS", ("drain_seconds",), forms.whole(0, 3600)),
    Variable("HUNTAZE_FUNCTIONS", ("functions",), forms.one_of("all", "channels", "workers")),
    Variable("HUNTAZE_LOG", ("log_level", "log_form"), forms.logging_form),
    Variable("OTEL_EXPORTER_OTLP_ENDPOINT", ("otlp_endpoint",), forms.otlp_endpoint),
    Variable("APPLICATIONINSIGHTS_CONNECTION_STRING", ("insights",), forms.insights),
    Variable("HUNTAZE_TRACE_RATIO", ("trace_ratio",), forms.share),
    Variable("HUNTAZE_URL", ("url",), forms.hub_url),
    Variable("HUNTAZE_API_KEY", ("api_key",), forms.api_key),
)
"""Every variable there is, in the order of `docs/settings.md`."""


def _contradictions(settings: Settings) -> Iterator[str]:
    """What is wrong between variables that are each right."""
    if settings.park_days > settings.retention_days:
        yield (
            f"HUNTAZE_PARK_DAYS: deliveries cannot wait {settings.park_days} days when events are"
            f" kept {settings.retention_days} (HUNTAZE_RETENTION_DAYS):"
            f" set it to at most {settings.retention_days}"
        )
    if settings.email == "smtp" and settings.smtp is None:
        yield (
            "HUNTAZE_SMTP_URL: is needed where HUNTAZE_EMAIL is smtp, such as"
            " smtp://user:password@mail.example.com:587"
        )
    if settings.email == "acs" and settings.acs is None:
        yield (
            "HUNTAZE_ACS_CONNECTION: is needed where HUNTAZE_EMAIL is acs, such as"
            " endpoint=https://name.communication.azure.com/;accesskey=…"
            " or https://name.communication.azure.com"
        )
    if settings.realtime == "webpubsub" and settings.webpubsub is None:
        yield (
            "HUNTAZE_WEBPUBSUB_CONNECTION: is needed where HUNTAZE_REALTIME is webpubsub, such as"
            " Endpoint=https://name.webpubsub.azure.com;AccessKey=… or https://name.webpubsub.azure.com"
        )
    if settings.realtime == "signalr" and settings.signalr is None:
        yield (
            "HUNTAZE_SIGNALR_CONNECTION: is needed where HUNTAZE_REALTIME is signalr, such as"
            " Endpoint=https://name.service.signalr.net;AccessKey=…"
            " or https://name.service.signalr.net"
        )

    if settings.bus == "servicebus":
        yield from service_bus.lacking(settings.service_bus, settings.database_url)
    if settings.service_bus and settings.service_bus_send:
        yield from service_bus.apart(settings.service_bus, settings.service_bus_send)


def _warnings(environ: Mapping[str, str]) -> Iterator[str]:
    known = [variable.name for variable in VARIABLES]
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known:
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        guess = f"; did you mean {close[0]}?" if close else ""
        yield f"{name} is not a setting of this release and has no effect{guess}"


# --------------------------------------------------------------------------- generated secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What must stay secret; each has at least one, newest first.

    Attributes:
        admin_keys: Open everything.
        encryption_keys: 32 bytes each.
        user_token_secrets: Sign user tokens and sockets' access tokens.
    """

    admin_keys: tuple[str, ...] = field(repr=False)
    encryption_keys: tuple[bytes, ...] = field(repr=False)
    user_token_secrets: tuple[str, ...] = field(repr=False)


def load_or_create_secrets(data_dir: Path, settings: Settings, dice: Dice | None = None) -> Secrets:
    """The secrets of the settings; those that are not set come from files in the data folder.

    Files that are not there are made, with mode 0600, and read back on later starts.

    Args:
        data_dir: Exists.
        settings: What is set wins over what is in a file.
        dice: Where new secrets come from; the machine's randomness by default.

    Raises:
        ConfigurationError: A file cannot be read or written, or holds what is none.
    """
    files = SecretFiles(data_dir, dice or SystemDice())
    return Secrets(
        admin_keys=settings.admin_keys
        or files.keep(ADMIN_KEY_FILE, forms.admin_key, _new_admin_key),
        encryption_keys=settings.encryption_keys
        or files.keep(ENCRYPTION_KEYS_FILE, forms.encryption_key, _new_secret),
        user_token_secrets=settings.user_token_secrets
        or files.keep(USER_TOKEN_SECRET_FILE, forms.token_secret, _new_secret),
    )


def read_secrets(data_dir: Path, settings: Settings) -> tuple[bytes, ...]:
    """Look at the secrets that a start would use, without making any; the encryption keys.

    Raises:
        ConfigurationError: Files that cannot be read or are damaged; one line each.
    """
    files = SecretFiles(data_dir, SystemDice())
    problems: list[str] = []

    def look(name: str, form: Callable[[str], T], given: tuple[T, ...]) -> tuple[T, ...]:
        if given or not (data_dir / name).exists():
            return given
        try:
            return files.read(name, form)
        except ConfigurationError as error:
            problems.append(str(error))
            return ()

    look(ADMIN_KEY_FILE, forms.admin_key, settings.admin_keys)
    keys = look(ENCRYPTION_KEYS_FILE, forms.encryption_key, settings.encryption_keys)
    look(USER_TOKEN_SECRET_FILE, forms.token_secret, settings.user_token_secrets)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return keys


def _new_admin_key(dice: Dice) -> str:
    return "hz_admin_" + dice.token(_SECRET_BYTES).hex()


def _new_secret(dice: Dice) -> str:
    return base64.b64encode(dice.token(_SECRET_BYTES)).decode()
