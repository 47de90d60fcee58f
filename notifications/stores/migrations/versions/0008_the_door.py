"""the door"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLES = ("bus_messages", "bus_scheduled", "bus_dead_letters")


def upgrade() -> None:
    """Bring the database here."""
    if op.get_context().dialect.name != "sqlite":
        return  # the embedded bus is on no other
    for table in _TABLES:
        op.add_column(table, sa.Column("system", sa.LargeBinary(), nullable=True))
        op.add_column(table, sa.Column("wire", sa.LargeBinary(), nullable=True))
    op.add_column("bus_dead_letters", sa.Column("deferred_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "bus_deferred",
        sa.Column("subscription", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("enqueued_at", sa.BigInteger(), nullable=False),
        sa.Column("delivery_count", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("properties", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("event", sa.Text(), nullable=True),
        sa.Column("system", sa.LargeBinary(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("wire", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("subscription", "seq"),
    )
    op.create_index(
        "bus_deferred_by_event", "bus_deferred", ["event"], sqlite_where=sa.text("event <> ''")
    )
    op.create_table(
        "bus_entities",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("description", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("path"),
    )
