"""The settings of a function app: what it cannot do without, all said at once."""

import base64

import pytest
from click.testing import CliRunner

from notifications import functions_settings
from notifications.cli.host import Host
from notifications.cli.main import huntaze
from notifications.errors import ConfigurationError

ALL = {
    "HUNTAZE_BUS": "ServiceBus",
    "SERVICEBUS_CONNECTION__fullyQualifiedNamespace": "name.servicebus.windows.net",
    "HUNTAZE_DATABASE_URL": "postgresql://hub:pw@db.example.com/hub",
    "HUNTAZE_ADMIN_KEY": "hz_admin_" + "a1" * 16,
    "HUNTAZE_ENCRYPTION_KEYS": base64.b64encode(bytes(range(32))).decode(),
    "HUNTAZE_USER_TOKEN_SECRET": "a secret of more than thirty-two characters",
    "HUNTAZE_REALTIME": "webpubsub",
    "HUNTAZE_WEBPUBSUB_CONNECTION": "https://name.webpubsub.azure.com",
    "HUNTAZE_EMAIL": "acs",
    "HUNTAZE_ACS_CONNECTION": "https://name.communication.azure.com",
}
UNREAD = "@Microsoft.KeyVault(SecretUri=https://vault.example.net/secrets/admin-key/)"


def problems(**changes: str | None) -> dict[str, str]:
    """What is said of settings that are wrong, by variable."""
    variables = {name: value for name, value in {**ALL, **changes}.items() if value is not None}
    try:
        functions_settings.read(variables)
    except ConfigurationError as error:
        return dict(line.split(": ", 1) for line in str(error).splitlines())
    return {}


def test_what_a_function_app_needs_is_enough():
    """With all of it there is nothing to say, and the secrets are those that are set."""
    settings, secrets = functions_settings.read(ALL)
    assert settings.bus == "servicebus"
    assert secrets.admin_keys == (ALL["HUNTAZE_ADMIN_KEY"],)
    assert functions_settings.read_service_bus({**ALL, "HUNTAZE_BUS": "kafka"})[0] is not None


@pytest.mark.parametrize("wrong", [UNREAD, "nonsense"])
def test_messages_are_saved_where_what_the_bus_is_sent_with_is_wrong(wrong: str):
    """The bus is sent with what it is received with; where that is wrong itself, it is said."""
    own, sending = functions_settings.read_service_bus({**ALL, "SERVICEBUS_CONNECTION_SEND": wrong})
    assert own is not None
    assert own.host == "name.servicebus.windows.net"
    assert sending is None
    with pytest.raises(ConfigurationError, match=r"^SERVICEBUS_CONNECTION: "):
        functions_settings.read_service_bus({"SERVICEBUS_CONNECTION": wrong})


def test_everything_that_is_missing_is_said_at_once():
    """With nothing set, each is named once."""
    nothing = dict.fromkeys(ALL)
    assert set(problems(**nothing)) == {
        "HUNTAZE_BUS",
        "SERVICEBUS_CONNECTION",
        "HUNTAZE_DATABASE_URL",
        "HUNTAZE_ADMIN_KEY",
        "HUNTAZE_ENCRYPTION_KEYS",
        "HUNTAZE_USER_TOKEN_SECRET",
        "HUNTAZE_REALTIME",
        "HUNTAZE_EMAIL",
    }


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HUNTAZE_REALTIME", "local", "must be webpubsub or signalr in a function app"),
        ("HUNTAZE_EMAIL", "folder", "must be acs or smtp in a function app"),
        ("HUNTAZE_BUS", "embedded", "must be servicebus in a function app"),
        ("HUNTAZE_FUNCTIONS", "some", "must be one of all, channels, workers"),
        ("HUNTAZE_ADMIN_KEY", UNREAD, "the secret that it refers to could not be read"),
        ("HUNTAZE_EMAIL_REPORTS_KEY", UNREAD, "the secret that it refers to could not be read"),
        ("HUNTAZE_ADMIN_KEY", "short", "at least 32 characters"),
        ("HUNTAZE_WEBPUBSUB_CONNECTION", None, "is needed where HUNTAZE_REALTIME is webpubsub"),
        ("SERVICEBUS_CONNECTION", "nonsense", "write it as Endpoint=sb://"),
    ],
)
def test_what_is_wrong_is_said_alone(name: str, value: str | None, said: str):
    """One that is wrong is the only one that is named, and what it holds is not repeated."""
    found = problems(**{name: value})
    assert list(found) == [name]
    assert said in found[name]
    assert "vault.example.net" not in found[name]


def test_the_doctor_shows_all_of_it(tmp_path_factory: pytest.TempPathFactory):
    """`huntaze doctor --functions` names every setting at once; without it none is needed."""
    data = str(tmp_path_factory.mktemp("doctor"))

    def said(*options: str) -> str:
        host = Host(variables={"HUNTAZE_REALTIME": "local"})
        return CliRunner().invoke(huntaze, ["doctor", "--data", data, *options], obj=host).output

    assert "HUNTAZE_ADMIN_KEY" not in said()
    shown = said("--functions")
    assert all(name in shown for name in problems(**dict.fromkeys(ALL)))
