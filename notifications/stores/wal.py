"""Whether what SQLite wrote last, the log `hub.db-wal`, is whole: read, and never changed.

SQLite takes a log up to its first bad checksum and forgets the rest without a word. That is right
where the power went in the middle of a commit; where it is damage, what was accepted is gone. The
two are told apart by what only a finished commit leaves behind: a transaction that goes on from it,
or the index `hub.db-shm`, which says how far the log went when the process ended.

Both files' forms are those of https://sqlite.org/walformat.html.
"""

import struct
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from notifications.stores.wal_frames import HEAD_SIZE, VERSION, Extent, checksum, measure

_INDEX = struct.Struct("=I8xBBHI4xII8sII")
"""Version, made, byte order, page, frames, sums of the last, salts, two sums; in native order."""

_INDEX_SIZE = 136
_COPIED = slice(96, 100)
_ATTEMPTED = slice(128, 132)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What is wrong with a log.

    Attributes:
        what: In words, where and how.
        keep: Bytes of the log with which the database is what it was before what is damaged; None
            where some of what came later is in the database already, without the rest of it.
        lost: Commits at least that are gone then.
    """

    what: str
    keep: int | None
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """What a process left in memory of the log: `frames` of it are durable, `copied` of these are
    in the database, durably, and more of them, up to `attempted`, may be."""

    salts: bytes
    frames: int
    copied: int
    attempted: int


def log_of(database: Path) -> Path:
    """The log beside a database."""
    return database.with_name(f"{database.name}-wal")


def index_of(database: Path) -> Path:
    """The index beside a database."""
    return database.with_name(f"{database.name}-shm")


_LOOKS = 4
"""How often files are looked at that somebody changes meanwhile."""


def log_size(database: Path) -> int:
    """The bytes of its log; 0 where there is none."""
    try:
        return log_of(database).stat().st_size
    except FileNotFoundError:
        return 0


def find_damage(database: Path) -> Damage | None:
    """What is wrong with the log of a database that no process writes to.

    Whoever opens and closes such a database, a shell or a backup, copies its log and removes it:
    what was looked at meanwhile is looked at again.

    Args:
        database: The file, no symbolic link.

    Raises:
        OSError: It cannot be read.
    """
    for looks_left in reversed(range(_LOOKS)):
        before = _stamps(database)
        try:
            damage = _look(database)
        except FileNotFoundError:
            if not looks_left:
                raise
            continue
        if damage is None or _stamps(database) == before:
            return damage
    return damage


def _stamps(database: Path) -> list[tuple[int, int, int] | None]:
    """What changes about log and index when somebody touches them."""
    stamps: list[tuple[int, int, int] | None] = []
    for path in (log_of(database), index_of(database)):
        try:
            found = path.stat()
        except FileNotFoundError:
            stamps.append(None)
        else:
            stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
    return stamps


def _look(database: Path) -> Damage | None:
    log, index = log_of(database), _read_index(index_of(database))
    if log_size(database) <= HEAD_SIZE:
        if index is None or index.frames <= index.copied:
            return None
        what = f"{log.name} is {'empty' if log.exists() else 'gone'}"
        return _damage(f"{what}: {_known(database, index)}", Extent(), index)
    extent = measure(log)
    if not extent.salts:
        # The head is durable before there is a frame: no failing power leaves it half-written.
        damage = _damage(f"the head of {log.name} is damaged", extent, index)
        return replace(damage, lost=1)  # nothing says that the index is of this log
    if index is not None and index.salts != extent.salts:
        index = None  # an older log's: nobody hurries it to the disk, and then the power failed
    if extent.lost:
        what = f"{log.name} is damaged at byte {extent.bad:,}, and whole transactions follow"
        return _damage(what, extent, index)
    if index is None or extent.frames >= index.frames:
        return None
    if extent.frames == 0 and index.frames <= index.copied:
        return None  # all is in the database, and nothing older lies over it
    what = f"{log.name} is cut off or damaged at byte {extent.bad:,}: {_known(database, index)}"
    return _damage(what, extent, index)


def _known(database: Path, index: _Index) -> str:
    return f"{index_of(database).name} knows of {index.frames:,} pages that were written to it"


def _damage(what: str, extent: Extent, index: _Index | None) -> Damage:
    """What is to be kept of the log depends on what of it is in the database already.

    A copying that stops before the end, since somebody still reads, leaves out each page that
    comes again behind; so without the log's end only all of it or nothing of it is of any use.
    """
    lost = max(extent.lost, 1)
    if index is None or index.attempted <= extent.frames:
        return Damage(what=what, keep=extent.end, lost=lost)
    if index.copied >= index.frames >= extent.last:
        return Damage(what=what, keep=0, lost=0)
    return Damage(what=what, keep=None, lost=lost)


def _read_index(path: Path) -> _Index | None:
    """The index; None where there is none that can be believed."""
    try:
        with path.open("rb") as file:
            raw = file.read(_INDEX_SIZE)
    except FileNotFoundError:
        return None
    if len(raw) < _INDEX_SIZE:
        return None
    version, made, _, _, frames, _, _, salts, first, second = _INDEX.unpack_from(raw)
    sums = checksum(raw[: _INDEX.size - 8], big=sys.byteorder == "big")
    if (version, made, first | second << 32) != (VERSION, 1, sums):
        return None
    copied, attempted = (
        int.from_bytes(raw[place], sys.byteorder) for place in (_COPIED, _ATTEMPTED)
    )
    return _Index(salts=salts, frames=frames, copied=copied, attempted=max(copied, attempted))
