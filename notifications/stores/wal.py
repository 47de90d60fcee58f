"""Whether what SQLite wrote last, the log `hub.db-wal`, is whole: read, and never changed.

SQLite takes a log up to its first bad checksum and forgets the rest without a word. That is right
where the power went in the middle of a commit; where it is damage, what was accepted is gone. The
two are told apart by what only a finished commit leaves behind: a transaction that goes on from it,
or the index `hub.db-shm`, which says how far the log went when the process ended.

Both files' forms are those of https://sqlite.org/walformat.html.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_HEAD = struct.Struct(">IIII8sII")
"""Magic number, version, bytes of a page, checkpoints, salts, two sums of what is before them."""

_FRAME_HEAD = 24
"""Bytes before each page: its number, the pages after a commit (else 0), salts, two sums."""

_MAGIC = 0x377F_0682
"""With the lowest bit set, sums are those of big-endian words."""

_VERSION = 3_007_000
_PAGES = frozenset(1 << bits for bits in range(9, 17))

_INDEX = struct.Struct("=I8xBBHI4xII8sII")
"""Version, made, byte order, page, frames, sums of the last, salts, two sums; in native order."""

_INDEX_SIZE = 136
_COPIED = slice(96, 100)
_ATTEMPTED = slice(128, 132)

_AT_ONCE = 4 << 20
"""Bytes that are read at a time."""

_ALL = 0xFFFF_FFFF
_UNMASKED = 16
"""Steps in which a sum of 32 bits, which grows by 2.62 at each, stays below 64."""


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
class Extent:
    """How far a log goes.

    Attributes:
        salts: What its frames are known by; empty where its head is damaged.
        frames: Those that SQLite takes: up to the last commit before the first bad checksum.
        end: The bytes that they take, the log's head among them.
        bad: Where the first frame begins that is not whole; the end where there is none.
        lost: Commits behind that were finished: others follow that go on from them.
        last: The last whole frame that commits, whatever is before it.
    """

    salts: bytes = b""
    frames: int = 0
    end: int = 0
    bad: int = 0
    lost: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """What a process left in memory of the log: `frames` of it are durable, `copied` of these are
    in the database, durably, and more of them, up to `attempted`, may be."""

    salts: bytes
    frames: int
    copied: int
    attempted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    page: int
    big: bool
    salts: bytes
    sums: int

    @property
    def frame(self) -> int:
        return _FRAME_HEAD + self.page


def log_of(database: Path) -> Path:
    """The log beside a database."""
    return database.with_name(f"{database.name}-wal")


def index_of(database: Path) -> Path:
    """The index beside a database."""
    return database.with_name(f"{database.name}-shm")


def log_size(database: Path) -> int:
    """The bytes of its log; 0 where there is none."""
    try:
        return log_of(database).stat().st_size
    except FileNotFoundError:
        return 0


def find_damage(database: Path) -> Damage | None:
    """What is wrong with the log of a database that no process writes to.

    It takes a third of a second for 64 MiB and a few megabytes of memory for any.

    Args:
        database: The file, no symbolic link.

    Raises:
        OSError: It cannot be read.
    """
    log, index = log_of(database), _read_index(index_of(database))
    size = log_size(database)
    if size <= _HEAD.size:
        if index is None or index.frames <= index.copied:
            return None
        what = f"{log.name} is {'empty' if log.exists() else 'gone'}"
        return _damage(f"{what}: {_known(database, index)}", Extent(), index)
    extent = measure(database)
    if not extent.salts:
        return _damage(f"the head of {log.name} is damaged", extent, index)
    if index is not None and index.salts != extent.salts:
        index = (
            None  # of an older log: it was not written to disk for a while before the power went
        )
    if extent.lost:
        what = f"{log.name} is damaged at byte {extent.bad:,}, and whole transactions follow"
    elif index is not None and extent.frames < index.frames and index.copied < index.frames:
        what = f"{log.name} is cut off or damaged at byte {extent.bad:,}: {_known(database, index)}"
    else:
        return None
    return _damage(what, extent, index)


def measure(database: Path) -> Extent:
    """How far the log of a database goes that no process writes to.

    Raises:
        OSError: It cannot be read.
    """
    with log_of(database).open("rb") as file:
        head = _read_head(file.read(_HEAD.size))
        return Extent() if head is None else _extent(file, head)


def _known(database: Path, index: _Index) -> str:
    return f"{index.frames:,} pages were written to it by what {index_of(database).name} says"


def _damage(what: str, extent: Extent, index: _Index | None) -> Damage:
    """What is to be kept of the log depends on what of it is in the database already."""
    lost = max(extent.lost, 1)
    if index is None or index.attempted <= extent.frames:
        return Damage(what=what, keep=extent.end, lost=lost)
    if index.attempted > index.copied or index.frames < extent.last:  # or more since it was written
        return Damage(what=what, keep=None, lost=lost)
    # The database is what it was after a later commit than the log's last whole one.
    return Damage(what=what, keep=0, lost=0 if index.copied >= index.frames else 1)


def _read_index(path: Path) -> _Index | None:
    """The index; None where there is none that can be believed."""
    try:
        with path.open("rb") as file:
            raw = file.read(_INDEX_SIZE)
    except FileNotFoundError:
        return None
    half = _INDEX.size
    if len(raw) < _INDEX_SIZE or raw[:half] != raw[half : 2 * half]:
        return None
    version, made, _, _, frames, _, _, salts, first, second = _INDEX.unpack_from(raw)
    sums = _sums_of(raw[: half - 8], big=sys.byteorder == "big")
    if (version, made, first | second << 32) != (_VERSION, 1, sums):
        return None
    copied, attempted = (
        int.from_bytes(raw[place], sys.byteorder) for place in (_COPIED, _ATTEMPTED)
    )
    return _Index(salts=salts, frames=frames, copied=copied, attempted=max(copied, attempted))


def _read_head(raw: bytes) -> _Head | None:
    """The head of a log; None where it is none, and SQLite would take the log for empty."""
    if len(raw) < _HEAD.size:
        return None
    magic, version, page, _, salts, first, second = _HEAD.unpack(raw)
    big = bool(magic & 1)
    sums = first | second << 32
    if magic & ~1 != _MAGIC or version != _VERSION or page not in _PAGES:
        return None
    if _sums_of(raw[:-8], big=big) != sums:
        return None
    return _Head(page=page, big=big, salts=salts, sums=sums)


def _extent(file: BinaryIO, head: _Head) -> Extent:
    """Go through all frames: those that SQLite takes, and what is behind them."""
    frames = bad = number = lost = last = 0
    after_commit = False
    for number, (current, commit, whole) in enumerate(_frames(file, head), 1):
        if not whole:
            bad = bad or number
        elif bad:
            # It goes on from the commit before it, which was finished then.
            lost += after_commit
        elif commit:
            frames = number
        after_commit = current and commit
        if whole and commit:
            last = number
    return Extent(
        salts=head.salts,
        frames=frames,
        end=_HEAD.size + frames * head.frame,
        bad=_HEAD.size + ((bad or number + 1) - 1) * head.frame,
        lost=lost,
        last=last,
    )


def _frames(file: BinaryIO, head: _Head) -> Iterator[tuple[bool, bool, bool]]:
    """Of each frame whether it is of this log, whether it commits, and whether it is whole.

    A log is begun anew in the same file, with other salts: what is left of the old one behind is
    not of this log. A frame is whole where its checksum is right if that of the one before is.
    """
    before = head.sums
    most = max(1, _AT_ONCE // head.frame)
    while raw := file.read(most * head.frame):
        count = len(raw) // head.frame
        words = array("Q", raw[: count * head.frame])
        step = head.frame // 8
        numbers, salts, stored = (words[column::step].tobytes() for column in range(3))
        sums = _lanes(stored, swapped=True)
        current = [
            salts[at : at + 8] == head.salts and any(numbers[at : at + 4])
            for at in range(0, count * 8, 8)
        ]
        whole = _whole(words, head, sums, before) if any(current) else [False] * count
        for number in range(count):
            commits = any(numbers[number * 8 + 4 : number * 8 + 8])
            yield current[number], commits, current[number] and whole[number]
        before = sums >> (count - 1) * 64 if count else before


def _whole(words: "array[int]", head: _Head, sums: int, before: int) -> list[bool]:
    """Of each frame whether its checksum is that of the one before, carried on over it.

    In plain Python a megabyte takes a second so. One big number with 64 bits for each frame, which
    takes a word of all of them at a step, takes five milliseconds.
    """
    step = head.frame // 8
    count = len(words) // step
    everywhere = (1 << 64 * count) - 1
    mask = everywhere // ((1 << 64) - 1) * _ALL
    starts = (sums << 64 | before) & everywhere
    columns = (
        _lanes(words[column::step].tobytes(), swapped=head.big)
        for column in (0, *range(_FRAME_HEAD // 8, step))
    )
    wrong = _carry_on(columns, starts, mask) ^ sums
    return [not each for each in array("Q", wrong.to_bytes(count * 8, "little"))]


def _carry_on(columns: Iterable[int], sums: int, mask: int) -> int:
    """SQLite's checksum in lanes of 64 bits, the first sum in the lower half of each."""
    first, second = sums & mask, sums >> 32 & mask
    for number, column in enumerate(columns, 1):
        first += (column & mask) + second
        second += (column >> 32 & mask) + first
        if number % _UNMASKED == 0:
            first &= mask
            second &= mask
    return first & mask | (second & mask) << 32


def _sums_of(raw: bytes, *, big: bool) -> int:
    """The checksum of a head, as `_carry_on` has it."""
    lanes = _lanes(raw, swapped=big)
    return _carry_on((lanes >> at & (1 << 64) - 1 for at in range(0, len(raw) * 8, 64)), 0, _ALL)


def _lanes(raw: bytes, *, swapped: bool) -> int:
    """Words of 32 bits, `swapped` where they are big-endian, as one number, the first lowest."""
    if swapped:
        words = array("I", raw)
        words.byteswap()
        raw = words.tobytes()
    return int.from_bytes(raw, "little")
