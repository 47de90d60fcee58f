"""`huntaze doctor` on the data folder: who owns it, its secrets, its database. Changes nothing."""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing

from notifications.cli.findings import Finding, Mark
from notifications.cli.resting import check_at_rest
from notifications.errors import ConfigurationError
from notifications.owner import DataFolder
from notifications.settings import SECRET_FILES, Settings, read_secrets
from notifications.stores.migrate import GO_ON, RESTORE, newer, revisions, server_revision
from notifications.timing import SystemDice
from notifications.vault import SETTING, Vault

_LITTLE_SPACE = 1 << 30


def examine_data(folder: DataFolder, settings: Settings) -> Iterator[Finding]:
    """The folder, its secrets and its database."""
    damage = _damage(folder)
    yield from _folder(folder)
    yield from _secrets(folder, settings, look=damage is None)
    yield damage or _database(folder)
    if settings.database_url is not None:
        yield _server(settings.database_url)


def _folder(folder: DataFolder) -> Iterator[Finding]:
    path = folder.path
    if not path.exists():
        detail = f"{path} is not there yet; `huntaze up` makes it"
        parent = path.resolve().parent
        if os.access(parent, os.W_OK):
            yield Finding(Mark.RIGHT, "data folder", detail)
        else:
            advice = f"give your user the right to write to {parent}, or use another --data"
            yield Finding(Mark.WRONG, "data folder", f"{parent} cannot be written to", advice)
        return
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        advice = f"give your user all rights on {path}, or use another --data"
        yield Finding(Mark.WRONG, "data folder", f"{path} cannot be written to", advice)
        return
    owner = folder.owner()
    by = "no hub runs on it" if owner is None else f"process {owner} is the hub that owns it"
    yield Finding(Mark.RIGHT, "data folder", f"{path.resolve()}: {by}")
    free = shutil.disk_usage(path).free
    if free < _LITTLE_SPACE:
        detail = f"{free >> 20} MiB are free"
        yield Finding(Mark.DOUBTFUL, "disk", detail, "make room: a full disk stops the hub")


def _damage(folder: DataFolder) -> Finding | None:
    """What is wrong with its files; then nobody may open them, who would wipe out the proof."""
    try:
        check_at_rest(folder)
    except ConfigurationError as error:
        return Finding(Mark.WRONG, "database", str(error))
    return None


def _secrets(folder: DataFolder, settings: Settings, *, look: bool) -> Iterator[Finding]:
    """Those in files; `look` says whether the database may be asked for those that are stored."""
    before = len(SECRET_FILES)
    for name in SECRET_FILES:
        path = folder.path / name
        try:
            open_to_others = path.stat().st_mode & 0o077
        except OSError:
            continue
        if open_to_others:
            before = 0
            detail = f"{path} can be read by other users of this machine"
            yield Finding(Mark.WRONG, "secrets", detail, f"run `chmod 600 {path}`")
    try:
        keys = read_secrets(folder.path, settings)
    except ConfigurationError as error:
        for problem in str(error).splitlines():
            advice = "put the former file back from a backup of the data folder"
            yield Finding(Mark.WRONG, "secrets", problem, advice)
        return
    missing = _missing_keys(folder, keys) if look and settings.database_url is None else ()
    if missing:
        named = ", ".join(missing)
        detail = f"stored webhook secrets are encrypted with key {named}, which is gone"
        advice = f"put it back: behind the newest in {SETTING}, or into encryption.keys"
        yield Finding(Mark.WRONG, "secrets", detail, advice)
    elif before:
        yield Finding(Mark.RIGHT, "secrets", "those that are there can be read, by you alone")


def _missing_keys(folder: DataFolder, keys: Sequence[bytes]) -> Sequence[str]:
    """The keys that stored secrets name and that are not there."""
    try:
        with closing(_read_only(folder)) as connection:
            rows = connection.execute("SELECT secrets, headers FROM endpoints").fetchall()
    except sqlite3.Error:
        return ()  # what is wrong with the database is said of the database
    sealed = [each for row in rows for each in row if each]
    if not sealed:
        return ()
    # A random key stands for none: it opens nothing, and what is sealed still names its own.
    dice = SystemDice()
    return sorted(Vault(keys or (dice.token(32),), dice).missing_keys(sealed))


def _database(folder: DataFolder) -> Finding:
    path = folder.database
    if not path.exists():
        return Finding(Mark.RIGHT, "database", "not there yet; `huntaze up` makes it")
    try:
        with closing(_read_only(folder)) as connection:
            answers = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
            at = _revision(connection)
    except sqlite3.Error as error:
        return Finding(Mark.WRONG, "database", f"{path}: {error}", RESTORE)
    if answers != ["ok"]:
        return Finding(Mark.WRONG, "database", "; ".join(answers), RESTORE)
    whole = f"whole ({path.stat().st_size >> 10:,} KiB)"
    return _compared(str(path), whole, at)


def _server(url: str) -> Finding:
    try:
        at = server_revision(url)
    except ConfigurationError as error:
        advice = "start its server, or correct the setting"
        return Finding(Mark.WRONG, "database", str(error), advice)
    name = "the database of HUNTAZE_DATABASE_URL"
    return _compared(name, f"{name} answers", at)


def _compared(name: str, well: str, at: str | None) -> Finding:
    """Whether the tables are those of this release, or will be."""
    known = revisions()
    if at == known[-1]:
        return Finding(Mark.RIGHT, "database", well)
    if at is None or at in known:
        return Finding(Mark.RIGHT, "database", f"{well}; `huntaze up` brings it to this release")
    return Finding(Mark.WRONG, "database", newer(name, at), GO_ON)


def _revision(connection: sqlite3.Connection) -> str | None:
    """Which release's tables it has; None where it has none yet."""
    table = "SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'"
    if connection.execute(table).fetchone() is None:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _read_only(folder: DataFolder) -> sqlite3.Connection:
    return sqlite3.connect(f"{folder.database.resolve().as_uri()}?mode=ro", uri=True)
