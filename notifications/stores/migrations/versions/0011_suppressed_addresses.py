"""suppressed addresses, and what the mail account may send"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database here."""
    op.create_table(
        "suppressions",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "address"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mail_budgets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("drawn", sa.LargeBinary(), nullable=False),
        sa.Column("held_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    of_mails = sa.text("channel = 'email'")
    op.create_index(
        "deliveries_mailed",
        "deliveries",
        ["id"],
        sqlite_where=of_mails,
        postgresql_where=of_mails,
    )
