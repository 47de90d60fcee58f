"""An `az` that answers from a table and keeps what it was asked, for the deployment's script.

`curl` and `huntaze` beside it say yes. All of them are shell scripts: a run makes forty calls.
Parameter files get somebody's addresses first: the script refuses samples, and the files have them.
"""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "deploy-azure-workers.sh"
REGIONS = "rest --method get --url /subscriptions/s-1/providers/Microsoft.Web/geoRegions"
MODELS = "Phi-4-multimodal-instruct\nPhi-4-mini-instruct\nDeepSeek-V4-Flash\nDeepSeek-V3.2"
OUTPUTS = """hz-hub
https://hz-hub.azurewebsites.net
hzstore
https://hzstore.blob.core.windows.net/packages
hz-kv
hz-db
hz-db.postgres.database.azure.com
hz-bus
hz-mail-reports
/subscriptions/s-1/domains/d
/subscriptions/s-1/insights/i"""
REGISTERED = (
    *("Web", "SignalRService", "Communication", "EventGrid", "DBforPostgreSQL", "KeyVault"),
    *("insights", "OperationalInsights", "CognitiveServices", "ManagedIdentity", "Storage"),
)
SEND = "Endpoint=sb://hz-bus.servicebus.windows.net/;SharedAccessKeyName=vercel-send"

Answers = Mapping[str, str | tuple[int, str]]
"""How a command begins to what it prints, or to its exit code and what it complains of."""

FRESH: Answers = {
    "version": "2.91.0",
    "account show": "s-1\nuser\nada@example.com\nHuntaze for all",
    "ad signed-in-user show": "object-1",
    "ad sp show": "object-2",
    REGIONS: "East US 2\nWest Europe",
    "functionapp list-flexconsumption-locations": "eastus2",
    "cognitiveservices model list": MODELS,
    "role assignment list": "Owner",
    "provider list": "\n".join(f"Microsoft.{each}" for each in REGISTERED),
    "keyvault list": "",
    "functionapp list ": "",
    "rest --method get": "",
    "deployment group show": OUTPUTS,
    "servicebus topic authorization-rule keys list": SEND,
}
"""A subscription with nothing in it."""

DEPLOYED: Answers = {
    **FRESH,
    "keyvault list": "hz-kv",
    "keyvault secret show --vault-name hz-kv --name database-password": "old-password",
    "keyvault secret show --vault-name hz-kv --name admin-key": "old-admin",
    "keyvault secret show --vault-name hz-kv --name encryption-keys": "old-keys",
    "keyvault secret show --vault-name hz-kv --name user-token-secret": "old-token",
    "keyvault secret show --vault-name hz-kv --name email-reports-key": "old-reports",
    "functionapp list ": "hz-hub",
    "rest --method get": "2026-03-01T00:00:00Z",
    "functionapp config appsettings list --resource-group huntaze-beta --name hz-hub --slot": (
        "https://hzstore/packages/hub-20260301120000.zip"
    ),
    "functionapp config appsettings list --resource-group huntaze-beta --name hz-hub --query": (
        "https://hzstore/packages/hub-20260401120000.zip"
    ),
}
"""One that has been deployed to."""


@dataclass(slots=True, kw_only=True)
class Run:
    """What a run of the script came to.

    Attributes:
        code: Its exit code.
        out: What it printed.
        err: What it complained of.
        calls: What `az` was given, without its own name.
        parameters: The file of secrets that the deployment was given, as it was then.
        migrated: The database that `huntaze migrate` was given.
    """

    code: int
    out: str
    err: str
    calls: list[list[str]] = field(default_factory=list)
    parameters: str = ""
    migrated: str = ""

    def given(self) -> dict[str, str]:
        """The parameters that were not in the parameter file."""
        document = json.loads(self.parameters)
        return {name: each["value"] for name, each in document["parameters"].items()}

    def called(self, *words: str) -> list[list[str]]:
        """The calls that begin with these words."""
        return [call for call in self.calls if call[: len(words)] == list(words)]


def deploy(
    folder: Path,
    answers: Answers,
    arguments: Sequence[str] = (),
    *,
    tools: Mapping[str, str] | None = None,
    script: Path = SCRIPT,
    filled: bool = True,
) -> Run:
    """Run the script under the fake `az`.

    Args:
        folder: Where everything of this run is.
        answers: What `az` says.
        arguments: Those of the script, beside a package.
        tools: Other programs than the usual, as shell text.
        script: The script, where it is another copy.
        filled: Whether the samples of its parameter file have been filled in.
    """
    programs = folder / "programs"
    programs.mkdir(parents=True)
    package = folder / "a package.zip"
    package.write_bytes(b"zip")
    stand_ins = {
        "az": _az(answers, folder),
        "curl": 'case "$*" in *checkip*) echo 192.0.2.7 ;; *) echo ready ;; esac',
        "huntaze": f'echo "$HUNTAZE_DATABASE_URL" > "{folder}/migrated"',
        **(tools or {}),
    }
    for name, text in stand_ins.items():
        program = programs / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    scratch = folder / "scratch"
    scratch.mkdir()
    given = _filled(arguments, folder) if filled else arguments
    done = subprocess.run(
        ["bash", str(script), "--package", str(package), *given],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TMPDIR": str(scratch),
            "HUNTAZE_DEPLOY_PAUSE": "0",
            "HUNTAZE_DEPLOY_PATIENCE": "0",
        },
    )
    return Run(
        code=done.returncode,
        out=done.stdout,
        err=done.stderr,
        calls=_calls(folder / "calls"),
        parameters=_text(folder / "parameters"),
        migrated=_text(folder / "migrated").strip(),
    )


def _filled(arguments: Sequence[str], folder: Path) -> list[str]:
    given = dict(pairwise(arguments))
    environment = given.get("--environment", "beta")
    path = given.get("--parameters", str(ROOT / "infra" / f"{environment}.parameters.json"))
    if not Path(path).is_file():
        return list(arguments)
    mine = folder / "filled in.json"
    mine.write_text(Path(path).read_text().replace("huntaze.example", "huntaze.internal"))
    rest = [str(mine) if word == path else word for word in arguments]
    return rest if "--parameters" in given else ["--parameters", str(mine), *rest]


def _az(answers: Answers, folder: Path) -> str:
    lines = [
        f"{{ printf '%s\\037' \"$@\"; printf '\\036'; }} >> '{folder}/calls'",
        "for each; do case $each in @*secret.parameters.json)",
        f"cp \"${{each#@}}\" '{folder}/parameters' ;; esac; done",
        'case "$*" in',
    ]
    # The longest first: the most exact answer counts.
    for begin, answer in sorted(answers.items(), key=lambda item: -len(item[0])):
        code, text = answer if isinstance(answer, tuple) else (0, answer)
        to = ">&2" if code else ""
        lines.append(f"{_quoted(begin)}*) printf '%s\\n' {_quoted(text)} {to}; exit {code} ;;")
    return "\n".join([*lines, "esac"])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _calls(path: Path) -> list[list[str]]:
    records = _text(path).split("\036")
    return [record.split("\037")[:-1] for record in records if record]


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
