"""Files that are small and become large: one frame of one colour, and what packs it."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

FPS = 25


def one_colour(side: int) -> bytes:
    """A right JPEG, a grey square of so many pixels a side; an eighth of a byte for each hundred.

    Every block of it is the same as the one before, which its tables say in two bits, both 0.
    """
    planes, blocks = 3, 6  # of 16 by 16 pixels: four of brightness, two of colour
    squares = ((side + 15) // 16) ** 2
    components = b"".join(
        bytes((number, 0x22 if number == 1 else 0x11, 0)) for number in range(1, planes + 1)
    )
    parts = (
        (0xDB, b"\0" + b"\1" * 64),
        (0xC0, struct.pack(">BHHB", 8, side, side, planes) + components),
        (0xC4, b"\x00" + b"\1" + bytes(15) + b"\0"),
        (0xC4, b"\x10" + b"\1" + bytes(15) + b"\0"),
        (0xDA, bytes((planes, 1, 0, 2, 0, 3, 0, 0, 63, 0))),
    )
    head = b"".join(
        bytes((0xFF, kind)) + struct.pack(">H", len(body) + 2) + body for kind, body in parts
    )
    return b"\xff\xd8" + head + bytes((squares * blocks * 2 + 7) // 8) + b"\xff\xd9"


def video_of(path: Path, jpegs: Sequence[bytes], *, says: int) -> Path:
    """A Motion JPEG of these frames, whose header says that it is a square of so many pixels."""
    with av.open(str(path), "w", format="mov") as out:
        stream: Any = out.add_stream("mjpeg", rate=FPS)
        stream.width = stream.height = says
        stream.pix_fmt = "yuvj420p"
        for number, jpeg in enumerate(jpegs):
            packet = av.Packet(jpeg)
            packet.stream, packet.time_base = stream, Fraction(1, FPS)
            packet.pts = packet.dts = number
            packet.is_keyframe = True
            out.mux(packet)
    return path
