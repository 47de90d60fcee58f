"""Starting on a database that is damaged, of another release, or not to be written to."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from notifications.errors import ConfigurationError
from notifications.stores.migrate import migrate, revisions
from tests.hub_process import run_huntaze
from tests.postgres_server import migrated_database


def set_revision(path: Path, revision: str) -> None:
    """Make it a database whose tables are of that state."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.commit()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not a database, and long enough to be looked at " * 100, "file is not a database"),
        (b"SQLite format 3\0" + b"\xff" * 8_000, "hub.db cannot be used"),
    ],
)
@pytest.mark.fault("its database's file is none, or cut off in its head", "ourselves")
def test_a_start_on_a_damaged_database_is_refused_with_one_line(
    tmp_path: Path, content: bytes, said: str
):
    """Which file, what is wrong and what to do; exit code 2; the file is as it was."""
    database = tmp_path / "hub.db"
    database.write_bytes(content)
    done = run_huntaze(["up", "--port", "0", "--data", str(tmp_path)])
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"huntaze: {database} cannot be used (")
    assert said in line
    assert "put a backup of the data folder in its place" in line
    assert database.read_bytes() == content


@pytest.mark.fault("its database is a newer release's", "ourselves")
def test_a_start_on_a_newer_database_is_refused_with_one_line(tmp_path: Path):
    """A release never touches what a newer one wrote; the doctor says the same."""
    database = tmp_path / "hub.db"
    migrate(database)
    set_revision(database, "9999")
    before = database.read_bytes()
    done = run_huntaze(["up", "--port", "0", "--data", str(tmp_path)])
    looked = run_huntaze(["doctor", "--data", str(tmp_path)])
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    said = f"{database} was written by a newer release: its tables are at 9999"
    assert said in line
    assert "start that release again" in line
    assert database.read_bytes() == before
    assert looked.returncode == 1
    assert said in looked.stdout


def test_the_doctor_tells_of_a_database_that_is_to_be_brought_here(tmp_path: Path):
    """One of an older release is right: the next start brings it to this one."""
    database = tmp_path / "hub.db"
    migrate(database)
    set_revision(database, revisions()[0])
    looked = run_huntaze(["doctor", "--data", str(tmp_path)])
    assert looked.returncode == 0, looked.stdout
    assert ("`huntaze up` brings it to this release" in looked.stdout) == (len(revisions()) > 1)


def test_a_server_database_of_a_newer_release_is_refused(tmp_path: Path):
    """On PostgreSQL, too, one line says which release wrote it, at a start and by the doctor."""
    url = migrated_database()
    settings = {"HUNTAZE_DATABASE_URL": url}
    well = run_huntaze(["doctor", "--data", str(tmp_path)], settings)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    done = run_huntaze(["migrate"], settings)
    looked = run_huntaze(["doctor", "--data", str(tmp_path)], settings)
    assert (well.returncode, "HUNTAZE_DATABASE_URL answers" in well.stdout) == (0, True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "of HUNTAZE_DATABASE_URL was written by a newer release" in line
    assert looked.returncode == 1
    assert "its tables are at 9999" in looked.stdout


def test_a_database_that_somebody_else_holds_is_told_as_such(tmp_path: Path):
    """A lock is no damage: the line says who is to end."""
    database = tmp_path / "hub.db"
    migrate(database)
    set_revision(database, revisions()[0])
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigurationError, match="another program holds it"):
            migrate(database)


def test_a_place_that_is_no_file_is_told(tmp_path: Path):
    """Where the database should be is a folder: one line, not a traceback."""
    (tmp_path / "hub.db").mkdir()
    with pytest.raises(ConfigurationError, match=r"hub\.db cannot be used"):
        migrate(tmp_path / "hub.db")


def test_migrating_what_is_there_changes_nothing(tmp_path: Path):
    """A database of this release is left alone."""
    database = tmp_path / "hub.db"
    migrate(database)
    before = database.read_bytes()
    migrate(database)
    assert database.read_bytes() == before


PAGE = 4_096


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a database that a hub has worked with."""
    path = tmp_path_factory.mktemp("whole") / "hub.db"
    migrate(path)
    with closing(sqlite3.connect(path)) as database:
        database.executemany(
            "INSERT INTO marks (name, value) VALUES (?, ?)",
            [(f"mark-{number}", number) for number in range(2_000)],
        )
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def damage(whole: bytes, kind: str) -> Iterator[bytes]:
    """The same file, damaged in many ways."""
    dice = random.Random(20261126)
    if kind == "cut off":
        for size in (1, 100, PAGE - 1, PAGE, len(whole) // 2, len(whole) - PAGE):
            yield whole[:size]
        return
    for page in range(0, len(whole) // PAGE, 4):
        # The head of a page, behind that of the file.
        place = page * PAGE + (100 if page == 0 else 0) + dice.randrange(8)
        flipped = bytearray(whole)
        flipped[place] ^= 1 << dice.randrange(8)
        yield bytes(flipped)


@pytest.mark.parametrize("kind", ["cut off", "with bits flipped"])
@pytest.mark.fault(
    "its database's file, the bus in it, is cut off or has bits flipped", "ourselves"
)
def test_regression_damage_is_found_before_anything_is_done(
    tmp_path: Path, whole: bytes, kind: str
):
    """A start finds damage to what holds the file together, says in one line what to do, and leaves
    the file as it is; it never ends otherwise."""
    path = tmp_path / "hub.db"
    said = []
    for damaged in damage(whole, kind):
        path.write_bytes(damaged)
        try:
            migrate(path)
        except ConfigurationError as error:
            said.append(str(error))
            assert path.read_bytes() == damaged
        else:
            with closing(sqlite3.connect(path)) as database:
                assert database.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    assert len(said) >= (6 if kind == "cut off" else 10)
    for line in said:
        assert line.startswith(f"{path} cannot be used (")
        assert line.endswith("put a backup of the data folder in its place")
        assert len(line.splitlines()) == 1
