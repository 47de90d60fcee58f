"""Every call of `az` that a deployment makes, whole, as it was read over.

    python -m tests.azure_calls

writes them anew into `azure_calls.txt`, for a change of the script that is meant.
"""

import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.fake_azure import DEPLOYED, FRESH, ROOT, Answers, deploy

PAGE = Path(__file__).with_name("azure_calls.txt")
RUNS: Mapping[str, tuple[Answers, tuple[str, ...]]] = {
    "a first deployment": (FRESH, ("--subscription", "s-1")),
    "a later one": (DEPLOYED, ()),
    "on Flex Consumption": (FRESH, ("--parameters", "FLEX")),
    "back to the release before": (DEPLOYED, ("--roll-back",)),
}
_TIME = re.compile(r"\b20[0-9]{12}\b")
_WORK = re.compile(r"FOLDER/scratch/tmp\.\w+")


def made() -> str:
    """The page as the script makes it now."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    for name, (answers, arguments) in RUNS.items():
        yield f"# {name}"
        with tempfile.TemporaryDirectory() as folder:
            beta = (ROOT / "infra" / "beta.parameters.json").read_text()
            flex = Path(folder) / "flex.json"
            flex.write_text(beta.replace('"premium"', '"flex"'))
            given = [str(flex) if word == "FLEX" else word for word in arguments]
            run = deploy(Path(folder) / "run", answers, given)
            assert run.code == 0, run.err
            for call in run.calls:
                line = shlex.join(["az", *call]).replace(f"{folder}/run", "FOLDER")
                line = line.replace(str(ROOT), "ROOT")
                yield _WORK.sub("WORK", _TIME.sub("TIME", line))


if __name__ == "__main__":
    PAGE.write_text(made())
