"""`huntaze webhooks listen`: a receiver that verifies, and shows what comes."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import orjson
from rich.text import Text

from notifications.channels.webhooks.signatures import SignatureError, read_key
from notifications.cli.access import Access, find_hub, hub_options, read_settings
from notifications.cli.calls import open_hub
from notifications.cli.complaints import Hindrance
from notifications.cli.looks import RIGHT, WRONG, terminal
from notifications.cli.webhook_receiver import Received, Receiver
from notifications.client import AsyncClient, Endpoint, HubError, Invalid, Retries
from notifications.events import is_tenant_id
from notifications.setting_forms import seconds
from notifications.text import clean, one_line, shorten
from notifications.timing import SystemClock

_SLOWEST_MS = 3_600_000
_LAST_WORDS = Retries(tries=2, first_pause=0.2)
_SHOWN = 16 * 1024
"""Characters of an event that are shown; `--json` has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where to listen, and where the hub finds it."""

    host: str
    port: int
    public: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The endpoint to make on a hub."""

    access: Access
    tenant_id: str | None
    types: Sequence[str]


def _duration(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        return seconds(0, _SLOWEST_MS)(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port.  [default: a free one]",
)
@click.option(
    "--secret",
    "keys",
    multiple=True,
    help="What verifies, whsec_… or whpk_…; each must fit. No hub is asked for an endpoint then.",
)
@click.option("--tenant", help="Whose webhooks, where the key is the admin's.")
@click.option(
    "--type",
    "types",
    multiple=True,
    default=("*",),
    show_default=True,
    help="Which types of events, such as job.*",
)
@click.option(
    "--public",
    help="The URL under which the hub reaches this receiver, where it is another.",
)
@click.option(
    "--answer",
    "answers",
    type=click.IntRange(200, 599),
    multiple=True,
    help="Answer with this status; several are taken in turn, the last for ever."
    "  [default: 204, or 401 to what is not verified]",
)
@click.option("--slow", "slow_s", callback=_duration, help="Wait before answering, such as 10s.")
@click.option("--count", type=click.IntRange(1), help="End after this many.  [default: at Ctrl-C]")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each webhook.")
@hub_options
@click.pass_context
def listen(
    context: click.Context,
    host: str,
    port: int,
    keys: Sequence[str],
    tenant: str | None,
    types: Sequence[str],
    public: str | None,
    answers: Sequence[int],
    slow_s: float,
    count: int | None,
    as_json: bool,
    url: str | None,
    key: str | None,
    data: Path,
) -> None:
    """Listen for webhooks, verify them, and show them.

    Makes an endpoint for itself on a running hub and removes it at the end. That hub has to let
    webhooks reach this machine: HUNTAZE_WEBHOOK_ALLOWED_NETWORKS=127.0.0.0/8, or --public with the
    URL of a tunnel. With --secret it just listens, for an endpoint that you made.
    """
    settings = read_settings(context)
    if tenant is not None and not is_tenant_id(tenant):
        raise click.BadParameter("1-36 characters of A-Z a-z 0-9 _ -", param_hint="--tenant")
    _check_keys(keys)
    wanted = None
    if not keys:
        access = find_hub(settings, url=url, key=key, data=data)
        wanted = _Wanted(access=access, tenant_id=tenant, types=types)
    screen = _Screen(count, as_json=as_json)
    receiver = Receiver(screen.show, SystemClock().wall, answers=answers, slow_s=slow_s)
    receiver.trust(keys)
    asyncio.run(_listen(receiver, _Place(host=host, port=port, public=public), wanted, screen))


def _check_keys(keys: Sequence[str]) -> None:
    for each in keys:
        try:
            read_key(each)
        except SignatureError as error:
            raise click.BadParameter(str(error), param_hint="--secret") from error


class _Screen:
    """Shows what came, and knows when it is enough."""

    def __init__(self, count: int | None, *, as_json: bool) -> None:
        self._left = count
        self._as_json = as_json
        self._console = terminal()
        self.done = asyncio.Event()

    def say(self, text: str) -> None:
        """Something about the receiver itself."""
        click.echo(text, err=self._as_json)

    def show(self, received: Received) -> None:
        """A webhook that came."""
        if self._as_json:
            click.echo(orjson.dumps(_figures(received)))
        else:
            self._print(received)
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.done.set()

    def _print(self, received: Received) -> None:
        event = received.event or {}
        told = received.problem or f"{' and '.join(received.schemes)} verified"
        times = "" if received.times == 1 else f" (received {received.times} times)"
        self._console.print(
            RIGHT if received.problem is None else WRONG,
            Text.assemble(
                f"{received.at.astimezone():%H:%M:%S}  ",
                (_shown(event.get("type", "no event")), "bold"),
                f"  {_shown(event.get('id', ''))}{times}  {told}  → {received.answer}",
            ),
            soft_wrap=True,
        )
        for line in _body(received).splitlines():
            self._console.print(Text(f"    {line}", style="dim"), soft_wrap=True)


def _shown(value: object) -> str:
    return one_line(str(value))


def _body(received: Received) -> str:
    """The event, indented; what is none as it came, with the headers that matter."""
    if received.event is not None and received.problem is None:
        text = orjson.dumps(received.event, option=orjson.OPT_INDENT_2).decode()
    else:
        heads = [f"{name}: {one_line(value)}" for name, value in received.headers.items()]
        text = "\n".join([*heads, received.body.decode(errors="replace")])
    return clean(shorten(text, _SHOWN))


def _figures(received: Received) -> dict[str, object]:
    return {
        "at": received.at,
        "webhookId": received.webhook_id,
        "times": received.times,
        "verified": received.problem is None,
        "signatures": received.schemes,
        "problem": received.problem,
        "answer": received.answer,
        "headers": received.headers,
        "event": received.event,
    }


async def _listen(
    receiver: Receiver, place: _Place, wanted: _Wanted | None, screen: _Screen
) -> None:
    with _signals(screen.done):
        try:
            async with receiver.listening(place.host, place.port) as port:
                host = f"[{place.host}]" if ":" in place.host else place.host
                url = place.public or f"http://{host}:{port}/"
                if wanted is None:
                    screen.say(f"listening on {url}  (Ctrl-C ends it)")
                    await screen.done.wait()
                    return
                async with _endpoint(receiver, wanted, url, screen) as endpoint:
                    screen.say(
                        f"listening on {url}  (endpoint {endpoint.id} of {wanted.access.url};"
                        " Ctrl-C ends it and removes the endpoint)"
                    )
                    await screen.done.wait()
        except OSError as error:
            raise Hindrance(
                f"cannot listen on {place.host}:{place.port} ({error.strerror or error}):"
                " give another --port or --host"
            ) from error


@asynccontextmanager
async def _endpoint(
    receiver: Receiver, wanted: _Wanted, url: str, screen: _Screen
) -> AsyncIterator[Endpoint]:
    """An endpoint of the hub's that leads here while the block lasts."""
    access = wanted.access
    async with open_hub(access, screen.say, tenant_id=wanted.tenant_id, retries=_LAST_WORDS) as hub:
        made = await _made(hub, wanted, url)
        assert made.secret is not None, "it was just made"
        receiver.trust([made.secret, made.public_key])
        try:
            yield made
        finally:
            try:
                await hub.delete_endpoint(made.id)
            except HubError as error:
                screen.say(f"the endpoint {made.id} is still there: {error}")


async def _made(hub: AsyncClient, wanted: _Wanted, url: str) -> Endpoint:
    try:
        return await hub.create_endpoint(
            url,
            event_types=wanted.types,
            description="huntaze webhooks listen",
            signatures=("v1", "v1a"),
        )
    except Invalid as error:
        places = {each.pointer for each in error.errors}
        if "/url" in places:
            raise Hindrance(
                f"the hub may not send webhooks to {url} ({error}): start it with"
                " HUNTAZE_WEBHOOK_ALLOWED_NETWORKS=127.0.0.0/8, or give --public with a URL that"
                " leads here"
            ) from error
        if "/tenantId" in places:
            raise Hindrance(f"whose webhooks? give --tenant ({error})") from error
        raise


@contextmanager
def _signals(done: asyncio.Event) -> Iterator[None]:
    """End in an orderly way, so that the endpoint goes."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, done.set)
    try:
        yield
    finally:
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
