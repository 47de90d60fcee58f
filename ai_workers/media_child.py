"""The process that reads videos: a stranger's file is decoded here and nowhere else.

It gets the file as its standard input and its limits as an argument, and says what it finds on its
standard output, see `media_wire`. Before it looks at the file it gives up what it does not need:
it cannot open a file or a socket, start a process, take more memory than it was given or run for
longer, and knows none of the hub's settings.
"""

import importlib
import json
import os
import pkgutil
import signal
import sys
from typing import Any, BinaryIO

import av
import av.filter
import av.logging
from av.container.input import InputContainer

from ai_workers import media_wire
from ai_workers.media_decoding import Source
from ai_workers.media_frames import Found, UnreadableError, find_frames, find_video
from ai_workers.media_limits import MediaLimits
from ai_workers.media_pictures import turned
from ai_workers.media_sound import find_sound, hear

if sys.platform != "win32":
    import resource

_BUFFER = 256 * 1024
_THREADS = 2
_NICE = 5
_MOST_NAME = 64
_NOT_NEEDED = ("av.__main__", "av.datasets", "av.about", "av.device")


def main() -> None:
    """Read the video that is the standard input."""
    limits = MediaLimits(**json.loads(sys.argv[1]))
    file = os.fdopen(0, "rb", buffering=0)
    out = os.fdopen(1, "wb")
    av.logging.set_level(None)
    _load_the_rest()
    _give_up_rights(limits)
    try:
        _look(file, out, limits)
        _listen(file, out, limits)
        media_wire.write(out, {"is": "end"})
    except UnreadableError as error:
        media_wire.write(out, {"is": "failed", "reason": error.reason, "values": error.values})


def _load_the_rest() -> None:
    """PyAV imports some of its modules when they are first needed: no file can be opened then."""
    for each in pkgutil.walk_packages(av.__path__, "av."):
        if each.name not in _NOT_NEEDED:
            importlib.import_module(each.name)


def _give_up_rights(limits: MediaLimits) -> None:
    if sys.platform == "win32":
        return
    os.nice(_NICE)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(max(1, round(limits.within_s) + 1))  # also where whoever asked is gone
    seconds = max(1, round(limits.within_s) * _THREADS)
    for what, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 3),  # those that are open: nothing else can be
    ):
        resource.setrlimit(what, (most, most))


def _open(file: BinaryIO) -> InputContainer:
    try:
        file.seek(0)
        return av.open(
            file,
            "r",
            buffer_size=_BUFFER,
            io_open=_no_other_file,
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise UnreadableError("not-media") from error


def _no_other_file(*_: object) -> BinaryIO:
    """What a playlist asks for: it is not opened."""
    raise PermissionError("a video is one file")


def _look(file: BinaryIO, out: BinaryIO, limits: MediaLimits) -> None:
    with _open(file) as container:
        source = find_video(container, limits)
        source.stream.thread_type = "AUTO"
        source.stream.thread_count = _THREADS
        source.stream.codec_context.options = {"max_pixels": str(limits.most_pixels)}
        found = find_frames(source, limits)
        media_wire.write(out, {"is": "facts", **_facts(source, found)})
        for each, jpeg in found.jpegs():
            said = {"at_ms": each.at_ms, "change": round(each.change, 4), "cut": each.cut}
            media_wire.write(out, {"is": "frame", **said}, jpeg)
        for note in found.notes:
            media_wire.write(out, {"is": "note", "name": note})


def _facts(source: Source, found: Found) -> dict[str, Any]:
    stream, sound = source.stream, find_sound(source.container)
    assert found.first is not None, "there is a chosen frame"
    width, height = turned(found.first.width, found.first.height, found.rotation)
    rate = stream.average_rate or stream.guessed_rate
    return {
        "duration_ms": found.duration_ms(source.said_ms),
        "width": width,
        "height": height,
        "fps": round(float(rate), 3) if rate else None,
        "container": source.container.format.name[:_MOST_NAME],
        "video_codec": stream.codec_context.codec.canonical_name[:_MOST_NAME],
        "audio_codec": sound and sound.codec_context.codec.canonical_name[:_MOST_NAME],
    }


def _listen(file: BinaryIO, out: BinaryIO, limits: MediaLimits) -> None:
    media_wire.write(out, {"is": "listening"})
    try:
        container = _open(file)
    except UnreadableError:
        return
    with container:
        stream = find_sound(container)
        if stream is None:
            return
        heard = hear(container, stream, limits)
    for note in heard.notes:
        media_wire.write(out, {"is": "note", "name": note})
    if heard.wav:
        media_wire.write(out, {"is": "sound", "duration_ms": heard.duration_ms}, heard.wav)
