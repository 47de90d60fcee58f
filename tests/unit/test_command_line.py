"""The `huntaze` command as a whole: what it loads, and what it says when something is wrong."""

import asyncio
import json
import logging
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from notifications.cli.access import Access, find_hub
from notifications.cli.demo import demo_settings
from notifications.cli.host import Host
from notifications.cli.logs import JsonLines, TextLines
from notifications.cli.main import COMMANDS, huntaze
from notifications.cli.running import stop_signals
from notifications.cli.serving import url_of
from notifications.errors import AlreadyRunning, ConfigurationError, HuntazeError, Unavailable
from notifications.settings import Settings
from notifications.smtp_url import Relay

ROOT = Path(__file__).parents[2]
HEAVY = ("asyncio", "fastapi", "httpx", "pydantic", "rich", "sqlalchemy", "cryptography")


def test_the_help_loads_no_command():
    """`huntaze --help` answers at once: nothing heavy is loaded for it."""
    code = (
        "import sys; sys.argv = ['huntaze', '--help']; import atexit;"
        "atexit.register(lambda: print(sorted(sys.modules), file=sys.stderr));"
        "import local_app; local_app.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    loaded = done.stderr
    assert "'click'" in loaded
    assert [name for name in HEAVY if f"'{name}'" in loaded] == []
    assert "'notifications.cli.up'" not in loaded
    for name, what in COMMANDS.items():
        assert name in done.stdout
        assert what in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HuntazeError("no"), 1),
        (AlreadyRunning("no"), 1),
        (ConfigurationError("HUNTAZE_BUS: no\nHUNTAZE_LOG: no"), 2),
        (Unavailable("no"), 2),
    ],
)
def test_an_error_is_said_in_lines_for_people(error: HuntazeError, code: int):
    """What goes wrong on purpose ends with its exit code and one line each, never a traceback."""

    @click.command()
    def fail() -> None:
        raise error

    group = type(huntaze)(name="huntaze", commands={"fail": fail})
    result = CliRunner().invoke(group, ["fail"])
    assert result.exit_code == code
    assert result.stderr == "".join(f"huntaze: {line}\n" for line in str(error).splitlines())
    assert result.stdout == ""


def test_an_unknown_command_is_a_wrong_argument():
    """A slip of the pen gets the usage, and exit code 2."""
    result = CliRunner().invoke(huntaze, ["pubblish"])
    assert result.exit_code == 2
    assert "No such command" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_settings_stop_every_command_but_the_doctor(name: str, tmp_path: Path):
    """Every command checks the whole environment before it does anything."""
    sample = tmp_path / "event.json"
    sample.write_text("{}")
    arguments = {
        "publish": [str(sample)],
        "dead-letters": ["list"],
        "webhooks": ["listen"],
        "mails": ["preview"],
        "topology": ["show"],
    }
    without = ("demo", "mails", "cost", "topology")
    data = [] if name in without else ["--data", str(tmp_path / "data")]
    environ = {"HUNTAZE_LOG": "loud", "HUNTAZE_BUS": "none"}
    result = CliRunner().invoke(
        huntaze, [name, *arguments.get(name, []), *data], obj=Host(variables=environ)
    )
    assert not (tmp_path / "data").exists()
    said = result.stdout + result.stderr
    assert "HUNTAZE_LOG: " in said
    assert "HUNTAZE_BUS: " in said
    assert result.exit_code == (1 if name == "doctor" else 2)


def test_a_door_with_a_wrong_configuration_does_not_open(tmp_path: Path):
    """Every mistake in a Config.json is told with its place, before anything listens."""
    config = tmp_path / "Config.json"
    config.write_text('{"UserConfig": {"Namespaces": [{"Queues": [{}], "Topics": [{}]}]}}')
    result = CliRunner().invoke(huntaze, ["door", "--config", str(config)], obj=Host(variables={}))
    assert result.exit_code == 2
    place = "huntaze: --config: /UserConfig/Namespaces/0"
    queues = "the door has no queues: a topic with one subscription is one"
    assert result.stderr.splitlines() == [
        f"{place}/Queues: {queues}",
        f"{place}/Topics/0/Name: is missing",
    ]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("::1", "http://[::1]:8080"),
        ("localhost", "http://localhost:8080"),
    ],
)
def test_the_url_that_is_announced_leads_to_the_hub(host: str, url: str):
    """What listens everywhere is announced under an address that can be called."""
    assert url_of(host, 8080) == url


