"""What `function_app.py` calls: from the Functions host's messages to the hub's handlers.

A trigger can only return, which completes the message, or raise, which gives it back at once. The
guard around each handler therefore raises for nothing that a later copy of the message can mend.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Protocol

from notifications.errors import HuntazeError
from notifications.messages import Complete, DeadLetter, Message, PropertyValue, Received
from notifications.worker import Guard

log = logging.getLogger("huntaze")


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


OpenGuards = Callable[[], AbstractAsyncContextManager[Mapping[str, Guard]]]
"""Builds the hub; gives the guarded handler of each subscription."""


class FunctionsHub:
    """The process's one hub: built on the first message, not by the ASGI lifespan.

    The host starts that with the first HTTP request, and a message may come before.
    """

    def __init__(self, open_guards: OpenGuards) -> None:
        self._open = open_guards
        self._guards: Mapping[str, Guard] | None = None
        self._building = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def handle(self, subscription: str, message: ServiceBusMessage) -> None:
        """Handle one message of a subscription.

        Raises:
            NotCompletedError: The host must give the message back.
        """
        guards = await self._build()
        received = received_from(message, subscription)
        (settlement,) = await guards[subscription]([received])
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
            raise NotCompletedError(f"{settlement.reason}: {settlement.description}")
        raise NotCompletedError("something of ours is away; the message must come again")

    async def close(self) -> None:
        """Finish what is in hand."""
        await self._stack.aclose()
        self._guards = None

    async def _build(self) -> Mapping[str, Guard]:
        async with self._building:
            if self._guards is None:
                self._guards = await self._stack.enter_async_context(self._open())
            return self._guards


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
