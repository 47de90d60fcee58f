"""Offline ideas for content, from a creator's niche, themes and goals. Pure."""

from collections.abc import Mapping
from typing import Any

from ai_workers.models.offline_words import hashtags, keywords, quoted, words_of
from notifications.text import one_line, shorten

_FORMATS = ("short-video", "carousel", "story", "post", "live")


def ideas(material: Mapping[str, Any], locale: str) -> dict[str, Any]:
    """An answer for `content.suggest`, from `material["input"]`."""
    given = material["input"]
    count = given.get("count", 5)
    return {
        "summary": words_of("ideas", locale)["summary"].format(count=count),
        "ideas": [_idea(given, place, locale) for place in range(count)],
    }


def _idea(given: Mapping[str, Any], place: int, locale: str) -> dict[str, Any]:
    words = words_of("ideas", locale)
    goals, formats = given["goals"], given.get("formats", _FORMATS)
    goal, format_ = goals[place % len(goals)], formats[place % len(formats)]
    themes = given.get("themes") or keywords([given["niche"]], 5) or [given["niche"]]
    theme = shorten(one_line(themes[place % len(themes)]), 80)
    angle = words["angles"][place % len(words["angles"])]
    hook = words["hooks"][goal].format(theme=theme, Theme=theme[:1].upper() + theme[1:])
    call = words["calls"][goal]
    occasion = one_line(given.get("occasion", ""))
    why = words["why"].format(
        source=words["sources"]["themes" if given.get("themes") else "niche"],
        made=words["formats"][format_],
    )
    good = [each["title"] for each in given.get("recent", ()) if each.get("result") == "good"]
    if good:
        title = quoted(shorten(one_line(good[place % len(good)]), 80), locale)
        why += words["builtOn"].format(title=title)
    about = [theme, given["niche"], *given.get("themes", ()), occasion]
    return {
        "title": shorten(words["title"].format(angle=angle, theme=theme), 120),
        "format": format_,
        "goal": goal,
        "hook": shorten(hook, 200),
        "caption": words["caption"].format(
            angle=angle,
            theme=theme,
            occasion=words["occasion"].format(occasion=occasion) if occasion else "",
            hook=hook,
            call=call,
        ),
        "hashtags": hashtags(about, given.get("hashtags", 5)),
        "callToAction": call,
        "why": shorten(why, 400),
    }
