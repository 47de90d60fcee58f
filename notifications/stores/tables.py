"""The ledger's tables. Every key carries the tenant; numbers are time-ordered, so rows append.

Times are milliseconds since the epoch by the ledger's clock.
"""

import sqlalchemy as sa

from notifications.database import Number, metadata

events = sa.Table(
    "events",
    metadata,
    sa.Column("key", Number, primary_key=True, autoincrement=False),
    sa.Column("tenant_id", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("user_id", sa.Text),
    sa.Column("channels", sa.SmallInteger, nullable=False),  # see stores.codes
    sa.Column("counted", sa.SmallInteger, nullable=False),
    sa.Column("accepted_at", sa.BigInteger, nullable=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("tenant_id", "id", name="events_tenant_id"),
    sa.Index("events_by_tenant", "tenant_id", "key"),
    sa.Index("events_by_type", "tenant_id", "type", "key"),
    sa.Index(
        "events_by_user",
        "tenant_id",
        "user_id",
        "key",
        sqlite_where=sa.text("user_id IS NOT NULL"),
        postgresql_where=sa.text("user_id IS NOT NULL"),
    ),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event_key", sa.BigInteger, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("routed", sa.Integer, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("due_at", sa.BigInteger),
    sa.Column("claimed", sa.SmallInteger, nullable=False),
    sa.Column("deadline", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    # The very first attempt lives in the row: most deliveries need no other.
    sa.Column("first_at", sa.BigInteger),
    sa.Column("first_ms", sa.Integer),
    sa.Column("first_outcome", sa.Text),
    sa.Column("first_status", sa.Integer),
    sa.Column("first_detail", sa.Text),
    sa.UniqueConstraint("event_key", "channel", "target", name="deliveries_once"),
    sa.Index(
        "deliveries_due",
        "lane",
        "due_at",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    ),
    sa.Index(
        "deliveries_by_deadline",
        "deadline",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    ),
    sa.Index(
        "deliveries_parked",
        "lane",
        "updated_at",
        sqlite_where=sa.text("state = 'parked'"),
        postgresql_where=sa.text("state = 'parked'"),
    ),
    sa.Index(
        "deliveries_held",
        "tenant_id",
        "state",
        "id",
        sqlite_where=sa.text("state IN ('pending', 'parked', 'exhausted')"),
        postgresql_where=sa.text("state IN ('pending', 'parked', 'exhausted')"),
    ),
    sa.Index(
        "deliveries_held_by_channel",
        "tenant_id",
        "state",
        "channel",
        "id",
        sqlite_where=sa.text("state IN ('pending', 'parked', 'exhausted')"),
        postgresql_where=sa.text("state IN ('pending', 'parked', 'exhausted')"),
    ),
    sa.Index(
        "deliveries_held_by_target",
        "tenant_id",
        "state",
        "channel",
        "target",
        "id",
        sqlite_where=sa.text("state IN ('pending', 'parked', 'exhausted')"),
        postgresql_where=sa.text("state IN ('pending', 'parked', 'exhausted')"),
    ),
    sa.Index(
        "deliveries_by_endpoint",
        "tenant_id",
        "target",
        "id",
        sqlite_where=sa.text("channel = 'webhook'"),
        postgresql_where=sa.text("channel = 'webhook'"),
    ),
    sa.Index(
        "deliveries_mailed",
        "id",
        sqlite_where=sa.text("channel = 'email'"),
        postgresql_where=sa.text("channel = 'email'"),
    ),
    sqlite_with_rowid=False,
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("delivery_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("round", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("duration_ms", sa.Integer, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("detail", sa.Text),
    sqlite_with_rowid=False,
)

lanes = sa.Table(
    "lanes",
    metadata,
    sa.Column("lane", sa.Text, primary_key=True),
    sa.Column("drain_at", sa.BigInteger),  # a drain is scheduled for then, or works until then
    sa.Column("timeouts", sa.Integer, nullable=False),  # in a row
    sa.Column("probe_at", sa.BigInteger),  # while sick: when it is tried again
    sa.Column("probe_delay", sa.BigInteger),
)

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("rank", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("url", sa.Text),
    sa.Column("progress", sa.SmallInteger),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Index("inbox_by_seq", "tenant_id", "user_id", "seq"),
    sa.Index("inbox_by_state", "tenant_id", "user_id", "state", "seq"),
    sqlite_with_rowid=False,
)

inbox_heads = sa.Table(
    "inbox_heads",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("unread", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("email", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("locale", sa.Text, nullable=False),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Index("users_by_role", "tenant_id", "role"),
)

suppressions = sa.Table(
    "suppressions",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("address", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

mail_budgets = sa.Table(
    "mail_budgets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("drawn", sa.LargeBinary, nullable=False),  # JSON: how many, by window and slice
    sa.Column("held_until", sa.BigInteger, nullable=False),  # the service said to wait
)

endpoints = sa.Table(
    "endpoints",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("event_types", sa.JSON, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),  # sealed: they carry credentials
    sa.Column("signatures", sa.JSON, nullable=False),
    sa.Column("secrets", sa.Text, nullable=False),  # sealed
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("state_reason", sa.Text),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("rate_per_second", sa.Integer),
    sa.Column("active_since", sa.BigInteger, nullable=False, server_default="0"),
)

endpoint_failures = sa.Table(
    "endpoint_failures",
    metadata,
    # A row is there while an endpoint fails; its first success takes it away.
    sa.Column("lane", sa.Text, primary_key=True),
    sa.Column("since", sa.BigInteger, nullable=False),  # the first failure
    sa.Column("failures", sa.Integer, nullable=False),
)

deleted_lanes = sa.Table(
    "deleted_lanes",
    metadata,
    sa.Column("lane", sa.Text, primary_key=True),  # of a deleted endpoint, with open deliveries
)

replays = sa.Table(
    "replays",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("endpoint_id", sa.Text, nullable=False),
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
    sa.Column("event_types", sa.JSON, nullable=False),
    sa.Column("states", sa.JSON, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),  # the last event that was looked at
    sa.Column("total", sa.BigInteger, nullable=False),  # how many there were at the start
    sa.Column("begun", sa.BigInteger, nullable=False),
    sa.Column("made", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Index(
        "replays_running",
        "tenant_id",
        "endpoint_id",
        unique=True,  # two at once would try the same deliveries twice
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    ),
    sqlite_with_rowid=False,
)

tenants = sa.Table(
    "tenants",
    metadata,
    # A row is there once something was set up; money is whole billionths of a US dollar.
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("locale", sa.Text, nullable=False),
    sa.Column("budget_nano_usd", sa.BigInteger),  # for AI jobs, by calendar month in UTC
    sa.Column("refuse_over_budget", sa.SmallInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

event_counts = sa.Table(
    "event_counts",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Text, primary_key=True),  # UTC, YYYY-MM-DD
    sa.Column("type", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    # How far the sweep has come; of `turn/…`, when a tenant last added something (stores.turns).
    sa.Column("value", sa.BigInteger, nullable=False),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=False),
    sa.Column("due_at", sa.BigInteger),  # when it is to become visible; NULL is at once
    sa.Column("leased_until", sa.BigInteger, nullable=False),  # somebody is sending it until then
    sa.Column("rejected", sa.Text),  # why the bus will never take it
    sa.Column("topic", sa.Text),  # NULL is the events topic
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("properties", sa.LargeBinary, nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("content_type", sa.Text),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index(
        "outbox_left",
        "leased_until",
        sqlite_where=sa.text("rejected IS NULL"),
        postgresql_where=sa.text("rejected IS NULL"),
    ),
)
"""Messages that are to be sent to a bus that is not in this database."""

rejections = sa.Table(
    "rejections",
    metadata,
    # Of no tenant: what could not be read may name none.
    sa.Column("subscription", sa.Text, primary_key=True),
    sa.Column("message_id", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),  # the last time
    sa.Index("rejections_by_time", "at"),
    sqlite_with_rowid=False,
)
"""Why messages were given back for good, where the bus could not be told."""
