"""Starting on a database that is damaged, of another release, or not to be written to."""

import random
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from notifications.errors import ConfigurationError
from notifications.stores.migrate import check_files, migrate, revisions
from notifications.stores.wal_frames import measure
from tests.hub_process import HubProcess, hub_process, run_huntaze
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
    assert "put a backup of the data folder in their place" in line
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
QUIET = {"HUNTAZE_LOG": "error"}
EVENTS = 12
"""What the hub of the tests below has accepted before it is killed, each in a commit of its own."""

Files = dict[str, bytes]


def publish(hub: HubProcess, tenant: dict[str, str], names: Sequence[str]) -> None:
    """Have each event accepted by itself."""
    for name in names:
        event = {
            "specversion": "1.0",
            "id": name,
            "source": "/test",
            "type": "message.received",
            "userid": "u1",
            "data": {"from": {"name": "Sample"}, "preview": name},
        }
        answer = httpx.post(f"{hub.url}/v1/events", json=event, headers=tenant)
        assert answer.status_code == 202, answer.text


def files_of(folder: Path) -> Files:
    """What is in a data folder, but for who owns it."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name not in ("hub.lock", "hub.json")
    }


def put(folder: Path, files: Files) -> Path:
    """Make it a data folder with these files; its database."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / "hub.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """What a hub with real events has left: when it was stopped, and when it was killed then."""

    stopped: bytes
    killed: Files
    tenant: dict[str, str]


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Worked:
    """A hub has worked."""
    data = tmp_path_factory.mktemp("worked")
    with hub_process(data, QUIET) as hub:
        tenant = hub.tenant_headers("acme")
        publish(hub, tenant, [f"first-{number}" for number in range(EVENTS)])
    stopped = (data / "hub.db").read_bytes()
    with hub_process(data, QUIET) as hub:
        publish(hub, tenant, [f"late-{number}" for number in range(EVENTS)])
        hub.kill()
        killed = files_of(data)
    return Worked(stopped=stopped, killed=killed, tenant=tenant)


def refused(folder: Path, files: Files) -> str:
    """What `up` says that is not started, with every file as it was."""
    done = run_huntaze(["up", "--port", "0", "--data", str(folder)], QUIET)
    assert (done.returncode, done.stdout) == (2, "")
    assert files_of(folder) == files
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"huntaze: {folder / 'hub.db'} cannot be used (")
    return line


@pytest.mark.parametrize("beside", ["its log", "its keys"])
@pytest.mark.fault("its database's file is empty", "ourselves")
def test_regression_an_emptied_database_is_not_taken_for_a_new_one(
    tmp_path: Path, worked: Worked, beside: str
):
    """The hub does not begin anew beside what it had: its log, which SQLite would delete, and its
    keys stay, and so does the empty file."""
    files = {**worked.killed, "hub.db": b""}
    if beside == "its keys":
        del files["hub.db-wal"], files["hub.db-shm"]
    put(tmp_path, files)
    line = refused(tmp_path, files)
    assert "(it is empty)" in line
    assert "put a backup of the data folder in their place" in line


def test_regression_a_database_that_is_gone_leaves_its_log(tmp_path: Path, worked: Worked):
    """Where the file is gone, what was written last is not deleted to begin anew."""
    files = {**worked.killed}
    del files["hub.db"]
    put(tmp_path, files)
    line = refused(tmp_path, files)
    assert "it is gone, and its log hub.db-wal is there" in line
    remains = f"{tmp_path / 'hub.db-wal'} {tmp_path / 'hub.db-shm'}"
    assert line.endswith(f"to begin anew with nothing of what was there: rm {remains}")


@pytest.mark.fault("what it wrote last, hub.db-wal, has a bit flipped", "ourselves")
def test_regression_a_damaged_log_is_refused_and_can_be_cut_off(tmp_path: Path, worked: Worked):
    """After a kill -9 a start, an audit and a doctor find it, as often as they are asked, and leave
    the files as they are; after the commands that they name only what came behind is missing."""
    files = dict(worked.killed)
    log = bytearray(files["hub.db-wal"])
    place = log.index(f"late-{EVENTS - 1}".encode())
    log[place] ^= 1
    files["hub.db-wal"] = bytes(log)
    put(tmp_path, files)
    line = refused(tmp_path, files)
    audited = run_huntaze(["audit", "--data", str(tmp_path)], QUIET)
    looked = run_huntaze(["doctor", "--data", str(tmp_path)], QUIET)
    assert (audited.returncode, looked.returncode) == (2, 1)
    assert line in audited.stderr
    assert line.removeprefix("huntaze: ") in looked.stdout
    assert refused(tmp_path, files) == line
    assert "keep hub.db, hub.db-wal and hub.db-shm aside as they are" in line
    assert "events that were accepted are lost" in line

    subprocess.run(line[line.index("truncate -s") :], shell=True, check=True)
    with hub_process(tmp_path, QUIET) as hub:
        kept = [
            httpx.get(f"{hub.url}/v1/events/{name}-{number}", headers=worked.tenant).status_code
            for name in ("first", "late")
            for number in range(EVENTS)
        ]
    assert kept == [200] * (2 * EVENTS - 1) + [404]


