"""What `function_app.py` calls: from the Functions host's messages, ticks and requests to the hub.

A trigger can only return, which completes the message, or raise, which gives it back at once. The
guard of each subscription therefore raises for nothing that a later copy of the message can mend.
It stands here, before the hub, and not in it: a database that is away, or a setting that is wrong,
keeps a hub from being opened.

Nothing of the hub is loaded before something comes: the host waits for the app to be indexed.
"""

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from notifications import tracing
from notifications.bus.topology import CONSUMERS, EVENTS_TOPIC, JOBS_TOPIC, TOPOLOGY
from notifications.errors import HuntazeError, StoreUnavailable, Unavailable
from notifications.messages import (
    Complete,
    DeadLetter,
    Message,
    PropertyValue,
    Received,
    Settlement,
)
from notifications.outage import Outage
from notifications.ports import Clock
from notifications.retries import SECOND
from notifications.spans import key_of, under_way
from notifications.timing import SystemClock, SystemDice
from notifications.worker import Guard, in_spans

if TYPE_CHECKING:
    from notifications.bootstrap import OpenHub
    from notifications.bus.servicebus.bus import ServiceBus
    from notifications.extensions import Extension

log = logging.getLogger("huntaze")

HANDLED_WITHIN_S = 25 * 60
"""How long a message may be in hand: the host ends the whole process after 30 minutes."""

REPLAYED_WITHIN_MS = 50 * SECOND
"""How long one turn of the replays may take; they come every minute."""

NOTED_WITHIN_S = 5.0
"""How long writing down why a message is given back may take."""

_ALIVE = "/healthz"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class ServiceBusMessage(Protocol):
    """The part of `azure.functions.ServiceBusMessage` that is relied on."""

    message_id: str | None
    subject: str | None
    content_type: str | None
    application_properties: Mapping[str, Any] | None
    sequence_number: int | None
    delivery_count: int | None
    enqueued_time_utc: datetime | None

    def get_body(self) -> bytes:
        """The body's bytes."""
        ...


class NotCompletedError(HuntazeError):
    """Raised so that the host gives the message back; the broker dead-letters it in the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """The process's hub, and its API."""

    hub: "OpenHub"
    app: Asgi


