"""The model that needs no account."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_workers.compiling import validator_of
from ai_workers.models.filling import filled
from ai_workers.models.offline import OfflineModel
from ai_workers.models.offline_video import video
from ai_workers.ports import Question, Usage
from ai_workers.reading import is_in_another_language
from ai_workers.workers import chat, content_analyze, content_suggest
from tests.job_runs import LoneRun, is_valid, schema_of

WORKERS = {
    each.job_type: each for each in (chat.WORKER, content_suggest.WORKER, content_analyze.WORKER)
}
LOCALES = ("en", "fr")
SAYS_SO = {"en": "ffline", "fr": "ors ligne"}
CHAT = schema_of("chat.suggest", "v1.example")


async def result(job_type: str, given_: dict[str, Any], locale: str = "en") -> Any:
    """What a job comes to offline; valid by its schema."""
    run = LoneRun({**given_, "language": locale}, locale=locale)
    found = await WORKERS[job_type].run(run)
    assert is_valid(found, job_type, "v1.result")
    assert run.usage == [Usage(model="offline", input_tokens=0, output_tokens=0, cost_nano_usd=0)]
    return found


def least(job_type: str) -> dict[str, Any]:
    """The barest input of a type."""
    bare: dict[str, Any] = filled(schema_of(job_type), "bonjour")
    if job_type == "content.analyze":
        bare["posts"][0]["figures"] = [{"at": "2026-03-01T00:00:00Z", "views": 1}]
    assert is_valid(bare, job_type)
    return bare


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("job_type", sorted(WORKERS))
async def test_answers_are_valid_repeatable_and_say_what_they_are(
    job_type: str, locale: str
) -> None:
    """Of an example and of the barest input: the same answer each time, in the reader's language,
    free, and its summary says that it is offline."""
    for input_ in (schema_of(job_type, "v1.example"), least(job_type)):
        found = await result(job_type, input_, locale)
        assert found == await result(job_type, input_, locale)
        assert SAYS_SO[locale] in found["summary"]
        assert found["language"] == locale
        assert not is_in_another_language(found, locale)


def replied(text: str, **more: Any) -> dict[str, Any]:
    """A conversation that a fan's message ends."""
    return {"messages": [{"from": "creator", "text": "Hi"}, {"from": "fan", "text": text}], **more}


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("I love your last video!", "happy"),
        ("When is the next one?", "curious"),
        ("I am sad today", "sad"),
        ("This is a scam, I want a refund", "upset"),
        ("ok", "neutral"),
        ("Merci, c’était génial", "happy"),
        ("C’est une arnaque !", "upset"),
    ],
)
async def test_replies_depend_on_the_last_message(text: str, mood: str) -> None:
    """The mood is that of the fan's words, and the summary quotes them."""
    found = await result("chat.suggest", replied(text))
    assert found["mood"] == mood
    assert text.split("!")[0].split(",")[0][:10] in found["summary"]


async def test_replies_are_as_many_and_as_long_as_asked_for() -> None:
    """Count, length, tone and emoji are kept; no two replies are the same."""
    for count in range(1, 6):
        asked = replied("Thanks!", count=count, maxLength=60, tone="witty", emoji="none")
        found = (await result("chat.suggest", asked))["suggestions"]
        texts = [each["text"] for each in found]
        assert len(set(texts)) == len(texts) == count
        assert max(map(len, texts)) <= 60
        assert {each["tone"] for each in found} == {"witty"}
        assert all(text.isascii() or "’" in text or "…" in text for text in texts)


async def test_replies_name_the_fan_and_the_offer() -> None:
    """What the creator gave is in the text, as it was given."""
    offer = {"name": "Wild coast {x}", "price": "12 €"}
    asked = replied("Hey", fan={"name": "Léo"}, goal="sell", offer=offer)
    first = (await result("chat.suggest", asked))["suggestions"][0]["text"]
    assert "Léo" in first
    assert "“Wild coast {x}” (12 €)" in first


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("I'm 15 and love this", []),
        ("hi, i'm 15!", ["minor"]),
        ("j’ai 14 ans", ["minor"]),
        ("I'm 25 years old", []),
        ("write me at leo@example.com", ["personal-data"]),
        ("call 06 12 34 56 78", ["personal-data"]),
        ("I can pay by PayPal", ["payment-elsewhere"]),
        ("I want to kill myself", ["self-harm"]),
        ("See you at 18:30 on 12/03", []),
    ],
)
async def test_cautions_are_found_by_words(text: str, codes: list[str]) -> None:
    """What can be told by words alone is told, with the advice to read it oneself."""
    found = await result("chat.suggest", replied(text))
    assert [each["code"] for each in found["cautions"]] == codes


