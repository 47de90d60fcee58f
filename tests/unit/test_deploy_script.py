"""`scripts/deploy-azure-workers.sh` under a fake `az`: what it does, and what it says."""

import json
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.azure_package import PYTHON, copy_code, pack, wanted
from tests.deploy_faults import FAULTS
from tests.fake_azure import DEPLOYED, FRESH, MODELS, OUTPUTS, ROOT, SEND, Run, deploy

SCRIPTS = ("deploy-azure-workers.sh", "test-workers.sh", "checks.sh")
SECRETS = ("databasePassword", "adminKey", "encryptionKeys", "userTokenSecret", "emailReportsKey")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A first deployment."""
    return deploy(tmp_path_factory.mktemp("fresh"), FRESH)


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A later one."""
    return deploy(tmp_path_factory.mktemp("again"), DEPLOYED)


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name: str):
    """The scripts are what shellcheck takes for sound."""
    program = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run([program, ROOT / "scripts" / name], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_one_command_leads_from_nothing_to_a_running_hub(fresh: Run):
    """Group, infrastructure, database, code and swap, in that order; then Vercel's settings."""
    assert (fresh.code, fresh.err) == (0, "")
    steps = [
        ("group", "create"),
        ("deployment", "group", "create"),
        ("postgres", "flexible-server", "firewall-rule", "create"),
        ("postgres", "flexible-server", "firewall-rule", "delete"),
        ("storage", "blob", "upload"),
        ("functionapp", "config", "appsettings", "set"),
        ("functionapp", "deployment", "slot", "swap"),
        ("servicebus", "topic", "authorization-rule", "keys", "list"),
    ]
    places = [fresh.calls.index(fresh.called(*step)[0]) for step in steps]
    assert places == sorted(places)
    assert "subscription Huntaze for all (s-1), signed in as ada@example.com" in fresh.out
    assert f"SERVICEBUS_CONNECTION_SEND={SEND}" in fresh.out
    assert "HUNTAZE_URL=https://hz-hub.azurewebsites.net" in fresh.out
    assert "scripts/test-workers.sh --insights /subscriptions/s-1/insights/i" in fresh.out
    assert "@hz-db.postgres.database.azure.com:5432/huntaze?sslmode=verify-full" in fresh.migrated


def test_only_providers_that_are_missing_are_registered(fresh: Run):
    """Whoever has rights on the group alone may deploy where somebody has registered them."""
    assert [call[3] for call in fresh.called("provider", "register")] == [
        "Microsoft.ServiceBus",
        "Microsoft.Network",
        "Microsoft.App",
    ]


def test_secrets_are_made_once_and_never_shown(fresh: Run):
    """They reach Azure in a file that only its owner reads; no command line has them."""
    made = fresh.given()
    assert len({made[name] for name in SECRETS}) == len(SECRETS)
    assert all(len(made[name]) >= 32 for name in SECRETS)
    said = fresh.out + fresh.err + json.dumps(fresh.calls)
    assert [name for name in SECRETS if made[name] in said] == []
    assert made["databasePassword"] in fresh.migrated


def test_running_it_again_keeps_what_is_there(again: Run):
    """Secrets, the packages that run and the budget's first day stay as they are."""
    assert (again.code, again.err) == (0, "")
    kept = again.given()
    assert [kept[name] for name in SECRETS] == [
        "old-password",
        "old-admin",
        "old-keys",
        "old-token",
        "old-reports",
    ]
    assert kept["packageUrl"] == "https://hzstore/packages/hub-20260401120000.zip"
    assert kept["stagingPackageUrl"] == "https://hzstore/packages/hub-20260301120000.zip"
    assert kept["budgetStart"] == "2026-03-01"


def test_a_vault_without_secrets_gets_them(tmp_path: Path):
    """A deployment that broke off after the vault was made is gone on with."""
    half = {"keyvault list": "hz-kv", "keyvault secret show": (1, "(SecretNotFound) not found")}
    run = deploy(tmp_path, {**FRESH, **half})
    assert run.code == 0
    assert len(run.given()["encryptionKeys"]) == 44


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_with_a_way_on(fault: str, tmp_path: Path):
    """Each ends with 1 and one line on stderr; running it again then goes through."""
    answers, words = FAULTS[fault]
    run = deploy(tmp_path, {**FRESH, **answers}, ["--subscription", "s-1"])
    assert run.code == 1
    assert run.err.count("\n") == 1
    assert run.err.startswith("deploy-azure-workers: ")
    for word in words:
        assert word in run.err
    assert not list((tmp_path / "scratch").glob("tmp.*")), "secrets were left behind"


def test_a_database_that_refuses_leaves_no_door_open(tmp_path: Path):
    """Whatever becomes of the migration, the firewall is closed again, and no code is published."""
    run = deploy(tmp_path, FRESH, tools={"huntaze": "echo 'no such host' >&2; exit 1"})
    assert (run.code, run.err.count("\n")) == (1, 1)
    assert "no such host" in run.err
    assert run.called("postgres", "flexible-server", "firewall-rule", "delete")
    assert not run.called("storage", "blob", "upload")


def test_an_address_that_is_not_to_be_found_is_asked_for(tmp_path: Path):
    """A proxy's page in place of the address does not reach the firewall."""
    run = deploy(tmp_path, FRESH, tools={"curl": "echo '<html>Sign in</html>'"})
    assert (run.code, run.err.count("\n")) == (1, 1)
    assert "give it with --client-ip" in run.err
    assert not run.called("postgres")


def test_a_release_that_does_not_get_ready_is_not_swapped_in(tmp_path: Path):
    """Production stays as it is."""
    curl = 'case "$*" in *checkip*) echo 192.0.2.7 ;; *) echo "503 starting" >&2; exit 22 ;; esac'
    run = deploy(tmp_path, FRESH, tools={"curl": curl})
    assert (run.code, run.err.count("\n")) == (1, 1)
    assert "503 starting" in run.err
    assert "--name hz-hub --slot staging)" in run.err
    assert "production runs the release before" in run.err
    assert not run.called("functionapp", "deployment", "slot", "swap")


def shape(call: list[str]) -> tuple[str, ...]:
    """A command without the values of its options."""
    first = next((place for place, word in enumerate(call) if word.startswith("--")), len(call))
    return (*call[:first], *sorted(word for word in call[first:] if word.startswith("--")))


def test_a_dry_run_prints_every_command_and_gives_none(tmp_path: Path, again: Run):
    """All that a real run gives, in the same order; only who is logged in is asked."""
    run = deploy(tmp_path, DEPLOYED, ["--dry-run", "--secrets-from", "old-kv"], filled=False)
    assert (run.code, run.err, run.migrated) == (0, "", "")
    assert [call[:2] for call in run.calls] == [["account", "show"]]
    assert "subscription Huntaze for all (s-1), signed in as ada@example.com" in run.out
    assert "before a real run put yours in for these samples" in run.out
    printed = [shlex.split(line[2:]) for line in run.out.splitlines() if line.startswith("+ ")]
    assert ["migrate"] in [words[1:] for words in printed]
    assert "--vault-name old-kv --name encryption-keys" in run.out
    shapes = iter([shape(words[1:]) for words in printed if words[0] == "az"])
    missing = [call for call in again.calls if shape(call) not in shapes]
    assert missing == []


def test_a_dry_run_needs_no_login(tmp_path: Path):
    """It says that a real run would, and goes on with names in place of what it does not know."""
    run = deploy(tmp_path, {"account show": (1, "Please run 'az login'")}, ["--dry-run"])
    assert (run.code, run.err) == (0, "")
    assert "az is not here or not logged in: a real run stops here" in run.out
    assert "az group create" in run.out


def test_samples_are_not_deployed(tmp_path: Path):
    """Addresses that are nobody's are named, all of them, before Azure is asked anything."""
    run = deploy(tmp_path, FRESH, ["--environment", "production"], filled=False)
    assert (run.code, run.calls, run.err.count("\n")) == (1, [], 1)
    for name in ("alertEmail (ops@huntaze.example)", "appUrl", "allowedOrigins", "mailDomain"):
        assert name in run.err


def test_flex_is_published_without_a_slot(tmp_path: Path):
    """The plan for a small beta has none."""
    document = json.loads((ROOT / "infra" / "beta.parameters.json").read_text())
    document["parameters"]["hosting"]["value"] = "flex"
    mine = tmp_path / "my parameters.json"
    mine.write_text(json.dumps(document))
    run = deploy(tmp_path, FRESH, ["--parameters", str(mine)])
    assert (run.code, run.err) == (0, "")
    assert run.called("functionapp", "deployment", "source", "config-zip")
    assert not run.called("functionapp", "deployment", "slot")
    assert not run.called("functionapp", "config", "appsettings", "set")


def test_a_path_with_spaces_is_a_path(tmp_path: Path):
    """The whole project may be in a folder whose name has spaces."""
    there = tmp_path / "my own hub"
    (there / "scripts").mkdir(parents=True)
    for name in ("deploy-azure-workers.sh", "azure_parameters.py"):
        shutil.copy(ROOT / "scripts" / name, there / "scripts")
    shutil.copytree(ROOT / "infra", there / "infra", ignore=shutil.ignore_patterns("tests"))
    run = deploy(tmp_path / "b c", FRESH, script=there / "scripts" / "deploy-azure-workers.sh")
    assert (run.code, run.err) == (0, "")
    create = run.called("deployment", "group", "create")[0]
    assert create[create.index("--template-file") + 1] == str(there / "infra" / "main.bicep")


def test_a_pipeline_may_deploy(tmp_path: Path):
    """A service principal is looked up by its name, and given rights as one."""
    run = deploy(tmp_path, {**FRESH, "account show": "s-1\nservicePrincipal\napp-7"})
    assert run.code == 0
    assert run.called("ad", "sp", "show")[0][4] == "app-7"
    assert run.given()["deployerType"] == "ServicePrincipal"


def test_a_pipeline_that_may_not_look_itself_up_says_who_it_is(tmp_path: Path):
    """Then the directory is asked for nothing."""
    answers = {**FRESH, "account show": "s-1\nservicePrincipal\napp-7", "ad ": (1, "no")}
    run = deploy(tmp_path, answers, ["--deployer-id", "object-9"])
    assert run.code == 0
    assert run.given()["deployerId"] == "object-9"


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["--enviroment", "beta"], "there is no option --enviroment", 2),
        (["--group"], "--group needs a value", 2),
        (["--environment", "gamma"], "--environment takes beta or production", 1),
        (["--parameters", "none.json"], "there is no parameter file none.json", 1),
        (["--secrets-from", "no/where"], "there is no file no/where/encryption-keys", 1),
    ],
)
def test_a_wrong_argument_is_told(arguments: list[str], words: str, code: int, tmp_path: Path):
    """Before anything is asked of Azure."""
    run = deploy(tmp_path, FRESH, arguments)
    assert (run.code, run.calls) == (code, [])
    assert words in run.err


