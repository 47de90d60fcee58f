"""Replies of models, read leniently."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_workers.reading import is_in_another_language, objects_in, without_thoughts

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Co", "Cn"]), max_size=30)
SAFE_TEXTS = TEXTS.filter(lambda text: text.isprintable() and "think>" not in text)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | SAFE_TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SAFE_TEXTS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(SAFE_TEXTS.filter(bool), JSON, min_size=1, max_size=5)
PROSE = st.text(st.characters(exclude_characters="{", exclude_categories=["Cs"]), max_size=40)


def first(text: str) -> object:
    """The longest object in a text; None where there is none."""
    return next(iter(objects_in(text)), None)


@given(OBJECTS, st.integers(0, 4))
def test_json_is_read_as_it_is(value: dict[str, object], indent: int) -> None:
    """Whatever an object holds, and however it is spread over lines, it comes out the same."""
    assert first(json.dumps(value, ensure_ascii=False, indent=indent or None)) == value


@given(OBJECTS, PROSE, PROSE, st.sampled_from(["", "```", "```json\n"]))
def test_what_stands_around_does_not_matter(
    value: dict[str, object], before: str, after: str, fence: str
) -> None:
    """Prose, fences and single quotation marks around an object are passed over."""
    text = f"So:{before.replace('<', '(')}\n{fence}{json.dumps(value)}\n{fence and '```'}{after}"
    assert first(text) == value


@given(OBJECTS)
def test_commas_too_many_are_left_out(value: dict[str, object]) -> None:
    """A comma behind the last member of anything is no reason to ask again."""
    spread = json.dumps(value, indent=1, ensure_ascii=False)
    lines = [
        line + "," if not line.endswith((",", "{", "[")) and line[-1] in '"el0123456789' else line
        for line in spread.split("\n")
    ]
    assert first("\n".join(lines)) == value


@given(OBJECTS)
def test_thoughts_are_no_answer(value: dict[str, object]) -> None:
    """What a model thinks aloud is left out, were it an object itself."""
    thought = '<think>Maybe {"a": "much longer than the answer will ever be"}?</think>'
    assert first(thought + json.dumps(value)) == value


@given(st.text(max_size=300))
def test_nothing_breaks_the_reader(text: str) -> None:
    """Any text at all gives objects or none, and nothing else."""
    assert all(isinstance(value, dict) for value in objects_in(text))


@given(OBJECTS, st.data())
def test_what_is_cut_off_is_not_made_up(value: dict[str, object], data: st.DataObject) -> None:
    """An object that ends too early is not closed: what is read from it was in it whole."""
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    assert value not in list(objects_in(cut))
    for found in objects_in(cut):
        assert json.dumps(found) in text or json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("I cannot do that.", None),
        ("[1, 2]", None),
        ('{"a": NaN}', None),
        ('{"a": 1e999999}', None),
        ('{"a": 123456789012345678901234567890}', None),
        ('{"a": ' + "9" * 5000 + "}", None),
        ('{"a": ' * 5000, None),
        ('<think>never ends {"a": 1}', None),
        ('thinking without a beginning {"b": 1}</think>{"a": 1}', {"a": 1}),
        ('{"a": "</think>"}', {"a": "</think>"}),
        ('\ufeff{"a": 1}', {"a": 1}),
        ('{"a": 1} and {"a": 1, "b": 2}', {"a": 1, "b": 2}),
        ('I use {curly} words. {"a": 1}', {"a": 1}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        ('{"a": "nul\\u0000 and half \\ud800"}', {"a": "nul and half "}),
        ('{"a": True, "b": None,}', {"a": True, "b": None}),
        ('{"a": "True, }", // why\n"b": 1}', {"a": "True, }", "b": 1}),
        ('{"a": "https://x.example/y",}', {"a": "https://x.example/y"}),
    ],
)
def test_replies_as_they_come(text: str, value: object) -> None:
    """What models are known to send."""
    assert first(text) == value


@pytest.mark.parametrize(
    "text",
    ['{"' * 50_000, '"\\"' * 30_000, '{"a":' * 20_000, '{"a": "\\"' * 10_000, ",  " * 30_000],
)
def test_no_reply_holds_up_the_others(text: str) -> None:
    """A reply that was made to be slow to read is read within the time of a few frames."""
    started = time.process_time()
    assert list(objects_in(text)) == []
    assert time.process_time() - started < 2


def test_thoughts_within_an_answer_stay() -> None:
    """Only what stands before an answer is thinking."""
    assert without_thoughts('{"a": "<think>x</think>"}') == '{"a": "<think>x</think>"}'


FRENCH = "Merci beaucoup pour ton message, je suis ravie que la vidéo te plaise et que tu sois là"
ENGLISH = "Thanks so much for your message, I am glad that you like the video and that you are here"


@pytest.mark.parametrize(
    ("text", "locale", "foreign"),
    [
        (FRENCH, "fr", False),
        (ENGLISH, "en", False),
        (FRENCH, "en", True),
        (ENGLISH, "fr", True),
        (f"{FRENCH} {ENGLISH}", "fr", False),
        ("Hey you!", "fr", False),
        ("#sunset #beach", "fr", False),
        (ENGLISH, "de", False),
    ],
)
def test_a_wrong_language_is_told_where_it_is_clear(text: str, locale: str, foreign: bool) -> None:
    """Whole sentences in the other language are noticed; mixed and short texts are let be."""
    assert is_in_another_language({"suggestions": [{"text": text}]}, locale) is foreign
