"""The tables of jobs. Every key begins with the tenant.

Times are milliseconds since the epoch by the ledger's clock; money is whole billionths of a US
dollar, so that sums are exact.
"""

import sqlalchemy as sa

from notifications.database import metadata

_OPEN = sa.text("state IN ('queued', 'running', 'retrying')")
_NAMED = sa.text("idempotency_key IS NOT NULL")

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),  # time-ordered: the cursor of lists
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("user_id", sa.Text),
    sa.Column("input", sa.JSON, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("progress", sa.SmallInteger, nullable=False),
    sa.Column("cancelling", sa.SmallInteger, nullable=False),  # somebody cancelled it as it ran
    sa.Column("result", sa.JSON(none_as_null=True)),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    # What it took so far, over all runs.
    sa.Column("model", sa.Text),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
    sa.Column("queue_ms", sa.BigInteger),
    sa.Column("run_ms", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("run_at", sa.BigInteger),  # when the run under way began
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("due_at", sa.BigInteger, nullable=False),  # when the next run may begin
    sa.Column("deadline", sa.BigInteger, nullable=False),
    sa.Column("claimed_until", sa.BigInteger),
    sa.Column("wake_at", sa.BigInteger, nullable=False),  # when the sweep sends a wake-up again
    sa.Index(
        "jobs_once",
        "tenant_id",
        "idempotency_key",
        unique=True,
        sqlite_where=_NAMED,
        postgresql_where=_NAMED,
    ),
    sa.Index("jobs_by_tenant", "tenant_id", "number"),
    # The filters of lists: one narrows down by index, another one goes through what is left.
    sa.Index("jobs_by_state", "tenant_id", "state", "number"),
    sa.Index("jobs_by_type", "tenant_id", "job_type", "number"),
    sa.Index("jobs_by_user", "tenant_id", "user_id", "number"),
    sa.Index("jobs_by_wake", "wake_at", sqlite_where=_OPEN, postgresql_where=_OPEN),
    sa.Index("jobs_by_deadline", "deadline", sqlite_where=_OPEN, postgresql_where=_OPEN),
    sa.Index("jobs_by_end", "finished_at"),
)

job_events = sa.Table(
    "job_events",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),  # the event's
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sqlite_with_rowid=False,
)

job_metrics = sa.Table(
    "job_metrics",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("day", sa.Text, nullable=False),  # it ended on, UTC, e.g. 2026-03-01
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("model", sa.Text),
    sa.Column("runs", sa.Integer, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
    sa.Column("queue_ms", sa.BigInteger),
    sa.Column("run_ms", sa.BigInteger, nullable=False),
    sa.Column("finished_at", sa.BigInteger, nullable=False),
    sa.Index("job_metrics_by_day", "tenant_id", "day", "job_type"),
    sa.Index("job_metrics_by_end", "finished_at"),
    sqlite_with_rowid=False,
)
