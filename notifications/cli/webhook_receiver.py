"""A webhook receiver for people: verifies each request and tells of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from notifications.channels.webhooks.signatures import SignatureError, verify

MAX_BODY = 8 * 1024 * 1024
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request that came.

    Attributes:
        at: When.
        webhook_id: As it says, or empty.
        times: How often this webhook has come, this time included.
        headers: Its `webhook-…` headers.
        body: As it came.
        event: The body decoded; None where it is no JSON object.
        schemes: The signatures that fit, `v1` and `v1a`.
        problem: Why it is not verified, or None.
        answer: The status it was answered with.
    """

    at: datetime
    webhook_id: str
    times: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    event: Mapping[str, Any] | None
    schemes: Sequence[str]
    problem: str | None
    answer: int


class Receiver:
    """Answers as it is told to; else 204 to what is verified and 401 to what is not."""

    def __init__(
        self,
        tell: Callable[[Received], None],
        now: Callable[[], datetime],
        *,
        answers: Sequence[int] = (),
        slow_s: float = 0.0,
    ) -> None:
        """Configure; it trusts nobody before `trust`.

        Args:
            tell: Is told of each request, once it was answered for.
            now: The time.
            answers: Statuses to answer with, one after the other; the last one for ever.
            slow_s: Seconds to wait before answering.
        """
        self._tell = tell
        self._now = now
        self._answers = list(answers)
        self._slow_s = slow_s
        self._keys: Sequence[str] = ()
        self._seen: dict[str, int] = {}

    def trust(self, keys: Sequence[str]) -> None:
        """What verifies: `whsec_…` and `whpk_…`; each must fit."""
        self._keys = tuple(keys)

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[int]:
        """Listen while the block lasts.

        Args:
            host: The address to listen on.
            port: The port; 0 takes a free one.

        Returns:
            The port.

        Raises:
            OSError: It is taken, or none of this machine's.
        """
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/{path:.*}", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, shutdown_timeout=1).start()
            yield int(runner.addresses[0][1])
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        schemes, problem = self._verified(request.headers, body)
        answer = self._answer(problem)
        await asyncio.sleep(self._slow_s)
        webhook_id = request.headers.get("webhook-id", "")
        self._tell(
            Received(
                at=self._now(),
                webhook_id=webhook_id,
                times=self._count(webhook_id),
                headers={
                    name.lower(): value
                    for name, value in request.headers.items()
                    if name.lower().startswith("webhook-")
                },
                body=body,
                event=_event(body),
                schemes=schemes,
                problem=problem,
                answer=answer,
            )
        )
        return web.Response(status=answer)

    def _verified(self, headers: Mapping[str, str], body: bytes) -> tuple[list[str], str | None]:
        try:
            return [verify(headers, body, [key], self._now()).scheme for key in self._keys], None
        except SignatureError as error:
            return [], str(error)

    def _answer(self, problem: str | None) -> int:
        if self._answers:
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return HTTPStatus.NO_CONTENT if problem is None else HTTPStatus.UNAUTHORIZED

    def _count(self, webhook_id: str) -> int:
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        times = self._seen[webhook_id] = self._seen.get(webhook_id, 0) + 1
        return times


def _event(body: bytes) -> Mapping[str, Any] | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
