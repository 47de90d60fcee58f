"""filters of lists"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_HELD = "state IN ('pending', 'parked', 'exhausted')"


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
    for name, column, where in (
        ("deliveries_held_by_channel", "channel", _HELD),
        ("deliveries_held_by_endpoint", "target", f"channel = 'webhook' AND {_HELD}"),
    ):
        op.create_index(
            name,
            "deliveries",
            ["tenant_id", "state", column, "id"],
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