def test_a_right_that_is_not_everywhere_yet_is_waited_for(tmp_path: Path):
    """The upload is tried again while Azure spreads the role it was given."""
    count = tmp_path / "tries"
    az = (
        f'case "$*" in "storage blob upload"*) echo x >> "{count}"; '
        f'[ "$(wc -l < "{count}")" -gt 3 ] || '
        '{ echo "AuthorizationPermissionMismatch" >&2; exit 1; } ;; '
        f'"deployment group show"*) echo "{OUTPUTS}" ;; '
        '"version"*) echo 2.91.0 ;; '
        f'"account show"*) printf "s-1\\nuser\\nada\\n" ;; "role"*) echo Owner ;; '
        '"ad "*) echo o-1 ;; '
        f'*geoRegions*) echo eastus2 ;; "cognitiveservices"*) echo "{MODELS}" ;; esac'
    )
    run = deploy(tmp_path, FRESH, tools={"az": az})
    assert (run.code, run.err) == (0, "")
    assert len(count.read_text().splitlines()) == 4


def test_the_package_is_made_for_azures_python():
    """Conditions of requirements are judged for Linux and 3.13, whatever runs here."""
    lines = [
        "azure-functions==1.26.0 ; python_full_version < '3.13'",
        "azure-functions==2.3.0 ; python_full_version >= '3.13'",
        "uvloop==0.23.0 ; sys_platform != 'win32'  # faster",
        "colorama==0.4.6 ; sys_platform == 'win32'",
        "",
        "yarl==1.25.1",
    ]
    found = list(wanted("\n".join(lines)))
    assert found == ["azure-functions==2.3.0", "uvloop==0.23.0", "yarl==1.25.1"]
    bicep = (ROOT / "infra" / "modules" / "function-app-premium.bicep").read_text()
    assert f"linuxFxVersion: 'Python|{PYTHON}'" in bicep


def test_the_package_has_all_of_the_code(tmp_path: Path):
    """What the app imports, and nothing compiled."""
    folder = tmp_path / "code"
    folder.mkdir()
    copy_code(folder)
    count = pack(folder, tmp_path / "hub.zip")
    with zipfile.ZipFile(tmp_path / "hub.zip") as archive:
        names = set(archive.namelist())
    assert count == len(names)
    assert {"function_app.py", "host.json", "notifications/hub.py"} <= names
    assert not [name for name in names if name.endswith(".pyc")]
