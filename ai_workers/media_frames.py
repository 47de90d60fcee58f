"""What a video is and its key frames. Runs in the process that reads videos, see `media_child`.

A short video is decoded from beginning to end. Of a longer one the key frames before places that
are spread over it are decoded and nothing else, so that two hours cost no more than a minute.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from av.container.input import InputContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame

from ai_workers.media_decoding import Decoder, Source
from ai_workers.media_limits import MediaLimits
from ai_workers.media_pictures import Held, Pictures, quarter_turns, thumbnail
from ai_workers.media_scenes import Candidate, CutFinder, Shortlist, choose

_TICKS = 24
_SHORTEST_TICK_MS = 500
_UNKNOWN_TICK_MS = 2_000
_EARLY = 0.9
_MICROSECONDS = 1_000_000

_STILLS = ("image2", "tty")
"""Formats that show something and are no video; so are all that end in `_pipe`."""


class UnreadableError(Exception):
    """There is nothing to be had from this file.

    Attributes:
        reason: One of the names in `media.REASONS`.
        values: What its sentence is filled in with.
    """

    def __init__(self, reason: str, **values: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.values = values


@dataclass(slots=True)
class Found:
    """What was seen of a video's pictures.

    Attributes:
        pictures: Makes JPEGs of the chosen frames.
        chosen: The key frames, in the order of the video.
        first: The first frame that was decoded.
        end_ms: The latest moment that was seen.
        reached_ms: The latest moment that the file has something for.
        notes: What is to be said about it, as constant names.
    """

    pictures: Pictures
    chosen: list[Held] = field(default_factory=list)
    first: VideoFrame | None = None
    end_ms: int = 0
    reached_ms: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def rotation(self) -> int:
        """How far the frames have to be turned counter-clockwise to stand upright."""
        return 0 if self.first is None else quarter_turns(self.first)

    def duration_ms(self, said_ms: int | None) -> int:
        """How long the video is: what it says where that is about true, else what there is."""
        if said_ms is not None and "stopped-early" in self.notes:
            return said_ms
        if said_ms is None or not said_ms * _EARLY <= self.end_ms <= said_ms / _EARLY:
            return self.end_ms
        return said_ms

    def jpegs(self) -> Iterator[tuple[Held, bytes]]:
        """The chosen frames and their pictures."""
        for each in self.chosen:
            yield each, self.pictures.jpeg(each.picture, self.rotation)


def find_video(container: InputContainer, limits: MediaLimits) -> Source:
    """The pictures of an open file.

    Raises:
        UnreadableError: There are none, or they are too large.
    """
    name = container.format.name
    if name in _STILLS or name.endswith("_pipe"):
        raise UnreadableError("no-video")
    streams = [
        each
        for each in container.streams.video
        if not each.disposition & Disposition.attached_pic and _has_decoder(each)
    ]
    if not streams:
        raise UnreadableError("no-video")
    stream = next((each for each in streams if each.disposition & Disposition.default), streams[0])
    _check_size(stream.width, stream.height, limits)
    said: int | None = None
    if stream.duration is not None and stream.time_base is not None:
        said = round(stream.duration * stream.time_base * 1_000)
    elif container.duration is not None:
        said = round(container.duration * 1_000 / _MICROSECONDS)
    return Source(
        container=container,
        stream=stream,
        start=stream.start_time or 0,
        said_ms=said if said and said > 0 else None,
    )


def _has_decoder(stream: Stream) -> bool:
    return getattr(stream, "codec_context", None) is not None  # contrary to its annotation


def _check_size(width: int, height: int, limits: MediaLimits) -> None:
    if width * height > limits.most_pixels or max(width, height) > limits.most_side:
        raise UnreadableError("too-many-pixels", width=width, height=height)


def find_frames(source: Source, limits: MediaLimits) -> Found:
    """Look through a video.

    Raises:
        UnreadableError: Not one frame can be decoded.
    """
    stop_at = time.monotonic() + limits.pictures_s
    search = _Search(source, limits, lambda: time.monotonic() >= stop_at)
    said = source.said_ms
    if not search.is_long(said):
        found = search.everything(said)
    else:
        assert said is not None
        found = search.places(said)
        if found.reached_ms < said * _EARLY:  # it is cut off, or says what is not so
            there = found.reached_ms
            found = search.places(there) if search.is_long(there) else search.everything(there)
        if len(found.chosen) < 2:
            found = search.everything(None)
    if not found.chosen:
        raise UnreadableError("no-frames")
    if said and found.end_ms < said * _EARLY and "stopped-early" not in found.notes:
        found.notes.append("cut-off")
    return found


class _Search:
    """Goes through a video one way or the other."""

    def __init__(self, source: Source, limits: MediaLimits, late: Callable[[], bool]) -> None:
        self._source = source
        self._limits = limits
        self._late = late
        self._moved = False
        stream = source.stream
        pixels = max(stream.width * stream.height, 1)
        self._budget = max(1, min(limits.decoded_frames, limits.decoded_pixels // pixels))
        self._pictures = Pictures(
            longest_side=limits.longest_side, pixel_shape=stream.sample_aspect_ratio or Fraction(1)
        )

    def is_long(self, length_ms: int | None) -> bool:
        """Whether there are more frames than are decoded one after the other."""
        rate = self._source.stream.average_rate or Fraction(25)
        return length_ms is not None and length_ms * rate / 1_000 > self._budget

    def everything(self, length_ms: int | None) -> Found:
        """Decode from the beginning to the end, or until it is enough."""
        tick = _UNKNOWN_TICK_MS if length_ms is None else length_ms // _TICKS
        look = _Look(self._limits, self._pictures, max(_SHORTEST_TICK_MS, tick), self._source)
        decoder, count = Decoder(self._source, self._late, moved=self._moved), 0
        self._moved = True
        for frame in decoder.from_the_start():
            look.at(frame)
            count += 1
            if count >= self._budget:
                break
        if count >= self._budget or decoder.given_up:
            look.found.notes.append("stopped-early")
        if decoder.bad:
            look.found.notes.append("damaged")
        return look.choose()

    def places(self, length_ms: int) -> Found:
        """Decode key frames at places that are spread over the video."""
        look = _Look(self._limits, self._pictures, 0, self._source)
        decoder, places = Decoder(self._source, self._late), self._limits.places
        self._moved = True
        for place in range(places):
            frame = decoder.at(length_ms * place // places)
            if frame is not None:
                look.at(frame)
            if self._late():
                look.found.notes.append("stopped-early")
                break
        found = look.choose()
        found.reached_ms = max(decoder.reached_ms, found.end_ms)
        if found.reached_ms >= length_ms * (places - 1) // places * _EARLY:
            found.end_ms = found.reached_ms = length_ms  # the last key frame is not the end
        elif "stopped-early" in found.notes:
            found.reached_ms = length_ms  # how much of it is there is not known
        return found


class _Look:
    """Looks at frames as they come and keeps those that tell something."""

    def __init__(
        self, limits: MediaLimits, pictures: Pictures, every_ms: int, source: Source
    ) -> None:
        self.found = Found(pictures=pictures)
        self._limits = limits
        self._pictures = pictures
        self._source = source
        self._cuts = CutFinder()
        self._shortlist = Shortlist[VideoFrame](every_ms=every_ms)
        self._seen_ms = -1
        self._count = 0

    def at(self, frame: VideoFrame) -> None:
        """Look at one more frame; one that was seen already counts once."""
        if frame.width * frame.height > self._limits.most_pixels:
            return  # it grew on the way
        at_ms = self._source.at_ms(frame)
        if at_ms is None:  # no time stamps at all: by their number
            at_ms = round(self._count * 1_000 / (self._source.stream.average_rate or 25))
        self._count += 1
        if at_ms <= self._seen_ms:
            return
        self._seen_ms = at_ms
        lasts = round((frame.duration or 0) * self._source.unit * 1_000)
        self.found.end_ms = max(self.found.end_ms, at_ms + lasts)
        self.found.first = self.found.first or frame
        change, cut = self._cuts.look(at_ms, thumbnail(frame))
        if self._shortlist.wants(at_ms, cut=cut):
            picture = self._pictures.shrink(frame)
            self._shortlist.keep(Candidate(at_ms=at_ms, change=change, cut=cut, picture=picture))

    def choose(self) -> Found:
        """What was found, once everything was looked at."""
        self.found.chosen = choose(self._shortlist.kept, self._limits.pictures)
        return self.found
