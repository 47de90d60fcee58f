"""Make the package that runs on Azure Functions: the code, and what it needs for Linux.

    python3 scripts/azure_package.py hub.zip

Works on any machine with pip, whatever its own system and Python are.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = ("notifications", "ai_workers", "templates", "schemas")
FILES = ("function_app.py", "host.json", "requirements.txt")
LEFT_OUT = ("__pycache__", "*.pyc")

PYTHON = "3.13"
"""On Azure; the Bicep says the same."""

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")
THERE = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": f"{PYTHON}.0",
    "python_version": PYTHON,
    "sys_platform": "linux",
}


def wanted(requirements: str) -> Iterator[str]:
    """The lines of a requirements file that hold on Azure, without their conditions.

    pip would judge the conditions by the Python that it runs on itself.
    """
    from pip._vendor.packaging.requirements import Requirement

    for line in requirements.splitlines():
        text = line.split("#")[0].strip()
        if not text:
            continue
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(dict(THERE)):
            yield f"{requirement.name}{requirement.specifier}"


def install(lines: list[str], target: Path) -> None:
    """Put the packages into a folder, for Azure's system and Python."""
    platforms = [f"--platform={each}" for each in PLATFORMS]
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-compile", "--only-binary=:all:", "--implementation=cp"),
        "--ignore-requires-python",  # pip asks it of the Python that it runs on
        *(f"--python-version={PYTHON}", f"--target={target}", *platforms, *lines),
    ]
    subprocess.run(command, check=True)  # noqa: S603 - our own arguments


def copy_code(folder: Path) -> None:
    """The hub's own files."""
    for name in CODE:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)


def pack(folder: Path, out: Path) -> int:
    """Zip a folder; how many files there are. The order is the same each time."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(folder))
    return len(files)


def main(out: Path) -> None:
    """Make the package."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        copy_code(folder)
        lines = list(wanted((ROOT / "requirements.txt").read_text("utf-8")))
        install(lines, folder / ".python_packages" / "lib" / "site-packages")
        count = pack(folder, out)
    sys.stdout.write(f"{out}: {count} files, {out.stat().st_size / 1e6:.0f} MB\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 scripts/azure_package.py FILE")
    main(Path(sys.argv[1]))
