"""What the process that reads videos may say, and what becomes of what it may not."""

import asyncio
import io
import json
import struct
import sys
import time
from pathlib import Path

import pytest

from ai_workers import media, media_wire
from ai_workers.media_limits import MediaLimits
from ai_workers.ports import JobFailed

FACTS = {
    "is": "facts", "duration_ms": 1_000, "width": 64, "height": 48, "fps": 25.0,
    "container": "avi", "video_codec": "mjpeg", "audio_codec": None,
}  # fmt: skip
FRAME = {"is": "frame", "at_ms": 0, "change": 1.0, "cut": True}
JPEG = b"\xff\xd8picture"


def said(*messages: tuple[dict, bytes]) -> bytes:
    out = io.BytesIO()
    for message, attached in messages:
        media_wire.write(out, message, attached)
    return out.getvalue()


async def heard(data: bytes) -> tuple[dict, bytes] | None:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return await media_wire.read(stream)


async def test_what_is_said_is_heard():
    """A message arrives as it was written."""
    assert await heard(said((FRAME, JPEG))) == (FRAME, JPEG)


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 20, -1])
async def test_a_message_that_is_cut_is_the_end(cut: int):
    """A reader that died in the middle of a word has said nothing more."""
    assert await heard(said((FRAME, JPEG))[:cut]) is None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">II", 1 << 31, 0),
        struct.pack(">II", 2, 1 << 31),
        struct.pack(">II", 2, 0) + b"[]",
        struct.pack(">II", 3, 0) + b"{x}",
        struct.pack(">II", 4, 0) + b"\xff\xfe{}",
    ],
)
async def test_what_is_no_message_is_refused(data: bytes):
    """Sizes beyond the bounds are refused before anything is read, others when they are."""
    with pytest.raises(media_wire.WireError):
        await heard(data)


class Liar:
    """A Python that says what it is told to instead of reading a video."""

    def __init__(self, folder: Path, data: bytes, then: str = "") -> None:
        self.path = folder / "python"
        words = folder / "words"
        words.write_bytes(data)
        program = f"import sys, time; sys.stdout.buffer.write(open({str(words)!r}, 'rb').read())"
        program += f"; sys.stdout.buffer.flush(); {then}"
        script = folder / "program.py"
        script.write_text(program)
        self.path.write_text(f"#!/bin/sh\nexec {sys.executable} {script}\n")
        self.path.chmod(0o700)


async def believed(
    liar: Liar, monkeypatch: pytest.MonkeyPatch, limits: MediaLimits | None = None
) -> media.Footage:
    monkeypatch.setattr(sys, "executable", str(liar.path))
    with liar.path.open("rb") as file:
        return await media.read_video(file, limits)


END = ({"is": "end"}, b"")


async def test_a_reader_that_tells_the_truth_is_believed(tmp_path: Path, monkeypatch):
    """The words that the other tests bend, unbent."""
    liar = Liar(tmp_path, said((FACTS, b""), (FRAME, JPEG), END))
    footage = await believed(liar, monkeypatch)
    assert (footage.facts.width, footage.frames[0].jpeg, footage.notes) == (64, JPEG, ())


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [END],
        [({"is": "facts"}, b""), END],
        [({"no": "kind"}, b"")],
        [(FACTS, b""), END],
        [(FRAME, JPEG), END],
        [({**FACTS, "width": -1}, b""), (FRAME, JPEG), END],
        [({**FACTS, "width": "64"}, b""), (FRAME, JPEG), END],
        [({**FACTS, "fps": "fast"}, b""), (FRAME, JPEG), END],
        [({**FACTS, "video_codec": "x" * 1_000}, b""), (FRAME, JPEG), END],
        [({**FACTS, "height": 0}, b""), (FRAME, JPEG), END],
        [(FACTS, b""), (FRAME, JPEG), (FRAME, JPEG), END],
        [(FACTS, b""), (FRAME, b"<html>"), END],
        [(FACTS, b""), ({**FRAME, "at_ms": None}, JPEG), END],
        [({"is": "failed", "reason": "because", "values": {}}, b"")],
        [({"is": "failed", "reason": "too-many-pixels", "values": {}}, b"")],
        [({"is": "failed", "reason": "not-media", "values": ["x"]}, b"")],
    ],
)
async def test_a_reader_that_lies_is_not_believed(
    messages: list[tuple[dict, bytes]], tmp_path: Path, monkeypatch
):
    """Whatever a taken-over reader says, there is one plain failure and nothing of it is kept."""
    with pytest.raises(JobFailed) as caught:
        await believed(Liar(tmp_path, said(*messages)), monkeypatch)
    assert (caught.value.code, caught.value.retryable) == ("video-unreadable", False)


