"""What the ledger says of events whose last message somebody threw away.

Without a word of it they would be missing: no delivery, no message, no dead letter.
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from notifications.database import Transaction
from notifications.deliveries import Delivery, State
from notifications.events import Channel
from notifications.routing import NOBODY
from notifications.stores import arrivals, codes, tables
from notifications.timing import Numbers

PURGED = "purged"
"""The reason of what was given up because its dead letter was purged."""


class SqlGivenUp:
    """Writes it down: `exhausted (purged)` on a channel, counted for metrics."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def give_up(self, tx: Transaction, consumer: str, names: Collection[str]) -> None:
        """Say of each event (`<tenant id>:<event id>`) that this consumer will not deal with it.

        Where it has, or where the ledger has no such event, there is nothing to say. Metrics counts
        what there was, and there was an event.
        """
        by_tenant: dict[str, list[str]] = {}
        for name in names:
            tenant_id, _, event_id = name.partition(":")
            by_tenant.setdefault(tenant_id, []).append(event_id)
        rows = [
            row
            for tenant_id, ids in by_tenant.items()
            for page in codes.pages(ids)
            for row in tx.connection.execute(_query(consumer), {"tenant": tenant_id, "ids": page})
        ]
        if consumer not in frozenset(Channel):
            arrivals.count(tx, sorted(row.key for row in rows))
        elif rows:
            self._write(tx, Channel(consumer), rows)

    def _write(self, tx: Transaction, channel: Channel, rows: Sequence[Any]) -> None:
        given_up = [
            Delivery(
                tenant_id=row.tenant_id,
                id=self._numbers.next(),
                event_key=row.key,
                channel=channel,
                target=NOBODY,
                state=State.EXHAUSTED,
                reason=PURGED,
                deadline=tx.now,
                created_at=tx.now,
            )
            for row in rows
        ]
        statement = codes.upsert(tx.connection, tables.deliveries).on_conflict_do_nothing()
        tx.connection.execute(statement, [codes.delivery_row(one, tx.now) for one in given_up])


def _query(consumer: str) -> sa.Select[Any]:
    """Those of these events that the consumer has nothing to show for."""
    query = sa.select(_e.key, _e.tenant_id).where(
        _e.tenant_id == _b("tenant"), _e.id.in_(_b("ids", expanding=True))
    )
    if consumer not in frozenset(Channel):
        return query.where(_e.counted == 0)
    return query.where(
        _e.channels.op("&")(codes.BITS[Channel(consumer)]) != 0,
        ~sa.exists().where(_d.event_key == _e.key, _d.channel == consumer),
    )


_e, _d = tables.events.c, tables.deliveries.c
_b = sa.bindparam
