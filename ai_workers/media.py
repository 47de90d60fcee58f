"""Reads a video: what it is, its key frames, its sound.

A stranger's file is decoded in a process of its own (`media_child`), which may do nothing but that
and is ended when its time is up. docs/decisions/0022 says why, and what it costs.
"""

import asyncio
import contextlib
import json
import math
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ai_workers import media_wire
from ai_workers.media_limits import MediaLimits
from ai_workers.ports import JobFailed, Sound

REASONS: Mapping[str, str] = {
    "not-media": "The file is not a video, or of a kind that cannot be read.",
    "no-video": "There is no video in the file, only sound or still pictures.",
    "too-many-pixels": "The video is {width} x {height} pixels: that is more than can be read.",
    "no-frames": "No picture of the video can be read: the file is cut off or damaged.",
    "too-slow": "The video could not be read in time.",
    "died": "The video could not be read: it is damaged, or takes more memory than there is.",
}
"""Why there is nothing to be had from a file, for the person who gave it."""

NOTES = frozenset(
    ("cut-off", "damaged", "stopped-early", "sound-cut", "sound-damaged", "silent", "sound-missing")
)
"""What may be said of a video that was read in part."""

_LONGEST_MS = 1_000_000_000  # eleven days
_MOST_PICTURE = 2 * 1024 * 1024
_MOST_MESSAGES = 128
_END_S = 10.0
_DRAINED = 1024 * 1024
_START = "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); "
_PROGRAM = _START + "from ai_workers.media_child import main; main()"
_ROOT = str(Path(__file__).parent.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What a video is, as its pictures stand upright.

    Attributes:
        duration_ms: How long it is, or how much of it is there.
        width: In pixels.
        height: In pixels.
        fps: Frames per second on average; None where it does not say.
        size: Bytes of the file.
        container: FFmpeg's name of the file's format, e.g. `mov,mp4,m4a,3gp,3g2,mj2`.
        video_codec: e.g. `h264`.
        audio_codec: e.g. `aac`; None without sound.
    """

    duration_ms: int
    width: int
    height: int
    fps: float | None
    size: int
    container: str
    video_codec: str
    audio_codec: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFrame:
    """A picture that tells something about the video.

    Attributes:
        at_ms: Where in the video it is.
        change: How much differs from the picture before it, 0-1.
        cut: Whether a scene seems to begin with it.
        jpeg: The picture.
    """

    at_ms: int
    change: float
    cut: bool
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """What was read of a video.

    Attributes:
        facts: What it is.
        frames: Its key frames, in order; at least one.
        sound: What is heard; None where nothing is.
        notes: What could not be read, as names of `NOTES`.
    """

    facts: VideoFacts
    frames: Sequence[KeyFrame]
    sound: Sound | None
    notes: Sequence[str]


async def _quietly() -> None:
    """Tell nobody."""


async def read_video(
    file: BinaryIO,
    limits: MediaLimits | None = None,
    *,
    listening: Callable[[], Awaitable[None]] = _quietly,
) -> Footage:
    """Read a video, as far as it can be read.

    Args:
        file: An open file, not only an object that is like one.
        limits: What it may take.
        listening: Called once the pictures are done and the sound is next; what it raises ends the
            reading.

    Raises:
        JobFailed: There is nothing to be had from it, and why.
    """
    limits = limits or MediaLimits()
    gathered = _Gathered(size=os.fstat(file.fileno()).st_size, most=limits.pictures)
    process = await _start(file, limits)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(limits.within_s):
            for _ in range(_MOST_MESSAGES):
                message = await media_wire.read(process.stdout)
                if message is None or gathered.take(*message):
                    break
                if message[0].get("is") == "listening":
                    await listening()
    except TimeoutError:
        gathered.fail("too-slow")
    except (media_wire.WireError, AttributeError, KeyError, TypeError, ValueError):
        gathered.fail("died")  # nothing that it said is of use any more
        gathered.frames.clear()
    finally:
        await _end(process)
    return gathered.footage()


async def _start(file: BinaryIO, limits: MediaLimits) -> asyncio.subprocess.Process:
    paths = [_ROOT, *(path for path in sys.path if path)]
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-X", "utf8", "-c", _PROGRAM, json.dumps(paths), json.dumps(asdict(limits))),
            stdin=file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )
    except OSError as error:
        raise JobFailed(
            "video-reader-away",
            "The program that reads videos cannot be started for now.",
            retryable=True,
        ) from error


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        elif process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # with whatever it may have started
    # `wait` is over once its output is: what it said beyond belief is thrown away.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            while process.stdout is not None and await process.stdout.read(_DRAINED):
                pass
            await process.wait()


@dataclass(slots=True)
class _Gathered:
    """What the reader said so far. Nothing of it is believed unseen.

    Attributes:
        size: Of the file, in bytes.
        most: Pictures that were asked for.
    """

    size: int
    most: int
    facts: VideoFacts | None = None
    frames: list[KeyFrame] = field(default_factory=list)
    sound: Sound | None = None
    notes: list[str] = field(default_factory=list)
    failure: JobFailed | None = None
    ended: bool = False

    def take(self, message: Mapping[str, Any], attached: bytes) -> bool:
        """Take in one message; whether it was the last.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: No reader says that.
        """
        match message["is"]:
            case "facts":
                self.facts = _facts(message, self.size)
            case "frame":
                self._add(_frame(message, attached))
            case "sound":
                lasts = _whole(message["duration_ms"], _LONGEST_MS)
                self.sound = Sound(wav=attached, duration_ms=lasts)
            case "note":
                if message["name"] in NOTES and message["name"] not in self.notes:
                    self.notes.append(message["name"])
            case "failed":
                values = {str(key): int(value) for key, value in message["values"].items()}
                self.fail(message["reason"], **values)
                return True
            case "end":
                self.ended = True
                return True
        return False

    def _add(self, frame: KeyFrame) -> None:
        if len(self.frames) >= self.most or (self.frames and frame.at_ms <= self.frames[-1].at_ms):
            raise ValueError("too many pictures, or out of order")
        self.frames.append(frame)

    def fail(self, reason: str, **values: int) -> None:
        """Say that there is nothing, unless something was found before."""
        self.failure = JobFailed("video-unreadable", REASONS[reason].format(**values))

    def footage(self) -> Footage:
        """All of it.

        Raises:
            JobFailed: There is nothing.
        """
        if self.facts is None or not self.frames:
            if self.failure is None:
                self.fail("died")
            assert self.failure is not None
            raise self.failure
        if not self.ended:  # it died of the sound: the pictures are good
            self.notes.append("sound-missing")
        return Footage(
            facts=self.facts, frames=self.frames, sound=self.sound, notes=tuple(self.notes)
        )


def _facts(message: Mapping[str, Any], size: int) -> VideoFacts:
    fps = message["fps"]
    if fps is not None and not (isinstance(fps, int | float) and math.isfinite(fps) and fps > 0):
        raise ValueError("no rate")
    audio = message["audio_codec"]
    return VideoFacts(
        duration_ms=_whole(message["duration_ms"], _LONGEST_MS),
        width=_whole(message["width"], 100_000, least=1),
        height=_whole(message["height"], 100_000, least=1),
        fps=None if fps is None else min(float(fps), 1_000.0),
        size=size,
        container=_name(message["container"]),
        video_codec=_name(message["video_codec"]),
        audio_codec=None if audio is None else _name(audio),
    )


def _frame(message: Mapping[str, Any], jpeg: bytes) -> KeyFrame:
    if not jpeg.startswith(b"\xff\xd8") or len(jpeg) > _MOST_PICTURE:
        raise ValueError("no picture")
    return KeyFrame(
        at_ms=_whole(message["at_ms"], _LONGEST_MS),
        change=min(max(float(message["change"]), 0.0), 1.0),
        cut=bool(message["cut"]),
        jpeg=jpeg,
    )


def _whole(value: object, most: int, *, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError("no number")
    return min(value, most)


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 64 or not value.isascii():
        raise ValueError("no name")
    return value if value.isprintable() else "unknown"
