"""The frames of SQLite's log, `hub.db-wal`: how many there are, and whether they are whole.

The file's form is that of https://sqlite.org/walformat.html.
"""

import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_HEAD = struct.Struct(">IIII8sII")
"""Magic number, version, bytes of a page, checkpoints, salts, two sums of what is before them."""

HEAD_SIZE = _HEAD.size

_FRAME_HEAD = 24
"""Bytes before each page: its number, the pages after a commit (else 0), salts, two sums."""

_MAGIC = 0x377F_0682
"""With the lowest bit set, sums are those of big-endian words."""

VERSION = 3_007_000
_PAGES = frozenset(1 << bits for bits in range(9, 17))

_AT_ONCE = 1 << 20
"""Bytes that are read at a time."""

_ALL = 0xFFFF_FFFF
_UNMASKED = 16
"""Steps in which a sum of 32 bits, which grows by 2.62 at each, stays below 64."""


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
class _Head:
    page: int
    big: bool
    salts: bytes
    sums: int

    @property
    def frame(self) -> int:
        return _FRAME_HEAD + self.page


def measure(log: Path) -> Extent:
    """How far a log goes that no process writes to.

    It takes 0.2 s for 64 MiB, and a few megabytes of memory for any.

    Raises:
        OSError: It cannot be read.
    """
    with log.open("rb") as file:
        head = _read_head(file.read(HEAD_SIZE))
        return Extent() if head is None else _extent(file, head)


def _read_head(raw: bytes) -> _Head | None:
    """The head of a log; None where it is none, and SQLite would take the log for empty."""
    if len(raw) < HEAD_SIZE:
        return None
    magic, version, page, _, salts, first, second = _HEAD.unpack(raw)
    big = bool(magic & 1)
    sums = first | second << 32
    if magic & ~1 != _MAGIC or version != VERSION or page not in _PAGES:
        return None
    if checksum(raw[:-8], big=big) != sums:
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
        end=HEAD_SIZE + frames * head.frame,
        bad=HEAD_SIZE + ((bad or number + 1) - 1) * head.frame,
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
        pages, salts, stored = (words[column::step].tobytes() for column in range(3))
        sums = _lanes(stored, swapped=True)
        current = [salts[at : at + 8] == head.salts for at in range(0, count * 8, 8)]
        whole = _whole(words, head, sums, before) if any(current) else [False] * count
        for number in range(count):
            commits = any(pages[number * 8 + 4 : number * 8 + 8])
            yield current[number], commits, current[number] and whole[number]
        before = sums >> (count - 1) * 64 if count else before


def _whole(words: "array[int]", head: _Head, sums: int, before: int) -> list[bool]:
    """Of each frame whether its checksum is that of the one before, carried on over it.

    One big number with 64 bits for each frame, which takes a word of all of them at each step, is
    six times as fast as a loop over the words.
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


def checksum(raw: bytes, *, big: bool) -> int:
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
