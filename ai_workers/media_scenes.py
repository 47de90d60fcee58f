"""Which pictures of a video tell most about it. Pure.

A picture is compared with the one before it by a thumbnail of a few hundred bytes. Where much
changes at once, and more than it did just before, there is a cut. What is kept are pictures at cuts
and, where there are none for a while, pictures in between.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

CUT = 0.08
"""The least mean difference between two pictures, 0-1, that can be a cut."""

STANDS_OUT = 2.5
"""How many times the usual difference a cut has: else a shaking camera would be full of them."""

CLOSEST_MS = 300
"""Cuts that follow each other faster are one: a flash, a strobe."""

MOST_KEPT = 96
"""Pictures kept at a time while a video is read."""

_USUAL_OF = 8
_FILL_MS = 500

Picture = TypeVar("Picture")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Generic[Picture]):
    """A picture that may be shown to the model.

    Attributes:
        at_ms: Where in the video it is.
        change: How much differs from the picture before it, 0-1.
        cut: Whether a scene begins with it.
        picture: The picture itself; what it is does not matter here.
    """

    at_ms: int
    change: float
    cut: bool
    picture: Picture


def difference(before: bytes, now: bytes) -> float:
    """The mean difference of two thumbnails of the same size: 0 for equal ones, at most 1."""
    if not now or len(before) != len(now):
        return 1.0
    return sum(map(abs, map(int.__sub__, before, now))) / (255 * len(now))


@dataclass(slots=True)
class CutFinder:
    """Tells cuts from movement, picture after picture."""

    _before: bytes | None = None
    _usual: deque[float] = field(default_factory=lambda: deque(maxlen=_USUAL_OF))
    _last_cut_ms: int | None = None

    def look(self, at_ms: int, thumbnail: bytes) -> tuple[float, bool]:
        """How much this picture differs from the one before, and whether it begins a scene.

        The first picture of all does.
        """
        if self._before is None:
            self._before, self._last_cut_ms = thumbnail, at_ms
            return 1.0, True
        change = difference(self._before, thumbnail)
        self._before = thumbnail
        usual = sum(self._usual) / len(self._usual) if self._usual else 0.0
        self._usual.append(change)
        cut = change >= max(CUT, STANDS_OUT * usual)
        if cut and self._last_cut_ms is not None and at_ms - self._last_cut_ms < CLOSEST_MS:
            cut = False
        if cut:
            self._last_cut_ms = at_ms
            self._usual.clear()
        return change, cut


@dataclass(slots=True)
class Shortlist(Generic[Picture]):
    """The pictures worth keeping while a video of any length is read.

    Attributes:
        every_ms: How long a time without a cut is before a picture is kept all the same; doubled
            whenever there are too many.
        kept: In the order of the video.
    """

    every_ms: int
    kept: list[Candidate[Picture]] = field(default_factory=list)

    def wants(self, at_ms: int, *, cut: bool) -> bool:
        """Whether a picture from here would be kept, so that others are never made."""
        return cut or not self.kept or at_ms - self.kept[-1].at_ms >= self.every_ms

    def keep(self, candidate: Candidate[Picture]) -> None:
        """Keep a picture; one that says less makes room where there are too many."""
        self.kept.append(candidate)
        if len(self.kept) > MOST_KEPT:
            self._thin_out()

    def _thin_out(self) -> None:
        between = [each for each in range(1, len(self.kept)) if not self.kept[each].cut]
        if between:
            self.every_ms *= 2
            gone = set(between[::2])
        else:
            gone = {min(range(1, len(self.kept)), key=lambda each: self.kept[each].change)}
        self.kept = [each for place, each in enumerate(self.kept) if place not in gone]


def choose(candidates: Sequence[Candidate[Picture]], count: int) -> list[Candidate[Picture]]:
    """The `count` pictures that tell most, in the order of the video.

    The first always; then cuts, spread over the whole video where there are too many of them; then
    those that are farthest from any other, while they are at least half a second away.
    """
    if not candidates or count < 1:
        return []
    first, *rest = sorted(candidates, key=lambda each: each.at_ms)
    chosen = [first, *_spread([each for each in rest if each.cut], count - 1)]
    left = [each for each in rest if not each.cut]
    while left and len(chosen) < count:
        times = [each.at_ms for each in chosen]
        best = max(left, key=lambda each: min(abs(each.at_ms - time) for time in times))
        if min(abs(best.at_ms - time) for time in times) < _FILL_MS:
            break
        chosen.append(best)
        left.remove(best)
    return sorted(chosen, key=lambda each: each.at_ms)


def _spread(cuts: Sequence[Candidate[Picture]], count: int) -> list[Candidate[Picture]]:
    """The strongest cut of each of `count` equal parts of the time, then the strongest of all."""
    if len(cuts) <= count:
        return list(cuts)
    if count < 1:
        return []
    begin, span = cuts[0].at_ms, max(cuts[-1].at_ms - cuts[0].at_ms, 1)
    parts: dict[int, Candidate[Picture]] = {}
    for each in cuts:
        part = min((each.at_ms - begin) * count // span, count - 1)
        if part not in parts or each.change > parts[part].change:
            parts[part] = each
    others = sorted(
        (each for each in cuts if each not in parts.values()), key=lambda each: -each.change
    )
    return [*parts.values(), *others[: count - len(parts)]]
