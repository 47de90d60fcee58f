"""budgets and days"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database here."""
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("budget_nano_usd", sa.BigInteger(), nullable=True),
        sa.Column("refuse_over_budget", sa.SmallInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "job_spending",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "month"),
        sqlite_with_rowid=False,
    )
    op.create_index("job_spending_by_month", "job_spending", ["month", "tenant_id"])
    op.create_table(
        "job_days",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger(), nullable=False),
        *(
            sa.Column(f"{kind}_p{share}", sa.BigInteger(), nullable=True)
            for kind in ("queue", "run", "deliver")
            for share in (50, 95, 99)
        ),
        sa.PrimaryKeyConstraint("tenant_id", "day", "job_type", "model"),
        sqlite_with_rowid=False,
    )
    op.create_index("job_days_by_day", "job_days", ["day"])
    op.add_column("job_metrics", sa.Column("deliver_ms", sa.BigInteger(), nullable=True))
    op.add_column("job_metrics", sa.Column("look_at", sa.BigInteger(), nullable=True))
    op.add_column(
        "job_metrics",
        sa.Column("rolled", sa.SmallInteger(), nullable=False, server_default="0"),
    )
    looked_for = sa.text("look_at IS NOT NULL")
    op.create_index(
        "job_metrics_to_look",
        "job_metrics",
        ["look_at"],
        sqlite_where=looked_for,
        postgresql_where=looked_for,
    )
    still_open = sa.text("rolled = 0")
    op.create_index(
        "job_metrics_to_roll",
        "job_metrics",
        ["day", "tenant_id"],
        sqlite_where=still_open,
        postgresql_where=still_open,
    )
