"""What a model said about a video, put right. Pure.

A model names moments that are not in the video, in any order, and tags with or without `#`. None
of that is worth asking again for: it is put in order here. What the file is, is never the model's
to say.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ai_workers.media import Footage
from notifications.text import one_line, shorten

OURS = ("technical", "notes")
"""Fields of the result that no model is asked for."""

_TIMES = ("startMs", "endMs")


def answer_schema(result_schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an answer: a result's, without what is ours, and more patient with times.

    Args:
        result_schema: `schemas/jobs/video.analysis/v1.result.json`.
    """
    properties = {
        name: _patient(each)
        for name, each in result_schema["properties"].items()
        if name not in OURS
    }
    return {
        "$schema": result_schema["$schema"],
        "title": "What a video shows",
        "type": "object",
        "properties": properties,
        "required": [name for name in result_schema["required"] if name not in OURS],
        "additionalProperties": False,
    }


def _patient(schema: Mapping[str, Any]) -> dict[str, Any]:
    changed = {
        key: _patient(value) if isinstance(value, Mapping) else value
        for key, value in schema.items()
    }
    for name in _TIMES:
        if isinstance(changed.get(name), dict) and "minimum" in changed[name]:
            described = {key: changed[name][key] for key in ("description",)}
            changed[name] = {"type": "number", **described}
    return changed


def result_of(answer: Mapping[str, Any], footage: Footage, captions: int) -> dict[str, Any]:
    """The job's result.

    Args:
        answer: Valid by `answer_schema`.
        footage: What the model was shown.
        captions: How many were asked for.
    """
    duration = footage.facts.duration_ms
    return {
        "summary": _text(answer["summary"], 1_000),
        "scenes": _scenes(answer["scenes"], duration),
        "tags": _tags(answer["tags"], 20),
        "safety": [_flag(each, duration) for each in answer["safety"]],
        "captions": [_caption(each) for each in answer["captions"][:captions]],
        "technical": _technical(footage),
        "notes": list(footage.notes),
    }


# --------------------------------------------------------------------------- times


def _scenes(said: Sequence[Mapping[str, Any]], duration: int) -> list[dict[str, Any]]:
    """The scenes in order, within the video, none over another.

    One whose moments are not in the video, or taken by others, is left out, unless it is the only
    one: then it is the whole video.
    """
    placed = sorted(
        ((*_span(each["startMs"], each["endMs"], duration), each) for each in said),
        key=lambda each: each[:2],
    )
    scenes: list[dict[str, Any]] = []
    for place, (start, end, each) in enumerate(placed):
        following = placed[place + 1][0] if place + 1 < len(placed) else duration
        if end <= start:  # only its beginning was meant: it lasts until the next
            end = following
        end = min(end, following)
        if end > start:
            scenes.append(_scene(each, start, end))
    if not scenes:
        scenes.append(_scene(said[0], 0, duration))
    return scenes


def _scene(said: Mapping[str, Any], start: int, end: int) -> dict[str, Any]:
    return {
        "startMs": start,
        "endMs": end,
        "description": _text(said["description"], 500),
        "tags": _tags(said["tags"], 10),
    }


def _span(start: float, end: float, duration: int) -> tuple[int, int]:
    first, last = sorted((_moment(start, duration), _moment(end, duration)))
    return first, last


def _moment(said: float, duration: int) -> int:
    if not math.isfinite(said):
        return duration
    return min(max(round(said), 0), duration)


def _flag(said: Mapping[str, Any], duration: int) -> dict[str, Any]:
    flag = {"kind": said["kind"], "level": said["level"], "reason": _text(said["reason"], 300)}
    if "startMs" in said:
        start, end = _span(said["startMs"], said.get("endMs", said["startMs"]), duration)
        flag |= {"startMs": start, "endMs": end}
    return flag


# --------------------------------------------------------------------------- words


def _caption(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": _text(said["text"], 500), "hashtags": _tags(said["hashtags"], 10)}


def _text(said: str, most: int) -> str:
    return shorten(one_line(said), most) or "-"


def _tags(said: Sequence[str], most: int) -> list[str]:
    """Each once, without `#`."""
    return list(_different(said))[:most]


def _different(said: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for each in said:
        tag = shorten(one_line(each).lstrip("#").strip(), 50)
        if tag and tag.casefold() not in seen:
            seen.add(tag.casefold())
            yield tag


# --------------------------------------------------------------------------- facts


def _technical(footage: Footage) -> dict[str, Any]:
    facts = footage.facts
    return {
        "durationMs": facts.duration_ms,
        "width": facts.width,
        "height": facts.height,
        "fps": facts.fps,
        "sizeBytes": facts.size,
        "container": facts.container,
        "videoCodec": facts.video_codec,
        "audioCodec": facts.audio_codec,
        "hasAudio": facts.audio_codec is not None,
        "framesShown": len(footage.frames),
        "soundMs": 0 if footage.sound is None else footage.sound.duration_ms,
    }