async def test_a_reader_that_dies_of_the_sound_leaves_its_pictures(tmp_path: Path, monkeypatch):
    """What was said before it died counts, and that something is missing is said."""
    footage = await believed(Liar(tmp_path, said((FACTS, b""), (FRAME, JPEG))), monkeypatch)
    assert (len(footage.frames), footage.notes) == (1, ("sound-missing",))


async def test_a_reader_that_never_stops_talking_is_ended(tmp_path: Path, monkeypatch):
    """More pictures than were asked for are not collected, and nobody waits for the rest."""
    frames = [({**FRAME, "at_ms": each}, JPEG) for each in range(20_000)]
    liar = Liar(tmp_path, said((FACTS, b""), *frames), "time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(JobFailed):
        await believed(liar, monkeypatch)
    assert time.monotonic() - began < 20


async def test_the_number_of_words_is_bounded(tmp_path: Path, monkeypatch):
    """Notes without end are cut off; what was found before them counts."""
    notes = [({"is": "note", "name": "damaged"}, b"")] * 20_000
    liar = Liar(tmp_path, said((FACTS, b""), (FRAME, JPEG), *notes), "time.sleep(60)")
    footage = await believed(liar, monkeypatch)
    assert footage.notes == ("damaged", "sound-missing")


async def test_a_reader_that_says_nothing_is_ended(tmp_path: Path, monkeypatch):
    """Its time is up when the limit says."""
    liar = Liar(tmp_path, b"", "time.sleep(60)")
    with pytest.raises(JobFailed, match="in time"):
        await believed(liar, monkeypatch, MediaLimits(within_s=0.5))


async def test_a_reader_that_cannot_be_started_may_be_later(tmp_path: Path, monkeypatch):
    """That is our fault, and a later run may do better."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    path = tmp_path / "video"
    path.write_bytes(b"x")
    with path.open("rb") as file, pytest.raises(JobFailed) as caught:
        await media.read_video(file)
    assert (caught.value.code, caught.value.retryable) == ("video-reader-away", True)


RIGHTS = """
import json, os, socket, sys
sys.path.insert(0, sys.argv[1])
from ai_workers.media_child import _give_up_rights
from ai_workers.media_limits import MediaLimits
_give_up_rights(MediaLimits())
def attempt(what):
    try:
        what()
    except BaseException as error:
        return type(error).__name__
    return "done"
print(json.dumps({
    "read": attempt(lambda: open("/etc/passwd").read()),
    "write": attempt(lambda: open(sys.argv[2], "w").write("x")),
    "connect": attempt(lambda: socket.create_connection(("127.0.0.1", 9))),
    "memory": attempt(lambda: bytearray(3 * 1024 ** 3)),
    "pipe": attempt(os.pipe),
}))
"""


async def test_a_reader_can_open_nothing(tmp_path: Path):
    """Once it looks at the video it opens no file and no socket, and gets no more memory."""
    target = tmp_path / "written"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RIGHTS, str(Path(media.__file__).parents[1]), str(target),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert json.loads(out) == {
        "read": "OSError", "write": "OSError", "connect": "OSError", "memory": "MemoryError",
        "pipe": "OSError",
    }  # fmt: skip
    assert not target.exists()


async def test_a_reader_knows_no_setting(tmp_path: Path, monkeypatch):
    """The hub's environment, keys included, is not the reader's."""
    monkeypatch.setenv("HUNTAZE_ADMIN_KEY", "hz_admin_secret")
    listing = tmp_path / "environment"
    liar = Liar(tmp_path, said((FACTS, b""), (FRAME, JPEG), END))
    liar.path.write_text(f"#!/bin/sh\nenv > {listing}\n" + liar.path.read_text().split("\n", 1)[1])
    await believed(liar, monkeypatch)
    assert "HUNTAZE" not in listing.read_text()
