"""A short video that the demo makes itself: four scenes of a moving picture, and a tone."""

import io
import math
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

NAME = "demo.mp4"

_WIDTH, _HEIGHT = 320, 180
_FPS = 10
_SCENES = ((214, 90, 62), (46, 125, 110), (72, 66, 190), (232, 190, 84))
"""The ground of each scene."""

_SCENE_S = 2
_RATE = 48_000
_BLOCK = 1_024
_HERTZ = 220


def make_video() -> bytes:
    """The video, as MP4; the same each time."""
    import av  # only a demo needs it, and the help of all commands is not to wait for it

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        video: Any = out.add_stream("mpeg4", rate=_FPS)  # every build of FFmpeg has it
        video.width, video.height, video.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        sound: Any = out.add_stream("aac", rate=_RATE, layout="mono")
        for number, rows in enumerate(_pictures()):
            frame = av.VideoFrame(_WIDTH, _HEIGHT, "rgb24")
            plane: Any = frame.planes[0]
            padding = bytes(plane.line_size - _WIDTH * 3)
            plane.update(b"".join(row + padding for row in rows))
            frame.pts, frame.time_base = number, Fraction(1, _FPS)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for start in range(0, _RATE * _SCENE_S * len(_SCENES), _BLOCK):
            heard = av.AudioFrame(format="s16", layout="mono", samples=_BLOCK)
            heard.sample_rate, heard.pts, heard.time_base = _RATE, start, Fraction(1, _RATE)
            heard.planes[0].update(_tone(start))
            out.mux(sound.encode(heard))
        out.mux(sound.encode(None))
    return file.getvalue()


def _pictures() -> Iterator[list[bytes]]:
    """Each picture by its rows: a ground, and a light square that crosses it."""
    side = _HEIGHT // 3
    for ground in _SCENES:
        plain = bytes(ground) * _WIDTH
        for number in range(_FPS * _SCENE_S):
            left = number * (_WIDTH - side) // (_FPS * _SCENE_S)
            crossed = plain[: left * 3] + b"\xf4" * (side * 3) + plain[(left + side) * 3 :]
            yield [*[plain] * side, *[crossed] * side, *[plain] * (_HEIGHT - 2 * side)]


def _tone(start: int) -> bytes:
    turn = 2 * math.pi * _HERTZ / _RATE
    heights = [round(6_000 * math.sin(turn * (start + each))) for each in range(_BLOCK)]
    return struct.pack(f"<{_BLOCK}h", *heights)
