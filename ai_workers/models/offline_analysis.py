"""An offline reading of figures: what is best, what rises, what falls. Pure."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ai_workers.models.offline_words import quoted, words_of
from notifications import formats
from notifications.text import one_line, shorten

_FEW_POSTS = 5
_MOST_NOTES = 10
_SHOWN = 3


def analysis(material: Mapping[str, Any], locale: str) -> dict[str, Any]:
    """An answer for `content.analyze`, from the computed `totals`, `posts` and `formats`."""
    return _Analysis(material, locale).answer()


class _Analysis:
    def __init__(self, material: Mapping[str, Any], locale: str) -> None:
        self._texts = words_of("analysis", locale)
        self._locale = locale
        self._number = partial(formats.number, style=formats.STYLES[locale])
        self._totals = material["totals"]
        self._posts: Sequence[Mapping[str, Any]] = material["posts"]
        self._formats: Sequence[Mapping[str, Any]] = material["formats"]
        self._rising = [each for each in self._posts if each["trend"] == "rising"]
        self._falling = [each for each in self._posts if each["trend"] == "falling"]

    def answer(self) -> dict[str, Any]:
        """All of it."""
        return {
            "summary": self._say(
                "summary",
                posts=self._totals["posts"],
                views=self._number(self._totals["views"]),
                rate=self._rate(self._totals),
                best=self._name(self._posts[0]),
            ),
            "insights": self._insights(),
            "recommendations": self._recommendations(),
            "notes": self._notes(),
        }

    def _insights(self) -> list[dict[str, Any]]:
        best = self._posts[0]
        found = [
            self._insight(
                "best",
                [best],
                detail="best-detail" if len(self._posts) > 1 else "best-alone",
                name=self._name(best),
                views=self._number(best["views"]),
                rate=self._rate(best),
                posts=len(self._posts),
            )
        ]
        for kind, posts in (("rising", self._rising), ("falling", self._falling)):
            if posts:
                names = ", ".join(map(self._name, posts[:_SHOWN]))
                found.append(self._insight(kind, posts[:10], names=names))
        if len(self._formats) > 1:
            first, last = self._formats[0], self._formats[-1]
            found.append(
                self._insight(
                    "format",
                    [],
                    format=first["format"],
                    worst=last["format"],
                    views=self._number(first["viewsPerPost"]),
                    other=self._number(last["viewsPerPost"]),
                )
            )
        if len(self._posts) < _FEW_POSTS:
            found.append(self._insight("few", [], posts=len(self._posts)))
        return found

    def _recommendations(self) -> list[dict[str, Any]]:
        found = [self._recommend("repeat", "medium", name=self._name(self._posts[0]))]
        if self._falling:
            post = max(self._falling, key=lambda each: each["views"])
            views = self._number(post["views"])
            found.append(self._recommend("revive", "low", name=self._name(post), views=views))
        if len(self._formats) > 1:
            first = self._formats[0]["format"]
            found.append(self._recommend("more-format", "medium", format=first))
        if any(each["trend"] == "unknown" for each in self._posts):
            found.append(self._recommend("measure", "low"))
        return found

    def _notes(self) -> list[dict[str, str]]:
        return [
            {
                "id": post["id"],
                "note": self._say(
                    "note",
                    gained=self._number(post["viewsPerDay"]),
                    trend=self._texts["trends"][post["trend"]],
                ),
            }
            for post in self._posts[:_MOST_NOTES]
            if "viewsPerDay" in post
        ]

    def _insight(
        self, kind: str, about: Sequence[Mapping[str, Any]], *, detail: str = "", **values: Any
    ) -> dict[str, Any]:
        return {
            "title": shorten(self._say(kind, **values), 120),
            "detail": shorten(self._say(detail or f"{kind}-detail", **values), 600),
            "postIds": [post["id"] for post in about],
        }

    def _recommend(self, kind: str, effort: str, **values: Any) -> dict[str, str]:
        return {
            "action": shorten(self._say(kind, **values), 300),
            "why": shorten(self._say(f"{kind}-why", **values), 400),
            "effort": effort,
        }

    def _say(self, text: str, /, **values: Any) -> str:
        return str(self._texts[text].format_map(values))

    def _rate(self, row: Mapping[str, Any]) -> str:
        if "engagementRate" not in row:
            return ""
        return self._say("rate", rate=self._number(row["engagementRate"], digits=1))

    def _name(self, post: Mapping[str, Any]) -> str:
        return quoted(shorten(one_line(post.get("title", post["id"])), 60), self._locale)
