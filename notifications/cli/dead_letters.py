"""`huntaze dead-letters`: what nobody could deal with, seen, sent again and deleted."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson
from rich.progress import MofNCompleteColumn

from notifications.cli.access import Access, find_hub, hub_options, read_settings
from notifications.cli.calls import open_hub
from notifications.cli.complaints import Complaint, Hindrance
from notifications.cli.progress import progress_bar
from notifications.client import AsyncClient, NoHub
from notifications.errors import Unavailable
from notifications.text import one_line, shorten

_PATH = "/v1/dead-letters"
_PAGE = 200
_DESCRIPTION = 120
_AGAIN = "what was done stays done: to go on, say the same again"

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group(name="dead-letters")
def dead_letters() -> None:
    """Messages that nobody could deal with: list them, send them again, delete them.

    Needs the admin's key, for they are every tenant's.
    """


def _which(command: Command) -> Command:
    """What `replay` and `purge` take."""
    for option in (
        hub_options,
        click.option("--yes", is_flag=True, help="Do it without asking."),
        click.option("--dry-run", is_flag=True, help="Say what it would be, and do nothing."),
        click.option("--before", help="Those that died before that time, e.g. 2026-01-31T12:00Z."),
        click.option(
            "--number",
            "numbers",
            type=click.IntRange(0),
            multiple=True,
            help="Those with this sequence number; may be given several times.",
        ),
        click.option("--reason", help="Those that died of it."),
        click.argument("subscription"),
    ):
        command = option(command)
    return command


@dead_letters.command(name="list")
@click.argument("subscription", required=False)
@click.option("--reason", help="Those that died of it.")
@click.option("--json", "as_json", is_flag=True, help="Print each as a line of JSON, whole.")
@hub_options
@click.pass_context
def list_command(
    context: click.Context,
    subscription: str | None,
    reason: str | None,
    as_json: bool,
    url: str | None,
    key: str | None,
    data: Path,
) -> None:
    """List dead letters, oldest first: of SUBSCRIPTION, or of all.

    One line each: subscription, sequence number, when it died, after how many deliveries, the
    reason, the message's id, and what exactly was wrong.
    """
    access = find_hub(read_settings(context), url=url, key=key, data=data)
    query = {"limit": str(_PAGE), "subscription": subscription, "reason": reason}
    asyncio.run(_list(access, {n: v for n, v in query.items() if v is not None}, as_json))


@dead_letters.command()
@_which
@click.pass_context
def replay(context: click.Context, /, **options: Any) -> None:
    """Send dead letters of SUBSCRIPTION again, each to its own consumer alone.

    Says first how many there are, by reason, and asks. An event that was delivered all the same is
    not delivered twice. It can be cut short at any time and said again.
    """
    _move(context, _Wish(verb="replay", doing="replaying", done="sent again"), **options)


@dead_letters.command()
@_which
@click.pass_context
def purge(context: click.Context, /, **options: Any) -> None:
    """Delete dead letters of SUBSCRIPTION, for good.

    Says first how many there are, by reason, and asks. An event that nobody deals with any more
    shows as exhausted (purged). It can be cut short at any time and said again.
    """
    _move(context, _Wish(verb="purge", doing="purging", done="deleted"), **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What is to be done with them, in the words that say so."""

    verb: str
    doing: str
    done: str


def _move(
    context: click.Context,
    wish: _Wish,
    *,
    subscription: str,
    reason: str | None,
    numbers: tuple[int, ...],
    before: str | None,
    dry_run: bool,
    yes: bool,
    url: str | None,
    key: str | None,
    data: Path,
) -> None:
    access = find_hub(read_settings(context), url=url, key=key, data=data)
    chosen: dict[str, Any] = {"subscription": subscription}
    chosen |= {} if reason is None else {"reason": reason}
    chosen |= {} if before is None else {"before": _whole_time(before)}
    chosen |= {"sequenceNumbers": list(numbers)} if numbers else {}
    total, up_to = asyncio.run(_would(access, wish, chosen))
    if not total or dry_run:
        return
    if not yes and not click.confirm(f"{wish.verb} {_letters(total)}?"):
        raise Complaint("nothing was done")
    # Those that were counted, and none that died since.
    asyncio.run(_do(access, wish, {**chosen, "upTo": up_to}, total))


def _whole_time(text: str) -> str:
    """A time that people may have left the seconds out of."""
    day, _, rest = text.partition("T")
    return f"{day}T{rest[:5]}:00{rest[5:]}" if rest[5:6] in ("Z", "+", "-") else text


async def _list(access: Access, query: Mapping[str, str], as_json: bool) -> None:
    count = 0
    async with open_hub(access) as hub:
        async for page in _pages(hub, query):
            count += len(page)
            for item in page:
                click.echo(orjson.dumps(item) if as_json else _line(item))
    if not count and not as_json:
        click.echo("no dead letters")


async def _pages(hub: AsyncClient, query: Mapping[str, str]) -> AsyncIterator[list[dict[str, Any]]]:
    cursor: str | None = None
    while True:
        asked = {**query, **({} if cursor is None else {"cursor": cursor})}
        answer = _taken(await hub.call("GET", _PATH, params=asked))
        yield answer["items"]
        cursor = answer["nextCursor"]
        if cursor is None:
            return


async def _would(access: Access, wish: _Wish, chosen: Mapping[str, Any]) -> tuple[int, int]:
    """Say what it would be; how many in all, and the highest number that was looked at."""
    reasons: dict[str, int] = {}
    up_to = 0
    async with open_hub(access) as hub:
        async for answer in _steps(hub, wish, {**chosen, "dryRun": True}):
            up_to = answer["upTo"]
            for reason, count in answer["reasons"].items():
                reasons[reason] = reasons.get(reason, 0) + count
    for reason, count in sorted(reasons.items(), key=lambda each: -each[1]):
        click.echo(f"{count:>9,}  {one_line(reason)}")
    total = sum(reasons.values())
    click.echo(f"{total:>9,}  in all" if total else "there are none")
    return total, up_to


async def _do(access: Access, wish: _Wish, chosen: Mapping[str, Any], total: int) -> None:
    done = 0
    with progress_bar(wish.doing, total, MofNCompleteColumn()) as bar:
        async with open_hub(access, bar.say) as hub:
            try:
                async for answer in _steps(hub, wish, chosen):
                    done += answer["count"]
                    bar.show(done)
            except Unavailable as error:
                raise Hindrance(f"{error}\n{_letters(done)} {wish.done}; {_AGAIN}") from error
    click.echo(f"{_letters(done)} {wish.done}")


async def _steps(
    hub: AsyncClient, wish: _Wish, chosen: Mapping[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    """Do it page by page; each page's answer."""
    cursor: str | None = None
    while True:
        body = {**chosen, **({} if cursor is None else {"cursor": cursor})}
        path = f"{_PATH}/{wish.verb}"
        answer = _taken(await hub.call("POST", path, body=body, repeatable=True))
        yield answer
        cursor = answer["nextCursor"]
        if cursor is None:
            return


def _taken(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict) or "nextCursor" not in answer:
        raise NoHub("what answers is no hub: its answer is none of a hub's")
    return answer


def _line(item: Mapping[str, Any]) -> str:
    # Strangers wrote some of it: nothing of theirs may move the cursor of a terminal.
    told = shorten(one_line(item["description"]), _DESCRIPTION)
    return (
        f"{item['subscription']}  {item['sequenceNumber']}  {item['deadAt']}"
        f"  {item['deliveryCount']}x  {one_line(item['reason'])}"
        f"  {one_line(item['messageId'])}  {told}"
    )


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"
