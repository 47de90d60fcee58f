"""An offline description of a video, from its pictures' moments and its measures. Pure.

It sees nothing: what it says is where the picture changes, how long things last and what the user
called them; that nothing was looked at is said in every text that could be taken for more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ai_workers.models.offline_words import hashtags, keywords, words_of
from notifications.text import one_line, shorten

_MOST_SCENES = 40
_VERTICAL = 0.9
_WIDE = 1.1

_SHORT_MS = 60_000


def video(material: Mapping[str, Any], locale: str) -> dict[str, Any]:
    """An answer for `video.analysis`, from the measures and `frames` in the material."""
    words = words_of("video", locale)
    duration = max(int(material.get("durationMs", 0)), 0)
    frames: Sequence[Mapping[str, Any]] = material.get("frames", ())
    scenes = _scenes(frames, duration, locale)
    counted = _counted(words["scenes"], len(scenes))
    length = _clock(duration)
    texts = [material.get("title", ""), material.get("context", "")]
    name = one_line(material.get("title", ""))
    stem, dot, ending = name.rpartition(".")
    if dot and len(ending) <= 4:  # a file's name
        name = stem
    title = shorten(name, 120) or words["untitled"]
    return {
        "summary": words["summary"].format(scenes=counted, length=length),
        "scenes": scenes,
        "tags": [*_measures(material, duration, locale), *keywords([name, texts[1]], 8)],
        "safety": [{"kind": "other", "level": "low", "reason": words["unchecked"]}],
        "captions": [
            {
                "text": text.format(title=title, length=length, scenes=counted),
                "hashtags": hashtags([name, texts[1]], 5),
            }
            for text in words["captions"][: material.get("captions", 3)]
        ],
    }


def _scenes(
    frames: Sequence[Mapping[str, Any]], duration: int, locale: str
) -> list[dict[str, Any]]:
    """One from each cut to the next."""
    words = words_of("video", locale)
    starts = [0, *(each["atMs"] for each in frames if each.get("cut") and each["atMs"] > 0)]
    starts = sorted(set(starts))[:_MOST_SCENES]
    ends = [*starts[1:], max(duration, starts[-1])]
    scenes = []
    for place, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        last = place == len(starts)
        within = [each for each in frames if start <= each["atMs"] and (last or each["atMs"] < end)]
        description = words["scene"].format(
            n=place,
            all=len(starts),
            start=_clock(start),
            end=_clock(end),
            pictures=_counted(words["pictures"], len(within)),
        )
        scenes.append({"startMs": start, "endMs": end, "description": description, "tags": []})
    return scenes


def _measures(material: Mapping[str, Any], duration: int, locale: str) -> list[str]:
    words = words_of("video", locale)["tags"]
    found = []
    if material.get("width") and material.get("height"):
        share = material["width"] / material["height"]
        kind = "tall" if share < _VERTICAL else "wide" if share > _WIDE else "square"
        found.append(words[kind])
    found.append(words["sound" if material.get("hasAudio") else "silent"])
    if 0 < duration <= _SHORT_MS:
        found.append(words["short"])
    return found


def _counted(forms: Sequence[str], number: int) -> str:
    return forms[number != 1].format(n=number)


def _clock(ms: int) -> str:
    """As players show it: `0:07`, `12:40`, `1:02:03`."""
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
