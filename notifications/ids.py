"""Ids of deliveries, replays and jobs as people, links and mail servers see them. Pure.

`dlv_`, `rpl_` or `job_` and 13 digits of base 32 (0-9 a-v, as in RFC 4648's base32hex): lower
case, no padding to lose, and in the order of the numbers they stand for.
"""

import re

from notifications.deliveries import Delivery

_PREFIX = "dlv_"
_REPLAY = "rpl_"
_JOB = "job_"
_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)
_FORM = re.compile(r"[a-z]{3}_[0-7][0-9a-v]{12}")
_LARGEST = (1 << 63) - 1
"""The ledger's numbers are signed 64-bit integers."""


def public_id(delivery: Delivery) -> str:
    """The id of a delivery outside the ledger: `dlv_` and 13 characters.

    Raises:
        ValueError: The number is not one that a ledger gives out (0 to 2^63-1).
    """
    return public_number(delivery.id)


def public_number(number: int) -> str:
    """`public_id` of the delivery that has this number in the ledger."""
    return _written(_PREFIX, number)


def parse_public_id(text: str) -> int | None:
    """The number that a public delivery id stands for; None for anything else, whatever it is."""
    return _read(_PREFIX, text)


def replay_id(number: int) -> str:
    """The id of a replay outside the ledger: `rpl_` and 13 characters."""
    return _written(_REPLAY, number)


def parse_replay_id(text: str) -> int | None:
    """The number that a replay's id stands for; None for anything else, whatever it is."""
    return _read(_REPLAY, text)


def job_id(number: int) -> str:
    """The id of a job that the hub names: `job_` and 13 characters."""
    return _written(_JOB, number)


def _written(prefix: str, number: int) -> str:
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"no ledger gives out the id {number}")
    pairs = [_PAIRS[(number >> shift) & 1023] for shift in (50, 40, 30, 20, 10, 0)]
    return f"{prefix}{_DIGITS[number >> 60]}{''.join(pairs)}"


def _read(prefix: str, text: str) -> int | None:
    if _FORM.fullmatch(text) is None or not text.startswith(prefix):
        return None
    return int(text[len(prefix) :], 32)
