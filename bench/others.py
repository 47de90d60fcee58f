"""The benches of jobs and of the door, which print their own figures: run, and read as rows."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence

import harness
import rows
from usage import watching

WITHIN_S = 600
_JOBS = re.compile(r"jobs\s+median ([0-9.]+) s.* goal ([0-9.]+) s", re.DOTALL)
_DOOR = re.compile(r"^(\S.*?)\s{2,}([0-9,]+|no node)\s+([0-9,]+)\s.*(?:met|NOT MET)$", re.MULTILINE)
_DOOR_NAMES = {
    "single awaited": "door-send-single",
    "in lists": "door-send-lists",
    "Python, receive": "door-receive-python",
    "JavaScript, receive": "door-receive-javascript",
}


def run(name: str, *arguments: str) -> tuple[str, str]:
    """What a bench printed, and what limited it."""
    command = [sys.executable, str(harness.HERE / name), *arguments]
    with watching() as usage:
        # The door's ends with 1 where a goal is missed: what it measured counts all the same.
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            cwd=harness.ROOT,
            env={**os.environ, "PYTHONPATH": str(harness.ROOT)},
        )
    if not done.stdout:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "said nothing")
    return done.stdout, usage.limited_by()


def jobs(options: rows.Options) -> Sequence[rows.Row]:
    """Seconds that light jobs take, and the goal that the model's time allows."""
    arguments = ("--runs", "1", "--count", "300") if options.quick else ()
    said, limited_by = run("jobs.py", *arguments)
    found = _JOBS.search(said)
    if found is None:
        raise RuntimeError("the bench of jobs said nothing that could be read")
    rows.tell(f"jobs: {found[1]} s, goal {found[2]} s")
    return [
        rows.Row(
            name="jobs",
            value=float(found[1]),
            unit="s",
            at_most=float(found[2]),
            limited_by=limited_by,
        )
    ]


def door(options: rows.Options) -> Sequence[rows.Row]:
    """Messages a second through the Service Bus door, with Microsoft's own clients."""
    said, limited_by = run("door.py", *(("--count", "1000") if options.quick else ()))
    found: list[rows.Row] = []
    for label, value, goal in _DOOR.findall(said):
        name = next((name for part, name in _DOOR_NAMES.items() if part in label), None)
        if name is None:
            continue
        missing = value == "no node"
        found.append(
            rows.Row(
                name=name,
                value=None if missing else float(value.replace(",", "")),
                unit="messages/s",
                at_least=float(goal.replace(",", "")),
                limited_by="no Node on this machine" if missing else limited_by,
            )
        )
        rows.tell(f"{name}: {value}/s")
    if not found:
        raise RuntimeError("the bench of the door said nothing that could be read")
    return found


def measured(options: rows.Options) -> Sequence[rows.Row]:
    """All of them."""
    return [*jobs(options), *door(options)]


if __name__ == "__main__":
    rows.alone(measured, __doc__)
