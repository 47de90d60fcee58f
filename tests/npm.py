"""Packages of npm, for tests that let other people's code look at ours."""

import fcntl
import subprocess
from pathlib import Path


def install(folder: Path) -> None:
    """`npm ci` on first use, and again whenever the lock file is newer; once at a time."""
    installed = folder / "node_modules" / ".package-lock.json"
    lock = folder / "package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
            return
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
