"""Settings: what each variable takes, what is said of what it does not, and generated secrets."""

import base64
import datetime as dt
import ipaddress
import re
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels.email.message import read_sender
from notifications.errors import ConfigurationError, InvalidInput
from notifications.retries import DAY, HOUR, MINUTE, NOTIFICATIONS, SECOND
from notifications.setting_forms import duration, in_words, mailbox
from notifications.settings import (
    SECRET_FILES,
    VARIABLES,
    Secrets,
    Settings,
    load_or_create_secrets,
)
from notifications.smtp_url import Relay, Tls
from notifications.vault import key_id

KEY = base64.b64encode(bytes(range(32))).decode()
OLD_KEY = base64.b64encode(bytes(range(32, 64))).decode()
ADMIN = "hz_admin_" + "a1" * 16
NAMESPACE = "Endpoint=sb://a.example.net/;SharedAccessKeyName=hub;SharedAccessKey=c2FtcGxl"
INSIGHTS = "InstrumentationKey=12345678-1234-1234-1234-123456789abc;IngestionEndpoint=https://a/"
TOKEN_SECRET = "a secret of more than thirty-two characters"


class Dice:
    """Tokens that can be foretold: each is filled with one number more than the one before."""

    def __init__(self) -> None:
        self.thrown = 0

    def roll(self) -> float:
        return 0.5

    def token(self, size: int) -> bytes:
        self.thrown += 1
        return bytes([self.thrown]) * size


def problem(**environ: str) -> str:
    """What is said of variables that are wrong."""
    with pytest.raises(ConfigurationError) as raised:
        Settings.read(environ)
    return str(raised.value)


# --------------------------------------------------------------------------- reading


def test_an_empty_environment_gives_the_defaults():
    """Nothing has to be set to run a hub on one machine."""
    settings = Settings.read({"PATH": "/usr/bin"})
    assert settings == Settings()
    assert settings.retry_notifications == NOTIFICATIONS
    assert (settings.retention_days, settings.park_days, settings.drain_seconds) == (30, 7, 20)
    assert settings.webhook_timeout == 15.0


