"""runs given back, and which usages of a job are counted"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database here."""
    op.add_column("jobs", sa.Column("returned", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("booked", sa.JSON(), nullable=True))
