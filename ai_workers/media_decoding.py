"""Frames out of an open video, some of whose packets may be damaged. Runs in the process that reads
videos, see `media_child`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container.input import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_MOST_BAD = 200
"""Packets in a row that cannot be decoded before the rest is given up."""

_PACKETS_PER_PLACE = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An open video, and what its header says.

    Attributes:
        container: What it is in.
        stream: The pictures.
        start: The time stamp of the first picture, in the stream's units.
        said_ms: How long it says it is; None where it says nothing.
    """

    container: InputContainer
    stream: VideoStream
    start: int
    said_ms: int | None

    @property
    def unit(self) -> Fraction:
        """Seconds per unit of a time stamp."""
        return self.stream.time_base or Fraction(1, 1_000)

    def at_ms(self, frame: VideoFrame) -> int | None:
        """Where in the video a frame is; None where it does not say."""
        if frame.pts is None:
            return None
        return max(0, round((frame.pts - self.start) * self.unit * 1_000))


@dataclass(slots=True)
class Decoder:
    """Frames out of packets, some of which may be damaged.

    Attributes:
        moved: Whether something was read of it before.
        bad: Packets that could not be decoded.
        given_up: Whether reading ended before the end of the file.
        reached_ms: The latest moment that packets were found for.
    """

    source: Source
    late: Callable[[], bool]
    moved: bool = False
    bad: int = 0
    given_up: bool = False
    reached_ms: int = 0

    def from_the_start(self) -> Iterator[VideoFrame]:
        """Every frame there is, in order."""
        source = self.source
        if self.moved:  # some formats cannot go back, and need not where nobody went on
            with contextlib.suppress(av.FFmpegError, ValueError):
                source.container.seek(0, backward=True)
        in_a_row, any_yet = 0, False
        try:
            for packet in source.container.demux(source.stream):
                try:
                    for frame in packet.decode():
                        any_yet = True
                        yield frame
                    in_a_row = 0
                except (av.FFmpegError, ValueError):
                    self.bad, in_a_row = self.bad + 1, in_a_row + 1
                if in_a_row > _MOST_BAD or (any_yet and self.late()):
                    self.given_up = True
                    return
        except (av.FFmpegError, ValueError):
            self.bad += 1
            yield from self._flush()

    def at(self, ms: int) -> VideoFrame | None:
        """The key frame at a moment or before it; None where there is none to be had."""
        source = self.source
        stamp = source.start + int(Fraction(ms, 1_000) / source.unit)
        try:
            source.container.seek(stamp, stream=source.stream, backward=True)
            for count, packet in enumerate(source.container.demux(source.stream)):
                if count > _PACKETS_PER_PLACE or self.late() or packet.size == 0:
                    return None
                if packet.pts is not None:
                    at_ms = round((packet.pts - source.start) * source.unit * 1_000)
                    self.reached_ms = max(self.reached_ms, at_ms)
                if packet.is_keyframe:
                    # One packet, then the end: what a decoder holds back for later comes out.
                    frames = [*packet.decode(), *self._flush()]
                    return frames[0] if frames else None
        except (av.FFmpegError, ValueError):
            self.bad += 1
        return None

    def _flush(self) -> list[VideoFrame]:
        try:
            return self.source.stream.codec_context.decode(None)
        except (av.FFmpegError, ValueError):
            return []
