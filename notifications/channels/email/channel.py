"""The e-mail channel: whom an event is mailed to, and one attempt at one of them."""

import asyncio
import logging

from notifications.deliveries import Delivery, Failed, Outcome, Skipped
from notifications.directory import User
from notifications.events import Event
from notifications.ids import public_id
from notifications.mailing import Fate, Suppression, Suppressions, spelled
from notifications.ports import Clock, Directory, Mailer
from notifications.records import Attempted, Placed, Route
from notifications.rendering import Renderer, RenderError

REPORTED = frozenset(fate.value for fate in Fate)

TIME_LIMIT = 30.0
"""Seconds that one attempt may take."""

log = logging.getLogger("huntaze")


class EmailChannel:
    """Mails events to the user they concern, else to the tenant's owners.

    Implements `ports.ChannelAdapter`. A delivery's target is a user id; its mail's operation id
    is its public id, so that a mail that is sent again can be told from another one.
    """

    def __init__(
        self,
        directory: Directory,
        renderer: Renderer,
        mailer: Mailer,
        clock: Clock,
        suppressions: Suppressions | None = None,
        *,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        """Put it together.

        Args:
            directory: Who there is.
            renderer: Makes the mails.
            mailer: Carries them.
            clock: Tells how long the mailer took.
            suppressions: Where mails do not go; None where they go everywhere.
            time_limit: Seconds that one attempt may take.
        """
        self._directory = directory
        self._renderer = renderer
        self._mailer = mailer
        self._clock = clock
        self._suppressions = suppressions
        self._time_limit = time_limit

    async def route(self, event: Event) -> Route:
        """The event's user, or the owners; without an address there is no target, and a reason."""
        if event.user_id is not None:
            user = await self._directory.user(event.tenant_id, event.user_id)
            if user is None:
                return Route(reason="no-user")
            return Route(targets=(user.id,)) if user.email else Route(reason="no-address")
        owners = await self._directory.owners(event.tenant_id)
        if not owners:
            return Route(reason="no-owner")
        targets = tuple(dict.fromkeys(owner.id for owner in owners if owner.email))
        return Route(targets=targets) if targets else Route(reason="no-address")

    async def attempt(self, delivery: Delivery, event: Event) -> Attempted:
        """Render and send, to the address that the user has now."""
        user = await self._directory.user(delivery.tenant_id, delivery.target)
        if user is None:
            return Attempted(outcome=Skipped(reason="user-deleted"))
        if not user.email:
            return Attempted(outcome=Skipped(reason="no-address"))
        if self._suppressions is not None:
            address = spelled(user.email)
            found = await self._suppressions.find(delivery.tenant_id, address)
            if found is not None:
                return Attempted(outcome=Skipped(reason=_why(found)))
        return Attempted(outcome=await self._send(delivery, event, user))

    async def rate(self, lane: str) -> int | None:  # noqa: ARG002 - the port's signature
        """No limit."""
        return None

    async def recorded(self, delivery: Delivery, event: Event, placed: Placed) -> None:
        """Nothing: a mail is no inbox entry."""

    async def _send(self, delivery: Delivery, event: Event, user: User) -> Outcome:
        try:
            mail = self._renderer.mail(
                event, user, delivery=delivery, operation_id=public_id(delivery)
            )
        except RenderError as error:
            _log_unrendered(event, error)
            return Failed(reason="render", retryable=False, detail=str(error))
        begun = self._clock.now()
        try:
            async with asyncio.timeout(self._time_limit):
                outcome = await self._mailer.send(mail)
        except TimeoutError:
            outcome = Failed(reason="timeout", detail=f"no answer within {self._time_limit:g} s")
        log.debug(
            "mail.handed_over",
            extra={
                **event.log_context(),
                "deliveryId": mail.operation_id,
                "outcome": type(outcome).__name__,
                "durationMs": self._clock.now() - begun,
            },
        )
        return outcome


def _why(suppression: Suppression) -> str:
    """What a report said has a reason of its own; what the tenant said is repeated."""
    if suppression.reason in REPORTED:
        return f"suppressed-{suppression.reason}"
    return f"suppressed: {suppression.reason}"


def _log_unrendered(event: Event, error: RenderError) -> None:
    """Without a traceback: it could hold what the event carries."""
    fields = {"template": error.template, "line": error.line, "problem": error.problem}
    log.error("mail.not_rendered", extra={**event.log_context(), **fields})
