"""filters of jobs"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database here."""
    for name, column in (
        ("jobs_by_state", "state"),
        ("jobs_by_type", "job_type"),
        ("jobs_by_user", "user_id"),
    ):
        op.create_index(name, "jobs", ["tenant_id", column, "number"])
