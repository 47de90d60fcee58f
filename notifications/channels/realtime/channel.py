"""The realtime channel: each notification is a row in the user's inbox, then a push.

The row is the delivery and is committed with it; the push only tells of it. Whoever was away, or
was too slow, asks the inbox for what came after the last `seq` it has.
"""

import logging
from typing import Protocol

from notifications.channels.realtime.items import item_id, notification, rank
from notifications.deliveries import Delivered, Delivery, Failed, State
from notifications.directory import User
from notifications.events import Event
from notifications.ports import Clock, Directory, PushGateway
from notifications.records import Attempted, InboxEntry, Placed, Route
from notifications.rendering import RenderError, Toast

log = logging.getLogger("huntaze")


class ToastRenderer(Protocol):
    """Puts an event into words."""

    def toast(self, event: Event, user: User) -> Toast:
        """The toast of `event`, in the language of `user`."""
        ...


class RealtimeChannel:
    """Delivers to the inbox and tells whoever is connected."""

    def __init__(
        self, directory: Directory, gateway: PushGateway, render: ToastRenderer, clock: Clock
    ) -> None:
        self._directory = directory
        self._gateway = gateway
        self._render = render
        self._clock = clock

    async def route(self, event: Event) -> Route:
        """The user it concerns, known or not; else the tenant's owners."""
        if event.user_id is not None:
            return Route(targets=(event.user_id,))
        owners = await self._directory.owners(event.tenant_id)
        if not owners:
            return Route(reason="no-owner")
        return Route(targets=tuple(dict.fromkeys(owner.id for owner in owners)))

    async def attempt(self, delivery: Delivery, event: Event) -> Attempted:
        """The row for the user's inbox: to be committed with the delivery, which it is."""
        user_id = delivery.target
        user = await self._directory.user(event.tenant_id, user_id)
        # The inbox of somebody we were never told of is there as soon as something is sent.
        try:
            toast = self._render.toast(event, user or User(tenant_id=event.tenant_id, id=user_id))
        except RenderError as error:
            _log_unrendered(event, error)
            failed = Failed(reason="render", retryable=False, detail=str(error))
            return Attempted(outcome=failed)
        entry = InboxEntry(
            tenant_id=event.tenant_id,
            user_id=user_id,
            item_id=item_id(event, user_id),
            rank=rank(event),
            event_id=event.id,
            type=event.type,
            title=toast.title,
            body=toast.body,
            url=toast.url,
            progress=toast.progress,
            created_at=self._clock.now(),
        )
        return Attempted(outcome=Delivered(), entry=entry)

    async def rate(self, lane: str) -> int | None:  # noqa: ARG002 - the port's signature
        """No limit."""
        return None

    async def recorded(self, delivery: Delivery, event: Event, placed: Placed) -> None:
        """Push the row that is now in the inbox; nothing where a later state was there first."""
        if placed.item is None:
            return
        data = notification(placed.item, placed.unread, late=_late(delivery))
        try:
            outcome = await self._gateway.push(event.tenant_id, delivery.target, data)
        except Exception:  # the row is committed: nothing here may undo that
            log.exception("push.broken", extra=event.log_context())
            return
        if not isinstance(outcome, Delivered):
            log.warning("push.refused", extra=event.log_context() | {"reason": outcome.reason})


def _log_unrendered(event: Event, error: RenderError) -> None:
    """Without a traceback: it could hold what the event carries."""
    fields = {"template": error.template, "line": error.line, "problem": error.problem}
    log.error("toast.not_rendered", extra={**event.log_context(), **fields})


def _late(delivery: Delivery) -> bool:
    """Whether it failed before the attempt that this is about.

    That attempt itself is counted already where the delivery is given as it was recorded.
    """
    counted = 1 if delivery.state is State.DELIVERED else 0
    return delivery.round > 1 or delivery.attempt > counted
