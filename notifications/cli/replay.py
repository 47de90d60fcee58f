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
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from notifications.cli.access import Access, find_hub, hub_options, read_settings
from notifications.cli.calls import open_hub
from notifications.cli.complaints import Complaint, Hindrance
from notifications.cli.looks import terminal
from notifications.client import AsyncClient, Conflict, Invalid, NoHub

KINDS = ("exhausted", "parked", "absent", "delivered", "skipped")

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
    async with open_hub(access) as hub:
        preview = await _ask(hub, "POST", _path(wanted), body={**wanted.body, "dryRun": True})
    counts = [f"{number:,} {kind}" for kind, number in preview["matching"].items()]
    terminal().print(f"{preview['total']:,} to replay: {', '.join(counts)}", highlight=False)
    return int(preview["total"])


async def _start(access: Access, wanted: Wanted) -> None:
    async with open_hub(access) as hub:
        found = await _ask(hub, "POST", _path(wanted), body=wanted.body)
        terminal().print(f"replay {found['id']}", highlight=False)
        await _watch(hub, found, wanted.tenant)


async def _again(access: Access, name: str, tenant: str | None, *, cancel: bool) -> None:
    async with open_hub(access) as hub:
        path = f"/v1/replays/{quote(name, safe='')}"
        method, path = ("POST", f"{path}/cancel") if cancel else ("GET", path)
        found = await _ask(hub, method, path, query=_query(tenant))
        await _watch(hub, found, tenant)


async def _watch(hub: AsyncClient, found: Mapping[str, Any], tenant: str | None) -> None:
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
                found = await _ask(hub, "GET", path, query=_query(tenant))
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
    hub: AsyncClient,
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    try:
        # An endpoint has one replay under way at most: asked twice, the hub answers 409.
        answer = await hub.call(method, path, body=body, params=query, repeatable=True)
    except Invalid as error:
        if any("tenantId" in each.pointer + each.detail for each in error.errors):
            raise Hindrance("with the admin's key say whose it is: --tenant ID") from error
        raise
    except Conflict as error:
        raise Complaint(f"{error}; to see it: huntaze replay --resume ID") from error
    if not isinstance(answer, dict):
        raise NoHub("what answers is no hub: its answer is none of a hub's")
    return answer


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
