"""Every `az` command that is given or shown is one that the real azure-cli takes."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.test_workers import traces_command
from tests.fake_azure import DEPLOYED, FRESH, ROOT, SCRIPT, Answers, deploy

PAGE = ROOT / "docs" / "azure.md"


@pytest.fixture(scope="module", autouse=True)
def away_from_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """azure-cli keeps its files elsewhere, installs no extension and tells nobody."""
    home = str(tmp_path_factory.mktemp("azure"))
    given = {
        "AZURE_CONFIG_DIR": home,
        "AZURE_EXTENSION_USE_DYNAMIC_INSTALL": "no",
        "AZURE_CORE_COLLECT_TELEMETRY": "no",
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def parse(call: list[str]) -> str:
    """The command that azure-cli understands by it.

    Raises:
        SystemExit: It does not know the command, or an option of it.
    """
    from azure.cli.core import get_default_cli

    cli = get_default_cli()
    invocation = cli.invocation_cls(
        cli_ctx=cli,
        commands_loader_cls=cli.commands_loader_cls,
        parser_cls=cli.parser_cls,
        help_cls=cli.help_cls,
    )
    cli.invocation = invocation
    loader = invocation.commands_loader
    loader.load_command_table(call)
    command = invocation._rudimentary_get_command(call)
    invocation.data["command_string"] = command
    loader.command_name = command
    if command in loader.command_table:
        loader.command_table = {command: loader.command_table[command]}
    loader.load_arguments(command)
    invocation.parser.load_command_table(loader)
    parsed = invocation.parser.parse_args(call)
    return str(parsed.command)


def shape(call: list[str]) -> tuple[str, ...]:
    """The words and options of a call, without the options' values."""
    return tuple(word for word in call if not word.startswith(("/", "@"))) if call else ()


def recorded(folder: Path) -> list[list[str]]:
    """Every call of a first deployment, a later one, Flex's and a roll-back's; each shape once."""
    flex = folder / "flex.json"
    text = (ROOT / "infra" / "beta.parameters.json").read_text()
    flex.write_text(text.replace('"premium"', '"flex"'))
    principal = {**FRESH, "account show": "s-1\nservicePrincipal\napp-7"}
    runs: list[tuple[Answers, list[str]]] = [
        (FRESH, ["--subscription", "s-1"]),
        (DEPLOYED, ["--environment", "beta"]),
        (FRESH, ["--parameters", str(flex)]),
        (DEPLOYED, ["--roll-back"]),
        (principal, []),
    ]
    calls: dict[tuple[str, ...], list[str]] = {}
    for number, (answers, arguments) in enumerate(runs):
        run = deploy(folder / str(number), answers, arguments)
        assert run.code == 0, run.err
        calls |= {shape(call): call for call in run.calls}
    traces = traces_command("/subscriptions/s-1/insights/i")[1:]
    calls[shape(traces)] = traces
    return list(calls.values())


def shown() -> list[str]:
    """Every command of the page, and every one that the script's complaints advise."""
    page = PAGE.read_text() if PAGE.exists() else ""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [line.strip() for line in lines if re.match(r"\s*az ", line)]
    inline = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    found += re.findall(r"`(az [^`]+)`", inline)
    said = "\n".join(line for line in SCRIPT.read_text().splitlines() if "stop " in line)
    advised = re.findall(r"\baz [a-z][^,;)\"]*", said)
    found += [
        each
        for each in advised
        if re.match(r"az (account list|role assignment|group wait|keyvault|cognitive|dep)", each)
    ]
    return sorted(set(found))


def test_every_recorded_call_is_taken(tmp_path: Path):
    """Commands, options and required options are those of azure-cli, none of an extension."""
    calls = recorded(tmp_path)
    assert len(calls) > 25
    wrong = []
    for call in calls:
        try:
            assert call[: len(parse(call).split())] == parse(call).split()
        except SystemExit:
            wrong.append(shlex.join(call))
    assert wrong == []


@pytest.mark.parametrize("line", shown())
def test_every_command_that_is_shown_is_taken(line: str):
    """Nobody copies a line that azure-cli refuses."""
    filled = line.split(" | ")[0].replace("$deployer_type", "User")
    words = shlex.split(re.sub(r"\$[\w{}]+(\([^)]*\))?", "value", filled))
    assert parse(words[1:])


@pytest.mark.parametrize(
    "call",
    [
        ["group", "create", "--name", "x", "--lacation", "y"],
        ["group", "create", "--name", "x"],
        ["webpubsub", "key", "show", "--name", "x", "--resource-group", "y"],
    ],
)
def test_an_invented_call_is_refused(call: list[str]):
    """The check can fail: a wrong option, a missing one, a command of an extension."""
    with pytest.raises(SystemExit):
        parse(call)
