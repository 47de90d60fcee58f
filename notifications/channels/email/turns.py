"""When mails that exceed the account's pace may go: one after the other, tenants side by side.

Kept in the process: what is lost with it is asked again, and waits again. A mail that waits keeps
its place: others that come later do not overtake it, for they are given a turn behind it.
"""

from collections import OrderedDict
from dataclasses import dataclass

from notifications.retries import MINUTE, SECOND

MOST = 50_000
"""Mails whose turns are known; those beyond are given one each time they come."""

MISSED_AFTER = 2 * MINUTE
"""A mail that does not come when it is its turn was given up, or another process has it: it holds
up nobody any more."""

_EARLY = 1 * SECOND
"""Drains may come a little before a turn."""


@dataclass(slots=True)
class _Turn:
    tenant_id: str
    at: int


class Turns:
    """Who waits, and until when."""

    def __init__(self, spacing: int) -> None:
        """Mails of one tenant alone are `spacing` ms apart."""
        self._spacing = spacing
        self._waiting: OrderedDict[str, _Turn] = OrderedDict()
        self._last: dict[str, int] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def wait(self, mail_id: str, tenant_id: str, now: int) -> int:
        """The ms until this mail may ask; 0 where it may now. Gives it a turn where others wait."""
        self._tidy(now)
        turn = self._waiting.get(mail_id)
        if turn is not None:
            return turn.at - now if turn.at > now + _EARLY else 0
        if not self._waiting:
            return 0
        return self._give(mail_id, tenant_id, now, now)

    def refused(self, mail_id: str, tenant_id: str, now: int, room_at: int) -> int:
        """There was no room after all; the ms until this mail may ask again."""
        turn = self._waiting.get(mail_id)
        if turn is None:
            return self._give(mail_id, tenant_id, now, room_at)
        turn.at = room_at  # it was the first: it stays that
        return room_at - now

    def gone(self, mail_id: str) -> None:
        """This mail was sent."""
        turn = self._waiting.pop(mail_id, None)
        if turn is not None and not any(  # so that its next mail begins at once
            each.tenant_id == turn.tenant_id for each in self._waiting.values()
        ):
            self._last.pop(turn.tenant_id, None)

    def _give(self, mail_id: str, tenant_id: str, now: int, earliest: int) -> int:
        # With each tenant that waits the turns of all lie further apart.
        tenants = len(self._last) + (tenant_id not in self._last)
        last = self._last.get(tenant_id)
        at = earliest if last is None else max(last + self._spacing * tenants, earliest)
        self._last[tenant_id] = at
        if len(self._waiting) < MOST:
            self._waiting[mail_id] = _Turn(tenant_id, at)
        return max(at - now, _EARLY)

    def _tidy(self, now: int) -> None:
        while self._waiting:
            mail_id = next(iter(self._waiting))
            if self._waiting[mail_id].at > now - MISSED_AFTER:
                return
            self.gone(mail_id)
