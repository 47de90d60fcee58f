"""What a model says of a video is put right, whatever it says."""

import json
from itertools import pairwise
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_workers.video_answers import OURS, answer_schema, result_of
from notifications.shipped import SCHEMAS
from tests.video_runs import FACTS, FOOTAGE, describe

FOLDER = SCHEMAS / "jobs" / "video.analysis"
INPUT = json.loads((FOLDER / "v1.json").read_text("utf-8"))
RESULT = json.loads((FOLDER / "v1.result.json").read_text("utf-8"))
INPUTS = jsonschema_rs.validator_for(INPUT)
RESULTS = jsonschema_rs.validator_for(RESULT)
ANSWERS = jsonschema_rs.validator_for(answer_schema(RESULT))
GOOD = describe(
    {"frames": [{"atMs": 0, "cut": True}, {"atMs": 4_000, "cut": True}], "durationMs": 10_000}
)

moments = st.one_of(
    st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False)
)
words = st.text(min_size=1, max_size=40)
scenes = st.lists(
    st.fixed_dictionaries(
        {
            "startMs": moments,
            "endMs": moments,
            "description": words,
            "tags": st.lists(st.text(min_size=1, max_size=50), max_size=10),
        }
    ),
    min_size=1,
    max_size=40,
)
flags = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["nudity", "other"]),
            "level": st.sampled_from(["low", "high"]),
            "reason": words,
        },
        optional={"startMs": moments, "endMs": moments},
    ),
    max_size=5,
)


def spans(result: dict[str, Any]) -> list[tuple[int, int]]:
    return [(each["startMs"], each["endMs"]) for each in result["scenes"]]


