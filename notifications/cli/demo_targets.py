"""Who the demo delivers to: a customer's webhook receiver, two browsers, two mailboxes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import orjson
import websockets
from aiohttp import web

from notifications.channels.webhooks.signatures import SignatureError, verify
from notifications.cli.board import Board, Landing
from notifications.cli.demo_video import NAME as VIDEO

_LOOK_S = 0.01


class Receiver:
    """A webhook receiver as a customer would build it: verifies first, then believes.

    It answers 500 to the first call of one type of event, so that a retry is seen.
    """

    def __init__(self, board: Board, name: str, *, fails_once: str, video: bytes = b"") -> None:
        """Receive for a tenant.

        Args:
            board: Where webhooks land.
            name: What the board calls it.
            fails_once: The type of event whose first call is refused.
            video: What it serves beside.
        """
        self._board = board
        self._name = name
        self._fails_once = fails_once
        self._video = video
        self._keys: Sequence[str] = ()
        self._calls: dict[str, int] = {}

    def trust(self, *keys: str) -> None:
        """The endpoint's keys: each of them must fit."""
        self._keys = keys

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its URL."""
        app = web.Application()
        app.router.add_post("/webhooks", self._take)
        app.router.add_get(f"/{VIDEO}", self._show)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _show(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._video, content_type="video/mp4")

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            schemes = [
                verify(request.headers, body, [key], datetime.now(UTC)).scheme for key in self._keys
            ]
        except SignatureError as error:
            self._land(body, "", problem=f"the signature is wrong: {error}")
            return web.Response(status=401)
        event = orjson.loads(body)
        calls = self._calls[event["id"]] = self._calls.get(event["id"], 0) + 1
        if event["type"] == self._fails_once and calls == 1:
            self._board.note(f"(the {self._name} answers 500 on purpose, so that a retry is seen)")
            return web.Response(status=500)
        again = f", at attempt {calls}" if calls > 1 else ""
        self._land(body, f"{event['type']}, {' and '.join(schemes)} verified{again}")
        return web.Response(status=204)

    def _land(self, body: bytes, text: str, problem: str | None = None) -> None:
        try:
            event_id = str(orjson.loads(body)["id"])
        except (ValueError, KeyError, TypeError):
            event_id = ""
        self._board.land(
            Landing(event_id=event_id, what="webhook", who=self._name, text=text, problem=problem)
        )


@asynccontextmanager
async def browser(board: Board, user_id: str, url: str, protocol: str) -> AsyncIterator[None]:
    """Be a user's browser: an unmodified Web PubSub client, connected when the block begins.

    Args:
        board: Where toasts land.
        user_id: Whose.
        url: Where to connect, from `negotiate`.
        protocol: What to speak there.
    """
    spoken = [websockets.Subprotocol(protocol)]
    async with websockets.connect(url, subprotocols=spoken, proxy=None) as socket:
        await socket.recv()  # the greeting: from here on nothing is missed
        async with _meanwhile(board, f"{user_id}'s browser", _show_toasts(board, user_id, socket)):
            yield


async def _show_toasts(board: Board, user_id: str, socket: websockets.ClientConnection) -> None:
    async for text in socket:
        data = orjson.loads(text).get("data")
        if isinstance(data, dict) and data.get("kind") == "notification":
            item = data["item"]
            said = f"{item['title']} · {item['body']}" if item["body"] else item["title"]
            board.land(Landing(event_id=item["eventId"], what="toast", who=user_id, text=said))


@asynccontextmanager
async def mailboxes(
    board: Board,
    folder: Path,
    users: Mapping[str, str],
    event_of: Callable[[str], Awaitable[str]],
) -> AsyncIterator[None]:
    """Look into the mail folder while the block lasts.

    Args:
        board: Where mails land.
        folder: The hub's mail folder; what is there already is old.
        users: User ids by their address.
        event_of: The event's id by the delivery's.
    """
    seen: set[str] = set()
    _new_mails(folder, seen)
    async with _meanwhile(
        board, "the mail folder", _show_mails(board, folder, seen, users, event_of)
    ):
        yield


async def _show_mails(
    board: Board,
    folder: Path,
    seen: set[str],
    users: Mapping[str, str],
    event_of: Callable[[str], Awaitable[str]],
) -> None:
    while True:
        for path in _new_mails(folder, seen):
            at = board.now()
            mail = message_from_bytes(path.read_bytes(), policy=policy.default)
            address = mail["To"].addresses[0].addr_spec
            board.land(
                Landing(
                    event_id=await event_of(path.stem),
                    what="mail",
                    who=users.get(address, address),
                    text=f"{mail['Subject']} · {path.name}",
                    at=at,
                )
            )
        await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def _meanwhile(
    board: Board, watched: str, work: Coroutine[Any, Any, None]
) -> AsyncIterator[None]:
    """Work on the side while the block lasts."""

    def tell(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            board.note(f"{watched} cannot be watched any more: {error}")

    task = asyncio.create_task(work, name=watched)
    task.add_done_callback(tell)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _new_mails(folder: Path, seen: set[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    found = sorted(each for each in folder.glob("*.eml") if each.name not in seen)
    seen.update(each.name for each in found)
    return found
