"""`huntaze doctor`: what is configured, and what answers."""

import platform
import socket
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import httpx
from rich.text import Text

from notifications import functions_settings
from notifications.cli.access import data_option
from notifications.cli.doctor_bus import examine_bus
from notifications.cli.doctor_data import examine_data
from notifications.cli.doctor_mail import examine_mail
from notifications.cli.doctor_realtime import examine_realtime
from notifications.cli.findings import Finding, Mark
from notifications.cli.host import host_of
from notifications.cli.looks import terminal
from notifications.errors import ConfigurationError
from notifications.owner import DataFolder
from notifications.rendering import Renderer
from notifications.settings import Settings
from notifications.shipped import TEMPLATES, load_catalogue

PYTHON = (3, 11)
SQLITE = (3, 38)
"""The oldest that have all that the hub's statements use."""

_PATIENCE_S = 5.0
_A_PUBLIC_NAME = "example.com"
_A_ZONE = "Europe/Paris"


@click.command()
@data_option
@click.option(
    "--functions", is_flag=True, help="Hold the settings against what a function app needs, too."
)
@click.pass_context
def doctor(context: click.Context, data: Path, functions: bool) -> None:
    """Check what is configured and what answers, and say what to do about what does not.

    Changes nothing; a hub may run meanwhile. Exits with 1 when something is wrong.
    """
    findings = list(_examine(context, DataFolder(data), functions))
    console = terminal()
    for finding in findings:
        line = Text.assemble(finding.mark.value, f"  {finding.subject:<11}  {finding.detail}")
        if finding.advice:
            line.append(f"\n{'→':>15}  ").append(finding.advice, style="bold")
        console.print(line, soft_wrap=True)
    if any(finding.mark is Mark.WRONG for finding in findings):
        context.exit(1)


def _examine(context: click.Context, folder: DataFolder, functions: bool) -> Iterator[Finding]:
    yield from _versions()
    settings, findings = _settings(context, functions)
    yield from findings
    yield from _catalogue()
    yield _time_zones()
    yield from examine_data(folder, settings)
    yield _names()
    yield from examine_realtime(settings)
    yield from examine_mail(folder, settings)
    yield from examine_bus(settings)
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


def _settings(context: click.Context, functions: bool) -> tuple[Settings, list[Finding]]:
    """What is set; the defaults, where it is wrong, so that the rest can be looked at."""
    variables = host_of(context).variables
    try:
        settings = functions_settings.read(variables)[0] if functions else Settings.read(variables)
    except ConfigurationError as error:
        advice = "docs/settings.md says what it takes"
        problems = str(error).splitlines()
        return Settings(), [Finding(Mark.WRONG, "settings", each, advice) for each in problems]
    if not settings.warnings:
        return settings, [Finding(Mark.RIGHT, "settings", "each that is set is right")]
    advice = "correct its name, or remove it"
    return settings, [
        Finding(Mark.DOUBTFUL, "settings", warning, advice) for warning in settings.warnings
    ]


def _catalogue() -> Iterator[Finding]:
    again = "install this release again: its files are damaged"
    try:
        types = load_catalogue().types()
    except ConfigurationError as error:
        yield Finding(Mark.WRONG, "schemas", str(error), again)
    else:
        yield Finding(Mark.RIGHT, "schemas", f"{len(types)} event types")
    try:
        Renderer(TEMPLATES).check()
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
    ready = f"{running.url} is ready (process {owner})"
    degraded = _degraded(answer)
    if degraded:
        return Finding(Mark.DOUBTFUL, "hub", f"{ready}, but for {degraded}", advice)
    return Finding(Mark.RIGHT, "hub", ready)


def _degraded(answer: httpx.Response) -> str:
    """What does not work meanwhile, and why: `email (smtp-535)`."""
    try:
        parts = answer.json().get("degraded") or {}
        return ", ".join(f"{part} ({reason})" for part, reason in sorted(parts.items()))
    except (ValueError, AttributeError):
        return ""  # a hub of another release
