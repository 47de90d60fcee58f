"""Bringing a database to this release's tables."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from notifications import postgres, sqlite
from notifications.errors import ConfigurationError

MIGRATIONS = Path(__file__).parent / "migrations"

GO_ON = "start that release again, or put a backup from before it in its place"
"""What to do about a file that a newer release has written to."""

RESTORE = "keep it aside, and put a backup of the data folder in its place"
"""What to do about a file that cannot be read."""

_ADVICE = {
    sqlite3.SQLITE_BUSY: "another program holds it, end that",
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR: "the disk does not read or write as it should",
    sqlite3.SQLITE_READONLY: "give your user the right to write to it",
    sqlite3.SQLITE_CANTOPEN: "give your user the right to open it and to write to its folder",
}

_LOOKED_THROUGH = 512 << 20
"""Bytes of a file that is looked through at each start: half a second. `huntaze doctor` looks
through any."""

_LEAST = 512
"""Bytes of the smallest file that SQLite makes."""

_LOCK = 0x6875_6E74_617A_65
"""The number of the lock that one hub holds while it migrates: others that start wait for it."""

_ALONE = threading.Lock()
"""Alembic has one context per process."""


def migrate(path: Path) -> None:
    """Create the SQLite file or bring it to this release; does nothing where it is there.

    Raises:
        ConfigurationError: It is damaged, of a newer release, or cannot be written; says what to
            do. The file is left as it is.
    """
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    try:
        path.touch(mode=0o600)  # SQLite gives its other files the mode of this one
        _check_whole(path)
        with engine.begin() as connection:
            _check_known(connection, str(path))
            command.upgrade(_config(connection), "head")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written to: {error.strerror}") from error
    except sa.exc.DBAPIError as error:
        advice = _ADVICE.get(sqlite.code(error), RESTORE)
        raise ConfigurationError(f"{path} cannot be used ({error.orig}): {advice}") from error


def _check_whole(path: Path) -> None:
    """Find out whether the file is damaged, without changing it.

    SQLite finds damage where it comes by, which may be weeks later and in the middle of a commit;
    and what it says of it may hold bytes that are no text.
    """
    size = path.stat().st_size
    if not 0 < size <= _LOOKED_THROUGH:
        return
    if size < _LEAST:  # SQLite would take it for an empty one, and write over it
        raise ConfigurationError(f"{path} cannot be used (it is cut off): {RESTORE}")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except UnicodeDecodeError:
        found = "its tables are named by what is no text"
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _ADVICE:
            return  # not damage; whoever opens it for writing is told
        found = str(error)
    if found != "ok":
        what = " ".join(str(found).split())
        raise ConfigurationError(f"{path} cannot be used ({what}): {RESTORE}")


def revisions() -> tuple[str, ...]:
    """The states of the tables that this release knows, oldest first."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    return tuple(script.revision for script in scripts.walk_revisions())[::-1]


def _check_known(connection: sa.Connection, name: str) -> None:
    at = MigrationContext.configure(connection).get_current_revision()
    if at is not None and at not in revisions():
        raise ConfigurationError(f"{newer(name, at)}: {GO_ON}")


def newer(name: str, at: str) -> str:
    """What to say of a database whose tables are of a state that this release does not know."""
    latest = revisions()[-1]
    return f"{name} was written by a newer release: its tables are at {at}, this one's at {latest}"


def migrate_server(url: str) -> None:
    """Bring the PostgreSQL database of a `postgresql://` URL to this release, all or nothing.

    Raises:
        ConfigurationError: It cannot be reached, or refuses the tables; names the setting.
    """
    with _ALONE, _server(url) as (connection, name):
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _check_known(connection, name)
        command.upgrade(_config(connection), "head")


def server_revision(url: str) -> str | None:
    """The state of the tables of a `postgresql://` URL's database; None where it has none yet.

    Raises:
        ConfigurationError: It cannot be reached; names the setting.
    """
    with _server(url) as (connection, _):
        return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _server(url: str) -> Iterator[tuple[sa.Connection, str]]:
    """A transaction, and the database's name for people."""
    made = postgres.driver_url(url)
    engine = sa.create_engine(
        made, poolclass=sa.NullPool, connect_args={"connect_timeout": postgres.CONNECT_S}
    )
    try:
        with engine.begin() as connection:
            yield connection, f"the database {made.database} of HUNTAZE_DATABASE_URL"
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
