"""What a deployment has to know of a parameter file, and the file of secrets that goes with it.

    python3 scripts/azure_parameters.py facts FILE LOCATION
    python3 scripts/azure_parameters.py secrets FOLDER DEPLOYER-ID DEPLOYER-TYPE

Needs Python alone. What is wrong is one line on stderr, and exit code 1.
"""

import base64
import json
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"
NEEDED = ("alertEmail", "monthlyBudgetUsd", "models", "modelOrder")
"""The parameters of main.bicep without a default that nobody else gives: az would ask for them."""

DEFAULTS: Mapping[str, Any] = {
    "aiLocation": "",
    "privateNetwork": False,
    "sendKey": True,
    "mailDomain": "",
    "mailDomainVerified": False,
    "models": [],
    "prefix": "huntaze",
    "hosting": "premium",
}
"""What `facts` prints after the samples, a line each, in this order. The last is never empty: a
shell drops empty lines at the end."""

PREFIX = re.compile(r"[a-z][a-z0-9]{1,9}")
"""As main.bicep has it, which lowers it first."""

HOSTINGS = ("premium", "flex")

SAMPLE = re.compile(
    r"(?<![\w.-])(?:[\w-]+\.)*(?:example\.(?:com|net|org)|[\w-]+\.(?:example|invalid|test))(?![\w.-])",
    re.IGNORECASE,
)
"""A name that is nobody's: RFC 2606 keeps them for samples."""

MAKERS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "databasePassword": ("database-password", lambda: "Hz1" + secrets.token_hex(24)),
    "adminKey": ("admin-key", lambda: "hz_admin_" + secrets.token_hex(32)),
    "encryptionKeys": (
        "encryption-keys",
        lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
    ),
    "userTokenSecret": ("user-token-secret", lambda: secrets.token_hex(32)),
    "emailReportsKey": ("email-reports-key", lambda: secrets.token_hex(24)),
}
"""The parameter of each secret to its name in the vault, and how a new one is made."""


class Wrong(Exception):
    """One line for whoever deploys."""


def read(path: Path) -> Mapping[str, Any]:
    """The value of each parameter of a file.

    Raises:
        Wrong: It is no parameter file, or lacks what has no default.
    """
    other = f"{path} is no parameter file: compare it with infra/beta.parameters.json"
    try:
        document = json.loads(path.read_text("utf-8"))
        named = document["parameters"]
        given = {name: each["value"] for name, each in named.items() if "value" in each}
    except OSError as error:
        raise Wrong(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Wrong(f"{other} ({error})") from None
    except (LookupError, TypeError, AttributeError, RecursionError):
        raise Wrong(other) from None
    missing = [n for n in NEEDED if n not in named or given.get(n, n) in (None, "")]
    if missing:
        raise Wrong(f"{path} lacks {', '.join(missing)}: infra/beta.parameters.json has samples")
    return given


def facts(given: Mapping[str, Any], location: str) -> Iterator[str]:
    """What the script has to know, a line for each of `DEFAULTS`."""
    for name, default in DEFAULTS.items():
        value = given.get(name, default)
        if name == "models":
            value = " ".join(_name(each) for each in _models(value))
        elif name == "aiLocation":
            value = value or location
        elif name == "prefix":
            value = str(value).lower()
            if not PREFIX.fullmatch(value):
                raise Wrong(f"prefix is {json.dumps(value)}: a letter, then 1-9 letters and digits")
        elif name == "hosting" and value not in HOSTINGS:
            raise Wrong(f"hosting is {json.dumps(value)}: it is premium or flex")
        yield str(value).lower() if isinstance(value, bool) else " ".join(str(value).split())


def samples(given: Mapping[str, Any]) -> Mapping[str, str]:
    """The parameters that still have a sample's address, and that address."""
    found = {}
    for name, value in given.items():
        sample = next((each for each in _texts(value) if SAMPLE.search(each)), None)
        if sample is not None:
            found[name] = sample
    return found


def fill(folder: Path) -> tuple[dict[str, str], list[str]]:
    """The value of each secret's parameter, and the vault's names of those made anew.

    Args:
        folder: A file for each secret that the vault has, by its name there; in `from/` the same
            of the vault or folder that a new hub is to have its secrets from.

    Raises:
        Wrong: What is in `from/` cannot be taken: it would not open the data, or lock it.
    """
    names = {parameter: name for parameter, (name, _) in MAKERS.items()}
    kept = {parameter: _kept(folder / name) for parameter, name in names.items()}
    taken = {parameter: _kept(folder / "from" / name) for parameter, name in names.items()}
    if (folder / "from").is_dir():
        _judge(kept["encryptionKeys"], taken["encryptionKeys"])
    values, made = {}, []
    for parameter, (name, make) in MAKERS.items():
        values[parameter] = kept[parameter] or taken[parameter]
        if not values[parameter]:
            values[parameter] = make()
            made.append(name)
    return values, made


def write(folder: Path, deployer: str, kind: str) -> list[str]:
    """Write `secret.parameters.json` and the database's password; the names of those made anew."""
    values, made = fill(folder)
    _write(folder / "database-password", values["databasePassword"])
    values |= {"deployerId": deployer, "deployerType": kind}
    values |= {
        "packageUrl": _kept(folder / "package.production"),
        "stagingPackageUrl": _kept(folder / "package.staging"),
    }
    budget = _kept(folder / "budget")
    if budget:
        values["budgetStart"] = budget[:10]
    document = {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {name: {"value": value} for name, value in values.items()},
    }
    _write(folder / "secret.parameters.json", json.dumps(document))
    return made


def _judge(kept: str, taken: str) -> None:
    if not taken:
        raise Wrong("what --secrets-from names has no encryption-keys, which it is there for")
    if kept and kept != taken:
        raise Wrong(
            "this group's vault has other encryption-keys already: deploy to another --group, or"
            " put those of both into the vault with a comma between (docs/azure.md, Rotate keys)"
            " and leave --secrets-from out"
        )


def _kept(path: Path) -> str:
    text = path.read_text("utf-8").strip() if path.exists() else ""
    return "" if text == "None" else text  # az prints it where there is nothing


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text(text, "utf-8")


def _models(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Wrong("models is no list: infra/beta.parameters.json has a sample")
    return value


def _name(model: Any) -> str:
    if not isinstance(model, dict) or not isinstance(model.get("name"), str):
        raise Wrong("each of models needs a name: infra/beta.parameters.json has a sample")
    return str(model["name"])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def main(arguments: list[str]) -> int:
    """Do what the command line says."""
    try:
        match arguments:
            case ["facts", path, location]:
                given = read(Path(path))
                print(", ".join(f"{name} ({at})" for name, at in samples(given).items()))
                print(*facts(given, location), sep="\n")
            case ["secrets", folder, deployer, kind]:
                print(" ".join(write(Path(folder), deployer, kind)))
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
