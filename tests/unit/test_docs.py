"""The documentation says what is there, all of it, and nothing else."""

import re
from dataclasses import fields
from pathlib import Path

import click
import pytest

from notifications.cli.main import COMMANDS, huntaze
from notifications.settings import VARIABLES, Settings, Variable

ROOT = Path(__file__).parents[2]
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])  # decisions may look ahead

COLUMNS = (r"`(?P<name>\w+)`", "(?P<default>.+?)", ".+?", "`(?P<example>.+?)`", ".+?")
ROW = re.compile(r"^\| " + r" \| ".join(COLUMNS) + r" \|$", re.MULTILINE)
ROWS = {match["name"]: match for match in ROW.finditer(SETTINGS)}
SOURCES = sorted(path for path in (ROOT / "notifications").rglob("*.py"))


def test_every_setting_is_documented_and_every_documented_one_exists():
    """`docs/settings.md` lists the variables that the hub reads, in their order, and no others."""
    assert list(ROWS) == [variable.name for variable in VARIABLES]


def test_every_line_that_names_a_setting_is_a_whole_row():
    """No row of the tables is left out of these tests by its form."""
    assert len(
        re.findall(r"^\| `(?:HUNTAZE|SERVICEBUS|OTEL|APPLICATIONINSIGHTS)_", SETTINGS, re.MULTILINE)
    ) == len(VARIABLES)


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_a_documented_example_is_taken(variable: Variable):
    """Who copies an example gets a hub that starts."""
    example = ROWS[variable.name]["example"]
    assert Settings.read({variable.name: example}).warnings == ()


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_a_documented_default_is_the_default(variable: Variable):
    """Setting a variable to its documented default changes nothing."""
    default = ROWS[variable.name]["default"]
    if default.startswith("`") and default.endswith("`") and default.count("`") == 2:
        assert Settings.read({variable.name: default.strip("`")}) == Settings()
    else:
        assert default.startswith(("none", "generated into `<data>/", "`HUNTAZE_ADMIN_KEY` where"))
        assert all(not getattr(Settings(), name) for name in variable.fields)


def test_every_field_of_the_settings_has_a_variable():
    """Nothing can be configured that is not in the list."""
    filled = {name for variable in VARIABLES for name in variable.fields}
    assert filled | {"warnings"} == {field.name for field in fields(Settings)}


def test_only_the_settings_know_the_variables_names():
    """Elsewhere a variable's name may be said to people, but never be read."""
    reading = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if re.search(r"os\.environ|getenv", path.read_text())
    ]
    assert reading == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_that_a_page_names_exists(page: Path):
    """No page sends anybody to a variable that has no effect."""
    named = set(re.findall(r"\bHUNTAZE_[A-Z_]+[A-Z]\b", page.read_text()))
    assert named <= {variable.name for variable in VARIABLES}


def commands() -> dict[str, click.Command]:
    """Every command by what is typed after `huntaze`, those of groups by two words."""
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = huntaze.get_command(click.Context(huntaze), name)
        assert command is not None
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        found |= {f"{name} {each}".strip(): one for each, one in inner.items()}
    return found


def test_every_command_is_documented_and_every_documented_one_exists():
    """`docs/commands.md` has a section for each command, in the order of the help."""
    page = (ROOT / "docs" / "commands.md").read_text()
    assert re.findall(r"^## huntaze (.+)$", page, re.MULTILINE) == list(COMMANDS)


def test_every_command_that_a_page_names_exists():
    """Who types what a page says does not get `No such command`."""
    text = "\n".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"\bhuntaze ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", _code(text)))
    groups = {name.partition(" ")[0] for name in commands() if " " in name}
    assert named
    for each in named:
        first = each.partition(" ")[0]
        assert (each if first in groups and each != first else first) in (*COMMANDS, *commands())


def _code(text: str) -> str:
    """What pages say in code, a line each."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(
        r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    return "\n".join([*blocks, *spans])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_of_a_command_what_the_command_does(name: str):
    """The list of commands, which loads none of them, agrees with each."""
    command = huntaze.get_command(click.Context(huntaze), name)
    assert command is not None
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("name", commands())
def test_the_help_explains_every_option(name: str):
    """Nobody has to guess what an option is for."""
    command = commands()[name]
    assert command.help
    assert all(
        parameter.help for parameter in command.params if isinstance(parameter, click.Option)
    )
