"""`scripts/azure_parameters.py`: what a deployment knows of a parameter file, and its secrets."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from scripts.azure_parameters import MAKERS, Wrong, facts, fill, main, read, samples, write
from tests.fake_azure import ROOT

NAMES = [name for name, _ in MAKERS.values()]


def file_of(folder: Path, **parameters: Any) -> Path:
    """A parameter file with what has no default, and these."""
    given = {"alertEmail": "ada@huntaze.internal", "monthlyBudgetUsd": 400, "modelOrder": {}}
    given |= {"models": [], **parameters}
    path = folder / "mine.json"
    path.write_text(json.dumps({"parameters": {k: {"value": v} for k, v in given.items()}}))
    return path


def keep(folder: Path, **secrets: str) -> None:
    """Secrets as files, as the script keeps those of a vault."""
    folder.mkdir(exist_ok=True)
    for name, text in secrets.items():
        (folder / name.replace("_", "-")).write_text(text)


@pytest.mark.parametrize("name", ["beta", "production"])
def test_shipped_files_name_what_is_to_be_filled_in(name: str):
    """Every address of theirs is a sample, and found to be one; nothing else is."""
    found = samples(read(ROOT / "infra" / f"{name}.parameters.json"))
    wanted = {"alertEmail": "ops@huntaze.example", "appUrl": "https://app.huntaze.example"}
    wanted["allowedOrigins"] = "https://app.huntaze.example"
    if name == "production":
        wanted["mailDomain"] = "mail.huntaze.example"
    assert found == wanted


@pytest.mark.parametrize(
    ("address", "sample"),
    [
        ("you@example.com", True),
        ("https://app.example.org/x", True),
        ("mail.firm.test", True),
        ("EXAMPLE.NET", True),
        ("example.com.firm.fr", False),
        ("https://myexample.com", False),
        ("http://localhost:3000", False),
        ("ops@latest.firm.fr", False),
    ],
)
def test_a_sample_is_a_name_that_is_kept_for_samples(address: str, sample: bool):
    """RFC 2606's names and what is below them, wherever they stand; nobody's name beside that."""
    assert bool(samples({"alertEmail": address})) == sample


def test_facts_are_lines_the_last_never_empty(tmp_path: Path):
    """Defaults where nothing is said; a shell that drops the last empty line reads them all."""
    lines = list(facts(read(file_of(tmp_path, sendKey=False)), "westus2"))
    assert lines == ["westus2", "false", "false", "", "false", "", "huntaze", "premium"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "is no parameter file"),
        ("[]", "is no parameter file"),
        ('{"parameters": {"models": 1}}', "is no parameter file"),
        ('{"parameters": {}}', "lacks alertEmail, monthlyBudgetUsd, models, modelOrder"),
        (b"\xff", "is no parameter file"),
        ("[" * 100_000, "is no parameter file"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_file_is_named(text: str | bytes | None, words: str, tmp_path: Path):
    """The file and one sentence, whatever is in it."""
    path = tmp_path / "mine.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Wrong, match=words) as told:
        read(path)
    assert str(path) in str(told.value)


def test_a_value_that_is_in_a_vault_is_there(tmp_path: Path):
    """A parameter may be a reference; what the script asks of it has its default then."""
    path = file_of(tmp_path)
    document = json.loads(path.read_text())
    document["parameters"] |= {"alertEmail": {"reference": {}}, "mailDomain": {"reference": {}}}
    path.write_text(json.dumps(document))
    assert list(facts(read(path), "westus2"))[3] == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hosting": "cheap"}, "premium or flex"),
        ({"models": {"name": "Phi"}}, "no list"),
        ({"models": ["Phi"]}, "needs a name"),
    ],
)
def test_a_value_that_the_script_cannot_go_by_is_told(given: dict[str, Any], words: str):
    """Before az is asked anything."""
    with pytest.raises(Wrong, match=words):
        list(facts(given, "eastus2"))


def test_new_secrets_are_made_for_what_the_vault_lacks(tmp_path: Path):
    """What it has stays; of the rest each is another, and long."""
    keep(tmp_path, encryption_keys="old\n", admin_key="None")
    values, made = fill(tmp_path)
    assert values["encryptionKeys"] == "old"
    assert made == [name for name in NAMES if name != "encryption-keys"]
    fresh = [values[name] for name in values if name != "encryptionKeys"]
    assert len(set(fresh)) == 4
    assert min(map(len, fresh)) >= 32


def test_secrets_of_another_vault_fill_what_this_one_lacks(tmp_path: Path):
    """A hub in a new group opens the data of the old one; what neither has is made, and told."""
    keep(tmp_path, database_password="mine", encryption_keys="")
    keep(tmp_path / "from", database_password="theirs", encryption_keys="old", admin_key="a\n")
    values, made = fill(tmp_path)
    got = values["databasePassword"], values["encryptionKeys"], values["adminKey"]
    assert got == ("mine", "old", "a")
    assert made == ["user-token-secret", "email-reports-key"]


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [("", "", "has no encryption-keys"), ("mine", "theirs", "other encryption-keys already")],
)
def test_secrets_that_would_not_open_the_data_are_refused(
    mine: str, theirs: str, words: str, tmp_path: Path
):
    """Neither without the old keys nor over newer ones."""
    keep(tmp_path, encryption_keys=mine)
    keep(tmp_path / "from", encryption_keys=theirs)
    with pytest.raises(Wrong, match=words):
        fill(tmp_path)


def test_the_file_of_secrets_is_its_owners(tmp_path: Path):
    """Nobody else reads it; packages and the budget's first day are in it, too."""
    keep(tmp_path, budget="2026-03-01T00:00:00Z")
    (tmp_path / "package.production").write_text("https://p/hub.zip")
    assert write(tmp_path, "object-1", "User") == NAMES
    path = tmp_path / "secret.parameters.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    given = {k: v["value"] for k, v in json.loads(path.read_text())["parameters"].items()}
    assert (given["budgetStart"], given["packageUrl"]) == ("2026-03-01", "https://p/hub.zip")
    assert given["databasePassword"] == (tmp_path / "database-password").read_text()


def test_the_command_says_what_is_wrong_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """1 and a line on stderr; what the script reads is on stdout, the samples first."""
    assert main(["facts", str(tmp_path / "none.json"), "eastus2"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    path = file_of(tmp_path, appUrl="https://x.example")
    assert main(["facts", str(path), "eastus2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == ("appUrl (https://x.example)", "premium")
