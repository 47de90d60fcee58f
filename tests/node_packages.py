"""The published Node packages that tests run against: installed on first use."""

import fcntl
import shutil
import subprocess
from pathlib import Path

from tests.needs import needs

FOLDER = Path(__file__).parent / "node"
TYPESCRIPT = Path(__file__).parent / "typescript"
PRISMA = Path(__file__).parent / "prisma"

needs_node = needs(shutil.which("node"), "node is not on this machine")


def install(folder: Path = FOLDER) -> None:
    """`npm ci` on first use, and again whenever the lock file is newer; once at a time."""
    installed = folder / "node_modules" / ".package-lock.json"
    lock = folder / "package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
            return
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
