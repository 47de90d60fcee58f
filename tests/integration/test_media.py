"""Reading videos: what is found in good ones, damaged ones and those made to do harm."""

import asyncio
import io
import os
import random
import resource
import struct
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import pytest

from ai_workers.media import NOTES, Footage, read_video
from ai_workers.media_limits import MediaLimits
from ai_workers.ports import JobFailed
from tests.bombs import one_colour, video_of
from tests.videos import COLOURS, Made, can_encode, make
from tests.webhook_receivers import answer, receiver

ROOT = Path(__file__).parents[2]
QUICK = MediaLimits(within_s=60.0)


async def read(path: Path, limits: MediaLimits = QUICK) -> Footage:
    with path.open("rb") as file:
        return await read_video(file, limits)


async def refusal(path: Path, limits: MediaLimits = QUICK) -> str:
    """What the user reads where there is nothing to be had from a file."""
    with pytest.raises(JobFailed) as caught:
        await read(path, limits)
    assert (caught.value.code, caught.value.retryable) == ("video-unreadable", False)
    return caught.value.message


def look(jpeg: bytes) -> av.VideoFrame:
    """A JPEG, decoded to RGB."""
    with av.open(io.BytesIO(jpeg), format="mjpeg") as container:
        frame = next(container.decode(video=0))
        return frame.reformat(frame.width, frame.height, "rgb24")


def colour(frame: av.VideoFrame, x: float, y: float) -> tuple[int, int, int]:
    """The colour at a place, given from 0 to 1."""
    plane = frame.planes[0]
    at = int(y * (frame.height - 1)) * plane.line_size + int(x * (frame.width - 1)) * 3
    red, green, blue = bytes(plane)[at : at + 3]
    return red, green, blue


