"""Bringing a database to this release's tables."""

import os
import shlex
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from notifications import postgres, sqlite
from notifications.errors import ConfigurationError
from notifications.stores import wal

MIGRATIONS = Path(__file__).parent / "migrations"

GO_ON = "start that release again, or put a backup from before it in its place"
"""What to do about a file that a newer release has written to."""

RESTORE = (
    "keep hub.db, hub.db-wal and hub.db-shm aside as they are, and put a backup of the data folder"
    " in their place"
)
"""What to do about a file that cannot be read. A log that stayed would be laid over the backup."""

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

    A new one appears when it has all its tables: an empty one is damage.

    Raises:
        ConfigurationError: It is damaged, of a newer release, or cannot be written; says what to
            do. The file and its log are left as they are.
    """
    try:
        file = path.resolve()
        if file.exists():
            file.touch()  # where it cannot be written to, here is the place to say so
            check_whole(path)
            _upgrade(file, str(path))
        else:
            check_files(path)
            _create(file)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written to: {error.strerror}") from error
    except sa.exc.DBAPIError as error:
        advice = _ADVICE.get(sqlite.code(error), RESTORE)
        raise ConfigurationError(f"{path} cannot be used ({error.orig}): {advice}") from error


def _upgrade(file: Path, name: str) -> None:
    engine = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        _check_known(connection, name)
        command.upgrade(_config(connection), "head")


def _create(file: Path) -> None:
    """Make it under another name, so that it is never there without its tables."""
    draft = file.with_name(f"{file.name}.new")
    parts = (draft, draft.with_name(f"{draft.name}-journal"))
    # What one says of another log, and the other would take out of a file that it is not of.
    for old in (wal.index_of(file), file.with_name(f"{file.name}-journal")):
        old.unlink(missing_ok=True)
    for part in parts:
        part.unlink(missing_ok=True)  # left by a start that was killed
    try:
        draft.touch(mode=0o600)  # SQLite gives its other files the mode of this one
        _upgrade(draft, str(file))
        draft.rename(file)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    _keep_name(file.parent)


def _keep_name(folder: Path) -> None:
    """Make a new name durable; SQLite has done that for what is in the file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # not every file system can; SQLite leaves it at that, too
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_whole(path: Path) -> None:
    """Find out whether a file or its log is damaged, without changing them.

    SQLite finds damage where it comes by, which may be weeks later and in the middle of a commit;
    and what it says of it may hold bytes that are no text.

    Raises:
        ConfigurationError: Says what is wrong and what to do.
        OSError: It cannot be read.
    """
    check_files(path)
    if not path.is_file() or path.stat().st_size > _LOOKED_THROUGH:
        return
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


def check_files(path: Path) -> None:
    """Refuse what SQLite would make good without a word, by forgetting what was accepted.

    It takes a file that is gone or empty for a new one and deletes its log, and a damaged log for
    one that ends there. Whoever opens the file wipes out what proves it, whoever asks this does
    not. No process may write to it meanwhile.

    Raises:
        ConfigurationError: Says what is wrong, which files stay, and what to do.
        OSError: It cannot be read.
    """
    file = path.resolve()
    log = wal.log_of(file)
    if not file.exists():
        if wal.log_size(file):
            what = f"it is gone, and its log {log.name} is there"
            raise ConfigurationError(f"{path} cannot be used ({what}): {_begin_anew(file)}")
        return
    if not file.is_file():
        return
    size = file.stat().st_size
    if size == 0:
        raise ConfigurationError(f"{path} cannot be used (it is empty): {_begin_anew(file)}")
    if size < _LEAST:
        raise ConfigurationError(f"{path} cannot be used (it is cut off): {RESTORE}")
    damage = wal.find_damage(file)
    if damage is not None:
        raise ConfigurationError(f"{path} cannot be used ({damage.what}): {_ways_on(file, damage)}")


def _begin_anew(file: Path) -> str:
    journal = file.with_name(f"{file.name}-journal")
    every = (file, wal.log_of(file), wal.index_of(file), journal)
    there = " ".join(shlex.quote(str(each)) for each in every if each.exists())
    return f"{RESTORE}; or, to begin anew with nothing of what was there: rm {there}"


def _ways_on(file: Path, damage: wal.Damage) -> str:
    log, index = wal.log_of(file), wal.index_of(file)
    if damage.keep is None:
        return f"{RESTORE}; {file.name} by itself holds but parts of what was written last"
    if damage.lost:
        commits = "one commit" if damage.lost == 1 else f"{damage.lost:,} commits"
        without = (
            f"what was written from there on, at least {commits}: events that were accepted are"
            " lost then, and what was delivered may be delivered again"
        )
    else:
        without = "the log, all of which is in the database already"
    cut = f"truncate -s {damage.keep} {shlex.quote(str(log))}"
    forget = f"rm -f {shlex.quote(str(index))}"
    return f"{RESTORE}; or, once they are copied, go on without {without}: {cut}; {forget}"


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
