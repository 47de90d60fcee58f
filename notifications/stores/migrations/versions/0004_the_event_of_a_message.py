"""the event of a message"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = ("bus_messages", "bus_scheduled", "bus_dead_letters")

_CARRIED = (
    "CASE WHEN json_valid(CAST(body AS TEXT)) THEN coalesce("
    "json_extract(CAST(body AS TEXT), '$.tenantid') || ':' ||"
    " json_extract(CAST(body AS TEXT), '$.id'), '') ELSE '' END"
)


def upgrade() -> None:
    """Bring the database here."""
    if op.get_context().dialect.name != "sqlite":
        return  # the embedded bus is on no other
    named = sa.text("event <> ''")
    for table in _TABLES:
        op.add_column(table, sa.Column("event", sa.Text(), nullable=True))
        op.execute(f"UPDATE {table} SET event = {_CARRIED}")  # noqa: S608 - constants
        op.create_index(f"{table}_by_event", table, ["event"], sqlite_where=named)
