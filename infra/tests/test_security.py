"""checkov has nothing against the Bicep but what is skipped in the files, with its reason."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bicep_files import INFRA, paths


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """What checkov says of the folder; it asks nobody, so there are no severities."""
    program = Path(sys.executable).parent / "checkov"
    done = subprocess.run(
        [program, "-d", INFRA, "--framework", "bicep", "--skip-download", "-o", "json"],
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_every_file_is_understood(report: dict[str, Any]):
    """A file that checkov cannot read would pass every check."""
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["resource_count"] > 80
    assert report["summary"]["passed"] > 40


def test_nothing_is_found(report: dict[str, Any]):
    """Every finding is mended, or skipped where it is with a reason."""
    found = [
        f"{each['check_id']} {each['file_path']} {each['resource']}: {each['check_name']}"
        for each in report["results"]["failed_checks"]
    ]
    assert found == []


def test_every_skip_is_needed(report: dict[str, Any]):
    """A skip that skips nothing says something untrue."""
    skipped = {
        (each["check_id"], Path(each["file_path"]).name)
        for each in report["results"]["skipped_checks"]
    }
    written = {
        (check, path.name)
        for path in paths()
        for check in re.findall(r"checkov:skip=(\w+)", path.read_text())
    }
    assert written == skipped
