"""Pictures out of decoded frames: thumbnails for comparing, JPEGs for the model.

Runs in the process that reads videos, see `media_child`.
"""

from dataclasses import dataclass
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from ai_workers.media_scenes import Candidate

Held = Candidate[VideoFrame]

_THUMB_W, _THUMB_H = 32, 18
_FORMAT = "yuvj420p"
_QUALITY = 5  # of 2 (best) to 31
_WIDEST = 8  # pixels that are said to be more oblong than this are taken for square ones
_TURNS = {
    90: [("transpose", "cclock")],
    180: [("hflip", ""), ("vflip", "")],
    270: [("transpose", "clock")],
}


def thumbnail(frame: VideoFrame) -> bytes:
    """The frame in 32 by 18 pixels of three bytes. Colour counts: a cut may keep the brightness."""
    small = frame.reformat(_THUMB_W, _THUMB_H, "rgb24", interpolation="FAST_BILINEAR")
    plane, row = small.planes[0], _THUMB_W * 3
    data = bytes(plane)
    return b"".join(
        data[line * plane.line_size : line * plane.line_size + row] for line in range(_THUMB_H)
    )


def turned(width: int, height: int, rotation: int) -> tuple[int, int]:
    """The size of a picture once it stands upright."""
    return (height, width) if rotation % 180 == 90 else (width, height)


def quarter_turns(frame: VideoFrame) -> int:
    """How far a frame has to be turned counter-clockwise to stand upright: 0, 90, 180 or 270."""
    return round(frame.rotation / 90) % 4 * 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Makes pictures of a bounded size.

    Attributes:
        longest_side: In pixels.
        pixel_shape: Width by height of one pixel, as the video says.
    """

    longest_side: int
    pixel_shape: Fraction = Fraction(1)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """How large a picture of so many pixels becomes: both even, none made larger."""
        shape = self.pixel_shape
        wide = Fraction(width)
        if Fraction(1, _WIDEST) <= shape <= _WIDEST:
            wide *= shape
        scale = min(Fraction(1), self.longest_side / max(wide, Fraction(height)))
        return _even(wide * scale), _even(height * scale)

    def shrink(self, frame: VideoFrame) -> VideoFrame:
        """The frame as large as it will be shown, which is what is kept of it."""
        width, height = self.size(frame.width, frame.height)
        return frame.reformat(width, height, _FORMAT, interpolation="AREA", dst_color_range="JPEG")

    def jpeg(self, picture: VideoFrame, rotation: int) -> bytes:
        """A JPEG of a shrunk frame, upright."""
        if turn := _TURNS.get(rotation):
            picture = _turn(picture, turn)
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height = picture.width, picture.height
        encoder.pix_fmt, encoder.time_base = _FORMAT, Fraction(1, 25)
        encoder.qmin = encoder.qmax = _QUALITY
        picture.pts = 0
        packets = [*encoder.encode(picture), *encoder.encode(None)]
        return b"".join(bytes(packet) for packet in packets)


def _even(pixels: Fraction) -> int:
    return max(2, round(pixels / 2) * 2)


def _turn(picture: VideoFrame, filters: list[tuple[str, str]]) -> VideoFrame:
    graph = Graph()
    time_base = Fraction(1, 25)
    first = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=time_base
    )
    nodes = [first, *(graph.add(name, args) for name, args in filters), graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    picture.pts, picture.time_base = 0, time_base
    graph.push(picture)
    pulled = graph.pull()
    assert isinstance(pulled, VideoFrame)
    return pulled
