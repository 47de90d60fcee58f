"""Videos made on the spot: several codecs, with scenes, sound and damage as wanted."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

COLOURS: Sequence[tuple[int, int, int]] = (
    (200, 40, 40), (40, 180, 60), (50, 60, 200), (220, 220, 60), (30, 30, 30), (235, 235, 235),
    (200, 60, 190), (60, 190, 190),
)  # fmt: skip
"""Each scene of a made video has one of these, in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a video is made of.

    Attributes:
        codec: FFmpeg's name of the encoder.
        container: FFmpeg's name of the format.
        scenes: How long each scene lasts, in seconds; one frame where it is 0.
        fps: Frames per second.
        width: In pixels.
        height: In pixels.
        sound: Hertz of a tone, 0 for digital silence, None for no sound.
        sound_codec: FFmpeg's name of the encoder.
        rotation: Degrees, counter-clockwise, that players are asked to turn it by.
        gop: Frames between key frames.
        options: The encoder's.
        format_options: The container's.
    """

    codec: str = "libx264"
    container: str = "mp4"
    scenes: Sequence[float] = (2.0,)
    fps: int = 25
    width: int = 320
    height: int = 180
    sound: int | None = None
    sound_codec: str = "aac"
    rotation: int = 0
    gop: int = 25
    options: tuple[tuple[str, str], ...] = ()
    format_options: tuple[tuple[str, str], ...] = ()

    @property
    def frames(self) -> int:
        """How many frames there are in all."""
        return sum(max(1, round(each * self.fps)) for each in self.scenes)


def make(path: Path, made: Made | None = None) -> Path:
    """Make a video; its file."""
    made = made or Made()
    with av.open(str(path), "w", format=made.container, options=dict(made.format_options)) as out:
        video: Any = out.add_stream(made.codec, rate=made.fps)
        video.width, video.height, video.pix_fmt = made.width, made.height, _format(made.codec)
        video.codec_context.gop_size = made.gop
        video.options = dict(made.options)
        if made.rotation:
            video.set_display_rotation(made.rotation)
        audio: Any = None
        if made.sound is not None:
            audio = out.add_stream(made.sound_codec, rate=48_000, layout="stereo")
        for number, colour in enumerate(_plan(made)):
            frame = picture(made.width, made.height, colour, number)
            frame.pts, frame.time_base = number, Fraction(1, made.fps)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            _add_sound(out, audio, made)
    return path


def picture(width: int, height: int, colour: tuple[int, int, int], number: int) -> av.VideoFrame:
    """A frame of one colour, with a bright box in its top left corner and one that moves."""
    row = bytes(colour) * width
    lines = [bytearray(row) for _ in range(height)]
    side = max(2, height // 4)
    x = number * 2 % max(1, width - side)
    for y in range(side):
        lines[y][: side * 3] = b"\xff" * (side * 3)
        low = height - 1 - y
        lines[low][x * 3 : (x + side // 2) * 3] = bytes(side // 2 * 3)
    frame = av.VideoFrame(width, height, "rgb24")
    plane: Any = frame.planes[0]
    padding = bytes(plane.line_size - width * 3)
    plane.update(b"".join(bytes(line) + padding for line in lines))
    return frame


def _plan(made: Made) -> list[tuple[int, int, int]]:
    plan = []
    for scene, lasts in enumerate(made.scenes):
        plan += [COLOURS[scene % len(COLOURS)]] * max(1, round(lasts * made.fps))
    return plan


def _format(codec: str) -> str:
    return {"mjpeg": "yuvj420p", "gif": "rgb8", "rawvideo": "yuv420p"}.get(codec, "yuv420p")


def _add_sound(out: Any, audio: Any, made: Made) -> None:
    lasts, block = made.frames / made.fps, 1024
    for start in range(0, round(lasts * 48_000), block):
        frame = av.AudioFrame(format="s16", layout="stereo", samples=block)
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        frame.planes[0].update(_tone(made.sound or 0, start, block))
        out.mux(audio.encode(frame))
    out.mux(audio.encode(None))


def _tone(hertz: int, start: int, samples: int) -> bytes:
    if not hertz:
        return bytes(samples * 4)
    heights = [
        round(8_000 * math.sin(2 * math.pi * hertz * (start + each) / 48_000))
        for each in range(samples)
    ]
    return struct.pack(f"<{samples * 2}h", *(each for height in heights for each in (height,) * 2))


def can_encode(codec: str) -> bool:
    """Whether this build of FFmpeg has the encoder."""
    try:
        av.codec.Codec(codec, "w")
    except ValueError:
        return False
    return True