def test_every_variable_fills_its_fields(tmp_path: Path):
    """Each variable is read into the value that the hub works with."""
    ca_file = _certificate(tmp_path)
    settings = Settings.read(
        {
            "HUNTAZE_ADMIN_KEY": f"{ADMIN}, {ADMIN}-old",
            "HUNTAZE_ENCRYPTION_KEYS": f"{KEY},{OLD_KEY}",
            "HUNTAZE_USER_TOKEN_SECRET": TOKEN_SECRET,
            "HUNTAZE_DATABASE_URL": "postgresql://hub@db.example.com/hub",
            "HUNTAZE_BUS": "embedded",
            "HUNTAZE_SERVICEBUS_KEYS": "send=sample-key-of-the-door==, listen=another-sample-key",
            "HUNTAZE_REALTIME": "Local",
            "HUNTAZE_REALTIME_HUB": "toasts_2",
            "HUNTAZE_EMAIL": "folder",
            "HUNTAZE_EMAIL_FROM": "Sample <a@sample.example>",
            "HUNTAZE_SMTP_URL": "smtp://localhost:1025",
            "HUNTAZE_APP_URL": "https://App.example.com",
            "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "10.0.0.0/8, fd00::/8,192.0.2.7",
            "HUNTAZE_WEBHOOK_TIMEOUT": "1500ms",
            "HUNTAZE_WEBHOOK_CA_FILE": str(ca_file),
            "HUNTAZE_RETRY_NOTIFICATIONS": "200ms,5s,2m,1h",
            "HUNTAZE_ALLOWED_ORIGINS": "https://App.example.com/,http://localhost:3000",
            "HUNTAZE_LIMIT_PUBLISHES": "50",
            "HUNTAZE_LIMIT_ENDPOINTS": "20",
            "HUNTAZE_LIMIT_KEYS": "10",
            "HUNTAZE_RETENTION_DAYS": "90",
            "HUNTAZE_PARK_DAYS": "90",
            "HUNTAZE_DRAIN_SECONDS": "0",
            "HUNTAZE_FUNCTIONS": "workers",
            "HUNTAZE_LOG": "json, debug",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/",
            "APPLICATIONINSIGHTS_CONNECTION_STRING": INSIGHTS,
            "HUNTAZE_TRACE_RATIO": "0.05",
            "HUNTAZE_URL": "https://hub.example.com/",
            "HUNTAZE_API_KEY": "hz_sample",
        }
    )
    assert settings == Settings(
        admin_keys=(ADMIN, f"{ADMIN}-old"),
        encryption_keys=(bytes(range(32)), bytes(range(32, 64))),
        user_token_secrets=(TOKEN_SECRET,),
        database_url="postgresql://hub@db.example.com/hub",
        servicebus_keys=(("send", "sample-key-of-the-door=="), ("listen", "another-sample-key")),
        realtime_hub="toasts_2",
        email_from="Sample <a@sample.example>",
        smtp=Relay(host="localhost", port=1025, tls=Tls.NONE),
        app_url="https://app.example.com",
        webhook_allowed_networks=tuple(
            ipaddress.ip_network(each) for each in ("10.0.0.0/8", "fd00::/8", "192.0.2.7/32")
        ),
        webhook_timeout=1.5,
        webhook_ca_file=ca_file,
        retry_notifications=settings.retry_notifications,
        allowed_origins=("https://app.example.com", "http://localhost:3000"),
        limit_publishes=50,
        limit_endpoints=20,
        limit_keys=10,
        retention_days=90,
        park_days=90,
        drain_seconds=0,
        functions="workers",
        log_level="debug",
        log_form="json",
        otlp_endpoint="http://collector:4318",
        insights=INSIGHTS,
        trace_ratio=0.05,
        url="https://hub.example.com",
        api_key="hz_sample",
    )
    assert settings.retry_notifications.delays == (200, 5 * SECOND, 2 * MINUTE, HOUR)
    assert settings.retry_notifications.lifetime == DAY


def test_each_variable_has_a_case_of_being_wrong():
    """No variable takes everything: the cases below cover all of them."""
    assert {name for name, *_ in WRONG} == {variable.name for variable in VARIABLES}