class FunctionsHub:
    """The process's one hub: opened by whatever comes first, not by the ASGI lifespan.

    The host starts that with the first HTTP request, and a message may come before.
    """

    def __init__(
        self,
        variables: Mapping[str, str],
        extension: Callable[[], "Extension | None"],
        clock: Clock | None = None,
    ) -> None:
        """Promise it.

        Args:
            variables: The environment; read when the hub is opened.
            extension: Loads what it runs beside its own.
            clock: Says how long messages wait for it; the machine's by default.
        """
        self._variables = variables
        self._extension = extension
        self._stack = AsyncExitStack()
        self._opened: _Opened | None = None
        self._opening: asyncio.Task[_Opened] | None = None
        self._why: str | None = None
        self._spare: ServiceBus | None = None
        self._spare_lock = asyncio.Lock()
        self._clock, self._dice = clock or SystemClock(), SystemDice()
        self._outage = Outage(self._clock)

    # ---------------------------------------------------------------- what the functions call

    async def handle(self, subscription: str, message: ServiceBusMessage) -> None:
        """Handle one message of a subscription.

        Raises:
            NotCompletedError: The host must give the message back.
        """
        received = received_from(message, subscription)
        let_go_at = asyncio.get_running_loop().time() + HANDLED_WITHIN_S
        (settlement,) = await self._guard(subscription, let_go_at)([received])
        if isinstance(settlement, Complete):
            return
        if isinstance(settlement, DeadLetter):
            log.error(
                "message.rejected",
                extra={
                    "messageId": received.message.id,
                    "reason": settlement.reason,
                    "detail": settlement.description,
                },
            )
            await self._note(received, settlement)
            raise NotCompletedError(f"{settlement.reason}: {settlement.description}")
        raise NotCompletedError("something of ours is away; the message must come again")

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI application; 503 while there is no hub.

        Whether the process lives is answered at once: whoever asks would else end one that waits
        for its database.
        """
        path = scope["path"]
        if self._opened is None and path == _ALIVE:
            self._begin()
            app = _without_a_hub(path)
        else:
            try:
                app = (await self._open_once()).app
            except Unavailable:
                app = _without_a_hub(path)
        await app(scope, receive, send)

    async def sweep(self) -> None:
        """Move what should have moved.

        Raises:
            Unavailable: There is no hub at present.
        """
        await (await self._open_once()).hub.sweep.move()

    async def tidy(self) -> None:
        """Remove what is kept no longer; raises as `sweep`."""
        await (await self._open_once()).hub.sweep.tidy()

    async def replay(self) -> None:
        """Work replays off, for a while; raises as `sweep`."""
        await (await self._open_once()).hub.runner.turn(REPLAYED_WITHIN_MS)

    async def count_dead_letters(self) -> None:
        """Write down how many there are; raises as `sweep`, and where the bus is away."""
        from notifications.dead_letters import count

        hub = (await self._open_once()).hub
        names = [each.name for topic in TOPOLOGY for each in topic.subscriptions]
        found = await count(hub.dead_letters, names)
        level = logging.WARNING if any(found.values()) else logging.INFO
        log.log(level, "dead_letters.counted", extra=found)

    async def close(self) -> None:
        """Finish what is in hand, within HUNTAZE_DRAIN_SECONDS; what comes later opens it anew."""
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        stack, self._stack = self._stack, AsyncExitStack()
        self._opened = self._opening = self._spare = self._why = None
        self._spare_lock = asyncio.Lock()
        await stack.aclose()

    # ---------------------------------------------------------------- the hub, or none

    async def _open_once(self) -> _Opened:
        """The hub; one attempt at a time, whose end all get who wait for it.

        Raises:
            StoreUnavailable: It cannot be opened at present.
        """
        if self._opened is not None:
            return self._opened
        return await asyncio.shield(self._begin())

    def _begin(self) -> "asyncio.Task[_Opened]":
        """The attempt that is under way, or else a new one."""
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open(), name="open-hub")
            self._opening.add_done_callback(_told)
        return self._opening

    async def _open(self) -> _Opened:
        try:
            self._opened = await self._stack.enter_async_context(self._opened_hub())
        except Exception as error:
            self._tell(error)
            # Whatever keeps it away is ours to mend, and messages wait for it as for a database.
            raise StoreUnavailable(f"the hub cannot start: {error}") from error
        self._why = None
        log.info("hub.ready")
        return self._opened

    def _tell(self, error: Exception) -> None:
        """Write down why there is no hub; not each second anew."""
        if str(error) == self._why:
            return
        self._why = str(error)
        surprise = None if isinstance(error, HuntazeError) else error
        log.error("hub.not_opened", exc_info=surprise, extra={"detail": self._why})

    @asynccontextmanager
    async def _opened_hub(self) -> AsyncIterator[_Opened]:
        from notifications import functions_settings
        from notifications.api import create_app
        from notifications.bootstrap import open_hub
        from notifications.owner import own
        from notifications.policies import functions_policy

        settings, secrets = functions_settings.read(self._variables)
        log.setLevel(settings.log_level.upper())
        for warning in settings.warnings:
            log.warning("settings.doubtful", extra={"detail": warning})
        with (
            tempfile.TemporaryDirectory(prefix="huntaze-") as path,  # the package is read-only
            own(Path(path)) as folder,
        ):
            policy, extension = functions_policy(settings), self._extension()
            async with open_hub(settings, secrets, folder, policy, extension) as hub:
                yield _Opened(hub=hub, app=create_app(hub, sweeps=False))

    # ---------------------------------------------------------------- messages

    def _guard(self, subscription: str, let_go_at: float) -> Guard:
        """Waits for a hub and has it handle a message; sends it again where that is not done.

        Args:
            subscription: Where the message is from.
            let_go_at: By the loop's clock: until then it may be handled, however often.
        """
        consumer = _CONSUMERS.get(subscription, subscription)
        topic = EVENTS_TOPIC if subscription in _CONSUMERS else JOBS_TOPIC

        async def handle(messages: Sequence[Received]) -> Sequence[Settlement]:
            async with asyncio.timeout_at(let_go_at):
                hub = (await self._open_once()).hub
                handler = hub.guards[subscription].handler
                if tracing.active is None or under_way(key_of(messages[0].message)) is not None:
                    return await handler(messages)
                # There was no telemetry when the guard began: it is opened with the hub.
                return await in_spans(handler, messages)

        async def publish(messages: Sequence[Message]) -> None:
            bus = self._opened.hub.bus if self._opened else await self._spare_bus()
            await bus.publish(topic, messages)

        return Guard(consumer, handle, publish, self._clock, self._dice, self._outage)

    async def _note(self, received: Received, why: DeadLetter) -> None:
        """Write down what the broker cannot be told; the message is given back in any case."""
        rejections = self._opened.hub.rejections if self._opened else None
        if rejections is None:
            return
        try:
            async with asyncio.timeout(NOTED_WITHIN_S):
                await rejections.note(received.subscription, received.message.id, why)
        except Exception as error:
            away = isinstance(error, Unavailable | TimeoutError)
            log.warning(
                "message.reason_not_kept",
                exc_info=None if away else error,
                extra={
                    "messageId": received.message.id,
                    "detail": str(error) or type(error).__name__,
                },
            )

    async def _spare_bus(self) -> "ServiceBus":
        """A bus without a hub: connected when there is something to send again."""
        from notifications import functions_settings
        from notifications.bus.servicebus.bus import open_service_bus

        async with self._spare_lock:
            if self._spare is None:
                address, sending = functions_settings.read_service_bus(self._variables)
                if address is None:
                    raise Unavailable("there is no bus: SERVICEBUS_CONNECTION is not set")
                self._spare = await self._stack.enter_async_context(
                    open_service_bus(address, TOPOLOGY, self._clock, sending=sending)
                )
            return self._spare


def _told(opening: "asyncio.Task[_Opened]") -> None:
    """It may be that nobody waits for this end; why it failed is in the log."""
    if not opening.cancelled():
        opening.exception()


def _without_a_hub(path: str) -> Asgi:
    """What answers while there is none: the process lives, and that is all."""
    from starlette.responses import JSONResponse

    from notifications.http.problems import Problem

    if path == _ALIVE:
        return JSONResponse({"status": "ok"})  # nothing would be mended by another process
    # Whoever asks may be anybody; why is in the log.
    detail = "The hub cannot start at present; its log says why."
    return Problem(status=503, detail=detail, headers={"retry-after": "5"}).response(path)


def received_from(message: ServiceBusMessage, subscription: str) -> Received:
    """The host's message as the handlers take it. Its times are naive and mean UTC."""
    enqueued = message.enqueued_time_utc or datetime.now(UTC)
    if enqueued.tzinfo is None:
        enqueued = enqueued.replace(tzinfo=UTC)
    return Received(
        message=Message(
            id=message.message_id or "",
            body=message.get_body(),
            properties=_properties(message.application_properties or {}),
            subject=message.subject,
            content_type=message.content_type,
        ),
        subscription=subscription,
        sequence_number=message.sequence_number or 0,
        delivery_count=message.delivery_count or 1,
        enqueued_at=int(enqueued.timestamp() * 1000),
    )


def _properties(given: Mapping[str, Any]) -> dict[str, PropertyValue]:
    return {
        str(name): value if isinstance(value, str | int | float | bool) else str(value)
        for name, value in given.items()
        if value is not None
    }


_CONSUMERS = {subscription: consumer for consumer, subscription in CONSUMERS.items()}
