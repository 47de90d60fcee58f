"""Every `az` command that is given or shown is one that the real azure-cli takes."""

import argparse
import itertools
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.test_workers import traces_command
from tests.fake_azure import DEPLOYED, FRESH, ROOT, SCRIPT, Answers, deploy

PAGE = ROOT / "docs" / "azure.md"
SCRIPTS = (SCRIPT, ROOT / "scripts" / "test-workers.sh")


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
    take_no_abbreviations(invocation.parser)
    parsed = invocation.parser.parse_args(call)
    return str(parsed.command)


def take_no_abbreviations(parser: argparse.ArgumentParser) -> None:
    """`--server` for `--server-name` is taken until there is another option that begins so."""
    parser.allow_abbrev = False
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in set(action.choices.values()):
                take_no_abbreviations(inner)


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


NO_COMMANDS = frozenset(("is", "did", "does", "cannot", "keeps", "may", "if", "for", "to"))
"""What follows az where a sentence speaks of it, and not of a command."""


def shown() -> list[str]:
    """Every command of the page, and every one that the scripts have or advise."""
    page = PAGE.read_text() if PAGE.exists() else ""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [line.strip().split(" | ")[0] for line in lines if re.match(r"\s*az ", line)]
    inline = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    found += re.findall(r"`(az [^`]+)`", inline)
    for script in SCRIPTS:
        found += of_script(script.read_text())
    return sorted(set(found))


def of_script(text: str) -> Iterator[str]:
    """The commands of a shell script: those that it runs, wherever, and those in what it says."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("#"):
            continue
        words = tokens(line)
        if words is None:
            yield from advised(line)
            continue
        for place, word in enumerate(words):
            if word == "az" and is_command(words[place + 1 : place + 2]):
                rest = itertools.takewhile(lambda each: not set(each) <= OPERATORS, words[place:])
                yield shlex.join(without_descriptor(list(rest), words, place))
            elif " " in word:
                yield from advised(word)


OPERATORS = frozenset("|&;()<>")


def is_command(follows: list[str]) -> bool:
    """Whether what follows az is the beginning of a command."""
    return bool(follows) and follows[0][0].isalpha() and follows[0] not in NO_COMMANDS


def tokens(line: str) -> list[str] | None:
    """The words of a line of shell, its operators among them; None for a line of plain text."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="".join(sorted(OPERATORS)))
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:
        return None


def without_descriptor(call: list[str], words: list[str], place: int) -> list[str]:
    """A call without the number of the stream that is sent elsewhere after it: `2` of `2>said`."""
    follows = words[place + len(call) : place + len(call) + 1]
    return call[:-1] if follows and follows[0].startswith(">") and call[-1].isdigit() else call


def advised(text: str) -> Iterator[str]:
    """The commands in a sentence: each ends where the sentence goes on."""
    for found in re.finditer(r"\baz ([a-z][a-z-]*)", text):
        if found[1] not in NO_COMMANDS:
            yield re.split(r"[,;|)\"]|\s\(|\sthen\b", text[found.start() :])[0].strip()


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


GROUP = [
    {"name": "aaa-other-hub"},
    {"name": "hzbetaold-0a1b2c3d-kv", "tags": {"application": "huntaze-notifications"}},
    {"name": "hzbeta-0a1b2c3d-kv"},
    {"name": "hzbeta-0a1b2c3d-hub"},
    {"name": "hzbeta-0a1b2c3d-budget", "properties": {"timePeriod": {"startDate": "2026-03-01"}}},
]
"""What a group may have, others' things and those of another prefix first."""


@pytest.mark.parametrize(
    ("begins", "found"),
    [
        (("keyvault", "list"), ["hzbeta-0a1b2c3d-kv"]),
        (("functionapp", "list"), ["hzbeta-0a1b2c3d-hub"]),
        (("rest", "--method", "get", "--url", "budgets"), "2026-03-01"),
    ],
    ids=["vault", "app", "budget"],
)
def test_what_is_found_in_a_group_is_the_hubs_own(
    begins: tuple[str, ...], found: object, tmp_path: Path
):
    """The vault, the app and the budget are this hub's, whoever else's are in the group before."""
    import jmespath

    queries = {
        call[call.index("--query") + 1]
        for call in recorded(tmp_path)
        if tuple(call[: len(begins)]) == begins
        or (begins[-1] == "budgets" and "budgets?" in " ".join(call))
    }
    (query,) = queries
    there = {"value": GROUP} if "budgets" in begins else GROUP
    assert jmespath.search(query, there) == found


def filled(line: str) -> list[str]:
    """The words of a command with values in place of variables."""
    text = line.replace("$deployer_type", "User").replace(
        "'${at[@]}'", "--resource-group value --name value"
    )
    return shlex.split(re.sub(r"\$[\w{}]+(\([^)]*\))?", "value", text))


@pytest.mark.parametrize("line", shown())
def test_every_command_that_is_shown_is_taken(line: str):
    """Nobody copies a line that azure-cli refuses, and no branch of a script ends in one."""
    assert parse(filled(line)[1:])


def test_every_branch_of_the_scripts_is_looked_at():
    """Commands are found in groups, in substitutions, in lists and in what is said."""
    found = list(
        of_script(
            """
            group() {
                a || { az group show --name "$x" 2>/dev/null || b; }
            }
            answer=$(az account show --query "[id, name]" --output tsv 2>"$said") && c
            list=(az storage blob list --account-name "$x")
            stop "az is not there: az login, then (az group wait --deleted --name $x), mend it"
            # az nothing
            The admin's key: az keyvault list --output tsv
            command -v az >/dev/null || stop "see az account list --output table, and go on"
            """
        )
    )
    assert found == [
        "az group show --name '$x'",
        "az account show --query '[id, name]' --output tsv",
        "az storage blob list --account-name '$x'",
        "az login",
        "az group wait --deleted --name $x",
        "az keyvault list --output tsv",
        "az account list --output table",
    ]
    deploy_script = list(of_script(SCRIPT.read_text()))
    named = [each for each in deploy_script if " firewall-rule delete " in each]
    assert len(named) == SCRIPT.read_text().count("firewall-rule delete ")
    for begin in ("az keyvault recover", "az logout", "az upgrade", "az webapp log tail"):
        assert any(each.startswith(begin) for each in deploy_script), begin


@pytest.mark.parametrize(
    "call",
    [
        ["group", "create", "--name", "x", "--lacation", "y"],
        ["group", "create", "--name", "x"],
        ["group", "create", "--name", "x", "--loc", "y"],
        ["webpubsub", "key", "show", "--name", "x", "--resource-group", "y"],
    ],
)
def test_an_invented_call_is_refused(call: list[str]):
    """The check can fail: a wrong option, a missing one, half of one, an extension's command."""
    with pytest.raises(SystemExit):
        parse(call)
