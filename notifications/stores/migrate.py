"""Bringing a database to this release's tables."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from notifications import postgres
from notifications.errors import ConfigurationError

MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = 0x6875_6E74_617A_65
"""The number of the lock that one hub holds while it migrates: others that start wait for it."""


def migrate(path: Path) -> None:
    """Create the SQLite file or bring it to this release; does nothing where it is there."""
    path.touch(mode=0o600)  # SQLite gives its other files the mode of this one
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        command.upgrade(_config(connection), "head")


def migrate_server(url: str) -> None:
    """Bring the PostgreSQL database of a `postgresql://` URL to this release, all or nothing.

    Raises:
        ConfigurationError: It cannot be reached, or refuses the tables; names the setting.
    """
    made = postgres.driver_url(url)
    engine = sa.create_engine(
        made, poolclass=sa.NullPool, connect_args={"connect_timeout": postgres.CONNECT_S}
    )
    try:
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            command.upgrade(_config(connection), "head")
    except sa.exc.DBAPIError as error:
        why = str(error.orig).strip().splitlines()
        raise ConfigurationError(
            f"HUNTAZE_DATABASE_URL: the database of {made.render_as_string()} cannot be used:"
            f" {why[0] if why else error!r}"
        ) from error


def _config(connection: sa.Connection) -> Config:
    """Alembic's configuration, without its ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
