"""Which events the embedded bus still holds, read from its tables.

Adapters do not import each other, but on one machine bus and ledger are one file, and only one
snapshot of both can tell what is lost. Plain SQL, since the tables are the bus's.
"""

from collections import defaultdict
from collections.abc import Mapping

import sqlalchemy as sa

_NAME = (
    "json_extract(CAST(body AS TEXT), '$.tenantid')"
    " || ':' || json_extract(CAST(body AS TEXT), '$.id')"
)
"""The event a message carries, whatever the message's own id is: `<tenant id>:<event id>`."""

_EVENT = "json_valid(CAST(body AS TEXT))"


class OnBus:
    """The events that are on the bus or in its dead letters, by the consumer they wait for."""

    def __init__(
        self, connection: sa.Connection, topic: str, subscriptions: Mapping[str, str]
    ) -> None:
        """Read them.

        Args:
            connection: Where from; a snapshot.
            topic: The topic of events.
            subscriptions: The subscription of each consumer: of each channel, and of `metrics`.
        """
        self._connection = connection
        self._topic = {"topic": topic}
        self._subscriptions = subscriptions
        self._bits = self._read_bits()
        self._waiting = self._read_waiting()
        self._scheduled = self._read_scheduled()
        self._dead = self._read_dead()

    def where(self, name: str, consumer: str) -> str | None:
        """`bus`, `deadLettered`, or None where the event is neither."""
        subscription = self._subscriptions[consumer]
        waits = self._waiting.get(name, 0) & self._bits.get(subscription, 0)
        if waits or (name, subscription) in self._scheduled:
            return "bus"
        return "deadLettered" if (name, subscription) in self._dead else None

    def _rows(self, query: str) -> list[tuple[str | None, str]]:
        rows = self._connection.execute(sa.text(query), self._topic)
        return [(row[0], row[1]) for row in rows]

    def _read_bits(self) -> Mapping[str, int]:
        rows = self._connection.execute(sa.text("SELECT name, bit FROM bus_subscriptions"))
        return {row.name: 1 << row.bit for row in rows}

    def _read_waiting(self) -> Mapping[str, int]:
        """By event, the bits of the subscriptions that have not dealt with it."""
        waiting: dict[str, int] = defaultdict(int)
        rows = self._connection.execute(
            sa.text(f"SELECT {_NAME}, pending FROM bus_messages WHERE topic = :topic AND {_EVENT}"),  # noqa: S608
            self._topic,
        )
        for name, pending in rows:
            if name is not None:
                waiting[name] |= pending
        return waiting

    def _read_scheduled(self) -> set[tuple[str, str]]:
        """Events that are sent again later, each to its own consumer."""
        rows = self._rows(
            f"SELECT {_NAME}, json_extract(CAST(properties AS TEXT), '$.hubConsumer')"  # noqa: S608
            f" FROM bus_scheduled WHERE topic = :topic AND {_EVENT}"
        )
        names, rest = self._subscriptions, self._subscriptions["metrics"]
        return {(name, names.get(consumer, rest)) for name, consumer in rows if name is not None}

    def _read_dead(self) -> set[tuple[str, str]]:
        rows = self._rows(
            f"SELECT {_NAME}, subscription FROM bus_dead_letters"  # noqa: S608
            f" WHERE topic = :topic AND {_EVENT}"
        )
        return {(name, subscription) for name, subscription in rows if name is not None}


def waiting_since(connection: sa.Connection, subscription: str) -> int | None:
    """When the oldest message that a subscription has not dealt with became visible."""
    found: int | None = connection.execute(
        sa.text(
            "SELECT m.enqueued_at FROM bus_subscriptions s CROSS JOIN bus_messages m"
            " WHERE s.name = :name AND m.topic = s.topic AND m.pending & (1 << s.bit)"
            " ORDER BY m.seq LIMIT 1"
        ),
        {"name": subscription},
    ).scalar()
    return found