WRONG = [
    ("HUNTAZE_ADMIN_KEY", "short", "at least 32 characters"),
    ("HUNTAZE_ADMIN_KEY", ADMIN + " with spaces", "made of letters"),
    ("HUNTAZE_ADMIN_KEY", f"{ADMIN},", "an item of the list is empty"),
    ("HUNTAZE_ENCRYPTION_KEYS", f"{KEY},AAAA", "item 2: each key is the base64 of 32"),
    ("HUNTAZE_USER_TOKEN_SECRET", "x" * 31, "at least 32"),
    ("HUNTAZE_DATABASE_URL", "postgres://db/hub", "write it as postgresql://"),
    ("HUNTAZE_BUS", "kafka", "this release takes one of embedded, servicebus"),
    ("SERVICEBUS_CONNECTION", "sample.servicebus.windows.net", "write it as Endpoint=sb://"),
    ("SERVICEBUS_CONNECTION", "Endpoint=sb://a.b/;SharedAccessKeyName=hub", "holds no key"),
    ("SERVICEBUS_CONNECTION", NAMESPACE + ";EntityPath=huntaze-jobs", "a policy of the namespace"),
    ("SERVICEBUS_CONNECTION__fullyQualifiedNamespace", NAMESPACE, "is no host of a namespace"),
    ("SERVICEBUS_CONNECTION_SEND", "Endpoint=http://a.b/", "write it as Endpoint=sb://"),
    ("SERVICEBUS_CONNECTION_SEND__fullyQualifiedNamespace", "sample", "is no host"),
    ("HUNTAZE_REALTIME", "pusher", "this release takes one of local, webpubsub, signalr"),
    ("HUNTAZE_WEBPUBSUB_CONNECTION", "name.webpubsub.azure.com", "is no connection: write"),
    ("HUNTAZE_REALTIME_HUB", "1st", "is no hub name"),
    ("HUNTAZE_REALTIME_HUB", "h" * 129, "at most 128"),
    ("HUNTAZE_EMAIL", "pigeon", "this release takes one of folder, smtp, acs"),
    ("HUNTAZE_EMAIL_FROM", "Nobody", "Name <name@example.com>"),
    ("HUNTAZE_EMAIL_FROM", "a@b.example, c@d.example", "is no sender"),
    ("HUNTAZE_SMTP_URL", "mail.example.com", "is no URL such as smtp://"),
    ("HUNTAZE_SIGNALR_CONNECTION", "Endpoint=https://a.example;AccessKey=x", "fewer than 32"),
    ("HUNTAZE_ACS_CONNECTION", "endpoint=https://a.example;accesskey=x", "not base64"),
    ("HUNTAZE_ACS_LIMITS", "100/h", "write mails a minute and mails an hour, as 30/m,100/h"),
    ("HUNTAZE_ACS_LIMITS", "0/m,100/h", "are no limits"),
    ("HUNTAZE_EMAIL_REPORTS_KEY", "short", "32-256 letters"),
    ("HUNTAZE_APP_URL", "https://app.example.com/page", "is no origin"),
    ("HUNTAZE_WEBHOOK_ALLOWED_NETWORKS", "10.1.0.0/8", "write 10.0.0.0/8"),
    ("HUNTAZE_WEBHOOK_ALLOWED_NETWORKS", "intranet", "'intranet' is no network"),
    ("HUNTAZE_WEBHOOK_TIMEOUT", "15", "a whole number and its unit"),
    ("HUNTAZE_WEBHOOK_TIMEOUT", "1.5s", "a whole number and its unit"),
    ("HUNTAZE_WEBHOOK_TIMEOUT", "2m", "between 100ms and 1m"),
    ("HUNTAZE_WEBHOOK_TIMEOUT", "99ms", "between 100ms and 1m"),
    ("HUNTAZE_WEBHOOK_CA_FILE", "/nowhere/ca.pem", "cannot be read (No such file"),
    ("HUNTAZE_WEBHOOK_CA_FILE", __file__, "no certificate in PEM form"),
    ("HUNTAZE_RETRY_NOTIFICATIONS", "5s;30s", "a whole number and its unit"),
    ("HUNTAZE_RETRY_NOTIFICATIONS", "0s", "at least 1ms each"),
    ("HUNTAZE_RETRY_NOTIFICATIONS", "20h,5h", "add up to 25h"),
    ("HUNTAZE_RETRY_NOTIFICATIONS", ",".join(["1s"] * 51), "at most 50"),
    ("HUNTAZE_RETRY_VIDEO", "20m,20m", "such a job ends after 30m: at most 30m in all"),
    ("HUNTAZE_RETRY_LIGHT", "11m", "such a job ends after 10m"),
    ("HUNTAZE_AI_ENDPOINT", "models.example.com", "write it as https://"),
    ("HUNTAZE_AI_ENDPOINT", "https://models.example.com?api-version=1", "no query"),
    ("HUNTAZE_AI_KEY", "two words", "without spaces"),
    ("HUNTAZE_AI_MODELS_VIDEO", "Phi 4", "is no model's name"),
    ("HUNTAZE_AI_MODELS_CHAT", "a,,b", "an item of the list is empty"),
    ("HUNTAZE_AI_MODELS_SUGGEST", "-x", "is no model's name"),
    ("HUNTAZE_AI_MODELS_ANALYZE", "m" * 129, "is no model's name"),
    ("HUNTAZE_AI_PRICES", "prices", "has to be a JSON file"),
    ("HUNTAZE_AI_CONCURRENCY", "0", "between 1 and 1000"),
    ("HUNTAZE_ALLOWED_ORIGINS", "https://app.example.com/page", "is no origin"),
    ("HUNTAZE_ALLOWED_ORIGINS", "*", "write it as https://"),
    ("HUNTAZE_ALLOWED_ORIGINS", "https://a:99999", "write it as https://"),
    ("HUNTAZE_LIMIT_PUBLISHES", "0", "between 1 and 1000000"),
    ("HUNTAZE_LIMIT_ENDPOINTS", "many", "no whole number"),
    ("HUNTAZE_SERVICEBUS_KEYS", "only-a-key", "written as name=key"),
    ("HUNTAZE_SERVICEBUS_KEYS", "send=short", "shorter than 16"),
    ("HUNTAZE_LIMIT_KEYS", "-1", "no whole number"),
    ("HUNTAZE_RETENTION_DAYS", "0", "between 1 and 3650"),
    ("HUNTAZE_RETENTION_DAYS", "30d", "no whole number"),
    ("HUNTAZE_PARK_DAYS", "-1", "no whole number"),
    ("HUNTAZE_PARK_DAYS", "31", "set it to at most 30"),
    ("HUNTAZE_DRAIN_SECONDS", "20s", "no whole number"),
    ("HUNTAZE_FUNCTIONS", "worker", "one of all, channels, workers"),
    ("HUNTAZE_LOG", "loud", "neither a level (debug"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "write it as https://"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318?x=1", "no query"),
    ("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=x", "as the portal shows it"),
    ("HUNTAZE_TRACE_RATIO", "5%", "is no part of a whole: write 1, 0.05 or 0"),
    ("HUNTAZE_TRACE_RATIO", "1.5", "is no part of a whole"),
    ("HUNTAZE_URL", "hub.example.com", "write it as https://"),
    ("HUNTAZE_URL", "ftp://hub.example.com", "write it as https://"),
    ("HUNTAZE_URL", "https://hub.example.com?x=1", "no query"),
    ("HUNTAZE_API_KEY", "two words", "made of letters"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_what_is_wrong_is_named_with_what_would_be_right(name: str, value: str, said: str):
    """A wrong value stops the start with one line: the variable and what it takes."""
    line = problem(**{name: value})
    assert line.startswith(f"{name}: ")
    assert said in line
    assert "\n" not in line


def test_service_bus_needs_a_namespace_and_a_shared_ledger():
    """`servicebus` without either names both variables, and what to set."""
    said = problem(HUNTAZE_BUS="servicebus")
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "SERVICEBUS_CONNECTION",
        "HUNTAZE_DATABASE_URL",
    ]


def test_both_service_bus_settings_name_one_namespace():
    """What is sent to another namespace than is received from would never arrive."""
    other = NAMESPACE.replace("a.example", "b.example")
    line = problem(SERVICEBUS_CONNECTION=NAMESPACE, SERVICEBUS_CONNECTION_SEND=other)
    assert line.startswith("SERVICEBUS_CONNECTION_SEND: b.example.net is another namespace")


def test_a_service_bus_key_is_shown_nowhere():
    """Neither the settings nor what is said of a wrong one repeat the key."""
    settings = Settings.read({"SERVICEBUS_CONNECTION": NAMESPACE})
    assert settings.service_bus is not None
    assert settings.service_bus.connection_string == NAMESPACE
    assert "c2FtcGxl" not in repr(settings)
    assert "c2FtcGxl" not in problem(SERVICEBUS_CONNECTION=NAMESPACE + ";EntityPath=x")


def test_everything_wrong_is_said_at_once():
    """Who corrects one variable does not have to start again to hear of the next."""
    said = problem(HUNTAZE_BUS="kafka", HUNTAZE_LOG="loud", HUNTAZE_PARK_DAYS="soon")
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "HUNTAZE_BUS",
        "HUNTAZE_PARK_DAYS",
        "HUNTAZE_LOG",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HUNTAZE_ADMIN_KEY", "leaked!leaked!leaked!leaked!leaked!leaked!"),
        ("HUNTAZE_ENCRYPTION_KEYS", "leakedleakedleakedleaked"),
        ("HUNTAZE_USER_TOKEN_SECRET", "leaked"),
        ("HUNTAZE_API_KEY", "leaked leaked"),
        ("HUNTAZE_SMTP_URL", "smtp://user:leaked@mail.example.com:587x"),
        ("HUNTAZE_URL", "https://admin:leaked@hub.example.com"),
        ("HUNTAZE_WEBPUBSUB_CONNECTION", "Endpoint=name;AccessKey=leaked"),
        ("HUNTAZE_SIGNALR_CONNECTION", "Endpoint=https://a.example;AccessKey=leaked"),
        ("HUNTAZE_ACS_CONNECTION", "endpoint=https://a.example;accesskey=leaked!"),
        ("HUNTAZE_EMAIL_REPORTS_KEY", "leaked"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=leaked"),
    ],
)
def test_no_report_repeats_a_secret(name: str, value: str):
    """What is said of a wrong secret never holds any of it."""
    assert "leaked" not in problem(**{name: value})


def test_no_secret_is_in_a_repr():
    """Settings and secrets can be logged without giving anything away."""
    settings = Settings.read(
        {
            "HUNTAZE_ADMIN_KEY": ADMIN,
            "HUNTAZE_ENCRYPTION_KEYS": KEY,
            "HUNTAZE_USER_TOKEN_SECRET": TOKEN_SECRET,
            "HUNTAZE_API_KEY": "hz_sample",
        }
    )
    secrets = Secrets(
        admin_keys=settings.admin_keys,
        encryption_keys=settings.encryption_keys,
        user_token_secrets=settings.user_token_secrets,
    )
    shown = repr(settings) + repr(secrets)
    for hidden in (ADMIN, TOKEN_SECRET, "hz_sample", repr(bytes(range(32)))):
        assert hidden not in shown


@pytest.mark.parametrize(
    ("chosen", "needed"),
    [
        ({"HUNTAZE_REALTIME": "webpubsub"}, "HUNTAZE_WEBPUBSUB_CONNECTION"),
        ({"HUNTAZE_REALTIME": "signalr"}, "HUNTAZE_SIGNALR_CONNECTION"),
        ({"HUNTAZE_EMAIL": "acs"}, "HUNTAZE_ACS_CONNECTION"),
    ],
)
def test_a_managed_service_needs_its_connection(chosen: dict[str, str], needed: str):
    """Who chooses a service is told what else it takes."""
    assert problem(**chosen).startswith(f"{needed}: is needed where")


def test_an_empty_variable_counts_as_not_set():
    """`HUNTAZE_X=` in an environment file is the same as leaving it out."""
    empty = {variable.name: "  " for variable in VARIABLES}
    assert Settings.read(empty) == Settings()


def test_an_unknown_variable_gets_a_warning_with_the_nearest_name():
    """A slip of the pen is said, with the name that was probably meant, and stops nothing."""
    settings = Settings.read({"HUNTAZE_WEBHOOKS_TIMEOUT": "1s", "HUNTAZE_SOMETHING_ELSE": "x"})
    first, second = settings.warnings
    assert "HUNTAZE_SOMETHING_ELSE" in first
    assert "did you mean" not in first
    assert "did you mean HUNTAZE_WEBHOOK_TIMEOUT?" in second


@given(st.integers(min_value=0, max_value=10**8))
def test_durations_read_what_they_write(ms: int):
    """A duration in words is read as the same duration."""
    assert duration(in_words(ms)) == ms


SENDERS = [
    "a@b.example",
    "Sample <a@b.example>",
    "Sample, Inc <a@b.example>",
    '"Sample, Inc" <a@b.example>',
    "<a@b.example>",
    "a.@b.example",
    "a..b@b.example",
    "a@b",
    "a@-b.example",
    "a@b..example",
    "é@b.example",
    "a b@c.example",
    "Sample <a@b.example> more",
    "Sample <a@b.example>, c@d.example",
    "a(comment)@b.example",
    "x" * 65 + "@b.example",
    "a@" + "b" * 64 + ".example",
    "Sample\r\nBcc: x@y.example <a@b.example>",
]


@pytest.mark.parametrize("sender", SENDERS)
def test_a_sender_that_is_taken_is_one_that_the_mailer_takes(sender: str):
    """A start that succeeds never fails at the mailer for its sender."""
    try:
        mailbox(sender)
    except ValueError:
        return
    try:
        name, address = read_sender(sender)
    except InvalidInput as error:
        pytest.fail(f"{sender!r} passes the settings, and then: {error}")
    assert address.isascii()
    assert name


# --------------------------------------------------------------------------- generated secrets


def test_secrets_are_made_once_and_read_back(tmp_path: Path):
    """The second start has the secrets of the first."""
    made = load_or_create_secrets(tmp_path, Settings())
    assert load_or_create_secrets(tmp_path, Settings()) == made
    assert len(made.encryption_keys[0]) == 32
    assert key_id(made.encryption_keys[0])
    assert len({made.admin_keys[0], made.user_token_secrets[0]}) == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(SECRET_FILES)


def test_secrets_come_from_the_dice(tmp_path: Path):
    """Each secret is made of 32 bytes of its own."""
    made = load_or_create_secrets(tmp_path, Settings(), Dice())
    assert made.admin_keys == ("hz_admin_" + "01" * 32,)
    assert made.encryption_keys == (bytes([3]) * 32,)
    assert made.user_token_secrets == (base64.b64encode(bytes([5]) * 32).decode(),)


def test_generated_files_are_their_owners_alone(tmp_path: Path):
    """Nobody else on the machine reads a generated secret, whatever the umask."""
    load_or_create_secrets(tmp_path, Settings())
    for name in SECRET_FILES:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_file_that_was_opened_up_is_closed_again(tmp_path: Path, caplog):
    """A secret that others could read is closed at the next start, and that is written down."""
    load_or_create_secrets(tmp_path, Settings())
    (tmp_path / "admin.key").chmod(0o644)
    load_or_create_secrets(tmp_path, Settings())
    assert stat.S_IMODE((tmp_path / "admin.key").stat().st_mode) == 0o600
    assert [record.message for record in caplog.records] == ["secret.readable_by_others"]


def test_what_is_set_is_not_generated(tmp_path: Path):
    """A variable wins over a file, and makes none."""
    settings = Settings(admin_keys=(ADMIN,), encryption_keys=(bytes(32),))
    secrets = load_or_create_secrets(tmp_path, settings)
    assert secrets.admin_keys == (ADMIN,)
    assert secrets.encryption_keys == (bytes(32),)
    assert [each.name for each in tmp_path.iterdir()] == ["user-token.secret"]


def test_a_file_may_hold_several(tmp_path: Path):
    """A key is rotated in a file as it is in a variable."""
    load_or_create_secrets(tmp_path, Settings())
    (tmp_path / "encryption.keys").write_text(f"{KEY},{OLD_KEY}\n")
    secrets = load_or_create_secrets(tmp_path, Settings())
    assert secrets.encryption_keys == (bytes(range(32)), bytes(range(32, 64)))


@pytest.mark.parametrize("content", ["", "leaked", "\x00\xff"])
def test_a_damaged_file_stops_the_start_without_being_repeated(tmp_path: Path, content: str):
    """A secret is never made anew over a damaged one, nor shown."""
    path = tmp_path / "encryption.keys"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=re.escape(str(path))) as raised:
        load_or_create_secrets(tmp_path, Settings())
    assert "leaked" not in str(raised.value)
    assert path.read_text() == content


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path):
    """Where no secret can be kept, the start says where and why."""
    with pytest.raises(ConfigurationError, match=r"missing/admin\.key: No such file"):
        load_or_create_secrets(tmp_path / "missing", Settings())


def test_many_who_start_at_once_agree(tmp_path: Path):
    """Whoever makes a secret first has made it for all."""
    found = []
    start = threading.Barrier(8)

    def load() -> None:
        start.wait()
        found.append(load_or_create_secrets(tmp_path, Settings()))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({secrets.admin_keys for secrets in found}) == 1
    assert len({secrets.encryption_keys for secrets in found}) == 1


def _certificate(folder: Path) -> Path:
    """A file with a certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sample")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "ca.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path
