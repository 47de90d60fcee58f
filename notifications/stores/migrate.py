"""Bringing a database to this release's tables."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config(connection: sa.Connection) -> Config:
    """Alembic's configuration, without its ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def migrate(path: Path) -> None:
    """Create the SQLite file or bring it to this release; does nothing where it is there."""
    path.touch(mode=0o600)  # SQLite gives its other files the mode of this one
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "head")
