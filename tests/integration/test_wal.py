"""What SQLite's log tells of itself: how far it goes, and what is damage and what a failing power.

The logs are SQLite's own, taken as a kill leaves them; what SQLite makes of them is what counts.
"""

import os
import random
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from notifications.stores.wal import Damage, find_damage, index_of, log_of
from notifications.stores.wal_frames import HEAD_SIZE, measure

FRAME_HEAD = 24


class Store:
    """A database in WAL mode whose log nobody copies into it unasked."""

    def __init__(self, path: Path, page: int = 4_096) -> None:
        """Made with one table, where it is not there."""
        self.path = path
        self.frame = page + FRAME_HEAD
        self.database = sqlite3.connect(path, isolation_level=None)
        for pragma in (f"page_size={page}", "journal_mode=WAL", "wal_autocheckpoint=0"):
            self.database.execute(f"PRAGMA {pragma}")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, body BLOB)"
        )

    def add(self, count: int = 1, size: int = 2_000) -> None:
        """Commit so many notes, each by itself."""
        for _ in range(count):
            self.database.execute("INSERT INTO notes (body) VALUES (?)", (os.urandom(size),))

    def copied_to(self, folder: Path, *, power: bool = False) -> Path:
        """The files as a kill leaves them; where the power fails, the index is not on the disk."""
        folder.mkdir()
        copy = folder / self.path.name
        copy.write_bytes(self.path.read_bytes())
        log_of(copy).write_bytes(log_of(self.path).read_bytes())
        if not power:
            index_of(copy).write_bytes(index_of(self.path).read_bytes())
        return copy


@contextmanager
def store(path: Path, page: int = 4_096) -> Iterator[Store]:
    """A database that is closed at the end."""
    made = Store(path, page)
    with closing(made.database):
        yield made


def after(path: Path, folder: Path, size: int, *, power: bool) -> Path:
    """The files when a process has opened a copy, has committed a note, and was killed."""
    working = folder.with_name(f"{folder.name}-working")
    working.mkdir()
    copy = working / path.name
    copy.write_bytes(path.read_bytes())
    log_of(copy).write_bytes(log_of(path).read_bytes())
    with store(copy) as made:
        made.add(size=size)
        return made.copied_to(folder, power=power)


def flip(path: Path, place: int, bit: int = 0) -> None:
    """Turn one bit of a file around."""
    with path.open("r+b") as file:
        file.seek(place)
        (byte,) = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))


def taken(path: Path) -> tuple[int, int]:
    """The frames of the log that SQLite takes, and the notes that it finds then."""
    with closing(sqlite3.connect(path)) as database:
        (notes,) = database.execute("SELECT count(*) FROM notes").fetchone()
        _, frames, _ = database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return frames, notes


def found(path: Path) -> Damage:
    """The damage of a log that is damaged."""
    damage = find_damage(path)
    assert damage is not None
    return damage


