"""The tables of jobs. Every key begins with the tenant.

Times are milliseconds since the epoch by the ledger's clock; money is whole billionths of a US
dollar, so that sums are exact.
"""

import sqlalchemy as sa

from notifications.database import metadata

_OPEN = sa.text("state IN ('queued', 'running', 'retrying')")
_NAMED = sa.text("idempotency_key IS NOT NULL")
_SOUGHT = sa.text("look_at IS NOT NULL")
_NOT_ROLLED = sa.text("rolled = 0")

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
    # Runs that workers gave back which stopped in good order.
    sa.Column("returned", sa.Integer, nullable=False, server_default="0"),
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
    # How many of its usages are in that, by run.
    sa.Column("booked", sa.JSON(none_as_null=True)),
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
    sa.Column("traceparent", sa.Text),
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
    # From its end to the first toast or webhook that told of it.
    sa.Column("deliver_ms", sa.BigInteger),
    sa.Column("look_at", sa.BigInteger),  # when the sweep looks for that; NULL is no more
    sa.Column("rolled", sa.SmallInteger, nullable=False, server_default="0"),  # is in job_days
    sa.Index("job_metrics_by_day", "tenant_id", "day", "job_type"),
    sa.Index("job_metrics_by_end", "finished_at"),
    sa.Index("job_metrics_to_look", "look_at", sqlite_where=_SOUGHT, postgresql_where=_SOUGHT),
    sa.Index(
        "job_metrics_to_roll",
        "day",
        "tenant_id",
        sqlite_where=_NOT_ROLLED,
        postgresql_where=_NOT_ROLLED,
    ),
    sqlite_with_rowid=False,
)

job_days = sa.Table(
    "job_days",
    metadata,
    # What the rows of a day that is over add up to; it outlives them.
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Text, primary_key=True),
    sa.Column("job_type", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),  # empty where nobody was asked
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.BigInteger, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
    *(
        sa.Column(f"{kind}_p{share}", sa.BigInteger)
        for kind in ("queue", "run", "deliver")
        for share in (50, 95, 99)
    ),
    sa.Index("job_days_by_day", "day"),
    sqlite_with_rowid=False,
)

job_spending = sa.Table(
    "job_spending",
    metadata,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("month", sa.Text, primary_key=True),  # it was spent in, UTC, e.g. 2026-03
    sa.Column("cost_nano_usd", sa.BigInteger, nullable=False),
    sa.Column("told", sa.SmallInteger, nullable=False),  # the highest share, in percent
    sa.Index("job_spending_by_month", "month", "tenant_id"),
    sqlite_with_rowid=False,
)
