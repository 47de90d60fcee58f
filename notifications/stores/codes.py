"""How values are written in the tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from notifications.database import Transaction
from notifications.deliveries import Attempt, Delivered, Delivery, Failed, Outcome, State
from notifications.directory import Locale, Role, User
from notifications.events import Channel

PENDING: sa.ColumnElement[str] = sa.literal_column("'pending'")
PARKED: sa.ColumnElement[str] = sa.literal_column("'parked'")
"""Written out in statements: a parameter would hide the partial indexes from the planner."""

_IN_LIST = 400
"""Values in one IN list."""

_EPOCH = date(1970, 1, 1).toordinal()
_DAY_MS = 86_400_000

BITS: Mapping[Channel, int] = {Channel.REALTIME: 1, Channel.EMAIL: 2, Channel.WEBHOOK: 4}
_SETS = {
    code: frozenset(channel for channel, bit in BITS.items() if code & bit) for code in range(8)
}
_CODES = {channels: code for code, channels in _SETS.items()}


_V = TypeVar("_V")


def pages(values: Sequence[_V]) -> Iterator[Sequence[_V]]:
    """Values in bites that an IN list can hold."""
    for start in range(0, len(values), _IN_LIST):
        yield values[start : start + _IN_LIST]


def text(value: str | None) -> str | None:
    """A text as every database can hold it: PostgreSQL takes no NUL."""
    return value.replace("\0", "\ufffd") if value is not None and "\0" in value else value


def channels_code(channels: frozenset[Channel]) -> int:
    """A set of channels as bits."""
    return _CODES[channels]


def channels_of(code: int) -> frozenset[Channel]:
    """The set of channels that the bits say."""
    return _SETS[code]


def delivery_row(delivery: Delivery, now: int) -> dict[str, Any]:
    """A delivery as columns."""
    return {
        "tenant_id": delivery.tenant_id,
        "id": delivery.id,
        "event_key": delivery.event_key,
        "channel": delivery.channel.value,
        "target": delivery.target,
        "lane": delivery.lane,
        "state": delivery.state.value,
        "reason": delivery.reason,
        "routed": delivery.routed,
        "round": delivery.round,
        "attempt": delivery.attempt,
        "due_at": delivery.due_at,
        "claimed": int(delivery.claimed),
        "deadline": delivery.deadline,
        "created_at": delivery.created_at,
        "updated_at": now,
    }


def delivery_of(row: Any) -> Delivery:
    """A delivery from its row."""
    return Delivery(
        tenant_id=row.tenant_id,
        id=row.id,
        event_key=row.event_key,
        channel=Channel(row.channel),
        target=row.target,
        state=State(row.state),
        reason=row.reason,
        routed=row.routed,
        round=row.round,
        attempt=row.attempt,
        due_at=row.due_at,
        deadline=row.deadline,
        created_at=row.created_at,
        claimed=bool(row.claimed),
    )


def user_of(row: Any) -> User:
    """A user from their row."""
    return User(
        tenant_id=row.tenant_id,
        id=row.id,
        email=row.email,
        name=row.name,
        locale=Locale(row.locale),
        timezone=row.timezone,
        role=Role(row.role),
    )


NO_FIRST: Mapping[str, Any] = dict.fromkeys(
    ("first_at", "first_ms", "first_outcome", "first_status", "first_detail")
)


def first_columns(attempt: Attempt | None) -> Mapping[str, Any]:
    """The columns of a delivery's very first attempt."""
    if attempt is None:
        return NO_FIRST
    outcome, status, detail = outcome_columns(attempt.outcome)
    return {
        "first_at": attempt.at,
        "first_ms": attempt.duration_ms,
        "first_outcome": outcome,
        "first_status": status,
        "first_detail": detail,
    }


def outcome_columns(outcome: Outcome) -> tuple[str, int | None, str | None]:
    """`delivered` or the reason of the failure; the status; the detail."""
    if isinstance(outcome, Delivered):
        return "delivered", outcome.status, text(outcome.detail)
    if isinstance(outcome, Failed):
        return outcome.reason, outcome.status, text(outcome.detail)
    return outcome.reason, None, None


def lock(tx: Transaction, column: sa.Column[str], values: Iterable[str]) -> None:
    """Lock the rows with these keys, where others write too: in one order everywhere, so that no
    two transactions wait for each other. One row alone is locked by whatever writes it."""
    keys = sorted(set(values))
    if not tx.shared or len(keys) < 2:
        return
    for page in pages(keys):
        query = sa.select(column).where(column.in_(page)).order_by(column).with_for_update()
        tx.connection.execute(query)


def upsert(connection: sa.Connection, table: sa.Table) -> Any:
    """An INSERT that can say ON CONFLICT, in the connection's dialect."""
    return upsert_in(connection.dialect.name, table)


def upsert_in(dialect: str, table: sa.Table) -> Any:
    """The same, for those who keep their statements."""
    if dialect == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def day_of(ms: int) -> str:
    """The UTC day of a time: `YYYY-MM-DD`."""
    return _day(ms // _DAY_MS)


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    return date.fromordinal(_EPOCH + number).isoformat()
