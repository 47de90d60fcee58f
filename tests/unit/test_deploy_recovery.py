"""`scripts/deploy-azure-workers.sh` when something is lost: secrets, a database, a good release."""

from pathlib import Path

import pytest

from tests.fake_azure import DEPLOYED, FRESH, Answers, deploy

SECRETS = ("databasePassword", "adminKey", "encryptionKeys")
REFRESH = "/config/configreferences/appsettings/refresh?"


def test_a_new_group_has_the_secrets_of_an_old_vault(tmp_path: Path):
    """After a disaster: its data is sealed with them. Nothing of them is shown."""
    theirs = {"encryption-keys": "old-keys", "database-password": "old-pw", "admin-key": "old-ad"}
    shown: Answers = {
        f"keyvault secret show --vault-name old-kv --name {name}": text
        for name, text in theirs.items()
    }
    run = deploy(tmp_path, {**FRESH, **shown}, ["--group", "west", "--secrets-from", "old-kv"])
    assert (run.code, run.err) == (0, "")
    made = run.given()
    assert [made[name] for name in SECRETS] == ["old-pw", "old-ad", "old-keys"]
    assert "secrets that are new: user-token-secret email-reports-key" in run.out
    assert "old-" not in run.out.replace("old-kv", "")
    assert "huntaze:old-pw@hz-db" in run.migrated


def test_secrets_come_from_a_folder_too(tmp_path: Path):
    """A copy outside Azure serves where the vault is gone."""
    copy = tmp_path / "a copy"
    copy.mkdir()
    (copy / "encryption-keys").write_text("old-keys\n")
    run = deploy(tmp_path, FRESH, ["--secrets-from", f"{copy}/"])
    assert (run.code, run.given()["encryptionKeys"]) == (0, "old-keys")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ((1, "(Forbidden) Caller is not authorized. Vault: old-kv"), "Key Vault Secrets User"),
        ((1, "Failed to resolve 'old-kv.vault.azure.net'"), "no vault is named old-kv"),
    ],
)
def test_secrets_that_cannot_be_had_stop_it(
    said: str | tuple[int, str], words: str, tmp_path: Path
):
    """New ones in their place would lock the hub out of its data."""
    answers = {**FRESH, "keyvault secret show --vault-name old-kv": said}
    run = deploy(tmp_path, answers, ["--secrets-from", "old-kv"])
    assert (run.code, run.err.count("\n")) == (1, 1)
    assert words in run.err
    assert not run.called("deployment")


@pytest.mark.parametrize(
    ("before", "times"),
    [
        ("postgresql://huntaze:old-password@hz-db.postgres.database.azure.com:5432/huntaze", 0),
        ("postgresql://huntaze:older@hz-db.postgres.database.azure.com:5432/huntaze", 1),
    ],
)
def test_a_new_database_or_password_is_told_to_what_runs(before: str, times: int, tmp_path: Path):
    """At once: it would go on with the old one until the swap. Nothing is started anew else."""
    url = "keyvault secret show --vault-name hz-kv --name database-url"
    run = deploy(tmp_path, {**DEPLOYED, url: before})
    assert run.code == 0
    asked = [call for call in run.called("rest") if REFRESH in call[call.index("--url") + 1]]
    assert len(asked) == times


def test_a_roll_back_is_a_swap(tmp_path: Path):
    """The release before comes back; nothing else is touched."""
    run = deploy(tmp_path, DEPLOYED, ["--roll-back"], filled=False)
    assert (run.code, run.err) == (0, "")
    assert "production runs hub-20260401120000.zip, the staging slot holds hub-2026030" in run.out
    assert len(run.called("functionapp", "deployment", "slot", "swap")) == 1
    assert not run.called("deployment")


def test_a_release_that_is_not_ready_does_not_come_back(tmp_path: Path):
    """Staging may hold what a deployment left there that failed: production keeps what it has."""
    curl = 'case "$*" in *staging*) echo "503 starting" >&2; exit 22 ;; *) echo ready ;; esac'
    run = deploy(tmp_path, DEPLOYED, ["--roll-back"], tools={"curl": curl})
    assert run.code == 1
    assert "-staging.azurewebsites.net/readyz is not ready" in run.err
    assert not run.called("functionapp", "deployment", "slot", "swap")


def test_a_release_that_fails_in_production_can_be_taken_back(tmp_path: Path):
    """Once it is swapped in, nobody is told that the one before still runs."""
    curl = 'case "$*" in *staging*|*checkip*) echo 192.0.2.7 ;; *) echo 503 >&2; exit 22 ;; esac'
    run = deploy(tmp_path, FRESH, tools={"curl": curl})
    assert (run.code, run.err.count("\n")) == (1, 1)
    assert "in production: take it back with --roll-back" in run.err
    assert "--name hz-hub)" in run.err


@pytest.mark.parametrize(
    ("staging", "words"),
    [
        ("https://hzstore/packages/hub-20260501120000.zip", "holds the newer release"),
        ("", "holds no release"),
    ],
)
def test_a_roll_back_never_brings_a_newer_release_in(staging: str, words: str, tmp_path: Path):
    """A deployment that did not end leaves it in the slot, and it may have got ready since."""
    slot = "functionapp config appsettings list --resource-group huntaze-beta --name hz-hub --slot"
    run = deploy(tmp_path, {**DEPLOYED, slot: staging}, ["--roll-back"])
    assert (run.code, run.err.count("\n")) == (1, 1)
    assert words in run.err
    assert not run.called("functionapp", "deployment", "slot", "swap")


def test_there_is_nothing_to_roll_back_in_an_empty_group(tmp_path: Path):
    """It says so, and swaps nothing."""
    run = deploy(tmp_path, FRESH, ["--roll-back"])
    assert (run.code, run.err.count("\n")) == (1, 1)
    assert "nothing to roll back" in run.err
    assert not run.called("functionapp", "deployment")
