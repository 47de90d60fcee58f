"""`huntaze doctor`: what is configured, and what answers."""

import os
import platform
import shutil
import socket
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from threading import Thread
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import httpx
from rich.text import Text

from notifications.bootstrap import TEMPLATES, load_catalogue
from notifications.cli.access import data_option
from notifications.cli.looks import DOUBTFUL, RIGHT, WRONG, terminal
from notifications.errors import ConfigurationError
from notifications.owner import DataFolder
from notifications.rendering import Renderer
from notifications.settings import SECRET_FILES, Settings

PYTHON = (3, 11)
SQLITE = (3, 38)
"""The oldest that have all that the hub's statements use."""

_LITTLE_SPACE = 1 << 30
_PATIENCE_S = 5.0
_A_PUBLIC_NAME = "example.com"
_A_ZONE = "Europe/Paris"


class Mark(Enum):
    """How it is."""

    RIGHT = RIGHT
    DOUBTFUL = DOUBTFUL
    WRONG = WRONG


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        mark: How it is.
        subject: What was looked at.
        detail: What was found.
        advice: What to do about it, where it is not right.
    """

    mark: Mark
    subject: str
    detail: str
    advice: str = ""


@click.command()
@data_option
@click.pass_context
def doctor(context: click.Context, data: Path) -> None:
    """Check what is configured and what answers, and say what to do about what does not.

    Changes nothing; a hub may run meanwhile. Exits with 1 when something is wrong.
    """
    findings = list(_examine(context, DataFolder(data)))
    console = terminal()
    for finding in findings:
        line = Text.assemble(finding.mark.value, f"  {finding.subject:<11}  {finding.detail}")
        if finding.advice:
            line.append(f"\n{'→':>15}  ").append(finding.advice, style="bold")
        console.print(line, soft_wrap=True)
    if any(finding.mark is Mark.WRONG for finding in findings):
        context.exit(1)


def _examine(context: click.Context, folder: DataFolder) -> Iterator[Finding]:
    yield from _versions()
    yield from _settings(context)
    yield from _catalogue()
    yield _time_zones()
    yield from _folder(folder)
    yield from _secrets(folder)
    yield _database(folder)
    yield _names()
    yield _hub(folder)


def _versions() -> Iterator[Finding]:
    python, sqlite = sys.version_info[:3], sqlite3.sqlite_version_info
    for subject, found, least, shown in (
        ("Python", python, PYTHON, platform.python_version()),
        ("SQLite", sqlite, SQLITE, sqlite3.sqlite_version),
    ):
        if found >= least:
            yield Finding(Mark.RIGHT, subject, shown)
        else:
            needed = ".".join(map(str, least))
            yield Finding(Mark.WRONG, subject, shown, f"use {subject} {needed} or newer")


def _settings(context: click.Context) -> Iterator[Finding]:
    try:
        settings = Settings.read(context.find_root().obj)
    except ConfigurationError as error:
        for problem in str(error).splitlines():
            yield Finding(Mark.WRONG, "settings", problem, "docs/settings.md says what it takes")
        return
    if not settings.warnings:
        yield Finding(Mark.RIGHT, "settings", "each that is set is right")
    for warning in settings.warnings:
        yield Finding(Mark.DOUBTFUL, "settings", warning, "correct its name, or remove it")


def _catalogue() -> Iterator[Finding]:
    again = "install this release again: its files are damaged"
    try:
        types = load_catalogue().types()
    except ConfigurationError as error:
        yield Finding(Mark.WRONG, "schemas", str(error), again)
    else:
        yield Finding(Mark.RIGHT, "schemas", f"{len(types)} event types")
    try:
        Renderer(TEMPLATES)
    except ConfigurationError as error:
        yield Finding(Mark.WRONG, "templates", str(error), again)
    else:
        yield Finding(Mark.RIGHT, "templates", "they load")


def _time_zones() -> Finding:
    try:
        ZoneInfo(_A_ZONE)
    except ZoneInfoNotFoundError:
        advice = "install the system's time zones (Debian: tzdata)"
        return Finding(Mark.WRONG, "time zones", "this machine has none", advice)
    return Finding(Mark.RIGHT, "time zones", "this machine has them")


def _folder(folder: DataFolder) -> Iterator[Finding]:
    path = folder.path
    if not path.exists():
        detail = f"{path} is not there yet; `huntaze up` makes it"
        parent = path.resolve().parent
        if os.access(parent, os.W_OK):
            yield Finding(Mark.RIGHT, "data folder", detail)
        else:
            advice = f"give your user the right to write to {parent}, or use another --data"
            yield Finding(Mark.WRONG, "data folder", f"{parent} cannot be written to", advice)
        return
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        advice = f"give your user all rights on {path}, or use another --data"
        yield Finding(Mark.WRONG, "data folder", f"{path} cannot be written to", advice)
        return
    owner = folder.owner()
    by = "no hub runs on it" if owner is None else f"process {owner} is the hub that owns it"
    yield Finding(Mark.RIGHT, "data folder", f"{path.resolve()}: {by}")
    free = shutil.disk_usage(path).free
    if free < _LITTLE_SPACE:
        detail = f"{free >> 20} MiB are free"
        yield Finding(Mark.DOUBTFUL, "disk", detail, "make room: a full disk stops the hub")


def _secrets(folder: DataFolder) -> Iterator[Finding]:
    for name in SECRET_FILES:
        path = folder.path / name
        try:
            open_to_others = path.stat().st_mode & 0o077
        except OSError:
            continue
        if open_to_others:
            detail = f"{path} can be read by other users of this machine"
            yield Finding(Mark.WRONG, "secrets", detail, f"run `chmod 600 {path}`")


def _database(folder: DataFolder) -> Finding:
    path = folder.database
    if not path.exists():
        return Finding(Mark.RIGHT, "database", "not there yet; `huntaze up` makes it")
    restore = "stop the hub, and put a backup of the data folder in its place"
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            answers = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Finding(Mark.WRONG, "database", f"{path}: {error}", restore)
    if answers != ["ok"]:
        return Finding(Mark.WRONG, "database", "; ".join(answers), restore)
    return Finding(Mark.RIGHT, "database", f"whole ({path.stat().st_size >> 10:,} KiB)")


def _names() -> Finding:
    problems: list[str] = []

    def look_up() -> None:
        try:
            socket.getaddrinfo(_A_PUBLIC_NAME, 443)
        except OSError as error:
            problems.append(str(error))

    # A thread that may be left behind: the look-up has no time limit of its own.
    thread = Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    if thread.is_alive():
        problems.append(f"no answer within {_PATIENCE_S:.0f} s")
    if not problems:
        return Finding(Mark.RIGHT, "DNS", "public names can be looked up")
    return Finding(
        Mark.DOUBTFUL,
        "DNS",
        f"{_A_PUBLIC_NAME} cannot be looked up ({problems[0]})",
        "webhooks to public names fail until this machine's DNS works",
    )


def _hub(folder: DataFolder) -> Finding:
    owner, running = folder.owner(), folder.running()
    if owner is None:
        return Finding(Mark.RIGHT, "hub", "none runs on this folder; `huntaze up` starts one")
    if running is None:
        detail = f"process {owner} is starting or stopping"
        return Finding(Mark.DOUBTFUL, "hub", detail, "look again in a few seconds")
    advice = "its log on stderr says more"
    try:
        answer = httpx.get(f"{running.url}/readyz", timeout=_PATIENCE_S, trust_env=False)
    except httpx.HTTPError as error:
        detail = f"{running.url} does not answer ({str(error) or type(error).__name__})"
        return Finding(Mark.WRONG, "hub", detail, f"{advice}; else restart process {owner}")
    if not answer.is_success:
        detail = f"{running.url}/readyz answers {answer.status_code}: {answer.text[:500]}"
        return Finding(Mark.WRONG, "hub", detail, advice)
    return Finding(Mark.RIGHT, "hub", f"{running.url} is ready (process {owner})")