def near(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return all(abs(a - b) < 40 for a, b in zip(one, other, strict=True))


# --------------------------------------------------------------------------- good ones

FAST = (("deadline", "realtime"), ("cpu-used", "8"))
CODECS = {
    "h264 mp4": Made(sound=440),
    "h264 mpegts": Made(container="mpegts", sound=440),
    "h265 matroska": Made(
        codec="libx265", container="matroska", options=(("x265-params", "log-level=none"),)
    ),
    "mpeg4 avi": Made(codec="mpeg4", container="avi", sound=440, sound_codec="mp3"),
    "vp8 webm": Made(codec="libvpx", container="webm", sound=440, sound_codec="libopus"),
    "vp9 webm": Made(codec="libvpx-vp9", container="webm", options=FAST),
    "av1 matroska": Made(codec="libsvtav1", container="matroska", options=(("preset", "8"),)),
    "mjpeg mov": Made(codec="mjpeg", container="mov", sound=440, sound_codec="pcm_s16le"),
    "gif": Made(codec="gif", container="gif"),
}  # fmt: skip
NAMES = {
    "libx264": "h264", "libx265": "hevc", "libvpx": "vp8", "libvpx-vp9": "vp9", "libsvtav1": "av1",
}  # fmt: skip


@pytest.mark.parametrize("name", CODECS)
async def test_codecs_and_containers(name: str, tmp_path: Path):
    """Of each the size, length, rate, codecs, pictures and sound are found."""
    made = replace(CODECS[name], scenes=(1.0, 1.0))
    if not can_encode(made.codec) or (made.sound and not can_encode(made.sound_codec)):
        pytest.skip(f"this FFmpeg has no encoder for {name}")
    path = make(tmp_path / "video", made)
    footage = await read(path)
    facts = footage.facts
    assert (facts.width, facts.height, facts.size) == (320, 180, path.stat().st_size)
    assert facts.fps == pytest.approx(25, abs=0.1)
    assert facts.duration_ms == pytest.approx(2_000, abs=120)
    assert facts.video_codec == NAMES.get(made.codec, made.codec)
    assert (facts.audio_codec is None) == (made.sound is None)
    assert footage.notes == ()
    cuts = [frame.at_ms for frame in footage.frames if frame.cut]
    assert cuts[0] == 0
    assert cuts[1:] == [pytest.approx(1_000, abs=41)]
    assert (footage.sound is not None) == (made.sound is not None)
    for frame in footage.frames:
        assert near(colour(look(frame.jpeg), 0.9, 0.3), COLOURS[frame.at_ms > 990])


async def test_cuts_that_were_made_are_found(tmp_path: Path):
    """Of eight scenes of different lengths each is found, to the frame."""
    scenes = (0.6, 2.0, 0.8, 1.4, 3.0, 0.52, 1.0, 1.72)
    begins = [round(sum(scenes[:each]) * 1_000) for each in range(len(scenes))]
    footage = await read(make(tmp_path / "video", Made(scenes=scenes)))
    assert [frame.at_ms for frame in footage.frames if frame.cut] == [
        pytest.approx(each, abs=1) for each in begins
    ]
    assert all(0 <= frame.change <= 1 for frame in footage.frames)


async def test_more_cuts_than_pictures_are_spread_over_the_video(tmp_path: Path):
    """Of thirty cuts a dozen are shown, from the beginning to the end, in order."""
    footage = await read(make(tmp_path / "video", Made(scenes=(0.6,) * 30, fps=10)))
    times = [frame.at_ms for frame in footage.frames]
    assert len(times) == 12
    assert times[0] == 0
    assert times == sorted(set(times))
    assert times[-1] > 15_000
    assert max(later - earlier for earlier, later in pairwise(times)) < 4_000


async def test_pictures_are_bounded(tmp_path: Path):
    """The longer side of a picture is at most 768 pixels, and the shape stays."""
    footage = await read(make(tmp_path / "video", Made(width=1920, height=1080, scenes=(0.4,))))
    frame = look(footage.frames[0].jpeg)
    assert (frame.width, frame.height) == (768, 432)
    small = await read(make(tmp_path / "small", Made(width=64, height=48, scenes=(0.4,))))
    assert (look(small.frames[0].jpeg).width, look(small.frames[0].jpeg).height) == (64, 48)


@pytest.mark.parametrize(("rotation", "corner"), [(90, (0, 1)), (180, (1, 1)), (-90, (1, 0))])
async def test_pictures_stand_upright(rotation: int, corner: tuple[int, int], tmp_path: Path):
    """A video that is to be turned is turned, as its size is."""
    footage = await read(make(tmp_path / "video", Made(rotation=rotation, scenes=(0.4,))))
    upright = (320, 180) if rotation == 180 else (180, 320)
    assert (footage.facts.width, footage.facts.height) == upright
    frame = look(footage.frames[0].jpeg)
    assert (frame.width, frame.height) == upright
    x, y = (0.05 + 0.9 * each for each in corner)
    assert near(colour(frame, x, y), (255, 255, 255))


async def test_one_frame_is_a_video(tmp_path: Path):
    """A single frame is shown, and lasts as long as it says."""
    footage = await read(make(tmp_path / "video", Made(scenes=(0,))))
    assert [frame.at_ms for frame in footage.frames] == [0]
    assert footage.facts.duration_ms == 40


async def test_the_extension_does_not_matter(tmp_path: Path):
    """What a file is, is read from it."""
    path = make(tmp_path / "holiday.txt", Made(codec="libvpx-vp9", container="webm"))
    assert (await read(path)).facts.video_codec == "vp9"


# --------------------------------------------------------------------------- sound


async def test_sound_is_mono_at_16_khz(tmp_path: Path):
    """What is heard is the tone that was put in, in the form that models take."""
    footage = await read(make(tmp_path / "video", Made(scenes=(2.0,), sound=500)))
    assert footage.sound is not None
    with wave.open(io.BytesIO(footage.sound.wav)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (1, 16_000, 2)
        samples = struct.unpack(f"<{file.getnframes()}h", file.readframes(file.getnframes()))
    assert footage.sound.duration_ms == pytest.approx(2_000, abs=100)
    second = samples[8_000:24_000]
    crossings = sum(before < 0 <= now for before, now in pairwise(second))
    assert crossings == pytest.approx(500, abs=10)


async def test_long_sound_is_cut(tmp_path: Path):
    """Of longer sound the beginning is kept, and it is said."""
    path = make(tmp_path / "video", Made(scenes=(4.0,), sound=500))
    footage = await read(path, replace(QUICK, sound_s=1.5))
    assert footage.sound is not None
    assert footage.sound.duration_ms == 1_500
    assert footage.notes == ("sound-cut",)


async def test_silence_is_no_sound(tmp_path: Path):
    """Sound that is digital silence costs no model anything; that there is a track is known."""
    footage = await read(make(tmp_path / "video", Made(sound=0)))
    assert footage.sound is None
    assert (footage.facts.audio_codec, footage.notes) == ("aac", ("silent",))


async def test_listening_is_told_before_the_sound(tmp_path: Path):
    """Whoever waits learns when the pictures are done."""
    path, told = make(tmp_path / "video", Made(sound=440)), []

    async def listening() -> None:
        told.append("listening")

    with path.open("rb") as file:
        await read_video(file, QUICK, listening=listening)
    assert told == ["listening"]


# --------------------------------------------------------------------------- damaged ones

FASTSTART = Made(
    scenes=(2.0, 2.0, 2.0, 2.0), sound=440, format_options=(("movflags", "faststart"),)
)


@pytest.mark.parametrize(
    "made",
    [FASTSTART, replace(FASTSTART, container="mpegts", format_options=()),
     replace(FASTSTART, container="matroska", format_options=())],
    ids=["mp4", "mpegts", "matroska"],
)  # fmt: skip
async def test_a_video_that_is_cut_off_gives_what_is_there(made: Made, tmp_path: Path):
    """Of the first half of a file about half of the scenes are found, and its length is theirs."""
    whole = make(tmp_path / "whole", made).read_bytes()
    path = tmp_path / "half"
    path.write_bytes(whole[: len(whole) // 2])
    footage = await read(path)
    assert 2_000 < footage.facts.duration_ms < 6_000
    assert [frame.at_ms for frame in footage.frames if frame.cut][1] == pytest.approx(2_000, abs=41)
    assert footage.sound is not None
    assert set(footage.notes) <= NOTES
    assert set(footage.notes) & {"cut-off", "damaged", "sound-damaged"}


async def test_damage_in_the_middle_is_passed_over(tmp_path: Path):
    """Bytes that are broken cost the frames that they are of, not the video."""
    data = bytearray(
        make(
            tmp_path / "video", replace(FASTSTART, container="mpegts", format_options=())
        ).read_bytes()
    )
    middle = len(data) // 2
    data[middle : middle + 3_000] = bytes(each * 37 % 256 for each in range(3_000))
    path = tmp_path / "broken"
    path.write_bytes(data)
    footage = await read(path)
    assert footage.facts.duration_ms > 7_000
    assert footage.frames[-1].at_ms > 6_000


NOT_VIDEOS = {
    "empty": b"",
    "text": b"This is no video.\n" * 200,
    "html": b"<!doctype html><html><body><video></video></body></html>" * 20,
    "json": b'{"video": true}' * 100,
    "zip": b"PK\x03\x04" + bytes(2_000),
    "zeros": bytes(100_000),
    "noise": bytes(each * each * 7919 % 251 for each in range(100_000)),
    "half a box": b"\x00\x00\x00\x20ftypisom",
    "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "sdp": b"v=0\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n",
    "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nHello\n\n" * 20,
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_VIDEOS)
async def test_what_is_no_video_is_said_to_be_none(name: str, tmp_path: Path):
    """Other files, playlists that name files, noise: a plain sentence, and no second try."""
    path = tmp_path / "video.mp4"
    path.write_bytes(NOT_VIDEOS[name])
    said = await refusal(path)
    assert said.endswith(".")
    assert "Errno" not in said
    assert str(tmp_path) not in said


async def test_a_playlist_leads_nowhere(tmp_path: Path):
    """What a file names is not opened: neither addresses nor other files."""
    async with receiver(answer(body=b"x")) as server:
        for text in (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{server.url('/a.ts')}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile '{server.url('/a.mp4')}'\n",
        ):
            path = tmp_path / "video.mp4"
            path.write_text(text)
            await refusal(path)
        assert server.accepted == 0


MANGLED = {
    "mp4": FASTSTART,
    "webm": Made(codec="libvpx", container="webm", scenes=(1.0, 1.0), options=FAST),
    "avi": Made(codec="mpeg4", container="avi", scenes=(1.0, 1.0), sound=440, sound_codec="mp3"),
    "mpegts": replace(FASTSTART, container="mpegts", format_options=()),
}


@pytest.mark.parametrize("name", MANGLED)
async def test_mangled_files_end_one_way_or_the_other(name: str, tmp_path: Path):
    """With bytes changed anywhere, a file is read in part or refused with a sentence: no more."""
    whole, chance = make(tmp_path / "video", MANGLED[name]).read_bytes(), random.Random(7)
    path, read_ones, codes = tmp_path / "mangled", 0, set()
    for wrong in (1, 20, 500):
        data = bytearray(whole)
        for _ in range(wrong):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        try:
            footage = await read(path)
        except JobFailed as failed:
            codes.add(failed.code)
        else:
            read_ones += 1
            assert footage.frames
            assert set(footage.notes) <= NOTES
    assert read_ones >= 1
    assert codes <= {"video-unreadable"}


async def test_frames_without_time_stamps_follow_by_their_number(tmp_path: Path):
    """A bare stream of pictures has no times: its rate gives them."""
    footage = await read(make(tmp_path / "video", Made(container="h264", scenes=(1.0, 1.0))))
    cuts = [frame.at_ms for frame in footage.frames if frame.cut]
    assert cuts == [0, pytest.approx(1_000, abs=81)]
    assert footage.facts.duration_ms == pytest.approx(2_000, abs=120)


async def test_a_picture_is_no_video(tmp_path: Path):
    """A JPEG can be decoded, and is no video."""
    footage = await read(make(tmp_path / "video", Made(scenes=(0,))))
    path = tmp_path / "picture.mp4"
    path.write_bytes(footage.frames[0].jpeg)
    assert "no video in the file" in await refusal(path)


async def test_sound_alone_is_no_video(tmp_path: Path):
    """A file with sound and nothing to see is refused."""
    path = tmp_path / "sound.mp4"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(64_000))
    assert "no video in the file" in await refusal(path)


# --------------------------------------------------------------------------- large ones


async def test_two_hours_are_looked_at_in_places(tmp_path: Path):
    """Of two hours with a scene each ten minutes all scenes are found, in a moment."""
    made = Made(codec="mpeg4", fps=1, scenes=(600.0,) * 12, width=64, height=64, gop=10)
    path = make(tmp_path / "video", made)
    began = time.monotonic()
    footage = await read(path, replace(QUICK, decoded_frames=300))
    assert time.monotonic() - began < 20
    assert footage.facts.duration_ms == pytest.approx(7_200_000, abs=2_000)
    cuts = [frame.at_ms for frame in footage.frames if frame.cut]
    assert cuts == [pytest.approx(each * 600_000, abs=11_000) for each in range(12)]


async def test_two_hours_without_key_frames_end_early(tmp_path: Path):
    """Where only the beginning can be decoded, the beginning is shown, and it is said."""
    made = Made(
        fps=1, scenes=(3_600.0,), width=64, height=64, gop=10_000,
        options=(("x264-params", "scenecut=0"), ("preset", "ultrafast")),
    )  # fmt: skip
    footage = await read(make(tmp_path / "video", made), replace(QUICK, decoded_frames=200))
    assert footage.facts.duration_ms == pytest.approx(3_600_000, abs=2_000)
    assert "stopped-early" in footage.notes
    assert 0 < footage.frames[-1].at_ms <= 200_000


async def test_two_hours_that_the_header_made_up(tmp_path: Path):
    """A file of four seconds whose header says two hours is one of four seconds."""
    data = bytearray(
        make(tmp_path / "video", Made(scenes=(2.0, 2.0), container="matroska")).read_bytes()
    )
    duration = data.index(b"\x44\x89\x88")  # the element Duration, a double of milliseconds
    data[duration + 3 : duration + 11] = struct.pack(">d", 7_200_000.0)
    path = tmp_path / "boast"
    path.write_bytes(data)
    began = time.monotonic()
    footage = await read(path)
    assert time.monotonic() - began < 20
    assert footage.facts.duration_ms == pytest.approx(4_000, abs=200)
    assert "cut-off" in footage.notes
    assert [frame.at_ms for frame in footage.frames if frame.cut] == [
        0,
        pytest.approx(2_000, abs=41),
    ]


READING = """
import asyncio, resource, sys
from ai_workers.media import read_video
from ai_workers.ports import JobFailed

async def read():
    try:
        with open(sys.argv[1], "rb") as file:
            print(len((await read_video(file)).frames))
    except JobFailed as failure:
        print(failure.message)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)

asyncio.run(read())
"""
"""Reads a video and tells what comes of it, and the most memory that the reader had, in KiB."""

GREY = one_colour(320)
BOMB = one_colour(10_000)
"""A hundred million pixels in half a megabyte: decoded, 150 MB and more."""


@pytest.mark.parametrize(
    ("frames", "says", "comes_of_it"),
    [
        ([BOMB], 10_000, "The video is 10000 x 10000 pixels: that is more than can be read."),
        ([BOMB], 320, "The video is 10000 x 10000 pixels: that is more than can be read."),
        ([GREY, BOMB, BOMB], 320, "1"),
    ],
    ids=["as its header says", "with a header that lies", "behind a small one"],
)
@pytest.mark.fault("give a video of absurd size", "attackers")
def test_a_frame_that_is_a_bomb_is_not_decoded(
    frames: list[bytes], says: int, comes_of_it: str, tmp_path: Path
):
    """A right frame of a hundred million pixels is refused with its size, or left out behind one
    that is small; the reader's memory stays below what such a frame takes."""
    path = video_of(tmp_path / "bomb", frames, says=says)
    done = subprocess.run(
        [sys.executable, "-c", READING, str(path)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    came, peak = done.stdout.splitlines()
    assert came == comes_of_it
    assert int(peak) < 120_000


async def test_what_no_decoder_takes_is_refused(tmp_path: Path):
    """A frame of more pixels than any decoder has numbers for is no picture."""
    path = video_of(tmp_path / "bomb", [one_colour(65_500)], says=320)
    assert "No picture" in await refusal(path)


async def test_what_is_too_large_is_said_with_its_size(tmp_path: Path):
    """The size that is refused is in the sentence."""
    path = make(tmp_path / "video", Made(width=640, height=360, scenes=(0.4,)))
    said = await refusal(path, replace(QUICK, most_pixels=200_000))
    assert "640 x 360" in said


@pytest.mark.parametrize("memory", [100 * 1024**2, 220 * 1024**2])
@pytest.mark.fault("give a video of absurd size", "attackers")
async def test_more_memory_than_allowed_is_the_end_of_the_reader_alone(memory: int, tmp_path: Path):
    """A reader that runs out of its memory ends; we are as we were."""
    path = make(tmp_path / "video", Made(width=3840, height=2160, scenes=(0.4,)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert await refusal(path, replace(QUICK, memory=memory))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 50_000  # kilobytes


async def test_time_is_bounded(tmp_path: Path):
    """A reader that takes too long is ended, and the user reads why."""
    path = make(tmp_path / "video")
    began = time.monotonic()
    said = await refusal(path, replace(QUICK, within_s=0.02))
    assert time.monotonic() - began < 5
    assert "in time" in said


async def test_pictures_found_in_time_count(tmp_path: Path):
    """Where the time for pictures is over, those that were found are used."""
    path = make(tmp_path / "video", Made(width=1280, height=720, scenes=(4.0,)))
    footage = await read(path, replace(QUICK, pictures_s=0.0))
    assert footage.notes == ("stopped-early",)
    assert footage.frames[0].at_ms == 0


def readers() -> Iterator[int]:
    """The processes that read videos for this one."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == os.getpid() and b"media_child" in line:
                yield int(entry.name)


async def test_cancelling_ends_the_reader(tmp_path: Path):
    """Who cancels a job does not pay for the rest of its decoding."""
    path = make(tmp_path / "video", Made(scenes=(20.0,)))
    reading = asyncio.ensure_future(read(path))
    async with asyncio.timeout(10):
        while not list(readers()):
            await asyncio.sleep(0.005)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert list(readers()) == []


async def test_cancelling_at_the_sound_ends_the_reader(tmp_path: Path):
    """What is raised by whoever is told ends the reading, and the process."""
    path = make(tmp_path / "video", Made(sound=440))

    async def listening() -> None:
        raise asyncio.CancelledError

    with path.open("rb") as file, pytest.raises(asyncio.CancelledError):
        await read_video(file, QUICK, listening=listening)
    assert list(readers()) == []
