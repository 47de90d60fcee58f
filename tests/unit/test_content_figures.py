"""The computed part of an analysis."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_workers.content_figures import analyzed
from tests.job_runs import is_valid, schema_of

EXAMPLE = schema_of("content.analyze", "v1.example")


def post(name: str, *readings: tuple[int, int], **more: Any) -> dict[str, Any]:
    """A post with views on days of March."""
    figures = [{"at": f"2026-03-{day:02d}T00:00:00Z", "views": views} for day, views in readings]
    return {"id": name, "figures": figures, **more}


def only(*readings: tuple[int, int]) -> dict[str, Any]:
    """What is computed of one post."""
    return analyzed({"posts": [post("p", *readings)]})["posts"][0]


def test_figures_of_the_example() -> None:
    """Totals, growth, rates and ranks of two posts, reckoned by hand."""
    found = analyzed(EXAMPLE)
    assert found["totals"] == {
        "posts": 2,
        "views": 7000,
        "interactions": 655 + 74 + 42 + 330 + 25 + 2,
        "engagementRate": 16.11,
        "clicks": 0,
        "revenue": 36.0,
        "currency": "EUR",
    }
    assert found["posts"][0] == {
        "id": "p1",
        "title": "Routine du matin",
        "views": 6000,
        "interactions": 1101,
        "engagementRate": 18.35,
        "viewsPerDay": 369.2,  # 4,800 in 13 days
        "growthPercent": 400.0,
        "trend": "falling",  # 700 a day, then 86
    }
    assert [each["format"] for each in found["formats"]] == ["short-video", "post"]


@pytest.mark.parametrize(
    ("readings", "trend"),
    [
        ([(1, 0)], "unknown"),
        ([(1, 0), (2, 100)], "unknown"),
        ([(1, 0), (2, 100), (3, 200)], "steady"),
        ([(1, 0), (2, 100), (3, 225)], "rising"),
        ([(1, 0), (2, 100), (3, 175)], "falling"),
        ([(1, 0), (2, 100), (4, 300)], "steady"),
        ([(1, 50), (2, 50), (3, 50)], "steady"),
        ([(1, 50), (2, 50), (3, 51)], "rising"),
        ([(3, 175), (1, 0), (2, 100)], "falling"),
    ],
)
def test_a_trend_compares_paces(readings: list[tuple[int, int]], trend: str) -> None:
    """Views per day of the last interval against those before, whatever the order they came in."""
    assert only(*readings)["trend"] == trend


def test_what_cannot_be_divided_is_left_out() -> None:
    """No views, one reading, or a beginning at zero give no rate and no growth."""
    assert only((1, 0)) == {"id": "p", "views": 0, "interactions": 0, "trend": "unknown"}
    assert "growthPercent" not in only((1, 0), (2, 10))


@pytest.mark.parametrize("rank", ["views", "engagement", "revenue"])
def test_the_ranking_is_the_one_asked_for(rank: str) -> None:
    """Each way has another post in front."""
    posts = [
        {"id": "views", "figures": [{"at": "2026-03-01T00:00:00Z", "views": 100}]},
        {"id": "engagement", "figures": [{"at": "2026-03-01T00:00:00Z", "views": 9, "likes": 9}]},
        {"id": "revenue", "figures": [{"at": "2026-03-01T00:00:00Z", "views": 1, "revenue": 5}]},
    ]
    assert analyzed({"posts": posts, "rankBy": rank})["posts"][0]["id"] == rank


def test_what_contradicts_itself_is_said() -> None:
    """A day that is not in the calendar, and one id for two posts."""
    with pytest.raises(ValueError, match="two posts have the same id"):
        analyzed({"posts": [post("p", (1, 1)), post("p", (1, 1))]})
    with pytest.raises(ValueError, match="day is out of range"):
        analyzed({"posts": [{"id": "p", "figures": [{"at": "2026-02-30T00:00:00Z", "views": 1}]}]})


FIGURES = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.datetimes().map(lambda at: f"{at.isoformat(timespec='seconds')}+01:00"),
            "views": st.integers(0, 10**12),
        },
        optional={
            "likes": st.integers(0, 10**12),
            "clicks": st.integers(0, 10**12),
            "revenue": st.floats(0, 10**9),
        },
    ),
    min_size=1,
    max_size=6,
)
POSTS = st.lists(FIGURES, min_size=1, max_size=5)


@given(POSTS, st.sampled_from(["views", "engagement", "revenue"]))
def test_whatever_the_figures_are_the_result_is_valid(posts: list[Any], rank: str) -> None:
    """Falling totals, gaps, zeros and the largest numbers give figures that the schema takes."""
    named = [
        {"id": str(place), "format": "post", "figures": figures}
        for place, figures in enumerate(posts)
    ]
    told = {"language": "en", "summary": "-", "insights": [], "recommendations": []}
    one = {"title": "-", "detail": "-", "postIds": []}
    told |= {"insights": [one], "recommendations": [{"action": "-", "why": "-", "effort": "low"}]}
    result = told | analyzed({"posts": named, "rankBy": rank})
    assert is_valid(result, "content.analyze", "v1.result")
