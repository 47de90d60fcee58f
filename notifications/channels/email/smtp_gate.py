"""Keeps mails back while the mail server takes none of them for a reason that is ours to mend."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from notifications.channels.email.smtp_answers import Trouble, Verdict
from notifications.deliveries import Delivered, Outcome, Postponed
from notifications.ports import Clock
from notifications.retries import MINUTE, SECOND

log = logging.getLogger("huntaze")

FIRST_PAUSE = 5 * SECOND
LAST_PAUSE = 5 * MINUTE
"""After each attempt that met the same trouble the pause doubles, up to this."""

_PROBE_WITHIN = 5 * SECOND

Attempt = Callable[[], Awaitable[Delivered | Postponed | Verdict]]


class Gate:
    """Lets attempts through; after `Trouble` one at a time, and those less and less often.

    Signing in again and again with a password that is refused locks accounts, and a mail that is
    not tried must not use up its attempts.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._probing = asyncio.Lock()
        self._pause = 0
        self._opens_at = 0
        self.trouble: Trouble | None = None

    async def through(self, attempt: Attempt) -> Outcome:
        """The attempt's outcome; `Postponed` while the gate is shut."""
        if self.trouble is None:
            return await self._try(attempt)
        if (postponed := self._shut()) is not None:
            return postponed
        try:
            async with asyncio.timeout(_PROBE_WITHIN / SECOND):
                await self._probing.acquire()
        except TimeoutError:
            return Postponed(reason=self._reason(), again_in=_PROBE_WITHIN)
        try:
            return self._shut() or await self._try(attempt)
        finally:
            self._probing.release()

    def _shut(self) -> Postponed | None:
        left = self._opens_at - self._clock.now()
        if self.trouble is None or left <= 0:
            return None
        return Postponed(reason=self._reason(), again_in=left)

    async def _try(self, attempt: Attempt) -> Outcome:
        began = self._clock.now()
        verdict = await attempt()
        if isinstance(verdict, Trouble):
            self._close(verdict, began)
            return Postponed(
                reason=verdict.reason, again_in=max(self._opens_at - self._clock.now(), SECOND)
            )
        fresh = isinstance(verdict, Delivered) or began >= self._opens_at
        if self.trouble is not None and fresh and not isinstance(verdict, Postponed):
            log.info("mail.resumed", extra={"reason": self.trouble.reason})
            self.trouble, self._pause, self._opens_at = None, 0, 0
        return verdict

    def _close(self, trouble: Trouble, began: int) -> None:
        if self.trouble is not None and began < self._opens_at:
            return  # it began before this was known, and tells nothing new
        self._pause = min(self._pause * 2, LAST_PAUSE) or FIRST_PAUSE
        self._opens_at = self._clock.now() + self._pause
        self.trouble = trouble
        log.error(
            "mail.stopped",
            extra={
                "reason": trouble.reason,
                "detail": trouble.detail,
                "advice": trouble.advice,
                "againInMs": self._pause,
            },
        )

    def _reason(self) -> str:
        return "the mailer was opened again" if self.trouble is None else self.trouble.reason