async def test_ideas_are_made_of_themes_goals_and_formats() -> None:
    """Each of them is used in turn, and hashtags are words of the niche."""
    asked = schema_of("content.suggest", "v1.example") | {"count": 4}
    found = (await result("content.suggest", asked, "fr"))["ideas"]
    assert [each["goal"] for each in found] == ["engage", "sell"] * 2
    assert [each["format"] for each in found] == ["short-video", "carousel"] * 2
    assert "réveil en douceur" in found[0]["title"]
    assert "mal de dos" in found[1]["title"]
    assert "yoga" in found[0]["hashtags"]
    assert len({each["title"] for each in found}) == 4


async def test_analyses_name_the_best_and_what_falls() -> None:
    """Insights are about the posts that the figures single out."""
    found = await result("content.analyze", schema_of("content.analyze", "v1.example"), "fr")
    assert found["insights"][0]["postIds"] == ["p1"]
    assert "Routine du matin" in found["insights"][0]["title"]
    assert any("s’essoufflent" in each["title"] for each in found["insights"])
    assert [each.get("note") is not None for each in found["posts"]] == [True, True]


FRAMES = [
    {"atMs": 0, "change": 0.0, "cut": False},
    {"atMs": 4_000, "change": 0.6, "cut": True},
    {"atMs": 6_000, "change": 0.1, "cut": False},
    {"atMs": 9_500, "change": 0.7, "cut": True},
]


@pytest.mark.parametrize("locale", LOCALES)
def test_a_video_is_told_by_its_cuts(locale: str) -> None:
    """Scenes go from cut to cut to the end; what was not looked at is said to be so."""
    found = video(
        {"title": "Interview de mars.mp4", "context": "", "captions": 2, "durationMs": 12_000,
         "width": 720, "height": 1_280, "hasAudio": True, "frames": FRAMES},
        locale,
    )  # fmt: skip
    times = [(each["startMs"], each["endMs"]) for each in found["scenes"]]
    assert times == [(0, 4_000), (4_000, 9_500), (9_500, 12_000)]
    assert found["tags"][:2] == ["vertical", {"en": "with sound", "fr": "avec son"}[locale]]
    assert [each["hashtags"] for each in found["captions"]] == [["interview", "mars"]] * 2
    assert all("Interview de mars" in each["text"] for each in found["captions"])
    for text in (found["summary"], found["scenes"][0]["description"], found["safety"][0]["reason"]):
        assert SAYS_SO[locale] in text


async def test_a_video_without_pictures_is_one_scene() -> None:
    """Whatever is missing from the material, there is an answer."""
    assert [each["endMs"] for each in video({}, "en")["scenes"]] == [0]


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "string", "minLength": 5, "maxLength": 9},
            {"type": "integer", "minimum": 3, "maximum": 7},
            {"type": "number", "minimum": -9, "maximum": -3},
            {"type": "boolean"},
            {"type": ["string", "null"], "maxLength": 1},
            {"enum": ["b", "a"]},
            {"const": 4},
            {"anyOf": [{"type": "null"}, {"type": "string"}]},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(
            lambda of, n: {"type": "array", "items": of, "minItems": n}, inner, st.integers(0, 3)
        ),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(
            lambda of: {
                "type": "object",
                "properties": of,
                "required": sorted(of),
                "additionalProperties": False,
            }
        ),
    ),
    max_leaves=6,
)


@given(SCHEMAS)
async def test_a_type_it_does_not_know_gets_the_least_there_is(schema: dict[str, Any]) -> None:
    """A new job type works offline from the first day: its schema is answered, validly."""
    question = Question(
        job_type="fifth.type", locale="fr", system="", user="", material={}, schema=schema
    )
    reply = await OfflineModel().answer(question, within_s=1)
    assert validator_of(schema).is_valid(json.loads(reply.text))
    assert reply.usage.model == "offline"


def test_a_schema_without_an_end_is_refused() -> None:
    """One that contains itself is an error, no endless answer."""
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "required": ["b"],
              "properties": {"b": {"$ref": "#/$defs/a"}}}}}  # fmt: skip
    with pytest.raises(ValueError, match="nested over"):
        filled(schema)
