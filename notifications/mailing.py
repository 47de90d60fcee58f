"""What becomes of mails once a managed service has them: reports, suppressions, the account's pace.

Values, rules and ports; pure: no I/O, no clock.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import idna

from notifications.retries import HOUR, MINUTE

# --------------------------------------------------------------------------- suppressions


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """An address that a tenant's mails no longer go to.

    Attributes:
        tenant_id: Whose mails.
        address: In its one spelling, see `spelled`.
        reason: `bounced`, `complained`, or the tenant's own words, on one line.
        created_at: Since when, ms since the epoch.
    """

    tenant_id: str
    address: str
    reason: str
    created_at: int


def spelled(address: str) -> str:
    """The one spelling under which an address is found, however it is written."""
    local, _, domain = address.strip().casefold().rpartition("@")
    if not domain.isascii():
        with suppress(idna.IDNAError):  # what is none is found as it is written
            domain = idna.encode(domain, uts46=True).decode("ascii")
    return f"{local}@{domain}"


class Suppressions(Protocol):
    """Addresses that are not mailed. Answers of `find` may be 5 s old, never older.

    A change made through this process shows at once. Addresses are in their one spelling.
    """

    async def find(self, tenant_id: str, address: str) -> Suppression | None:
        """The suppression of an address, or None."""
        ...

    async def save(self, suppression: Suppression, *, most: int) -> bool:
        """Create one or replace its reason; False where the tenant would have more than `most`."""
        ...

    async def delete(self, tenant_id: str, address: str) -> bool:
        """Mail to it again; whether there was one."""
        ...

    async def page(self, tenant_id: str, *, after: str, limit: int) -> Sequence[Suppression]:
        """A tenant's, by address, those behind `after`."""
        ...


# --------------------------------------------------------------------------- reports


class Fate(StrEnum):
    """What a report says of a mail that was taken; what its delivery then ends with."""

    BOUNCED = "bounced"
    """The address takes none."""
    COMPLAINED = "complained"
    """It was filtered as spam, or its reader said so."""
    UNDELIVERED = "undelivered"
    """This mail did not arrive; others may."""

    @property
    def suppresses(self) -> bool:
        """Whether nothing more is to go there."""
        return self is not Fate.UNDELIVERED


@dataclass(frozen=True, slots=True, kw_only=True)
class MailReport:
    """What became of a mail.

    Attributes:
        number: The delivery's number in the ledger.
        round: The round that it was sent in.
        recipient: The address, as the service writes it.
        fate: What became of it.
        at: When, ms since the epoch.
    """

    number: int
    round: int
    recipient: str
    fate: Fate
    at: int


class MailReports(Protocol):
    """Takes reports in."""

    async def take(self, report: MailReport) -> bool:
        """Note the address and end the delivery. The same report again changes nothing.

        False where the delivery is not written down yet: report it again later.
        """
        ...


_ROUND_BITS = 16
_CHECK_BITS = 122 - 63 - _ROUND_BITS


def mail_guid(number: int, round_number: int) -> str:
    """The id of a mail at the service: the same however often an attempt is made.

    It carries delivery and round, so that a report leads back to them without a table, and a
    check, so that no other id does. A new round is another mail: the service would take the
    former id for the former mail.
    """
    round_number = min(round_number, (1 << _ROUND_BITS) - 1)
    payload = (number << _ROUND_BITS) | round_number
    bits = (payload << _CHECK_BITS) | _check(payload)
    # As a UUID of version 8, variant 2 (RFC 9562): 48, 12 and 62 bits of one's own.
    high, middle, low = bits >> 74, (bits >> 62) & 0xFFF, bits & ((1 << 62) - 1)
    return str(UUID(int=(high << 80) | (8 << 76) | (middle << 64) | (2 << 62) | low))


def read_mail_guid(text: str) -> tuple[int, int] | None:
    """Delivery number and round of an id; None where it is none of ours."""
    try:
        value = UUID(text).int
    except ValueError:
        return None
    if (value >> 76) & 0xF != 8 or (value >> 62) & 0x3 != 2:
        return None
    bits = ((value >> 80) << 74) | (((value >> 64) & 0xFFF) << 62) | (value & ((1 << 62) - 1))
    payload = bits >> _CHECK_BITS
    if bits & ((1 << _CHECK_BITS) - 1) != _check(payload):
        return None
    return payload >> _ROUND_BITS, payload & ((1 << _ROUND_BITS) - 1)


def _check(payload: int) -> int:
    digest = hashlib.sha256(b"huntaze mail" + payload.to_bytes(10)).digest()
    return int.from_bytes(digest[:8]) & ((1 << _CHECK_BITS) - 1)


# --------------------------------------------------------------------------- the account's pace


@dataclass(frozen=True, slots=True, kw_only=True)
class MailLimits:
    """How many mails an account may send: within any minute, and within any hour."""

    per_minute: int
    per_hour: int

    @property
    def spacing(self) -> int:
        """Milliseconds between two mails that both limits bear for ever."""
        return max(MINUTE // self.per_minute, HOUR // self.per_hour)


STANDARD_LIMITS = MailLimits(per_minute=30, per_hour=100)
"""What a new subscription may send from a domain of its own."""


class MailBudget(Protocol):
    """What the account may still send, whichever process sends it."""

    async def draw(self) -> int:
        """Send one: 0; else the milliseconds after which there may be room, and nothing is drawn.

        Raises:
            StoreUnavailable: Nobody knows; nothing was drawn.
        """
        ...

    async def hold(self, ms: int) -> None:
        """Let nothing be drawn for so long: the service said so."""
        ...


SLICES = 20
"""A window is counted in so many slices: what is drawn in one counts until all of it has gone."""

Drawn = Mapping[str, int]
"""How many were drawn, by slice, of one window."""


def draw(
    drawn: Mapping[str, Drawn], limits: MailLimits, now: int
) -> tuple[Mapping[str, Drawn], int]:
    """Draw one, where every window has room.

    Args:
        drawn: What was drawn, by window.
        limits: What a window bears.
        now: ms since the epoch.

    Returns:
        What was drawn now, and 0; or the same as before, and the milliseconds until there may be
        room.
    """
    wait = 0
    after: dict[str, Drawn] = {}
    for name, window, most in (
        ("minute", MINUTE, limits.per_minute),
        ("hour", HOUR, limits.per_hour),
    ):
        size = window // SLICES
        current = now // size
        kept = {
            int(number): count
            for number, count in drawn.get(name, {}).items()
            if int(number) >= current - SLICES
        }
        excess = sum(kept.values()) - most + 1
        for number in sorted(kept):
            if excess <= 0:
                break
            excess -= kept[number]
            wait = max(wait, (number + SLICES + 1) * size - now)
        kept[current] = kept.get(current, 0) + 1
        after[name] = {str(number): count for number, count in kept.items()}
    return (drawn, wait) if wait else (after, 0)