def answer(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


def scene(start: float, end: float, description: str = "x") -> dict[str, Any]:
    return {"startMs": start, "endMs": end, "description": description, "tags": []}


# --------------------------------------------------------------------------- schemas


def test_the_examples_are_right():
    """What is shown as an example is valid, by the schemas beside it."""
    assert INPUTS.is_valid(json.loads((FOLDER / "v1.example.json").read_text("utf-8")))
    assert RESULTS.is_valid(json.loads((FOLDER / "v1.result.example.json").read_text("utf-8")))


def everything(schema: Any) -> list[dict[str, Any]]:
    """Every schema within a schema."""
    if isinstance(schema, list):
        return [inner for each in schema for inner in everything(each)]
    if not isinstance(schema, dict):
        return []
    here = [schema] if "type" in schema and not isinstance(schema["type"], dict) else []
    return here + [inner for each in schema.values() for inner in everything(each)]


@pytest.mark.parametrize("schema", [INPUT, RESULT], ids=["input", "result"])
def test_everything_is_bounded_and_described(schema: dict[str, Any]):
    """No text, list or number without a limit, no object that takes what nobody asked for."""
    for each in everything(schema):
        kinds = each["type"] if isinstance(each["type"], list) else [each["type"]]
        if "string" in kinds:
            assert "maxLength" in each or "enum" in each, each
        if "array" in kinds:
            assert "maxItems" in each, each
        if "integer" in kinds or "number" in kinds:
            assert {"minimum", "maximum"} <= each.keys(), each
        if "object" in kinds:
            assert each["additionalProperties"] is False, each
        if "enum" not in each or "description" in each:
            assert each["description"], each


@pytest.mark.parametrize(
    "url",
    ["/etc/passwd", "file:///etc/passwd", "video.mp4", "../data/hub.db", "C:\\video.mp4",
     "fd:0", "pipe:", "concat:a|b", "https://", "https://user:secret@example.com/v.mp4", ""],
)  # fmt: skip
def test_no_input_is_a_path(url: str):
    """Nothing that a program could take for a file of the hub's is a valid input."""
    assert not INPUTS.is_valid({"url": url})


@pytest.mark.parametrize("more", [{"path": "/etc/passwd"}, {"file": "x"}, {"captions": 6},
    {"language": "de"}, {"title": ""}, {"title": "x" * 201}, {"context": "x" * 1_001}])  # fmt: skip
def test_what_is_not_asked_for_is_refused(more: dict[str, Any]):
    """Other fields, and values beyond their limits."""
    assert INPUTS.is_valid({"url": "https://example.com/v.mp4"})
    assert not INPUTS.is_valid({"url": "https://example.com/v.mp4", **more})


def test_a_model_is_not_asked_for_what_is_ours():
    """The model's schema has no place for technical facts: it cannot make them up."""
    schema = answer_schema(RESULT)
    assert set(schema["properties"]) == set(RESULT["properties"]) - set(OURS)
    assert not ANSWERS.is_valid({**GOOD, "technical": {"durationMs": 1}})
    assert ANSWERS.is_valid(GOOD)


def test_times_with_a_fraction_are_not_worth_a_second_question():
    """Models write 1200.5 and -1: that is put right instead of being refused."""
    assert ANSWERS.is_valid(answer(scenes=[scene(-1, 1200.5)]))


# --------------------------------------------------------------------------- putting right


@given(scenes, flags)
def test_every_answer_becomes_a_result(said: list[dict[str, Any]], safety: list[dict[str, Any]]):
    """Whatever times and words a valid answer has, the result is valid and its scenes in order."""
    result = result_of(answer(scenes=said, safety=safety), FOOTAGE, 3)
    assert RESULTS.is_valid(result), next(RESULTS.iter_errors(result), None)
    placed = spans(result)
    assert all(0 <= start < end <= FACTS.duration_ms for start, end in placed)
    assert all(before[1] <= after[0] for before, after in pairwise(placed))


def test_scenes_are_put_in_order():
    """Scenes that are told out of order are put in order, each with its own words."""
    said = [scene(5_000, 10_000, "second"), scene(0, 5_000, "first")]
    result = result_of(answer(scenes=said), FOOTAGE, 3)
    assert [each["description"] for each in result["scenes"]] == ["first", "second"]


def test_times_are_clamped_to_the_video():
    """A scene that ends after the video ends with it, one that begins before it begins with it."""
    result = result_of(answer(scenes=[scene(-500, 2_000.4), scene(2_000, 99_000)]), FOOTAGE, 3)
    assert spans(result) == [(0, 2_000), (2_000, 10_000)]


def test_scenes_that_overlap_follow_each_other():
    """The next scene ends the one before."""
    result = result_of(answer(scenes=[scene(0, 8_000), scene(4_000, 10_000)]), FOOTAGE, 3)
    assert spans(result) == [(0, 4_000), (4_000, 10_000)]


def test_a_moment_becomes_a_scene():
    """A scene of which only the beginning is told lasts until the next."""
    result = result_of(answer(scenes=[scene(0, 0), scene(3_000, 3_000)]), FOOTAGE, 3)
    assert spans(result) == [(0, 3_000), (3_000, 10_000)]


def test_ends_before_beginnings_are_turned_round():
    """Who mixes up the two means the time between them."""
    assert spans(result_of(answer(scenes=[scene(5_000, 1_000)]), FOOTAGE, 3)) == [(1_000, 5_000)]


def test_a_scene_after_the_video_is_left_out():
    """A time that the video does not have is not told of, unless it is all there is."""
    both = answer(scenes=[scene(0, 9_000, "real"), scene(50_000, 60_000, "invented")])
    assert [each["description"] for each in result_of(both, FOOTAGE, 3)["scenes"]] == ["real"]
    alone = answer(scenes=[scene(50_000, 60_000)])
    assert spans(result_of(alone, FOOTAGE, 3)) == [(0, 10_000)]


def test_technical_facts_are_measured():
    """They come from the file and what was shown of it."""
    assert result_of(GOOD, FOOTAGE, 3)["technical"] == {
        "durationMs": 10_000,
        "width": 1080,
        "height": 1920,
        "fps": 29.97,
        "sizeBytes": 123_456,
        "container": "mov,mp4,m4a,3gp,3g2,mj2",
        "videoCodec": "h264",
        "audioCodec": "aac",
        "hasAudio": True,
        "framesShown": 3,
        "soundMs": 9_000,
    }


def test_tags_are_without_marks_and_once():
    """`#One`, `one` and ` ONE ` are one tag."""
    result = result_of(answer(tags=["#One", "one", " ONE ", "#", "two"]), FOOTAGE, 3)
    assert result["tags"] == ["One", "two"]


def test_no_more_captions_than_were_asked_for():
    """A model that cannot count is not shown."""
    assert len(result_of(GOOD, FOOTAGE, 2)["captions"]) == 2
    assert result_of(GOOD, FOOTAGE, 0)["captions"] == []


def test_what_reorders_or_hides_text_is_left_out():
    """A model's words are shown to people: control characters are not."""
    result = result_of(answer(summary="one\u202etwo\x00\nthree"), FOOTAGE, 3)
    assert result["summary"] == "onetwo three"
