"""`huntaze replay`: a range of events to an endpoint once more."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from notifications.cli.access import Access, find_hub, hub_options, read_settings
from notifications.cli.calls import Caller, json_of, new_client, reason_of
from notifications.cli.complaints import Complaint
from notifications.cli.looks import terminal

KINDS = ("exhausted", "parked", "absent", "delivered", "skipped")

CONFLICT = 409

_LOOK_AGAIN_S = 0.2
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be replayed, as it was entered."""

    endpoint: str
    tenant: str | None
    body: Mapping[str, Any]


@click.command()
@click.option("--endpoint", help="The endpoint's id.")
@click.option("--since", help="Events accepted from then on: a time, or how long ago, e.g. 6h, 2d.")
@click.option("--until", help="Events accepted before then, likewise.  [default: now]")
@click.option("--type", "types", multiple=True, help="A type, or job.*; again for more.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(KINDS),
    help="What to take up; again for more.  [default: exhausted, parked, absent]",
)
@click.option("--dry-run", is_flag=True, help="Only say how much it would be.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--resume", metavar="ID", help="Show a replay that goes on in the hub.")
@click.option("--cancel", metavar="ID", help="Cancel a replay.")
@click.option("--tenant", help="The endpoint's tenant, with the admin's key.")
@hub_options
@click.pass_context
def replay(
    context: click.Context,
    endpoint: str | None,
    since: str | None,
    until: str | None,
    types: Sequence[str],
    states: Sequence[str],
    dry_run: bool,
    yes: bool,
    resume: str | None,
    cancel: str | None,
    tenant: str | None,
    url: str | None,
    key: str | None,
    data: Path,
) -> None:
    """Send a range of events to an endpoint once more.

    Shows first how much there is, and asks. What did not arrive is taken up: deliveries that are
    exhausted or parked, and events that the endpoint asks for and never got (absent). The hub works
    it off by itself: a command that is interrupted interrupts nothing.
    """
    access = find_hub(read_settings(context), url=url, key=key, data=data)
    if resume and cancel:
        raise click.UsageError("--resume and --cancel exclude each other")
    if resume or cancel:
        _run(_again(access, resume or cancel or "", tenant, cancel=cancel is not None))
        return
    if endpoint is None or since is None:
        raise click.UsageError("--endpoint and --since are needed, or --resume")
    now = datetime.now(UTC)
    wanted = Wanted(
        endpoint=endpoint,
        tenant=tenant,
        body={
            "since": _time(since, now, "--since"),
            **({"until": _time(until, now, "--until")} if until else {}),
            **({"eventTypes": list(types)} if types else {}),
            **({"states": list(states)} if states else {}),
            **({"tenantId": tenant} if tenant else {}),
        },
    )
    if _run(_preview(access, wanted)) == 0 or dry_run:
        return
    if not yes:
        click.confirm("replay them?", abort=True, err=True)
    _run(_start(access, wanted))


def _run(work: Any) -> Any:
    return asyncio.run(work)


async def _preview(access: Access, wanted: Wanted) -> int:
    async with new_client() as client:
        caller = Caller(access, client, _say)
        preview = await _ask(caller, "POST", _path(wanted), body={**wanted.body, "dryRun": True})
    counts = [f"{number:,} {kind}" for kind, number in preview["matching"].items()]
    terminal().print(f"{preview['total']:,} to replay: {', '.join(counts)}", highlight=False)
    return int(preview["total"])


async def _start(access: Access, wanted: Wanted) -> None:
    async with new_client() as client:
        calls = Caller(access, client, _say)
        found = await _ask(calls, "POST", _path(wanted), body=wanted.body)
        terminal().print(f"replay {found['id']}", highlight=False)
        await _watch(calls, found, wanted.tenant)


async def _again(access: Access, name: str, tenant: str | None, *, cancel: bool) -> None:
    async with new_client() as client:
        calls = Caller(access, client, _say)
        path = f"/v1/replays/{quote(name, safe='')}"
        method, path = ("POST", f"{path}/cancel") if cancel else ("GET", path)
        found = await _ask(calls, method, path, query=_query(tenant))
        await _watch(calls, found, tenant)


async def _watch(calls: Caller, found: Mapping[str, Any], tenant: str | None) -> None:
    """Show how it goes on until it is over; whoever stops watching stops nothing else."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("replaying", total=found["total"])
            while found["state"] == "running":
                waits = f" (waits: {found['reason']})" if found["reason"] else ""
                bar.update(task, completed=_done(found), description=f"replaying{waits}")
                await asyncio.sleep(_LOOK_AGAIN_S)
                path = f"/v1/replays/{found['id']}"
                found = await _ask(calls, "GET", path, query=_query(tenant))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Complaint(
            f"replay {found['id']} goes on in the hub, {_done(found):,} of {found['total']:,};"
            f" to see it again: huntaze replay --resume {found['id']}"
        ) from None
    text = f"{found['retried']:,} tried again, {found['added']:,} for the first time"
    if found["state"] == "cancelled":
        raise Complaint(f"replay {found['id']} was cancelled ({found['reason']}): {text}")
    terminal().print(f"done: {text}", highlight=False)


async def _ask(
    calls: Caller,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> Any:
    content = None if body is None else orjson.dumps(body)
    response = await calls.call(method, path, content=content, params=query)
    document = json_of(response)
    if response.is_success and isinstance(document, dict):
        return document
    told = reason_of(response, document)
    if response.status_code == CONFLICT:
        told += "; to see it: huntaze replay --resume ID"
    raise Complaint(told)


def _say(text: str) -> None:
    click.echo(f"huntaze: {text}", err=True)


def _done(found: Mapping[str, Any]) -> int:
    return int(found["retried"]) + int(found["added"])


def _path(wanted: Wanted) -> str:
    return f"/v1/webhook-endpoints/{quote(wanted.endpoint, safe='')}/replay"


def _query(tenant: str | None) -> dict[str, str]:
    return {"tenantId": tenant} if tenant else {}


def _time(text: str, now: datetime, option: str) -> str:
    """A time as the API takes it: as it was entered, or so long ago."""
    ago = _AGO.fullmatch(text)
    if ago is None:
        try:
            at = datetime.fromisoformat(text.upper())
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            raise click.BadParameter(
                "a time with a zone, e.g. 2026-01-31T12:00:00Z, or how long ago, e.g. 6h",
                param_hint=option,
            )
        return at.isoformat()
    try:
        return (now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).isoformat()
    except OverflowError:
        raise click.BadParameter("is before all time", param_hint=option) from None