@pytest.mark.parametrize("page", [512, 4_096, 65_536])
def test_regression_a_log_is_read_as_sqlite_reads_it(tmp_path: Path, page: int) -> None:
    """Whatever bit is turned and wherever the log is cut, it goes as far as SQLite goes."""
    dice = random.Random(page)
    with store(tmp_path / "a.db", page) as made:
        made.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        made.add(12)
        whole = made.copied_to(tmp_path / "whole", power=True)
    size = log_of(whole).stat().st_size
    ends = set()
    for number in range(24):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        path = folder / "a.db"
        path.write_bytes(whole.read_bytes())
        log_of(path).write_bytes(log_of(whole).read_bytes())
        if number % 4:
            # Every second one in the head of a frame, where each bit means something else.
            within = dice.randrange(FRAME_HEAD if number % 2 else made.frame)
            frame = dice.randrange((size - HEAD_SIZE) // made.frame)
            flip(log_of(path), HEAD_SIZE + frame * made.frame + within, dice.randrange(8))
        else:
            os.truncate(log_of(path), dice.randrange(HEAD_SIZE, size))
        frames = measure(log_of(path)).frames
        assert taken(path)[0] == frames
        ends.add(frames)
    assert len(ends) > 5


def test_regression_a_damaged_head_is_not_taken_for_an_empty_log(tmp_path: Path) -> None:
    """Of the first 32 bytes each bit counts: SQLite leaves all of the log out when one is wrong."""
    with store(tmp_path / "a.db") as made:
        made.add(2)
        path = made.copied_to(tmp_path / "b", power=True)
    assert find_damage(path) is None
    for place in range(HEAD_SIZE):
        flip(log_of(path), place, place % 8)
        assert "the head of a.db-wal is damaged" in found(path).what
        assert (found(path).keep, found(path).lost) == (0, 1)
        flip(log_of(path), place, place % 8)


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
def test_regression_damage_in_the_middle_is_found(tmp_path: Path, power: bool) -> None:
    """With or without an index, a bit that is turned before finished commits is damage; what is to
    be kept of the log is all that was committed before it."""
    with store(tmp_path / "a.db") as made:
        made.add(3)
        before = log_of(made.path).stat().st_size
        made.add(4)
        path = made.copied_to(tmp_path / "b", power=power)
    flip(log_of(path), before + made.frame - 1)
    damage = found(path)
    # After the last commit nothing follows: whether it was finished only the index could tell.
    assert (damage.keep, damage.lost) == (before, 3)
    assert f"at byte {before:,}" in damage.what
    os.truncate(log_of(path), before)
    index_of(path).unlink(missing_ok=True)
    assert find_damage(path) is None
    assert taken(path)[1] == 3


def test_regression_the_index_tells_of_a_lost_end(tmp_path: Path) -> None:
    """After a kill even the last commit is missed: damaged, cut off, or the log emptied or gone."""
    with store(tmp_path / "a.db") as made:
        made.add(3)
        before = log_of(made.path).stat().st_size
        made.add()
        path = made.copied_to(tmp_path / "b")
    whole = log_of(path).read_bytes()
    assert find_damage(path) is None
    flip(log_of(path), len(whole) - 1)
    assert (found(path).keep, found(path).lost) == (before, 1)
    for size, keep in ((len(whole) - 1, before), (before, before), (HEAD_SIZE, 0), (0, 0)):
        log_of(path).write_bytes(whole[:size])
        assert found(path).keep == keep
    log_of(path).unlink()
    assert "a.db-wal is gone" in found(path).what


def test_a_commit_that_the_power_cut_short_is_no_damage(tmp_path: Path) -> None:
    """Cut anywhere, or written to the disk in whatever order: nothing was lost that was promised.
    Nor is it damage later, when shorter commits lie over what is left of it."""
    with store(tmp_path / "a.db") as made:
        made.add(2)
        before = log_of(made.path).stat().st_size
        made.add(size=40_000)
        path = made.copied_to(tmp_path / "b", power=True)
    torn = log_of(path).read_bytes()
    assert len(torn) - before >= 10 * made.frame
    for size in range(before, len(torn), made.frame // 3):
        log_of(path).write_bytes(torn[:size])
        assert find_damage(path) is None
    log_of(path).write_bytes(torn)
    for number, size in enumerate((20_000, 8_000, 2_000)):
        # The commit's first frame never came to the disk, its others did; then a hub went on.
        with log_of(path).open("r+b") as log:
            log.seek(before)
            log.write(bytes(made.frame))
        assert find_damage(path) is None
        for power in (True, False):
            gone_on = after(path, tmp_path / f"{number}-{power}", size, power=power)
            assert find_damage(gone_on) is None
        path = gone_on
        assert log_of(path).stat().st_size == len(torn)
        index_of(path).unlink()
    assert taken(path)[1] == 3


def test_what_a_rolled_back_transaction_leaves_is_no_damage(tmp_path: Path) -> None:
    """A large one writes to the log before it ends; where it ends without a commit, others follow
    in its place."""
    with store(tmp_path / "a.db") as made:
        made.add(2)
        made.database.execute("PRAGMA cache_size=5")
        made.database.execute("BEGIN")
        made.add(100)
        made.database.execute("ROLLBACK")
        made.add(2)
        killed = made.copied_to(tmp_path / "killed")
        power = made.copied_to(tmp_path / "power", power=True)
    assert log_of(power).stat().st_size > measure(log_of(power)).end + 20 * made.frame
    for path in (killed, power):
        assert find_damage(path) is None
        assert taken(path)[1] == 4


def test_what_an_older_log_leaves_is_no_damage(tmp_path: Path) -> None:
    """A log that was copied is begun anew in the same file; an index may be older than that."""
    with store(tmp_path / "a.db") as made:
        made.add(20)
        before = made.copied_to(tmp_path / "before")
        made.database.execute("PRAGMA wal_checkpoint(RESTART)")
        made.add(2)
        path = made.copied_to(tmp_path / "b")
    assert log_of(path).stat().st_size == log_of(before).stat().st_size
    index = index_of(path).read_bytes()
    half_written = index[:16] + struct.pack("=I", 99) + index[20:]
    for content in (index, index_of(before).read_bytes(), half_written, index[:100]):
        index_of(path).write_bytes(content)
        assert find_damage(path) is None
    assert taken(path)[1] == 22


@pytest.mark.parametrize(
    ("copied", "cut_short", "kept", "lost"),
    [
        pytest.param("nothing", False, 3, 4, id="nothing is in the database"),
        pytest.param("all", False, 8, 0, id="all is in the database"),
        pytest.param("all but the last", False, None, 4, id="a part is in the database"),
        pytest.param("nothing", True, None, 4, id="nobody knows what is"),
    ],
)
def test_regression_what_is_kept_depends_on_what_was_copied(
    tmp_path: Path, copied: str, cut_short: bool, kept: int | None, lost: int
) -> None:
    """Older pages are not laid over newer ones: where the database has what came later, all of the
    log goes, and where it has a part of that, there is no way but a backup."""
    with store(tmp_path / "a.db") as made:
        made.add(3)
        before = log_of(made.path).stat().st_size
        made.add(4)
        with closing(sqlite3.connect(made.path, isolation_level=None)) as reader:
            if copied == "all but the last":  # what nobody reads any more is copied
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM notes").fetchone()
            made.add()
            if copied != "nothing":
                made.database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            path = made.copied_to(tmp_path / "b")
    flip(log_of(path), before + made.frame - 1)
    if cut_short:
        with index_of(path).open("r+b") as index:
            index.seek(128)
            index.write(struct.pack("=I", 12))
    damage = found(path)
    assert damage.lost == lost
    assert (damage.keep is None) == (kept is None)
    if damage.keep is not None:
        os.truncate(log_of(path), damage.keep)
        index_of(path).unlink()
        assert taken(path)[1] == kept


def test_regression_a_log_that_is_in_the_database_is_not_laid_over_it(tmp_path: Path) -> None:
    """Of a log that was copied as a whole nothing is lost: an end that is missing is damage as long
    as older pages would hide newer ones, and none where there is nothing of the log."""
    with store(tmp_path / "a.db") as made:
        made.add(3)
        before = log_of(made.path).stat().st_size
        made.add(2)
        made.database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        path = made.copied_to(tmp_path / "b")
    whole = log_of(path).read_bytes()
    log_of(path).write_bytes(whole[:before])
    assert (found(path).keep, found(path).lost) == (0, 0)
    for size in (made.frame, HEAD_SIZE, 0):
        log_of(path).write_bytes(whole[:size])
        assert find_damage(path) is None
    assert taken(path)[1] == 5


def test_an_index_that_is_older_than_the_log_promises_nothing(tmp_path: Path) -> None:
    """Where the power failed since, what it calls all of the log was not all."""
    with store(tmp_path / "a.db") as made:
        made.add(3)
        before = log_of(made.path).stat().st_size
        made.add(2)
        with closing(sqlite3.connect(made.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")  # as long as somebody reads, the log is not begun anew
            reader.execute("SELECT count(*) FROM notes").fetchone()
            made.database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            older = index_of(made.path).read_bytes()
            made.add(2)
            path = made.copied_to(tmp_path / "b")
    index_of(path).write_bytes(older)
    assert find_damage(path) is None
    flip(log_of(path), before + made.frame - 1)
    assert found(path).keep is None


def test_a_log_of_the_other_byte_order_is_read(tmp_path: Path) -> None:
    """A folder may come from a machine that writes words the other way round."""
    with store(tmp_path / "a.db") as made:
        made.add(3)
        path = made.copied_to(tmp_path / "b", power=True)
    raw = bytearray(log_of(path).read_bytes())
    frames = measure(log_of(path)).frames
    raw[3] ^= 1
    big = bool(raw[3] & 1)
    sums = summed(raw[:24], big=big)
    raw[24:HEAD_SIZE] = struct.pack(">II", *sums)
    for at in range(HEAD_SIZE, len(raw), made.frame):
        covered = raw[at : at + 8] + raw[at + FRAME_HEAD : at + made.frame]
        sums = summed(covered, sums, big=big)
        raw[at + 16 : at + FRAME_HEAD] = struct.pack(">II", *sums)
    log_of(path).write_bytes(raw)
    assert measure(log_of(path)).frames == frames
    assert taken(path) == (frames, 3)


def summed(raw: bytes, sums: tuple[int, int] = (0, 0), *, big: bool) -> tuple[int, int]:
    """SQLite's checksum, word by word."""
    first, second = sums
    for one, other in struct.iter_unpack(">II" if big else "<II", raw):
        first = (first + one + second) & 0xFFFF_FFFF
        second = (second + other + first) & 0xFFFF_FFFF
    return first, second


def test_a_long_log_is_read_in_pieces(tmp_path: Path) -> None:
    """Frames are held against the one before, across what is read at once."""
    with store(tmp_path / "a.db") as made:
        made.database.execute("PRAGMA synchronous=OFF")
        made.add(9, size=1_000_000)
        before = log_of(made.path).stat().st_size
        made.add(3)
        path = made.copied_to(tmp_path / "b", power=True)
    assert measure(log_of(path)).frames == (log_of(path).stat().st_size - HEAD_SIZE) // made.frame
    flip(log_of(path), before - 1)
    assert (found(path).lost, taken(path)[1]) == (3, 8)