@pytest.mark.fault("what it wrote last, hub.db-wal, is damaged anywhere", "ourselves")
def test_regression_no_bit_of_the_log_goes_unnoticed(tmp_path: Path, worked: Worked):
    """After a kill -9 a flipped bit is found wherever it is, and a log that is cut off or gone; a
    log that is whole is not complained of."""
    dice = random.Random(20261126)
    log = worked.killed["hub.db-wal"]
    path = put(tmp_path, worked.killed)
    end = measure(tmp_path / "hub.db-wal").end
    assert end > 20 * PAGE
    check_files(path)
    for _ in range(40):
        flipped = bytearray(log)
        flipped[dice.randrange(end)] ^= 1 << dice.randrange(8)
        (tmp_path / "hub.db-wal").write_bytes(flipped)
        with pytest.raises(ConfigurationError, match=r"hub\.db-wal is"):
            migrate(path)
        assert (tmp_path / "hub.db-wal").read_bytes() == flipped
    for size in (0, 100, end // 2, end - 1):
        (tmp_path / "hub.db-wal").write_bytes(log[:size])
        with pytest.raises(ConfigurationError, match=r"hub\.db-shm knows of [0-9]+ pages"):
            migrate(path)
    (tmp_path / "hub.db-wal").unlink()
    with pytest.raises(ConfigurationError, match=r"hub\.db-wal is gone"):
        migrate(path)


@pytest.mark.fault("the power fails in the middle of a commit", "ourselves")
def test_a_commit_that_was_cut_short_is_left_out_without_a_word(tmp_path: Path, worked: Worked):
    """What the log holds of a commit that did not end was promised to nobody: the hub starts."""
    files = {name: content for name, content in worked.killed.items() if name != "hub.db-shm"}
    log = files["hub.db-wal"]
    put(tmp_path, files)
    end = measure(tmp_path / "hub.db-wal").end
    for size in (end - 1, end - PAGE, end - 7 * PAGE - 100, 40, 10):
        path = put(tmp_path, {**files, "hub.db-wal": log[:size]})
        migrate(path)
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def damage(whole: bytes, kind: str) -> Iterator[bytes]:
    """The same file, damaged in many ways."""
    dice = random.Random(20261126)
    if kind == "cut off":
        for size in (0, 1, 100, PAGE - 1, PAGE, len(whole) // 2, len(whole) - PAGE):
            yield whole[:size]
        return
    for page in range(0, len(whole) // PAGE, 4):
        # The head of a page, behind that of the file; then anywhere in the next.
        head = page * PAGE + (100 if page == 0 else 0) + dice.randrange(8)
        for place in (head, min((page + 1) * PAGE, len(whole) - PAGE) + dice.randrange(PAGE)):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << dice.randrange(8)
            yield bytes(flipped)


@pytest.mark.parametrize("kind", ["cut off", "with bits flipped"])
@pytest.mark.fault(
    "its database's file, the bus in it, is cut off or has bits flipped", "ourselves"
)
def test_regression_damage_is_found_before_anything_is_done(
    tmp_path: Path, worked: Worked, kind: str
):
    """A start finds damage to what holds the file together, says in one line what to do, and leaves
    the file as it is; it never ends otherwise."""
    path = tmp_path / "hub.db"
    said = []
    for damaged in damage(worked.stopped, kind):
        path.write_bytes(damaged)
        try:
            migrate(path)
        except ConfigurationError as error:
            said.append(str(error))
            assert path.read_bytes() == damaged
        else:
            with closing(sqlite3.connect(path)) as database:
                assert database.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    assert len(said) >= (7 if kind == "cut off" else 10)
    for line in said:
        assert line.startswith(f"{path} cannot be used (")
        assert "put a backup of the data folder in their place" in line
        assert len(line.splitlines()) == 1


def test_regression_a_new_database_is_there_with_its_tables_or_not_at_all(tmp_path: Path):
    """A start that ends while it makes one leaves none that the next would refuse; what one that
    was killed has left is no hindrance."""
    draft = tmp_path / "hub.db.new"
    draft.mkdir()
    with pytest.raises(ConfigurationError, match="cannot be written to"):
        migrate(tmp_path / "hub.db")
    assert not (tmp_path / "hub.db").exists()
    draft.rmdir()
    draft.write_bytes(b"half of it")
    migrate(tmp_path / "hub.db")
    assert [path.name for path in tmp_path.iterdir()] == ["hub.db"]
    assert (tmp_path / "hub.db").stat().st_mode & 0o777 == 0o600