SET = Settings(url="http://set", api_key="hz_set", admin_keys=("admin-1", "admin-2"))


@pytest.mark.parametrize(
    ("settings", "options", "found"),
    [
        (Settings(), {}, Access(url="http://127.0.0.1:8080", key="in-the-file")),
        (SET, {}, Access(url="http://set", key="hz_set")),
        (replace(SET, api_key=None), {}, Access(url="http://set", key="admin-1")),
        (
            SET,
            {"url": "http://given/", "key": "hz_given"},
            Access(url="http://given", key="hz_given"),
        ),
    ],
    ids=["data folder", "settings", "admin's setting", "options"],
)
def test_the_hub_to_talk_to_is_the_nearest_that_was_named(
    settings: Settings, options: dict[str, str], found: Access, tmp_path: Path
):
    """Options win over variables, variables over the data folder; of several keys the newest."""
    (tmp_path / "admin.key").write_text("in-the-file, older\n")
    wanted = {"url": None, "key": None} | options
    assert find_hub(settings, **wanted, data=tmp_path) == found


@pytest.mark.parametrize("wrong", [{"url": "hub.example.com"}, {"key": "two words"}])
def test_a_hub_that_cannot_be_talked_to_is_said_at_once(wrong: dict[str, str], tmp_path: Path):
    """Nothing is tried with an address or a key that cannot be one."""
    with pytest.raises(ConfigurationError):
        find_hub(SET, **({"url": None, "key": None} | wrong), data=tmp_path)


@pytest.mark.parametrize(("drain_seconds", "signals"), [(0, 1), (3600, 2)])
async def test_draining_ends_when_time_is_up_or_at_the_second_signal(
    drain_seconds: int, signals: int
):
    """What never ends by itself is ended, and the process goes on to its orderly end."""
    async with asyncio.timeout(20) as limit:
        with stop_signals(drain_seconds) as stop:
            for _ in range(signals):
                signal.raise_signal(signal.SIGTERM)
            await asyncio.Event().wait()
        assert stop.is_set()
    assert not limit.expired()


async def test_a_signal_leaves_the_work_its_time():
    """The first signal asks; what ends in time is not cut short."""
    with stop_signals(3600) as stop:
        signal.raise_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            await stop.wait()


async def test_being_cancelled_without_a_signal_stays_a_cancellation():
    """Only signals are taken for signals."""

    async def work() -> None:
        with stop_signals(3600):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def record(**fields: object) -> logging.LogRecord:
    made = logging.LogRecord("huntaze", logging.INFO, "x.py", 1, "event.accepted", (), None)
    made.__dict__.update(fields)
    return made


def test_a_log_line_in_json_has_its_fields():
    """A machine reads the name and every field of a record."""
    line = json.loads(JsonLines().format(record(eventId="é 1", count=3, where=Path("/x"))))
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "level": "info",
        "name": "event.accepted",
        "eventId": "é 1",
        "count": 3,
        "where": "/x",
    }


def test_a_log_line_in_text_stays_one_line():
    """No value, whatever it holds, begins a line of its own."""
    line = TextLines().format(record(eventId="a", detail="two\nlines", empty=""))
    assert line.endswith('info    event.accepted eventId=a detail="two\\nlines" empty=""')
    assert "\n" not in line


def test_the_demo_mails_nobody():
    """Whatever carries mails here, the demo's made-up users get theirs into its folder."""
    relay = Relay(host="mail.example.com")
    assert demo_settings(Settings(email="smtp", smtp=relay)).email == "folder"
