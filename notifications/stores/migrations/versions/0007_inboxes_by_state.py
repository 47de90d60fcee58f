"""inboxes by state"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database here."""
    op.create_index("inbox_by_state", "inbox", ["tenant_id", "user_id", "state", "seq"])
