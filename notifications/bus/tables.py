"""The embedded bus's tables. A message's body is stored once, however many subscriptions want it.

`pending` is a set of bits, one per subscription of the topic that has not dealt with the message
yet: publishing is one row, completing clears a bit, the last one deletes the row.
"""

import sqlalchemy as sa

from notifications.database import Number, metadata


def _message_columns() -> list[sa.Column[object]]:
    # What is long comes last: looking at the others then never walks through it.
    return [
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("properties", sa.LargeBinary, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("content_type", sa.Text),
        # The event it carries, `<tenant id>:<event id>`, or '' where it carries none. NULL where
        # the message's own id says it, as that of the hub's own event messages does: of these
        # there are many, and the index is for the others.
        sa.Column("event", sa.Text),
        # What rules see of its other system properties; NULL where there is nothing.
        sa.Column("system", sa.LargeBinary),
        sa.Column("body", sa.LargeBinary, nullable=False),
        # As a client of the door wrote it; NULL where none did.
        sa.Column("wire", sa.LargeBinary),
    ]


def _by_event(table: str) -> sa.Index:
    named = sa.text("event <> ''")
    return sa.Index(f"{table}_by_event", "event", sqlite_where=named, postgresql_where=named)


messages = sa.Table(
    "bus_messages",
    metadata,
    sa.Column("seq", Number, primary_key=True, autoincrement=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("pending", sa.BigInteger, nullable=False),
    sa.Column("enqueued_at", sa.BigInteger, nullable=False),
    *_message_columns(),
    _by_event("bus_messages"),
)

scheduled = sa.Table(
    "bus_scheduled",
    metadata,
    sa.Column("seq", Number, primary_key=True, autoincrement=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    *_message_columns(),
    sa.Index("bus_scheduled_due", "due_at"),
    _by_event("bus_scheduled"),
)

dead_letters = sa.Table(
    "bus_dead_letters",
    metadata,
    sa.Column("subscription", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("enqueued_at", sa.BigInteger, nullable=False),
    sa.Column("delivery_count", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("dead_at", sa.BigInteger, nullable=False),
    # When a client of the door put it aside, to ask for it by its number; NULL where none did.
    sa.Column("deferred_at", sa.BigInteger),
    *_message_columns(),
    _by_event("bus_dead_letters"),
)

# What clients of the door put aside, to ask for it by its number. It has left `bus_messages`, so
# that nobody who reads what waits ever walks past it.
deferred = sa.Table(
    "bus_deferred",
    metadata,
    sa.Column("subscription", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("enqueued_at", sa.BigInteger, nullable=False),
    sa.Column("delivery_count", sa.Integer, nullable=False),
    *_message_columns(),
    _by_event("bus_deferred"),
)

# Topics, subscriptions and rules of a door that runs alone; a hub's are those of its release.
entities = sa.Table(
    "bus_entities",
    metadata,
    # In lower case: `jobs`, `jobs/subscriptions/video`, `jobs/subscriptions/video/rules/long`.
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("description", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)

subscriptions = sa.Table(
    "bus_subscriptions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("bit", sa.SmallInteger, nullable=False),
    # Every message up to here may have been in this subscription's memory: what is still pending
    # of it after a crash may be what caused the crash, and counts as delivered once.
    sa.Column("loaded", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("topic", "bit"),
)

redeliveries = sa.Table(
    "bus_redeliveries",
    metadata,
    sa.Column("subscription", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("delivery_count", sa.Integer, nullable=False),
)

runs = sa.Table(
    "bus_runs",
    metadata,
    # One row: the run that is under way, or the last one.
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    # Where its sequence numbers began, or where they ended; they never come again.
    sa.Column("next_seq", sa.BigInteger, nullable=False),
    # Whether it ended as it should. A run under way has not.
    sa.Column("clean", sa.Boolean, nullable=False),
)
