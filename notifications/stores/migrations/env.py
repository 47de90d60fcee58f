"""Alembic's entry: runs on the connection that `stores.migrate` hands over."""

from alembic import context

import notifications.bus.tables
import notifications.stores.tables  # noqa: F401 - registers its tables
from notifications.database import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
