"""The sound of a video as models take it. Runs in the process that reads videos."""

import io
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container.input import InputContainer

from ai_workers.media_limits import MediaLimits

RATE = 16_000
_WIDTH = 2  # bytes of a sample
_MOST_BAD = 500
_FAULTS = (av.FFmpegError, ValueError)


@dataclass(slots=True)
class Heard:
    """What was heard.

    Attributes:
        wav: Mono, 16 kHz, 16 bits; empty where there is nothing to hear.
        duration_ms: How long it lasts.
        notes: What is to be said about it, as constant names.
    """

    wav: bytes = b""
    duration_ms: int = 0
    notes: list[str] = field(default_factory=list)


def find_sound(container: InputContainer) -> AudioStream | None:
    """The sound that players play; None where there is none."""
    best = cast("AudioStream | None", container.streams.best("audio"))
    # Contrary to its annotation, a stream whose codec nobody knows has no context.
    return best if best is not None and getattr(best, "codec_context", None) is not None else None


def hear(container: InputContainer, stream: AudioStream, limits: MediaLimits) -> Heard:
    """Decode the beginning of the sound. What is damaged is left out."""
    heard = Heard()
    stop_at = time.monotonic() + limits.sound_within_s
    enough = round(limits.sound_s * RATE) * _WIDTH
    samples = bytearray()
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    for frame in _frames(container, stream, heard):
        try:
            for part in resampler.resample(frame):
                samples += bytes(part.planes[0])[: part.samples * _WIDTH]
        except _FAULTS:  # it changed into something else on the way
            _note(heard, "sound-damaged")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        if len(samples) >= enough or time.monotonic() >= stop_at:
            _note(heard, "sound-cut")
            break
    del samples[enough:]
    if not any(samples):
        if samples:
            _note(heard, "silent")
        return heard
    heard.wav = _wav(bytes(samples))
    heard.duration_ms = len(samples) * 1_000 // (RATE * _WIDTH)
    return heard


def _frames(
    container: InputContainer, stream: AudioStream, heard: Heard
) -> Iterator[AudioFrame | None]:
    """Every frame, and None at the end, for what the resampler holds back."""
    bad = 0
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except _FAULTS:
                _note(heard, "sound-damaged")
                bad += 1
                if bad > _MOST_BAD:
                    return
    except _FAULTS:
        _note(heard, "sound-damaged")
    yield None


def _note(heard: Heard, name: str) -> None:
    if name not in heard.notes:
        heard.notes.append(name)


def _wav(samples: bytes) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(_WIDTH)
        file.setframerate(RATE)
        file.writeframes(samples)
    return out.getvalue()
