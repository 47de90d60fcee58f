"""filters of lists"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database here."""
    op.create_index("events_by_type", "events", ["tenant_id", "type", "key"])
    named = sa.text("user_id IS NOT NULL")
    op.create_index(
        "events_by_user",
        "events",
        ["tenant_id", "user_id", "key"],
        sqlite_where=named,
        postgresql_where=named,
    )
    held = sa.text("state IN ('pending', 'parked', 'exhausted')")
    for name, columns in (
        ("deliveries_held_by_channel", ["channel"]),
        ("deliveries_held_by_target", ["channel", "target"]),
    ):
        op.create_index(
            name,
            "deliveries",
            ["tenant_id", "state", *columns, "id"],
            sqlite_where=held,
            postgresql_where=held,
        )
