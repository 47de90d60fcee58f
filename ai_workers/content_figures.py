"""What the figures of published content say: totals, growth, pace, ranks. Pure.

Models explain; they do not calculate. Everything here is in the form of the result's schema.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_DAY_S = 86_400
_INTERACTIONS = ("likes", "comments", "shares", "saves")
_RISING = 1.25
_FALLING = 0.75
"""How much faster or slower the last interval is for a trend to be one."""

Post = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    at: datetime
    totals: Mapping[str, Any]

    @property
    def views(self) -> int:
        return int(self.totals["views"])


def analyzed(given: Mapping[str, Any]) -> dict[str, Any]:
    """The computed part of a result: `totals`, `posts` (the best first) and `formats`.

    Args:
        given: The job's input, valid by its schema.

    Raises:
        ValueError: A time is none, such as February 30th, or two posts have the same id.
    """
    posts = given["posts"]
    if len({post["id"] for post in posts}) < len(posts):
        raise ValueError("two posts have the same id")
    readings = [_readings(post) for post in posts]
    latest = [each[-1].totals for each in readings]
    rows = [_post(post, each) for post, each in zip(posts, readings, strict=True)]
    rank = given.get("rankBy", "views")
    order = sorted(
        range(len(rows)),
        key=lambda place: (_worth(rank, rows[place], latest[place]), rows[place]["views"]),
        reverse=True,
    )
    return {
        "totals": _totals(latest, given.get("currency", "USD")),
        "posts": [rows[place] for place in order],
        "formats": _formats(posts, latest),
    }


def _readings(post: Post) -> Sequence[_Reading]:
    """A post's figures in the order of their times; of two at the same time the later one."""
    by_time = {datetime.fromisoformat(each["at"]): each for each in post["figures"]}
    return [_Reading(at=at, totals=by_time[at]) for at in sorted(by_time)]


def _post(post: Post, readings: Sequence[_Reading]) -> dict[str, Any]:
    first, last = readings[0], readings[-1]
    found: dict[str, Any] = {"id": post["id"]}
    if "title" in post:
        found["title"] = post["title"]
    found["views"] = last.views
    found["interactions"] = _interactions(last.totals)
    found.update(_rate([last.totals]))
    days = _days(first, last)
    if days > 0:
        found["viewsPerDay"] = round((last.views - first.views) / days, 1)
        if first.views:
            gained = (last.views - first.views) / first.views
            found["growthPercent"] = round(100 * gained, 1)
    found["trend"] = _trend(readings)
    return found


def _trend(readings: Sequence[_Reading]) -> str:
    """The last interval's pace against that of all before it."""
    if len(readings) < 3:
        return "unknown"
    *_, before, last = readings
    earlier = (before.views - readings[0].views) / _days(readings[0], before)
    lately = (last.views - before.views) / _days(before, last)
    if earlier <= 0:
        return "rising" if lately > 0 else "steady"
    share = lately / earlier
    if share >= _RISING:
        return "rising"
    return "falling" if share <= _FALLING else "steady"


def _totals(latest: Sequence[Mapping[str, Any]], currency: str) -> dict[str, Any]:
    return {
        "posts": len(latest),
        "views": sum(int(each["views"]) for each in latest),
        "interactions": sum(map(_interactions, latest)),
        **_rate(latest),
        "clicks": sum(int(each.get("clicks", 0)) for each in latest),
        "revenue": round(sum(float(each.get("revenue", 0)) for each in latest), 2),
        "currency": currency,
    }


def _formats(posts: Sequence[Post], latest: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    by_format: dict[str, list[Mapping[str, Any]]] = {}
    for post, totals in zip(posts, latest, strict=True):
        if "format" in post:
            by_format.setdefault(post["format"], []).append(totals)
    rows = [
        {
            "format": name,
            "posts": len(each),
            "viewsPerPost": round(sum(int(totals["views"]) for totals in each) / len(each), 1),
            **_rate(each),
        }
        for name, each in by_format.items()
    ]
    return sorted(rows, key=lambda row: (-row["viewsPerPost"], row["format"]))


def _rate(totals: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Interactions per view in percent; nothing where there were no views."""
    known = tuple(totals)
    views = sum(int(each["views"]) for each in known)
    if not views:
        return {}
    return {"engagementRate": round(100 * sum(map(_interactions, known)) / views, 2)}


def _interactions(totals: Mapping[str, Any]) -> int:
    return sum(int(totals.get(name, 0)) for name in _INTERACTIONS)


def _worth(rank: str, row: Mapping[str, Any], latest: Mapping[str, Any]) -> float:
    if rank == "revenue":
        return float(latest.get("revenue", 0))
    return float(row.get("engagementRate", 0) if rank == "engagement" else row["views"])


def _days(first: _Reading, last: _Reading) -> float:
    return (last.at - first.at).total_seconds() / _DAY_S
